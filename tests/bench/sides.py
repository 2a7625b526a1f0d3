# SPDX-License-Identifier: MIT
"""What is compared: the same program bare, on another allocator, under Solvent, or below
another kind of accounting."""
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

ACCOUNT = "bench"
CONFIG = """pool { limit = 256G }
account "%s" { limit = 128G  guarantee = 128G }
""" % ACCOUNT


def library(pattern):
    found = sorted(glob.glob("/usr/lib/*/" + pattern) + glob.glob("/usr/lib/" + pattern))
    return found[0] if found else None


class Side:
    """A name, what it adds to the environment, and what stands in front of the command. `alone`: while
    something runs on it nothing may run on another."""

    alone = False

    def __init__(self, name, environment=None, prefix=None):
        self.name = name
        self.environment = environment or {}
        self.prefix = prefix or []

    def command(self, command):
        return self.prefix + command

    def env(self):
        return {**os.environ, **self.environment}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


class Overcommit(Side):
    """vm.overcommit_memory=2 while the command runs. A process of its own restores what was
    before when we are gone, however that comes about."""

    alone = True
    FILES = ["/proc/sys/vm/overcommit_memory", "/proc/sys/vm/overcommit_ratio"]
    RESTORE = """
import sys
before = sys.argv[1:]
print(flush=True)
sys.stdin.buffer.read()
for path, value in zip(before[::2], before[1::2]):
    open(path, "w").write(value)
"""

    def __init__(self):
        super().__init__("overcommit=2")

    def __enter__(self):
        before = []
        for path in self.FILES:
            with open(path) as f:
                before += [path, f.read().strip()]
        self.guard = subprocess.Popen([sys.executable, "-c", self.RESTORE] + before, stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, start_new_session=True)
        if not self.guard.stdout.readline(): # before there may be no memory for it to start in
            raise RuntimeError("who is to restore vm.overcommit_memory did not start")
        for path, value in zip(self.FILES, ["2", "95"]):
            with open(path, "w") as f:
                f.write(value)
        return self

    def __exit__(self, *_):
        self.guard.stdin.close()
        self.guard.wait()
        return False


class Cgroup(Side):
    """A memory cgroup of its own with a limit that is never reached."""

    def __init__(self):
        super().__init__("cgroup")
        v1 = "/sys/fs/cgroup/memory"
        self.dir = "%s/solvent-bench-%d" % (v1 if os.path.exists(v1) else "/sys/fs/cgroup", os.getpid())
        self.limit = "memory.limit_in_bytes" if os.path.exists(v1) else "memory.max"
        self.prefix = ["sh", "-c", 'echo $$ >"$0/cgroup.procs"; exec "$@"', self.dir]

    def __enter__(self):
        os.mkdir(self.dir)
        with open(os.path.join(self.dir, self.limit), "w") as f:
            f.write(str(16 << 30))
        return self

    def __exit__(self, *_):
        for _attempt in range(100):
            try:
                os.rmdir(self.dir)
                break
            except OSError:
                time.sleep(0.05)
        return False


class Broker:
    """solventd for the account all of this runs in."""

    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.home = tempfile.mkdtemp(prefix="solvent-bench.")
        os.chmod(self.home, 0o755)
        self.socket = os.path.join(self.home, "sock")
        with open(os.path.join(self.home, "conf"), "w") as f:
            f.write(CONFIG)
        self.log = open(os.path.join(self.home, "log"), "w")
        self.process = subprocess.Popen(
            [os.path.join(self.build, "solventd"), "--socket", self.socket, "--state", os.path.join(self.home, "state"),
             "--config", os.path.join(self.home, "conf"), "--foreground"], stdout=self.log, stderr=self.log)
        until = time.time() + 5
        while not os.path.exists(self.socket):
            if time.time() > until or self.process.poll() is not None:
                raise RuntimeError("solventd did not start: see " + self.log.name)
            time.sleep(0.01)
        os.chmod(self.socket, 0o777)

    def environment(self):
        return {"LD_PRELOAD": os.path.join(self.build, "libsolvent.so"), "SOLVENT_SOCKET": self.socket,
                "SOLVENT_ACCOUNT": ACCOUNT, "SOLVENT_NO_BROKER": "strict"}

    def status(self):
        out = subprocess.run([os.path.join(self.build, "solvent"), "--socket", self.socket, "status", "--json"],
                             capture_output=True, check=True).stdout
        return json.loads(out)

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        subprocess.run(["rm", "-rf", self.home], check=False)


def meminfo():
    """Its lines by name, in KiB."""
    with open("/proc/meminfo", encoding="ascii") as f:
        return {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in f)}


def commit_is_full():
    """Has more been promised than mode 2 would ever let be? It may, where nobody holds any of it:
    Linux 6.18 forgets to give back what mremap(2) with MREMAP_FIXED cuts off as it shrinks."""
    kib = meminfo()
    return kib["Committed_AS"] > 0.5 * kib["MemTotal"]


class Sides:
    """All that this machine has, by name."""

    def __init__(self, broker):
        self.missing = {}
        self.by_name = {"bare": Side("bare"), "solvent": Side("solvent", broker.environment())}
        for name, pattern, package in (("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
                                       ("mimalloc", "libmimalloc.so.2*", "libmimalloc2.0"),
                                       ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4")):
            path = library(pattern)
            if path:
                self.by_name[name] = Side(name, {"LD_PRELOAD": path})
            else:
                self.missing[name] = "package %s is not installed" % package
        self.by_name["ulimit -d"] = Side("ulimit -d", prefix=["sh", "-c", 'ulimit -d 16777216; exec "$@"', "sh"])
        if os.geteuid() != 0:
            self.missing["overcommit=2"] = self.missing["cgroup"] = "only root may set it"
            return
        self.by_name["cgroup"] = Cgroup()
        if commit_is_full():
            self.missing["overcommit=2"] = "too much is promised already (Committed_AS); start the machine anew"
        else:
            self.by_name["overcommit=2"] = Overcommit()

    def some(self, names):
        return [self.by_name[n] for n in names if n in self.by_name]
