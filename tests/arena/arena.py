#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""make arena: who is killed when memory runs out, and how soon, by Solvent, its peers and the
kernel. All have the same machine, which is played (world.py), and the same thresholds
(killers.py); they take turns, in random order.

usage: arena.py [--out DIR] [--runs N] [--killers NAME,...] [--how SETTINGS] [--host-pids] [SCENARIO...]

"idle" is a scenario too, of one run: what a killer costs that has nothing to do."""
import argparse
import os
import random
import sys

import bout
import idle
import killers
import results as pages
import scenarios
from world import World, clear, janitor, lacking


def options_read():
    parser = argparse.ArgumentParser(description="who is killed when memory runs out")
    names = [*scenarios.BY_NAME, "idle"]
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(names))
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--out", default="build/arena")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--killers", default=",".join(killers.ALL), help="%(default)s")
    parser.add_argument("--how", default=None, help=f"of Solvent's rule ({killers.Solventd.HOW})")
    parser.add_argument("--host-pids", action="store_true",
                        help="Solvent sees the whole machine, as in service; a rule keeps it to the arena")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    options.scenarios = options.scenarios or names
    options.killers = options.killers.split(",")
    for name in options.scenarios:
        if name not in names:
            parser.error(f"no scenario {name}: one of {', '.join(names)}")
    for name in options.killers:
        if name not in killers.ALL:
            parser.error(f"no killer {name}: one of {', '.join(killers.ALL)}")
    return options


class Arena:
    def __init__(self, options, world):
        self.options, self.world, self.dice = options, world, random.Random(options.seed)
        self.killers = [killers.ALL[k](options.how, options.host_pids) if k == "solventd" else killers.ALL[k]() for k in options.killers]
        self.results = {"where": pages.described(),
                        "thresholds": {"warn": killers.WARN, "act": killers.ACT, "hard": killers.HARD},
                        "runs": {s: {} for s in options.scenarios if s != "idle"}, "idle": {}, "lacking": []}
        self.lacking = self.results["lacking"] # who, in what, and why

    def attempt(self, what, killer, work):
        """What it gives, or None and a reason among what is lacking."""
        try:
            return work()
        except killers.Cannot as reason:
            self.lacking.append([killer.name, what, str(reason)])
        except (RuntimeError, OSError, StopIteration) as error:
            print(f"  {what} with {killer.name}: {error!r}", file=sys.stderr, flush=True)
            self.lacking.append([f"a run of {killer.name}", what, str(error)])
        return None

    def bout(self, scenario, killer):
        runs = self.results["runs"][scenario.name].setdefault(killer.name, [])
        if any(lack[:2] == [killer.name, scenario.name] for lack in self.lacking):
            return
        seen = self.attempt(scenario.name, killer, lambda: bout.run(self.world, scenario, killer, self.dice))
        if seen:
            runs.append(seen)
            print(f"  {scenario.name} {killer.name}: {'right' if seen['right'] else 'WRONG'} {seen}", file=sys.stderr,
                  flush=True)

    def run(self):
        for name in self.options.scenarios:
            if name == "idle":
                for killer in (k for k in self.killers if not k.is_kernel):
                    figures = self.attempt(name, killer, lambda k=killer: idle.measure(self.world, k))
                    if figures:
                        self.results["idle"][killer.name] = figures
                continue
            for _ in range(self.options.runs):
                for killer in self.dice.sample(self.killers, len(self.killers)):
                    self.bout(scenarios.BY_NAME[name], killer)
                pages.save(self.options.out, self.results)
        pages.save(self.options.out, self.results)


def main():
    options, reason = options_read(), lacking()
    if reason:
        sys.exit(reason)
    os.makedirs(options.out, exist_ok=True)
    name = f"arena-{os.getpid()}"
    guard = janitor(name)
    try:
        arena = Arena(options, World(name, options.build))
        arena.run()
        print(pages.page(arena.results), end="")
    finally:
        clear(name)
        guard.stdin.close()
        guard.wait()
    print(f"{options.out}/arena.json and arena.md have it", file=sys.stderr)


if __name__ == "__main__":
    main()
