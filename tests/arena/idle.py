# SPDX-License-Identifier: MIT
"""What a killer takes when there is nothing for it to do: memory, and the processor."""
import glob
import time

import bout
from scenarios import IDLE
from world import read

SECONDS = 35


def processes(world):
    """The killer and what it has forked."""
    found, parents = {world.pids["killer"]}, {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        fields = read(path).rpartition(")")[2].split()
        if fields:
            parents[int(path.split("/")[2])] = int(fields[1])
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def ran_ns(pids):
    return sum(int(read(path).split()[0]) for pid in pids for path in glob.glob(f"/proc/{pid}/task/*/schedstat"))


def percent(pid, before, took_ns):
    return round((ran_ns([pid]) - before) / took_ns * 100, 4)


def kib(pids, name):
    return sum(int(line.split()[1]) for pid in pids for line in read(f"/proc/{pid}/status").splitlines()
               if line.startswith(name + ":"))


def measure(world, killer):
    try:
        world.open(IDLE.total, own_pids=killer.own_pids)
        killer.start(world, IDLE)
        bout.background_start(world, IDLE, killer)
        time.sleep(3)
        pids = processes(world)
        before, begun = {pid: ran_ns([pid]) for pid in pids}, time.monotonic_ns()
        time.sleep(SECONDS)
        took = time.monotonic_ns() - begun
        each = [percent(pid, before[pid], took) for pid in sorted(pids)]
        return {"processes": len(pids), "resident_kib": kib(pids, "VmRSS"), "locked_kib": kib(pids, "VmLck"),
                "cpu_percent": round(sum(each), 4), "cpu_percent_each": " + ".join(map(str, each))}
    finally:
        world.close()
