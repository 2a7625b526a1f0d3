# SPDX-License-Identifier: MIT
"""Who signalled whom, who died, and whom the kernel killed, as the kernel itself notes it:
an instance of tracefs that follows one process and what it forks, on CLOCK_MONOTONIC."""
import os
import re

INSTANCES = "/sys/kernel/tracing/instances"
EVENTS = ("signal/signal_generate", "oom/mark_victim", "sched/sched_process_exit", "sched/sched_process_fork")
LINE = re.compile(r"-(\d+)\s+\[\d+\]\s+\S+\s+(\d+)\.(\d+): (\w+): (.*)")
SI_KERNEL = 128


class Event:
    """What happened, when (ns), and in whose context."""

    def __init__(self, match):
        self.by, self.kind, self.text = int(match[1]), match[4], match[5]
        self.ns = int(match[2]) * 10**9 + int(match[3].ljust(9, "0"))

    def number(self, name):
        found = re.search(r"(?:^| )%s=(-?\d+)" % name, self.text)
        return int(found[1]) if found else None


class Trace:
    def __init__(self, name):
        self.dir = os.path.join(INSTANCES, name)
        os.mkdir(self.dir)
        self.write("trace_clock", "mono")
        self.write("buffer_size_kb", "1024")
        self.write("options/event-fork", "1")

    def write(self, file, text):
        with open(os.path.join(self.dir, file), "w") as f:
            f.write(text)

    def follow(self, pid):
        """It and its descendants, from now on; what was noted before is forgotten."""
        self.write("trace", "")
        self.write("set_event_pid", str(pid))
        for event in EVENTS:
            self.write(f"events/{event}/enable", "1")

    def stop(self):
        for event in EVENTS:
            self.write(f"events/{event}/enable", "0")

    def events(self):
        with open(os.path.join(self.dir, "trace"), errors="replace") as f:
            found = [LINE.search(line) for line in f if not line.startswith("#")]
        return sorted((Event(m) for m in found if m), key=lambda e: e.ns)
