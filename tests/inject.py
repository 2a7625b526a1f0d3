#!/usr/bin/python3
"""A refusal at every growth of a server's start, in turn: one start for each growth, of
Redis and of PostgreSQL. Whatever the server makes of it (it goes on, or it gives up), the
ledger must be exact: nobody charged below the kernel's count while it runs, and nothing
charged when it has ended. Ends with "N passed, N failed".

    inject.py BUILD [redis|postgres]     BUILD is of MODE=inject (shim/inject.h)
"""
import glob, json, os, pwd, shutil, signal, socket, subprocess, sys, tempfile, time

build = os.path.abspath(sys.argv[1])
only = sys.argv[2:]
work = tempfile.mkdtemp(prefix="solvent-inject-", dir="/tmp")
os.chmod(work, 0o755)
door = work + "/broker"
os.environ.update(SOLVENT_SOCKET=door, PATH="/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL="C")
root = os.getuid() == 0


def as_user(name, command):
    if not root:
        return command
    user = pwd.getpwnam(name)
    return ["setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", "--"] + command


def wait_for(is_true, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_true():
            return True
        time.sleep(0.01)
    return False


def account():
    out = subprocess.run([build + "/solvent", "status", "--json"], capture_output=True, text=True).stdout
    return json.loads(out)["accounts"][0] if out else None


def where(pid):
    """What it waits for in the kernel, and by which call."""
    try:
        return " ".join(open(f"/proc/{pid}/{name}").read().strip() for name in ("wchan", "syscall", "cmdline"))
    except OSError as error:
        return str(error)


def said():
    """What the server last said."""
    with open(work + "/said", errors="replace") as f:
        return "".join(f"\n    {line.rstrip()}" for line in f.readlines()[-12:])


def is_empty():
    a = account()
    return bool(a) and not a["damaged"] and not a["members"] and not a["used_bytes"] and not a["unseen_bytes"] and \
        not a["objects"]


# The word in which the shim counts: struct ledger_header, reserved1 (include/ledger.h).
COUNT_AT = 156


class Broker:
    def __enter__(self):
        with open(work + "/conf", "w") as f:
            f.write('pool { limit = 8G }\naccount "x" { limit = 4G users = {"*"} }\n')
        self.process = subprocess.Popen([build + "/solventd", "--foreground", "--socket", door, "--config",
                                         work + "/conf"], stderr=open(work + "/log", "a"))
        assert wait_for(account), "no broker"
        return self

    def growths(self):
        for path in glob.glob(f"/proc/{self.process.pid}/fd/*"):
            if os.readlink(path).startswith("/memfd:solvent-ledger"):
                with open(path, "rb") as f:
                    return int.from_bytes(os.pread(f.fileno(), 4, COUNT_AT), "little")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Redis:
    name = "Redis"

    def __init__(self):
        self.at = work + "/redis.sock"
        self.command = ["redis-server", "--port", "0", "--unixsocket", self.at, "--save", "", "--dir", work,
                        "--daemonize", "no"]

    def is_ready(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(1)
                s.connect(self.at)
                s.sendall(b"PING\r\n")
                return s.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    stops = [signal.SIGTERM]


class Postgres:
    name = "PostgreSQL"

    def __init__(self):
        binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        data = work + "/data"
        os.mkdir(data)
        if root:
            shutil.chown(data, "postgres")
        os.mkdir(work + "/run")
        os.chmod(work + "/run", 0o777)
        subprocess.run(as_user("postgres", [binaries + "/initdb", "-D", data, "-A", "trust", "-U", "pg"]), check=True,
                       stdout=subprocess.DEVNULL, cwd="/")
        self.at = work + "/run/.s.PGSQL.5432"
        self.command = as_user("postgres", [binaries + "/postgres", "-D", data, "-c", "listen_addresses=", "-k",
                                            work + "/run", "-c", "shared_buffers=16MB", "-c", "max_connections=10"])

    def is_ready(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(2)
                s.connect(self.at)
                body = b"\0\3\0\0user\0pg\0database\0postgres\0\0"
                s.sendall((len(body) + 4).to_bytes(4, "big") + body)
                return b"Z\0\0\0\5I" in s.recv(4096)
        except OSError:
            return False

    # It is not killed: that would leave its segment of shared memory, which stays charged.
    stops = [signal.SIGINT, signal.SIGQUIT]


def end(process, stops):
    for number in stops + [signal.SIGKILL]:
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(10)
            return
        except subprocess.TimeoutExpired:
            pass


def start(server, number):
    """One start. What went wrong, or None; how many growths there were; was a refusal told?"""
    environment = dict(os.environ, SOLVENT_INJECT=str(number))
    with Broker() as broker, open(work + "/said", "w") as heard:
        process = subprocess.Popen([build + "/solvent", "run", "--account", "x", "--no-summary", "--"] + server.command,
                                   env=environment, stdout=heard, stderr=heard, cwd="/")
        wait_for(lambda: process.poll() is not None or server.is_ready(), 20)
        wrong = None
        if process.poll() is None:
            audit = subprocess.run([build + "/solvent", "audit"], capture_output=True, text=True)
            if audit.returncode:
                wrong = audit.stdout
        end(process, server.stops)
        # PostgreSQL's recovery waits a minute for a checkpointer that could not be started, and
        # looks at nothing else (RequestCheckpoint in its checkpointer.c).
        if not wait_for(is_empty, 75):
            wrong = (wrong or json.dumps(account())) + said()
            for member in (account() or {"members": []})["members"]:
                wrong += f"\n    {member['pid']} stands in {where(member['pid'])}"
                os.kill(member["pid"], signal.SIGKILL)
        return wrong, broker.growths(), account()["refusals"] > 0


def main():
    passed = failed = 0
    for kind in (Redis, Postgres):
        if only and kind.name.lower()[:5] not in [name[:5] for name in only]:
            continue
        server, number, grown, told = kind(), 0, 0, 0
        while grown >= number:
            number += 1
            wrong, grown, heard = start(server, number)
            told += heard
            if wrong:
                failed += 1
                print(f"  FAIL {kind.name}, growth {number}: {wrong}")
            else:
                passed += 1
        if number < 20 or told < number / 10:
            failed += 1
            print(f"  FAIL {kind.name}: {number} starts, of which {told} heard a refusal")
        # The others found what they needed after all, in a heap that was purged.
        print(f"  {kind.name}: a refusal at each of {number - 1} growths of its start; {told} times it was told")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


try:
    status = main()
finally:
    shutil.rmtree(work, ignore_errors=True)
sys.exit(status)
