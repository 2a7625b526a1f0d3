# SPDX-License-Identifier: MIT
"""Single steps of the ledger, single calls of a process, the start of one."""
import os
import subprocess
import time
from statistics import fmean

from figures import median
from sides import Side, meminfo
from task import Bound, Metric, Task, assignments, lines_of, output_of, pinned, program
from turns import medians

LAST = os.cpu_count() - 1


# --- ledger -------------------------------------------------------------------

def step_task(context, name, step_of, bounds=()):
    """`step_of`: which step is timed, by the name of the side."""
    def run_all(sides):
        command_of = {side: [program(context, "ledger"), "turns", step_of[side.name]] for side in sides}
        return ((side, {name: ns}) for side, ns in medians(command_of, context.random).items())
    return Task(name, [Side(s) for s in step_of], [Metric(name, bounds=bounds)], run_all=run_all)


def ledger(context):
    yield step_task(context, "charge, 1 thread", {"bare": "bare-1", "solvent": "charge-1"}, [Bound("bare", most=1.3)])
    if LAST > 0:
        yield step_task(context, "charge, 2 threads", {"bare": "bare-2", "solvent": "charge-2"},
                        [Bound("bare", most=1.3)])
        yield step_task(context, "charge, beside another process", {"alone": "charge-1", "solvent": "charge-apart"},
                        [Bound("alone", most=1 / 0.95)])
    for step, name in (("mark-page", "mark a page"), ("mark-2m", "mark 2 MiB"), ("mark-1g", "mark 1 GiB"),
                       ("mark-1t", "mark 1 TiB"), ("look-1t-empty", "look through 1 TiB of nothing")):
        yield step_task(context, name, {"solvent": step})


# --- calls --------------------------------------------------------------------

KERNEL = ["bare", "solvent", "overcommit=2", "ulimit -d", "cgroup"]
HEAP = ["bare", "jemalloc", "mimalloc", "tcmalloc", "solvent"]

CALLS = [
    ("map-4k", "mmap + munmap 4 KiB", KERNEL, [Bound("bare", most=1.15)]),
    ("map-64k", "mmap + munmap 64 KiB", KERNEL, []),
    ("map-2m", "mmap + munmap 2 MiB", KERNEL, []),
    ("map-2m-touched", "mmap + touch + munmap 2 MiB", KERNEL, [Bound("bare", most=1.03)]),
    ("map-1g", "mmap + munmap 1 GiB", KERNEL, [Bound("bare", most=1.25)]),
    ("map-1t-none", "mmap + munmap 1 TiB PROT_NONE", ["bare", "solvent"], [Bound("bare", most=1.25)]),
    ("protect", "mprotect 64 KiB, there and back", KERNEL, []),
    ("share-64k", "mmap + munmap 64 KiB shared", KERNEL, []),
    ("fork-small", "fork + exit + wait, small", KERNEL + ["jemalloc"], [Bound("bare", more=60e3)]),
    ("fork-10m", "fork + exit + wait, 10 MiB", KERNEL, []),
    ("fork-160m", "fork + exit + wait, 160 MiB", KERNEL, [Bound("bare", most=1.10)]),
    ("fork-1000m", "fork + exit + wait, 1,000 MiB", KERNEL, [Bound("bare", most=1.03)]),
    ("spawn", "posix_spawn + wait of true", ["bare", "jemalloc", "solvent"], []),
    ("thread", "pthread_create + join", HEAP, []),
    ("malloc-16", "malloc + free 16 B", HEAP, []),
    ("malloc-256", "malloc + free 256 B", HEAP, []),
    ("malloc-4k", "malloc + free 4 KiB", HEAP, []),
    ("malloc-64k", "malloc + free 64 KiB", HEAP, []),
    ("malloc-1m", "malloc + free 1 MiB", HEAP, []),
    ("malloc-16m", "malloc + free 16 MiB", HEAP, []),
    ("malloc-2-threads", "malloc + free, 2 threads", HEAP, []),
    ("malloc-cross", "malloc here, free there", HEAP, []),
]

TWO_THREADS = {"malloc-2-threads", "malloc-cross"}

# So many processes are one sample, and what is made of them its value. What unmapping a GiB costs hangs on
# how much of it lies in the same GiB as the libraries, where the kernel looks through the page tables: 0.9
# to 1.8 us, any of it as likely as another, by the addresses that a process happens to get. And of those with
# much memory one in six takes 1.4 times as long for a fork as all the others do, by the memory it got.
PROCESSES = {"map-1g": (24, fmean), "map-1t-none": (24, fmean), "fork-160m": (5, median), "fork-1000m": (3, median)}

# What is resident on each side, in KiB: more than a small machine has for all of them at once.
LARGE = {"fork-160m": 160 << 10, "fork-1000m": 1000 << 10}


def is_too_large(call, sides):
    return LARGE.get(call, 0) * len(sides) > meminfo()["MemAvailable"] // 2


def doors_run(context, call, sides):
    """A dictionary {side: ns}."""
    command = [program(context, "doors"), "turns", call]
    if call not in TWO_THREADS:
        command = pinned(command, [LAST])
    number, value_of = PROCESSES.get(call, (1, fmean))
    # Whoever comes first gets other memory than the last, and may get that of the process before again.
    took = [medians({side: command for side in context.random.sample(sides, len(sides))}, context.random)
            for _process in range(number)]
    return {side: value_of([each[side] for each in took]) for side in sides}


def doors(context):
    for call, name, sides, bounds in CALLS:
        def run_all(sides, call=call, name=name):
            apart = [side for side in sides if side.alone or is_too_large(call, sides)]
            for some in [[side] for side in apart] + [[side for side in sides if side not in apart]]:
                for side, ns in (doors_run(context, call, some) if some else {}).items():
                    yield side, {name: ns}
        yield Task(name, context.sides.some(sides), [Metric(name, bounds=bounds)], run_all=run_all)


# --- start --------------------------------------------------------------------

def charge_floor(context):
    """Of a process that does nothing, in MiB."""
    process = subprocess.Popen(["sleep", "60"], env=context.sides.by_name["solvent"].env(), stdin=subprocess.DEVNULL)
    try:
        for _attempt in range(100):
            members = [m for a in context.broker.status()["accounts"] for m in a["members"] if m["pid"] == process.pid]
            if members:
                return members[0]["used_bytes"] / 2**20
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    raise RuntimeError("sleep did not become a member")


def start(context):
    def run_true(side):
        out = output_of(pinned([program(context, "start"), "100"] + assignments(side) + ["true"], [LAST]), Side("launcher"))
        return {"start of true": lines_of(out)["start"]}
    yield Task("start of true", context.sides.some(["bare", "jemalloc", "solvent"]),
               [Metric("start of true", bounds=[Bound("jemalloc", more=1.5e6)])], run_true)

    def run_join(side):
        environment = {k: v for k, v in side.environment.items() if k != "LD_PRELOAD"}
        return {"join": lines_of(output_of(pinned([program(context, "members"), "join"], [LAST]),
                                           Side("solvent", environment)))["join"]}
    yield Task("join", context.sides.some(["solvent"]), [Metric("join", bounds=[Bound(None, most=150e3)])], run_join)
    yield Task("charge of a process that sleeps", context.sides.some(["solvent"]),
               [Metric("charge of a process that sleeps", "MiB", bounds=[Bound(None, most=3)])],
               lambda _side: {"charge of a process that sleeps": charge_floor(context)}, rounds=1)


# --- churn --------------------------------------------------------------------

def churn(context):
    """Beside a process that answers each question at once and keeps no books ("bare"): so long the
    machine makes a member wait for anybody."""
    metrics = [Metric("broker under churn", "% of a core", bounds=[Bound(None, most=15)]),
               Metric("longest wait for the broker", "us", bounds=[Bound(None, most=5000)]),
               Metric("99.9% of waits", "us"), Metric("median wait", "us"),
               Metric("starts a second", "", more_is_better=True)]

    def run(side):
        environment = {k: v for k, v in context.sides.by_name["solvent"].environment.items() if k != "LD_PRELOAD"}
        broker = context.broker.process.pid if side.name == "solvent" else 0
        got = lines_of(output_of([program(context, "members"), "churn", "2000", str(context.churn_seconds), str(broker)],
                                 Side("members", environment), timeout=600))
        if got["churn-failed"] or got["churn-refused"]:
            raise RuntimeError("a member was refused, or did not join")
        return dict(zip([m.name for m in metrics],
                        [got["churn-broker-percent"], got["churn-wait-most-us"], got["churn-wait-p999-us"],
                         got["churn-wait-median-us"], got["churn-starts-per-second"]]))
    yield Task("churn", context.sides.some(["bare", "solvent"]), metrics, run, rounds=1)
