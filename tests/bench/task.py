# SPDX-License-Identifier: MIT
"""A task is run once per sample on each of its sides, and gives one or more metrics."""
import os
import subprocess
import tempfile
import time


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
    """`run(side)` returns {metric name: value}."""

    def __init__(self, name, sides, metrics, run, rounds=None):
        self.name, self.sides, self.metrics, self.run, self.rounds = name, sides, metrics, run, rounds


class Missing(Exception):
    """Something that a group needs is not on this machine; the text says what."""


def pinned(command, cpus):
    """`cpus`: a list of processors, or None: wherever it likes."""
    return command if cpus is None else ["taskset", "-c", ",".join(map(str, cpus))] + command


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


def resources_of(command, side, cwd=None):
    """Seconds by the clock and of the processor, the most that was resident in MiB, and what
    it wrote."""
    with side, tempfile.TemporaryFile() as out:
        begun = time.monotonic()
        process = subprocess.Popen(side.command(command), env=side.env(), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=out)
        _pid, status, usage = os.wait4(process.pid, 0)
        took = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors="replace")
    if process.returncode != 0:
        raise RuntimeError("%s on %s ended with %d: %s" % (" ".join(command), side.name, process.returncode, text[-500:]))
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text
