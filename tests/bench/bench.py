#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make bench: what Solvent costs, beside its peers, in one run.

Every task is sampled on each of its sides in turn, in random order, in rounds, until the
interval of every ratio is narrow or there were enough rounds. Ratios are taken round by round.
Nothing here passes or fails: what is promised stands beside what was measured.

usage: bench.py [--out DIR] [--rounds N] [--seconds N] [--narrow PART] [GROUP...]

BENCH_SUITE names a copy of mimalloc-bench for the group "allocators"."""
import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

import allocators
import micro
import profile
import report
import services
from figures import spread
from sides import Broker, Sides
from task import Missing

GROUPS = {"ledger": micro.ledger, "calls": micro.doors, "start": micro.start, "allocators": allocators.allocators,
          "redis": services.redis, "postgres": services.postgres, "memcached": services.memcached,
          "programs": services.programs, "churn": micro.churn, "profile": profile.profile}


class Context:
    """What the groups share."""

    def __init__(self, options, broker, work):
        self.build, self.broker, self.work = os.path.abspath(options.build), broker, work
        self.sides, self.lacking = Sides(broker), {}
        self.random = random.Random(options.seed)
        self.churn_seconds = options.churn

    def lacks(self, what, why):
        self.lacking[what] = why
        print(f"  without {what}: {why}", file=sys.stderr, flush=True)


def is_narrow(task, samples, part):
    for metric in task.metrics:
        sides = samples[metric.name]
        for side in sides:
            r = report.ratios(samples, metric, side) if side != report.OURS else sides[side]
            if len(r) < 6 or spread(r) > part:
                return False
    return True


def sample(context, task, samples):
    order = list(task.sides)
    context.random.shuffle(order)
    for side, values in task.run_all(order):
        for name, value in values.items():
            samples[name].setdefault(side.name, []).append(value)


def measure(context, options, name, tasks, samples):
    """In rounds over all tasks, so that an hour of disturbance is nobody's alone."""
    for task in tasks:
        for metric in task.metrics:
            samples[metric.name] = {}
    left, until = list(tasks), time.monotonic() + options.seconds
    for n in range(options.rounds):
        context.random.shuffle(left)
        for task in list(left):
            try:
                sample(context, task, samples)
            except (RuntimeError, OSError) as error:
                context.lacks(task.name, str(error).splitlines()[0])
                left.remove(task)
                continue
            if (task.rounds and n + 1 >= task.rounds) or is_narrow(task, samples, options.narrow):
                left.remove(task)
        print(f"  {name}: round {n + 1}, {len(left)} of {len(tasks)} to go on", file=sys.stderr, flush=True)
        if not left or time.monotonic() > until:
            break


def run(context, options, described):
    """What there is is written down after each group: an hour is long, and something may end it."""
    samples, groups, begun = {}, {}, time.monotonic()
    for name in options.groups or GROUPS:
        try:
            tasks = list(GROUPS[name](context))
        except Missing as missing:
            context.lacks(name, str(missing))
        else:
            measure(context, options, name, tasks, samples)
            groups[name] = tasks
        save(context, options.out, samples, groups, described, time.monotonic() - begun)


def options_read():
    parser = argparse.ArgumentParser(description="what Solvent costs, beside its peers")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--out", default="build/bench")
    parser.add_argument("--rounds", type=int, default=25, help="at most (25)")
    parser.add_argument("--seconds", type=float, default=600, help="a group, after which no round is begun (600)")
    parser.add_argument("--narrow", type=float, default=0.01, help="enough when every interval is so narrow (0.01)")
    parser.add_argument("--churn", type=float, default=60, help="seconds (60)")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    for group in options.groups:
        if group not in GROUPS:
            parser.error(f"no group named {group}: one of {', '.join(GROUPS)}")
    return options


def page_text(samples, groups, context, described, took):
    tasks = [t for ts in groups.values() for t in ts]
    parts = ["| | |", "|---|---|"] + [f"| {k} | {v} |" for k, v in described.items()]
    parts += [f"| this run took | {took / 60:.0f} minutes |", "", "## Promised and measured", "",
              report.verdict_table(samples, tasks), "", "## Everything", "", report.table(samples, groups)]
    lacking = {**context.sides.missing, **context.lacking}
    if lacking:
        parts += ["Not measured: " + "; ".join(f"{k} ({v})" for k, v in lacking.items()) + ".", ""]
    return "\n".join(parts)


def save(context, folder, samples, groups, described, took):
    report.as_json(os.path.join(folder, "bench.json"), samples, groups, context.lacking, described, took)
    report.chart(os.path.join(folder, "bench.svg"), samples, [t for ts in groups.values() for t in ts])
    with open(os.path.join(folder, "bench.md"), "w", encoding="utf-8") as f:
        f.write(page_text(samples, groups, context, described, took))


def leave(number, _frame):
    """Once: make passes on what its whole group was sent, and tidying up is not to be interrupted."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    options, described = options_read(), report.machine()
    signal.signal(signal.SIGTERM, leave)
    os.makedirs(options.out, exist_ok=True)
    work = tempfile.mkdtemp(prefix="solvent-bench-work.", dir="/var/tmp")
    os.chmod(work, 0o755)
    broker = Broker(options.build)
    try:
        context = Context(options, broker, work)
        for side, why in context.sides.missing.items():
            print(f"  without {side}: {why}", file=sys.stderr)
        run(context, options, described)
    finally:
        broker.end()
        shutil.rmtree(work, ignore_errors=True)
    with open(os.path.join(options.out, "bench.md"), encoding="utf-8") as f:
        print(f.read())
    print(f"{options.out}/bench.json, bench.svg and bench.md have it", file=sys.stderr)


if __name__ == "__main__":
    main()
