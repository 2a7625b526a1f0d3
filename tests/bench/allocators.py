# SPDX-License-Identifier: MIT
"""The public allocator benchmarks of mimalloc-bench, built outside of this tree from a copy
that BENCH_SUITE names."""
import os
import re
import shutil
import subprocess

from task import Bound, Metric, Missing, Task, pinned, resources_of

SIDES = ["bare", "jemalloc", "mimalloc", "tcmalloc", "solvent"]
CPUS = min(os.cpu_count(), 2)

# As bench.sh of the suite calls them, some for longer or shorter; and what tells how much was
# done by those that run for a time: the rest do something and take their time.
PROGRAMS = {
    "cfrac": ("cfrac 17545186520507317056371138836327483792789528", None),
    "espresso": ("espresso largest.espresso", None),
    "larson": ("larson 2 8 1000 5000 100 4141 {n}", r"Throughput = *([0-9]+)"),
    "sh6bench": ("sh6bench {2n}", None),
    "sh8bench": ("sh8bench {2n}", None),
    "xmalloc-test": ("xmalloc-test -w {n} -t 2 -s 64", r"free/sec: *([0-9.]+)"),
    "mstress": ("mstress {n} 50 200", None),
    "rptest": ("rptest {n} 0 1 2 500 1000 100 8 16000", None),
    "alloc-test": ("alloc-test 1", None),
    "glibc-simple": ("glibc-simple", None),
    "glibc-thread": ("glibc-thread {n}", r"([0-9]+) iterations"),
}


def source_copy(context, suite):
    """A copy that lists no program whose source the suite downloads and may not hand on."""
    source = os.path.join(context.work, "suite-source")
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(os.path.join(suite, "bench"), source)
    lists = os.path.join(source, "CMakeLists.txt")
    with open(lists, encoding="utf-8") as f:
        lines = f.readlines()
    for name in ("sh6bench", "sh8bench"):
        if not os.path.exists(os.path.join(source, "shbench", name + "-new.c")):
            context.lacks(name, "its source is not in the copy of mimalloc-bench")
            lines = [line for line in lines if name not in line]
    with open(lists, "w", encoding="utf-8") as f:
        f.writelines(lines)
    return source


def suite_build(context):
    """The folder that the programs are in."""
    suite = os.environ.get("BENCH_SUITE", "")
    if not os.path.exists(os.path.join(suite, "bench/CMakeLists.txt")):
        raise Missing("BENCH_SUITE names no copy of mimalloc-bench (git clone https://github.com/daanx/mimalloc-bench)")
    out, log = os.path.join(context.work, "suite"), os.path.join(context.work, "suite.log")
    source = source_copy(context, suite)
    names = [n for n in PROGRAMS if n not in context.lacking]
    with open(log, "w", encoding="utf-8") as f:
        for command in (["cmake", "-S", source, "-B", out, "-DCMAKE_BUILD_TYPE=Release"],
                        ["cmake", "--build", out, "-j", str(os.cpu_count()), "--target"] + names):
            if subprocess.run(command, stdout=f, stderr=f, check=False).returncode != 0:
                raise Missing("mimalloc-bench does not build: see " + log)
    shutil.copy(os.path.join(source, "espresso/largest.espresso"), out)
    return out


def allocators(context):
    """Processor time, which on a shared machine is what can be compared; of what runs for a
    time, that of a million operations."""
    folder = suite_build(context)
    for name, (line, rate) in PROGRAMS.items():
        if name in context.lacking:
            continue
        command = line.format(**{"n": CPUS, "2n": 2 * CPUS}).split()
        command = pinned(["./" + command[0]] + command[1:], list(range(os.cpu_count() - CPUS, os.cpu_count())))

        def run(side, name=name, command=command, rate=rate):
            took, cpu, peak, out = resources_of(context, command, side, cwd=folder)
            if rate:
                done = float(re.search(rate, out).group(1))
                cpu /= done * took / 1e6 if done > 1e4 else done * took
            return {name: cpu, name + ", peak memory": peak}
        yield Task(name, context.sides.some(SIDES),
                   [Metric(name, "s" if not rate else "s for a million", bounds=[Bound("jemalloc", most=1 / 0.95)],
                           mean="allocators"),
                    Metric(name + ", peak memory", "MiB", bounds=[Bound("jemalloc", most=1.05)], mean="allocators, peak memory")],
                   run)
