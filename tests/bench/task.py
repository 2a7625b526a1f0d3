# SPDX-License-Identifier: MIT
"""A task is run once per sample on each of its sides, and gives one or more metrics."""
import os
import subprocess
import tempfile


class Bound:
    """What Solvent's figure is promised to be: a ratio to another side's (`most`, `least`), so
    much `more` than it; without a side, the figure itself."""

    def __init__(self, side, most=None, least=None, more=None):
        self.side, self.most, self.least, self.more = side, most, least, more


class Metric:
    """`mean`: the name of the geometric mean that its ratio is part of."""

    def __init__(self, name, unit="ns", more_is_better=False, bounds=(), mean=None):
        self.name, self.unit, self.more_is_better, self.bounds, self.mean = name, unit, more_is_better, list(bounds), mean


class Task:
    """`run(side)` returns {metric name: value}; or `run_all(sides)`, where they take turns, yields each
    side with that."""

    def __init__(self, name, sides, metrics, run=None, rounds=None, run_all=None):
        self.name, self.sides, self.metrics, self.rounds = name, sides, metrics, rounds
        self.run_all = run_all or (lambda sides: ((side, run(side)) for side in sides))


class Missing(Exception):
    """Something that a group needs is not on this machine; the text says what."""


def pinned(command, cpus):
    """`cpus`: a list of processors, or None: wherever it likes."""
    return command if cpus is None else ["taskset", "-c", ",".join(map(str, cpus))] + command


def program(context, name):
    return os.path.join(context.build, "tests/bench", name)


def assignments(side):
    return ["%s=%s" % each for each in side.environment.items()]


def output_of(command, side, timeout=300, cwd=None):
    with side:
        done = subprocess.run(side.command(command), env=side.env(), capture_output=True, text=True, timeout=timeout, cwd=cwd,
                              stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise RuntimeError("%s on %s ended with %d: %s" % (" ".join(command), side.name, done.returncode,
                                                         (done.stderr or done.stdout)[-500:]))
    return done.stdout


def lines_of(text):
    """{name: value} of lines "NAME VALUE"."""
    return {name: float(value) for name, value in (line.split() for line in text.splitlines() if line.strip())}


def resources_of(context, command, side, cwd=None):
    """Seconds by the clock and of the processor, the most that was resident in MiB, and what
    it wrote."""
    told, tell = os.pipe()
    with side, tempfile.TemporaryFile() as out, os.fdopen(told) as told:
        line = [program(context, "usage"), str(tell)] + assignments(side) + side.command(command)
        done = subprocess.run(line, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(tell,), check=False)
        os.close(tell)
        figures = told.read().split()
        out.seek(0)
        text = out.read().decode(errors="replace")
    if done.returncode != 0:
        raise RuntimeError("%s on %s ended with %d: %s" % (" ".join(command), side.name, done.returncode, text[-500:]))
    took, cpu, peak = map(float, figures)
    return took, cpu, peak / 1024, text
