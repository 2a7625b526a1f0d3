# SPDX-License-Identifier: MIT
"""Those that are measured, each with the same two thresholds: SIGTERM, or what a rule says, when
less than ACT percent are left; SIGKILL where one knows a second one at HARD percent. Names that
are to be spared (scenario "spoof") are spared by what each has for it."""
import os
import re
import socket
import time

from world import read, wait_for

WARN, ACT, HARD = 20, 10, 5


class Cannot(Exception):
    """It does not run here, and why."""


class Killer:
    name = "kernel"
    is_kernel = False
    says = None # in its log when it is ready
    own_pids = True # it sees and reaches nobody who is not on the stage

    def command(self, world, scenario):
        raise NotImplementedError

    def threshold(self, total):
        """Of use, in bytes, above which it is to act."""
        return total - total * ACT // 100

    def managed(self, world, account):
        """What stands before the command of an actor of an account."""
        return []

    def is_ready(self, world):
        return world.said("killer", self.says) is not None

    def start(self, world, scenario):
        command = self.command(world, scenario)
        if not os.access(command[0], os.X_OK):
            raise Cannot(f"no {command[0]}")
        pid = world.start("killer", command, [world.memory] if scenario.inside else [])
        lives = lambda: os.path.exists(f"/proc/{pid}/exe")
        wait_for(lambda: self.is_ready(world) or not lives(), 10)
        if not lives() or not self.is_ready(world):
            lines = read(world.log_of("killer")).strip().splitlines() or ["it did not get ready"]
            raise Cannot(lines[-1])

    def lives(self, world):
        return os.path.exists(f"/proc/{world.pids['killer']}/exe")


class Kernel(Killer):
    """The baseline: nobody but the kernel, whose threshold is the limit itself (less two
    batches of charges, which it takes ahead)."""
    is_kernel = True

    def threshold(self, total):
        return total - (2 << 20)

    def start(self, world, scenario):
        if not scenario.kernel_kills:
            raise Cannot("it is turned off")
        if not scenario.fills:
            raise Cannot("memory does not run out, it is low")

    def lives(self, world):
        return True


class Earlyoom(Killer):
    name = "earlyoom"
    says = "sending SIGTERM when"

    def command(self, world, scenario):
        return ["/usr/bin/earlyoom", "-r", "3600", "-m", f"{ACT},{HARD}", "--avoid", "^sshd$"]


class Nohang(Killer):
    name = "nohang"
    says = "Monitoring has started"
    SET = {"warning_threshold_min_mem": f"{WARN} %", "soft_threshold_min_mem": f"{ACT} %",
           "hard_threshold_min_mem": f"{HARD} %"}

    def command(self, world, scenario):
        text = read("/etc/nohang/nohang.conf")
        for name, value in self.SET.items():
            text = re.sub(rf"(?m)^{name}\s*=.*$", f"{name} = {value}", text)
        path = world.work + "/nohang.conf"
        with open(path, "w") as f:
            f.write(text + "\n@BADNESS_ADJ_RE_NAME -300 /// ^sshd$\n")
        return ["/usr/sbin/nohang", "--monitor", "--config", path]


class Oomd(Killer):
    """It knows no threshold of memory without swap, and no cgroups but the unified ones."""
    name = "systemd-oomd"
    says = "Starting"

    def command(self, world, scenario):
        return ["/lib/systemd/systemd-oomd"]

    def is_ready(self, world):
        time.sleep(0.5) # it says nothing when all is well
        return self.lives(world)


SOLVENT = """pool {{ limit = 90% }}
watch {{ {watch}warn = {warn}%  act = {act}% }}
account "db" {{ limit = 400M  guarantee = 350M  users = {{"*"}} }}
account "members" {{ limit = 2G  users = {{"*"}} }}
rule {{ match-exe = "/usr/sbin/sshd"  action = never }}
rule {{ {exe}unmanaged = true  over = 32M  action = kill  unit = {unit}  {how} }}
"""


class Solventd(Killer):
    name = "solventd"
    HOW = "signal = TERM  grace = 2s  deadline = 1s"

    def __init__(self, how=None, host_pids=False):
        self.how = how or self.HOW
        self.own_pids = not host_pids

    def config(self, world, scenario):
        watch = f'cgroup = "/{world.name}"  ' if scenario.senses == "cgroup" else ""
        # Where it sees the whole machine it is to touch nobody who is not of the arena.
        exe = "" if world.own_pids else f'match-exe = "{world.tools}/*"  '
        return SOLVENT.format(watch=watch, warn=WARN, act=ACT, exe=exe, unit=scenario.unit, how=self.how)

    def socket(self, world):
        return f"@{world.name}"

    def command(self, world, scenario):
        path = world.work + "/solvent.conf"
        with open(path, "w") as f:
            f.write(self.config(world, scenario))
        return [world.build + "/solventd", "--foreground", "--socket", self.socket(world), "--state",
                world.work + "/state", "--config", path]

    def is_ready(self, world):
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            door.connect("\0" + self.socket(world)[1:])
        except OSError:
            return False
        finally:
            door.close()
        return True

    def managed(self, world, account):
        return ["/usr/bin/env", f"LD_PRELOAD={world.build}/libsolvent.so", f"SOLVENT_SOCKET={self.socket(world)}",
                f"SOLVENT_ACCOUNT={account}", "SOLVENT_NO_BROKER=strict"]


ALL = {k.name: k for k in (Kernel, Earlyoom, Nohang, Oomd, Solventd)}
