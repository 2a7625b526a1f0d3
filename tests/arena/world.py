# SPDX-License-Identifier: MIT
"""The world of one run: a memory cgroup that is all the memory there is, a sampler that watches
it and plays /proc/meminfo, and a stage on which only the killer and the actors are.

Everything bears one name, so that whoever knows it can clear it away: the runner after each
run, and a janitor when the runner is no more."""
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

from tracing import INSTANCES, Trace

MIB = 1 << 20
MEMORY = "/sys/fs/cgroup/memory"
FREEZER = "/sys/fs/cgroup/freezer" # whoever is in the arena is in it: so that all can be found
SAMPLE_US = 400


def lacking():
    """Why there can be no world here, or None."""
    for path, what in ((MEMORY, "a memory cgroup (v1)"), (FREEZER, "a freezer cgroup (v1)"),
                       (INSTANCES, "tracefs (mount -t tracefs nodev /sys/kernel/tracing)")):
        if not os.access(path, os.W_OK):
            return f"the arena needs root and {what}: {path} cannot be written"
    return None


def write(path, text):
    with open(path, "w") as f:
        f.write(str(text))


def read(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return ""


def wait_for(is_true, seconds, step=0.005):
    end = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > end:
            return False
        time.sleep(step)
    return True


def groups_of(root):
    return [d for d, _, _ in os.walk(root, topdown=False)]


def all_killed(groups):
    pids = [int(pid) for g in groups for pid in read(g + "/cgroup.procs").split()]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return not pids


def group_removed(group):
    try:
        os.rmdir(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def clear_run(name):
    """No process and no cgroup of it is left."""
    freezers, memories = groups_of(f"{FREEZER}/{name}"), groups_of(f"{MEMORY}/{name}")
    for g in freezers:
        write(g + "/freezer.state", "THAWED")
    wait_for(lambda: all_killed(freezers + memories), 20)
    for g in freezers + memories:
        if not wait_for(lambda: group_removed(g), 10):
            print(f"arena: {g} is left", file=sys.stderr)


def clear(name):
    clear_run(name)
    if os.path.isdir(f"{INSTANCES}/{name}"):
        wait_for(lambda: group_removed(f"{INSTANCES}/{name}"), 5)
    shutil.rmtree(f"/dev/shm/{name}", ignore_errors=True)


def janitor(name):
    """A process that clears when we are gone, however that comes about."""
    code = "import sys, world; sys.stdin.read(); world.clear(sys.argv[1])"
    return subprocess.Popen([sys.executable, "-c", code, name], stdin=subprocess.PIPE, start_new_session=True,
                            cwd=os.path.dirname(os.path.abspath(__file__)))


class World:
    """One at a time; `work` is a folder in memory, emptied before each run."""

    def __init__(self, name, build):
        self.name = name
        self.tools = os.path.join(os.path.abspath(build), "tests/arena")
        self.build = os.path.abspath(build)
        self.memory, self.freezer, self.work = f"{MEMORY}/{name}", f"{FREEZER}/{name}", f"/dev/shm/{name}"
        self.frozen = self.freezer + "/frozen"
        self.trace = Trace(name)

    def open(self, total_mib, kernel_kills=True, own_pids=True):
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)
        for d in (self.memory, self.freezer, self.frozen):
            os.mkdir(d)
        self.own_pids = own_pids
        write(self.memory + "/memory.limit_in_bytes", total_mib * MIB)
        write(self.memory + "/memory.oom_control", 0 if kernel_kills else 1)
        self.pids = {}
        self._sampler_start(total_mib)
        self._stage_start()

    def _child(self, arguments, followed=False, **pipes):
        def enter():
            write(self.freezer + "/cgroup.procs", os.getpid())
            if followed:
                self.trace.follow(os.getpid())
        return subprocess.Popen(arguments, preexec_fn=enter, text=True, **pipes)

    def _sampler_start(self, total_mib):
        self.meminfo, self.samples_file = self.work + "/meminfo", self.work + "/samples"
        self.sampler = self._child([self.tools + "/sampler", self.memory + "/memory.usage_in_bytes", self.samples_file,
                                    str(SAMPLE_US), self.meminfo, str(total_mib)], stdout=subprocess.PIPE)
        self.sampler.stdout.readline()

    def _stage_start(self):
        self.stage = self._child([self.tools + "/stage", self.meminfo, "own" if self.own_pids else "host"],
                                 followed=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, name, command, groups=None):
        """Starts an actor in the arena's memory, or where `groups` says; its pid."""
        groups = [self.memory] if groups is None else groups
        words = [name, self.log_of(name), ":".join(groups) or "-"] + command
        self.stage.stdin.write("\t".join(words) + "\n")
        self.stage.stdin.flush()
        answer = self.stage.stdout.readline().split()
        if len(answer) != 2 or answer[0] != name:
            raise RuntimeError(f"{name} was not started")
        self.pids[name] = int(answer[1])
        return self.pids[name]

    def log_of(self, name):
        return f"{self.work}/{name}.log"

    def said(self, name, what):
        """The line with which an actor says it."""
        for line in read(self.log_of(name)).splitlines():
            if what in line:
                return line
        return None

    def wait_said(self, name, what, seconds=20):
        if not wait_for(lambda: self.said(name, what), seconds):
            raise RuntimeError(f"{name} did not say {what}: {read(self.log_of(name))[-200:]}")

    def freeze(self):
        write(self.frozen + "/freezer.state", "FROZEN")
        wait_for(lambda: read(self.frozen + "/freezer.state").strip() == "FROZEN", 5)

    def usage(self):
        return int(read(self.memory + "/memory.usage_in_bytes"))

    def most(self):
        return int(read(self.memory + "/memory.max_usage_in_bytes"))

    def finish(self):
        """No more samples and events; what there are of them."""
        self.trace.stop()
        self.sampler.terminate()
        self.sampler.wait(10)
        with open(self.samples_file, "rb") as f:
            data = f.read()
        return list(struct.iter_unpack("QQ", data[:len(data) // 16 * 16])), self.trace.events()

    def close(self):
        for child in (getattr(self, "stage", None), getattr(self, "sampler", None)):
            for pipe in (child and child.stdin, child and child.stdout):
                if pipe:
                    pipe.close()
        clear_run(self.name)
        for child in (getattr(self, "stage", None), getattr(self, "sampler", None)):
            if child:
                child.wait(20)
