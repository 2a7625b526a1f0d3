# SPDX-License-Identifier: MIT
"""Who is on the stage, and who everybody would say is to go.

Background actors are there before anything happens; then come the hogs. `right` names those
that may die. MiB everywhere."""

MACHINE = 4096 # so much the machine that is played has
GROUP = 512


class Scenario:
    def __init__(self, name, hogs, background=(), **more):
        self.name, self.hogs, self.background = name, hogs, list(background)
        self.right = set(more.pop("right", [hog[0] for hog in hogs]))
        self.total = MACHINE
        self.parts = 1 # hogs of which one is enough
        self.bound = 6 # seconds after the crossing at which the run is over, whatever there is
        self.kernel_kills = True
        self.fills = True # memory would run out altogether: else the kernel is not asked
        self.inside = False # the killer is in the full cgroup itself
        self.unit = "process" # what Solvent's rule takes as one
        self.senses = "machine" # or "cgroup": what Solvent is told to watch; the others see a machine of that size
        self.managed = {} # actor -> account, where the killer is Solvent
        self.freezes = None # the hog that is frozen when it is grown, before the next begins
        self.waiter = False
        self.__dict__.update(more)


BASE = "2800" # a hog begins with it, and then grows at its rate
INNOCENTS = ("innocents", "idle", "20", "8")


def basic(name, *options, rate=1000, more=(), size=MACHINE + 1024, base=BASE, **other):
    return Scenario(name, [("hog", "hog", "-r", str(rate), "-s", str(size), "-b", base, *options)],
                    [INNOCENTS, *more], **other)


def database(rate):
    return Scenario(f"database-{rate}", [("hog", "hog", "-r", str(rate), "-s", "1024")],
                    [("innocents", "idle", "4", "1"), ("database", "database", "5", "248", "10")], total=GROUP,
                    senses="cgroup", managed={"database": "db"})


def robust(name, *options, more=()):
    return Scenario(name, [("hog", "hog", "-r", "400", "-s", "1024", "-m", "@work@/mutex", *options)],
                    [("innocents", "idle", "20", "2"), *more], total=GROUP, waiter=True)


TWO = [(name, "hog", "-r", "500", "-s", "2200", "-b", "1400") for name in ("hog", "hog2")]
FORKER = [("hog", "hog", "-r", "1500", "-s", "200", "-f", "20")]
SHARED = ("database", "database", "8", "2048", "4")
FROZEN = [("frozen", "hog", "-r", "0", "-s", "1950"), ("hog", "hog", "-r", "1000", "-s", "1900", "-b", "1000")]
NEARLY = "3700" # with the innocents, between the two thresholds of 10 % and 5 %

ALL = [
    basic("basic"),
    basic("fast", rate=0),
    basic("busy", more=[("spinners", "spin", "2")]),
    basic("ignores-term", "-i"),
    Scenario("twohogs", TWO, [INNOCENTS], parts=2),
    basic("many", more=[("many", "idle", "400", "0.1")]),
    basic("stopped", "-z", size=NEARLY, fills=False, bound=15),
    basic("shared", size=1900, base="900", more=[SHARED]),
    basic("spoof", "-n", "sshd"),
    basic("zombie-leader", "-l"),
    Scenario("frozen", FROZEN, [INNOCENTS], freezes="frozen", fills=False, bound=10),
    Scenario("forker", FORKER, [INNOCENTS, ("large", "idle", "1", "700")], unit="family"),
    basic("plateau", "-i", size=NEARLY, fills=False, bound=15),
    Scenario("full-cgroup", [("hog", "hog", "-r", "1000", "-s", "1024")], [("innocents", "idle", "20", "2")],
             total=GROUP, kernel_kills=False, inside=True, bound=10),
    robust("robust"),
    robust("robust-kill", "-i"),
    robust("robust-busy", "-i", more=[("spinners", "spin", "2")]),
    Scenario("pid-namespace", [("hog", "foreign", "pid", "@tools@/hog", "-s", "5120", "-b", BASE)], [INNOCENTS]),
    Scenario("user-namespace", [("hog", "foreign", "user", "@tools@/hog", "-s", "5120", "-b", BASE)], [INNOCENTS]),
    database(100),
    database(500),
    database(2000),
]
BY_NAME = {s.name: s for s in ALL}
IDLE = Scenario("idle", [], [("members", "idle", "200", "0.1")], managed={"members": "members"})
