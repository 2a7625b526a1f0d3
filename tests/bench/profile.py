# SPDX-License-Identifier: MIT
"""What a profile of PostgreSQL under Solvent finds of Solvent."""
import os
import re
import subprocess
import sys
import time

import services
from task import Bound, Metric, Missing, Task

SELF = "Solvent's own symbols"


def samples_of(data):
    """[(part in percent, object, symbol)]"""
    text = subprocess.run(["perf", "report", "-i", data, "--stdio", "--sort", "dso,symbol", "-g", "none"], capture_output=True,
                          text=True, check=True).stdout
    return [(float(part), dso, symbol) for part, dso, symbol in
            re.findall(r"^ *([0-9.]+)% +(\S+) +\[.\] (\S+)", text, re.M)]


def symbols_of(archive):
    """What jemalloc's own functions are called, the local ones too."""
    text = subprocess.run(["nm", "--defined-only", archive], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^[0-9a-f]+ [tTwW] (\S+)$", text, re.M))


def profile(context):
    services.needed("perf")
    data = os.path.join(context.work, "perf.data")
    if subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-o", data, "true"], capture_output=True,
                      check=False).returncode != 0:
        raise Missing("perf may not record here")

    cluster = services.Postgres(context, "profile")
    jemalloc = symbols_of(os.path.join(context.build, "jemalloc.a"))

    def run(side):
        with cluster.server(side):
            recorder = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-a", "-o", data, "sleep", "8"])
            time.sleep(0.5)
            cluster.bench(["-c", "2", "-T", "8"])
            recorder.wait()
        ours = [s for s in samples_of(data) if "libsolvent" in s[1]]
        own = [s for s in ours if s[2] not in jemalloc]
        for part, _dso, symbol in own[:5]:
            print("  %5.2f%% %s" % (part, symbol), file=sys.stderr)
        return {SELF: sum(s[0] for s in own), "jemalloc in it": sum(s[0] for s in ours) - sum(s[0] for s in own)}
    yield Task("profile", context.sides.some(["solvent"]),
               [Metric(SELF, "% of samples", bounds=[Bound(None, most=0.5)]), Metric("jemalloc in it", "% of samples")], run,
               rounds=1)
