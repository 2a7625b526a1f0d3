# SPDX-License-Identifier: MIT
"""Real servers under load, and programs that do a day's work."""
import contextlib
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time

from sides import Side
from task import Bound, Metric, Missing, Task, output_of, pinned, resources_of
from turns import bursts

SIDES = ["bare", "jemalloc", "solvent"]
SERVED = [Bound("jemalloc", least=0.99), Bound("bare", least=0.97)]
FIRST, LAST = [0], [os.cpu_count() - 1]
LOAD = Side("load")


def port_free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def needed(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Missing(program + " is not installed")


TURNS = 5 # a sample


def in_turn(context, sides, server_of, burst):
    """All servers are up at once, and are under load one after another: yields what a task's run_all does."""
    with contextlib.ExitStack() as stack:
        servers = {side: stack.enter_context(server_of(side)) for side in sides}
        yield from bursts(sides, context.random, TURNS, lambda side: burst(servers[side])).items()


class Server:
    """Runs while the block does; it is up when its port answers."""

    def __init__(self, command, side, port, user=None):
        self.command, self.side, self.port, self.user = command, side, port, user

    def __enter__(self):
        self.side.__enter__()
        self.process = subprocess.Popen(self.side.command(pinned(self.command, FIRST)), env=self.side.env(), user=self.user,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        until = time.time() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.time() > until or self.process.poll() is not None:
                    self.__exit__()
                    raise RuntimeError(" ".join(self.command) + " did not start on " + self.side.name) from None
                time.sleep(0.02)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.side.__exit__()
        return False


# --- redis ----------------------------------------------------------------------

def redis(context):
    needed("redis-server", "redis-benchmark")
    tests = ["set", "get", "lpush", "hset"]

    def server_of(side):
        port = port_free()
        return Server(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", context.work],
                      side, port)

    def burst(server):
        out = output_of(pinned(["redis-benchmark", "-p", str(server.port), "-t", ",".join(tests), "-n", "60000", "-P", "16",
                                "-d", "200", "-r", "100000", "--csv"], LAST), LOAD)
        rows = dict(re.findall(r'^"(\w+)[^"]*","([0-9.]+)"', out, re.M))
        return {"redis " + t: float(rows[t.upper()]) for t in tests}
    yield Task("redis", context.sides.some(SIDES),
               [Metric("redis " + t, "requests a second", True, SERVED) for t in tests],
               run_all=lambda sides: in_turn(context, sides, server_of, burst))


# --- postgres -------------------------------------------------------------------

def postgres_bin():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        raise Missing("postgresql is not installed")
    return os.path.dirname(found[-1])


class Postgres:
    """A cluster with pgbench's tables for a side, as whoever may run one. Nothing is vacuumed while another
    side has its turn."""

    def __init__(self, context, name):
        self.bins, self.port = postgres_bin(), port_free()
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.data = os.path.join(context.work, "pgdata-" + name)
        self.client = [self.bins + "/pgbench", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        as_user = ["setpriv", "--reuid", self.user, "--regid", self.user, "--init-groups"] if os.geteuid() == 0 else []
        self.command = as_user + [self.bins + "/postgres", "-D", self.data, "-p", str(self.port), "-k", "",
                                  "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=128MB", "-c", "fsync=off",
                                  "-c", "max_wal_size=4GB", "-c", "autovacuum=off"]
        shutil.rmtree(self.data, ignore_errors=True)
        os.makedirs(self.data)
        shutil.chown(self.data, self.user)
        output_of(as_user + [self.bins + "/initdb", "-D", self.data, "-A", "trust", "-U", "postgres", "-N"], LOAD, cwd="/")
        with self.server(LOAD):
            output_of(self.client + ["-i", "-s", "10", "-q", "postgres"], LOAD)

    @contextlib.contextmanager
    def server(self, side):
        with Server(self.command, side, self.port):
            for _attempt in range(400):
                ready = subprocess.run([self.bins + "/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False)
                if ready.returncode == 0:
                    break
                time.sleep(0.05)
            yield self

    def bench(self, how):
        out = output_of(pinned(self.client + ["-n", "-M", "prepared"] + how + ["postgres"], LAST), LOAD)
        return float(re.search(r"tps = ([0-9.]+)", out).group(1))


GOES = {"pgbench select": ["-S", "-c", "2", "-T", "1"], "pgbench tpcb": ["-c", "2", "-T", "1"],
        "pgbench connect": ["-S", "-C", "-c", "1", "-T", "1"]}


def postgres(context):
    clusters = {side: Postgres(context, side.name) for side in context.sides.some(SIDES)}

    def burst(cluster):
        return {name: cluster.bench(how) for name, how in GOES.items()}
    yield Task("postgres", context.sides.some(SIDES),
               [Metric(n, "transactions a second", True,
                       [Bound("jemalloc", least=0.97)] if n == "pgbench connect" else SERVED) for n in GOES],
               run_all=lambda sides: in_turn(context, sides, lambda side: clusters[side].server(side), burst))


# --- memcached ------------------------------------------------------------------

def memcached(context):
    needed("memcached", "memcaslap")

    def server_of(side):
        port = port_free()
        command = ["memcached", "-p", str(port), "-l", "127.0.0.1", "-t", "1", "-m", "256"]
        return Server(command + (["-u", "nobody"] if os.geteuid() == 0 else []), side, port)

    def burst(server):
        out = output_of(pinned(["memcaslap", "-s", "127.0.0.1:%d" % server.port, "-t", "2s", "-T", "1", "-c", "16"], LAST), LOAD)
        return {"memcached": float(re.search(r"TPS: *([0-9]+)", out).group(1))}
    yield Task("memcached", context.sides.some(SIDES), [Metric("memcached", "requests a second", True, SERVED)],
               run_all=lambda sides: in_turn(context, sides, server_of, burst))


# --- programs that end ------------------------------------------------------------

PYTHON = """
import json
words = [('w%d' % (i % 5000)) * (1 + i % 7) for i in range(200000)]
counts = {}
for _round in range(3):
    for w in words:
        counts[w] = counts.get(w, 0) + 1
    tree = [{'k': w, 'v': [i, str(i)]} for i, w in enumerate(words[:60000])]
    assert json.loads(json.dumps(tree)) == tree
"""

SQL = """
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000)
insert into t select i, 'row ' || (i * 7919 % 200000), i * 0.5 from n;
create index tb on t(b);
select count(*), sum(c) from t where b like 'row 1%';
select count(distinct substr(b, 1, 6)) from t;
select sum(length(x.b || y.b)) from t x join t y on y.a = x.a + 1;
update t set b = b || '!' where a % 3 = 0;
delete from t where a % 5 = 0;
"""


def source_large():
    """C that makes the compiler work: many functions, none of which can be left out."""
    parts = ["#include <stdio.h>\n#include <string.h>\n#include <stdlib.h>\n"]
    for i in range(400):
        parts.append("int f%d(int *a, int n) { int s = %d; for (int i = 0; i < n; i++) { s += a[i] * (i %% %d + 1);"
                     " if (s > 1000) s -= a[n - i - 1]; } char b[64]; snprintf(b, sizeof b, \"%%d\", s); return s + (int)strlen(b); }\n"
                     % (i, i, i + 2))
    return "".join(parts)


def programs(context):
    source, base = os.path.join(context.work, "large.c"), os.path.join(context.work, "work.sql")
    for path, text in ((source, source_large()), (base, SQL)):
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    commands = {"python3": ["/usr/bin/python3", "-c", PYTHON],
                "gcc -O2": ["gcc", "-O2", "-c", source, "-o", "/dev/null"],
                "sqlite3": ["sqlite3", ":memory:", ".read " + base]}
    for name, command in commands.items():
        if not shutil.which(command[0]):
            context.lacks(name, command[0] + " is not installed")
            continue

        def run(side, name=name, command=command):
            return {name: resources_of(context, pinned(command, LAST), side)[1]}
        yield Task(name, context.sides.some(["bare", "jemalloc", "mimalloc", "tcmalloc", "solvent"]),
                   [Metric(name, "s of processor time")], run)
