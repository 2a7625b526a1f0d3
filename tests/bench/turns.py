# SPDX-License-Identifier: MIT
"""Several sides at once, each of which does a little when it is its turn. What the machine does
meanwhile - it may run half as fast a second later - it does to all of them."""
import subprocess
from contextlib import ExitStack, contextmanager, suppress

from figures import median


@contextmanager
def started(command, side):
    """It says how many turns it wants when it is ready, and does one for each line that it reads."""
    with side, subprocess.Popen(side.command(command), env=side.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                bufsize=0) as process:
        try:
            yield process
        finally:
            process.kill()


def number_of(process, side):
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("%s on %s ended with %d" % (" ".join(process.args), side.name, process.wait()))
    return float(line)


def turn(process, side):
    with suppress(BrokenPipeError): # it has ended, and says no more
        process.stdin.write(b"\n")
    return number_of(process, side)


def medians(command_of, random):
    """{side: median of its turns}, for {side: command}."""
    with ExitStack() as stack:
        running, turns = [], []
        for side, command in command_of.items(): # none before the one in front of it is ready, and waits
            running.append((side, stack.enter_context(started(command, side))))
            turns.append(number_of(running[-1][1], side))
        took = {side: [] for side in command_of}
        for _turn in range(int(min(turns))):
            random.shuffle(running)
            for side, process in running:
                took[side].append(turn(process, side))
    return {side: median(values) for side, values in took.items()}


def bursts(sides, random, turns, burst):
    """{side: {name: median}} of so many turns of burst(side), which gives {name: value}. The first turn of
    each warms it up, and does not count."""
    took, order = {side: [] for side in sides}, list(sides)
    for _turn in range(turns + 1):
        random.shuffle(order)
        for side in order:
            took[side].append(burst(side))
    return {side: {name: median([each[name] for each in took[side][1:]]) for name in took[side][0]} for side in sides}
