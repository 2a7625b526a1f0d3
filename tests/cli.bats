#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# solvent(1) from outside: what it starts, what it refuses to start, and that it is not in
# the way of what it started.

load lib.bash

setup() {
	test_begin
	# The interpreter itself: a version manager's python3 is a script that forks.
	python=$(python3 -c 'import sys; print(sys.executable)')
}

teardown() {
	test_end
}

# compile NAME [OPTION]...: the program on stdin, as $work/NAME.
compile() {
	local name=$1
	shift
	"${CC:-cc}" -O1 -w -x c -o "$work/$name" - "$@"
}

# field JSON PATH: one value out of a document on stdin, as in field accounts 0 name
field() {
	python3 -c '
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1:]:
    value = value[int(key) if key.isdigit() else key]
print(json.dumps(value) if isinstance(value, (dict, list)) else value)' "$@"
}

# run_split COMMAND...: as `run`, with $output and $errors apart.
run_split() {
	status=0
	"$@" >"$work/out" 2>"$work/err" || status=$?
	output=$(cat "$work/out")
	errors=$(cat "$work/err")
	echo "status $status, stdout: $output, stderr: $errors"
}

# --- what is refused before it starts ---

@test "run refuses a static program, and runs it when told to" {
	compile static -static <<<'int main(void) { return 7; }'
	run_split ./solvent run --budget 16M "$work/static"
	[ "$status" = 125 ]
	[ "$errors" = "solvent: $work/static is statically linked; a preload cannot account it. Use --allow-unaccounted, or systemd MemoryMax=" ]
	run_split ./solvent run --budget 16M --allow-unaccounted "$work/static"
	[ "$status" = 7 ]
	[[ $errors == *"it runs unaccounted" ]]
}

@test "run refuses a program of another C library, and spares it the preload when told to run it" {
	command -v musl-gcc >/dev/null || skip "musl-gcc is not installed"
	CC=musl-gcc compile musl <<-'C'
		#include <stdlib.h>
		int main(void) { return getenv("LD_PRELOAD") ? 1 : 7; }
	C
	run_split ./solvent run --budget 16M "$work/musl"
	[ "$status" = 125 ]
	[[ $errors == *"$work/musl is started by /lib/ld-musl-"*"another C library"* ]]
	run_split ./solvent run --budget 256M -- ./solvent run --budget 16M --allow-unaccounted "$work/musl"
	[ "$status" = 7 ]
}

@test "run refuses a set-uid program" {
	[ "$(id -u)" = 0 ] || skip "needs root to make one"
	cp /bin/true "$work/set-uid"
	chown 65534 "$work/set-uid"
	chmod 4755 "$work/set-uid"
	run_split ./solvent run --budget 16M "$work/set-uid"
	[ "$status" = 125 ]
	[[ $errors == *"$work/set-uid is set-uid or set-gid"* ]]
}

@test "run follows a script to its interpreter" {
	compile static -static <<<'int main(void) { return 7; }'
	printf '#!%s -x\n' "$work/static" >"$work/script"
	chmod +x "$work/script"
	run_split ./solvent run --budget 16M "$work/script"
	[ "$status" = 125 ]
	[[ $errors == *"$work/static is statically linked"* ]]
}

@test "run ends with 127 for what is not found and 126 for what cannot be executed" {
	run_split ./solvent run --budget 16M "$work/none"
	[ "$status" = 127 ]
	[ "$errors" = "solvent: $work/none cannot be run: No such file or directory" ]
	run_split ./solvent run --budget 16M no-such-command-anywhere
	[ "$status" = 127 ]
	run_split ./solvent run --budget 16M /etc/passwd
	[ "$status" = 126 ]
	[ "$errors" = "solvent: /etc/passwd cannot be run: Permission denied" ]
	printf '#!/no/such/interpreter\n' >"$work/script"
	chmod +x "$work/script"
	run_split ./solvent run --budget 16M "$work/script"
	[ "$status" = 127 ]
	[[ $errors == *"/no/such/interpreter: No such file or directory" ]]
	printf '\177ELF' >"$work/broken"
	chmod +x "$work/broken"
	run_split ./solvent run --budget 16M "$work/broken"
	[ "$status" = 126 ]
	[[ $errors == *"Exec format error" ]]
}

@test "run cannot be preloaded from a path that ld.so would split" {
	mkdir "$work/a b"
	cp solvent libsolvent.so "$work/a b"
	run_split "$work/a b/solvent" run --no-broker open true
	[ "$status" = 125 ]
	[[ $errors == *"LD_PRELOAD is split at spaces and colons"* ]]
}

@test "run without a broker does not start, or says that it runs unaccounted" {
	run_split ./solvent --socket "$work/none" run true
	[ "$status" = 125 ]
	[[ $errors == *"no broker answers at $work/none: No such file or directory; start solventd, use --socket, or give the command a broker of its own with --budget SIZE" ]]
	run_split ./solvent run --socket "$work/none" --no-broker open sh -c 'echo ran; exit 3'
	[ "$status" = 3 ]
	[ "$output" = ran ]
	[[ $errors == *"sh runs unaccounted" ]]
	SOLVENT_NO_BROKER=open run_split ./solvent run --socket "$work/none" sh -c 'exit 3'
	[ "$status" = 3 ]
	SOLVENT_NO_BROKER=open run_split ./solvent run --socket "$work/none" --no-broker strict true
	[ "$status" = 125 ]
}

@test "output to a full disk is an error" {
	local line
	for line in "--help" "--version" "run --help" "status --help"; do
		status=0
		# shellcheck disable=SC2086
		./solvent $line >/dev/full 2>"$work/err" || status=$?
		[ "$status" = 1 ]
		grep -q "the output could not be written: No space left on device" "$work/err"
	done
}

# --- a private broker ---

@test "run is the command: the same pid, status, signals and output" {
	./solvent run --budget 64M -- sh -c 'echo $$ >"$0"; exit 37' "$work/pid" &
	pid=$!
	status=0
	wait "$pid" || status=$?
	[ "$status" = 37 ]
	[ "$(cat "$work/pid")" = "$pid" ]
	run_split ./solvent run --budget 64M -- sh -c 'echo out; echo err >&2; kill -TERM $$'
	[ "$status" = 143 ]
	[ "$output" = out ]
	[ "$errors" = err ]
}

@test "run leaves the command no child, no descriptor and no changed signal" {
	cat >"$work/look.py" <<-'PY'
		import os
		try:
		    print("child", os.waitpid(-1, os.WNOHANG))
		except ChildProcessError:
		    pass
		print(sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1])
		print([line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn"))])
	PY
	local option
	"$python" "$work/look.py" 3>&- >"$work/plain"
	for option in --no-summary --summary; do
		./solvent run --budget 256M $option -- "$python" "$work/look.py" 3>&- >"$work/under" 2>/dev/null
		diff "$work/plain" "$work/under"
		(trap '' HUP CHLD; exec "$python" "$work/look.py" 3>&- >"$work/plain-ignoring")
		(trap '' HUP CHLD; exec ./solvent run --budget 256M $option -- "$python" "$work/look.py" 3>&- 2>/dev/null \
			>"$work/under-ignoring")
		diff "$work/plain-ignoring" "$work/under-ignoring"
	done
}

@test "run puts its library in front of other preloads and tells the broker's address" {
	run_split env LD_PRELOAD=libdl.so.2 ./solvent run --budget 64M -- sh -c 'echo "$LD_PRELOAD $SOLVENT_SOCKET $SOLVENT_ACCOUNT $SOLVENT_NO_BROKER"'
	[ "$status" = 0 ]
	[[ $output == /*"/libsolvent.so:libdl.so.2 @solvent-private-"*" sh strict" ]]
	SOLVENT_SOCKET=socket run_split ./solvent run --no-broker open -- sh -c 'echo "$SOLVENT_SOCKET"'
	[ "$output" = "$PWD/socket" ]
}

@test "run says why a private broker could not be started" {
	cp -L solvent libsolvent.so "$work"
	printf '#!/bin/sh\necho "the pool is %s too small" >&2\nexit 1\n' much >"$work/solventd"
	chmod +x "$work/solventd"
	run_split "$work/solvent" run --budget 16M true
	[ "$status" = 125 ]
	[ "$errors" = "solvent: a private broker could not be started ($work/solventd): the pool is much too small" ]
	printf '#!/bin/sh\n' >"$work/solventd"
	run_split "$work/solvent" run --budget 16M true
	[ "$status" = 125 ]
	[[ $errors == *": it ended without a word" ]]
}

# --- the summary ---

@test "the summary changes neither status nor signal nor output" {
	run_split ./solvent run --budget 64M --summary -- sh -c 'echo out; exit 37'
	[ "$status" = 37 ]
	[ "$output" = out ]
	[[ $errors == *"solvent: sh exited 37 in "*" s   peak "*" of 64.0 MiB   refused "* ]]
	run_split ./solvent run --budget 64M --summary -- sh -c 'kill -KILL $$'
	[ "$status" = 137 ]
	[[ $errors == *"solvent: sh killed by signal 9 (Killed) in "* ]]
	run_split python3 -c '
import subprocess, sys
print(subprocess.run(["./solvent", "run", "--budget", "64M", "--summary", "--", "sh", "-c", "kill -SEGV $$"]).returncode)'
	[ "$output" = -11 ]
	run_split ./solvent run --budget 64M --summary -- "$work/none"
	[ "$status" = 127 ]
}

@test "the summary passes signals on" {
	local name
	for name in TERM HUP USR1 INT QUIT ALRM RTMIN+3; do
		rm -f "$work/out" # the one before was ready, too
		(trap - INT QUIT; exec ./solvent run --budget 64M --summary -- bash -c '
			trap "echo got it; exit 5" '$name'; echo ready; while :; do sleep 0.05; done' >"$work/out" 2>/dev/null 3>&-) &
		pid=$!
		started+=("$pid")
		wait_for grep -q ready "$work/out"
		kill "-$name" "$pid"
		status=0
		wait "$pid" || status=$?
		echo "$name: $status"
		[ "$status" = 5 ]
		[ "$(tail -n 1 "$work/out")" = "got it" ]
	done
}

# at_terminal SECONDS: `run` for the Python program on stdin, which has talk(TERMINAL, TYPED, MAY): hears
# what is said there until nobody has it open any more, and returns it. After a word that stands in
# TYPED has been said, what it stands for is typed, once MAY().
at_terminal() {
	cat >"$work/terminal.py" <<-'PY'
		import os, pty, signal, sys, time
		def talk(terminal, typed={}, may=lambda: True):
		    seen = b""
		    typed = dict(typed)
		    while True:
		        try:
		            got = os.read(terminal, 4096)
		        except OSError:
		            return seen
		        os.write(2, got)
		        seen += got
		        for word in [word for word in typed if word in seen]:
		            while not may():
		                time.sleep(0.01)
		            os.write(terminal, typed.pop(word))
	PY
	cat >>"$work/terminal.py"
	run timeout "$1" python3 "$work/terminal.py"
	echo "$output"
}

@test "what is typed reaches a command that has left our process group" {
	started_s=$SECONDS
	at_terminal 30 <<-'PY'
		# The terminal's foreground job is ours, and timeout(1) leaves it.
		pid, terminal = pty.fork()
		if pid == 0:
		    os.execv("./solvent", ["solvent", "run", "--budget", "64M", "--summary", "--", "timeout", "20", "sh", "-c",
		                           "trap 'echo typed; exit 9' INT; echo ready; while :; do sleep 0.05; done"])
		talk(terminal, {b"ready": b"\x03"})
		os.waitpid(pid, 0)
	PY
	[[ $output == *typed* ]]
	[ $((SECONDS - started_s)) -lt 15 ]
}

@test "a signal that the command sends to its own group reaches it once" {
	run_split setsid -w ./solvent run --budget 64M --summary -- bash -c '
		trap "echo got it" USR1; kill -USR1 0; sleep 0.3; exit 4'
	[ "$status" = 4 ]
	[ "$output" = "got it" ]
}

@test "the summary shares the shell's job control" {
	at_terminal 20 <<-'PY'
		# A session with a terminal of its own, in which we are the shell. No command is being
		# started when ^Z comes: a shell whose vfork is stopped half way cannot stop itself.
		JOB = "trap 'kill $!; exit 9' INT; sleep 60 & echo ready; while :; do wait; done"
		pid, terminal = pty.fork()
		if pid == 0:
		    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
		    job = os.fork()
		    if job == 0:
		        os.setpgid(0, 0)
		        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
		        os.execv("./solvent", ["solvent", "run", "--budget", "64M", "--summary", "--", "sh", "-c", JOB])
		    try:
		        os.setpgid(job, job)
		    except PermissionError: # it has done so itself, and is another program already (setpgid(2): EACCES)
		        pass
		    os.tcsetpgrp(0, job)
		    _, status = os.waitpid(job, os.WUNTRACED)
		    print("stopped" if os.WIFSTOPPED(status) else status, flush=True)
		    os.kill(-job, signal.SIGCONT)
		    _, status = os.waitpid(job, os.WCONTINUED)
		    print("continued" if os.WIFCONTINUED(status) else status, flush=True)
		    _, status = os.waitpid(job, 0)
		    print("exited", os.WEXITSTATUS(status), flush=True)
		    os._exit(0)
		def the_job_is_in_front():
		    in_front = os.tcgetpgrp(terminal) != pid
		    time.sleep(0.2 * in_front)
		    return in_front
		talk(terminal, {b"ready": b"\x1a", b"continued": b"\x03"}, the_job_is_in_front)
		os.waitpid(pid, 0)
	PY
	[[ $output == *stopped*continued*"sh exited 9"*"exited 9"* ]]
}

@test "the summary holds no end of the command's pipes" {
	started_ms=$(date +%s%3N)
	./solvent run --budget 64M --summary -- sh -c 'echo x; exec >&- 2>&-; sleep 3' 2>/dev/null 3>&- |
		{ cat >"$work/out"; date +%s%3N >"$work/ended_ms"; }
	[ "$(cat "$work/out")" = x ]
	[ $(($(cat "$work/ended_ms") - started_ms)) -lt 2500 ]
}

@test "no summary without a terminal, none under a service manager" {
	run_split ./solvent run --budget 64M -- true
	[ "$errors" = "" ]
	at_terminal 30 <<-'PY'
		def is_told_of(environment):
		    os.environ.update(environment)
		    pid, terminal = pty.fork()
		    if pid == 0:
		        os.execv("./solvent", ["solvent", "run", "--budget", "64M", "--", "true"])
		    seen = talk(terminal)
		    os.waitpid(pid, 0)
		    return b"true exited 0" in seen
		print(is_told_of({}), is_told_of({"INVOCATION_ID": "1"}), is_told_of({"INVOCATION_ID": "", "NOTIFY_SOCKET": "/x"}))
	PY
	[[ $output == *"True False False" ]]
}

@test "a private broker ends with its command and leaves nothing" {
	run_split ./solvent run --budget 64M -- sh -c 'echo "$SOLVENT_SOCKET"; ./solvent status --json >"$0"' "$work/status"
	[ "$status" = 0 ]
	address=$output
	[ "$(field accounts 0 name <"$work/status")" = sh ]
	[ "$(field accounts 0 limit_bytes <"$work/status")" = $((64 << 20)) ]
	pid=$(field pool broker_pid <"$work/status")
	wait_for bash -c "! grep -qF '$address' /proc/net/unix"
	wait_for bash -c "! grep -q '^State:.[^Z]' /proc/$pid/status 2>/dev/null"
}

@test "a private broker that is told to end with its command does so when that has ended" {
	./solvent run --budget 64M -- bash -c '
		trap "sleep 0.5; /bin/echo still accounted; /bin/true && echo clean; exit 6" TERM
		./solvent status --json >"$0.new" && mv "$0.new" "$0"
		while :; do sleep 0.05; done' "$work/status" >"$work/out" 2>"$work/errors" 3>&- &
	command=$!
	started+=("$command")
	wait_for test -s "$work/status"
	kill "$(field pool broker_pid <"$work/status")" "$command"
	status=0
	wait "$command" || status=$?
	cat "$work/errors"
	[ "$status" = 6 ]
	[ "$(cat "$work/out")" = "still accounted
clean" ]
	wait_for bash -c "! grep -q '^State:.[^Z]' /proc/$(field pool broker_pid <"$work/status")/status 2>/dev/null"
}

@test "a private broker starts where files may not be large" {
	run_split bash -c 'ulimit -S -f 1; exec ./solvent run --budget 64M -- sh -c "exit 3"'
	echo "$errors"
	[ "$status" = 3 ]
}

@test "run waits for a broker that is being restarted, as its processes do" {
	broker_start 'account "small" { limit = 64M  users = {"*"} }'
	broker_end
	(sleep 0.7; exec ./solventd --foreground --socket "$socket" --state "$state" --config "$config" >"$work/log" 2>&1) 3>&- &
	broker=$!
	started+=("$broker")
	run_split ./solvent run --account small -- sh -c 'exit 3'
	echo "$errors"
	[ "$status" = 3 ]
	broker_end
}

@test "an account that is not there is told where a command would run unaccounted, too" {
	broker_start 'account "small" { limit = 64M  users = {"*"} }'
	run_split ./solvent run --no-broker open --account smal -- sh -c 'exit 3'
	echo "$errors"
	[ "$status" = 3 ]
	[[ $errors == *'shows no account "smal"; it has small'*"sh may run unaccounted"* ]]
	run_split ./solvent run --no-broker open --account small -- sh -c 'exit 3'
	[ "$status" = 3 ]
	[ "$errors" = "" ]
	broker_end
}

@test "an account whose name is not ASCII is found under it" {
	broker_start 'account "müller" { limit = 64M  users = {"*"} }
		account "möller" { limit = 64M  users = {"*"} }'
	run_split ./solvent run --account müller --summary -- python3 -c 'bytearray(1 << 30)'
	echo "$errors"
	[[ $errors == *"account m??ller: peak"*"refused "[1-9]*" request"* ]]
	[ "$(./solvent status --json | field accounts 0 name)" = müller ]
	[ "$(./solvent log --json | head -n 1 | field account)" = müller ]
	[ "$(./solvent log --account möller | wc -l)" = 0 ]
	broker_end
}

@test "a command that cannot be executed is told of, whatever of ours was closed" {
	cp /bin/sleep "$work/busy"
	exec 9>>"$work/busy"
	run_split bash -c './solvent run --budget 64M --summary -- "$0" 1 <&-' "$work/busy"
	exec 9>&-
	echo "$errors"
	[ "$status" = 126 ]
	[[ $errors == *"Text file busy"* ]]
}

@test "what root does not own starts a private broker, too" {
	[ "$(id -u)" = 0 ] || skip "needs root to become another user"
	cp -L solvent solventd libsolvent.so "$work"
	run_split setpriv --reuid 65534 --regid 65534 --clear-groups "$work/solvent" run --budget 64M --summary -- id -u
	[ "$status" = 0 ]
	[ "$output" = 65534 ]
	[[ $errors == *"id exited 0"* && $errors != *WARNING* ]]
}

@test "a run within a run has an account of its own and a broker that nobody accounts" {
	run_split ./solvent run --budget 256M -- sh -c './solvent run --budget 64M -- sh -c "./solvent status --json"'
	[ "$status" = 0 ]
	[ "$(field accounts 0 limit_bytes <"$work/out")" = $((64 << 20)) ]
	run_split ./solvent run --budget 256M -- sh -c './solvent run --budget 64M -- sh -c "
		pid=\$(./solvent status --json | sed -n \"s/.*broker_pid.: *\([0-9]*\).*/\1/p\")
		grep -c libsolvent /proc/\$pid/maps"'
	[ "$output" = 0 ]
}

@test "the summary names what was refused" {
	run_split ./solvent run --budget 64M --summary -- "$python" -c '
import mmap
for n in range(25):
    try: mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as e: print(e.strerror)'
	[ "$status" = 0 ]
	[ "$(grep -c "^Cannot allocate memory$" "$work/out")" = 25 ]
	[ "$(grep -cE "^solvent: python[0-9.]+\[[0-9]+\] refused mmap 1.0 GiB   budget 64.0 MiB, held [0-9.]+ MiB$" "$work/err")" = 20 ]
	grep -qx "solvent: and 5 more" "$work/err"
	grep -qE "^solvent: python[0-9.]+ exited 0 in [0-9.]+ s   peak [0-9.]+ of 64.0 MiB   refused 25 requests$" "$work/err"
}

@test "observe refuses nothing and says what it would have refused" {
	run_split ./solvent run --budget 64M --mode observe --summary -- "$python" -c '
import mmap
mmap.mmap(-1, 1 << 27, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print("got it")'
	[ "$status" = 0 ]
	[ "$output" = "got it" ]
	[[ $errors == *"] would have refused mmap 128.0 MiB   budget 64.0 MiB"* ]]
	[[ $errors == *"would have refused 1 request" ]]
}

# --- the reading verbs ---

@test "status and audit tell of a running member, and of none when it has ended" {
	broker_start 'pool { limit = 1G }
account "one" { limit = 256M  users = {"*"} }
account "two" { limit = 128M  mode = observe  users = {"*"} }'
	./solvent run --account one -- "$python" -c '
import mmap, time
m = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
s = mmap.mmap(-1, 8 << 20)
print("ready", flush=True)
time.sleep(60)' >"$work/ready" 3>&- &
	pid=$!
	started+=("$pid")
	wait_for grep -q ready "$work/ready"
	./solvent status --json >"$work/status"
	[ "$(field accounts 0 members 0 pid <"$work/status")" = "$pid" ]
	[[ $(field accounts 0 members 0 comm <"$work/status") == python* ]]
	[ "$(field accounts 0 used_bytes <"$work/status")" -ge $((72 << 20)) ]
	[ "$(field accounts 0 objects 0 bytes <"$work/status")" = $((8 << 20)) ]
	[ "$(field accounts 1 mode <"$work/status")" = observe ]
	[ "$(field accounts 1 used_bytes <"$work/status")" = 0 ]
	./solvent status | grep -E "^one +enforce +256.0 MiB +[0-9.]+ MiB"
	./solvent audit | grep -E "^one +$pid python"
	./solvent audit --json >"$work/audit"
	[ "$(field under <"$work/audit")" = 0 ]
	[ "$(field accounts 0 members 0 verdict <"$work/audit")" = ok ]
	[ "$(field accounts 0 members 0 kernel_bytes <"$work/audit")" -ge $((64 << 20)) ]
	kill "$pid"
	wait "$pid" || true
	wait_for bash -c './solvent status --json | tr -d " \n" | grep -q "\"name\":\"one\".*\"used_bytes\":0,.*\"members\":\[\],\"objects\":\[\]"'
	./solvent audit
	broker_end
}

@test "log tells who was refused, with functions and lines, and follows" {
	broker_start 'account "small" { limit = 64M  users = {"*"} }'
	compile greedy -g -O0 -fno-omit-frame-pointer <<-'C'
		#include <stdlib.h>
		void *ask_for_too_much(void) { return malloc(1ul << 30); }
		int main(void) { return ask_for_too_much() ? 1 : 0; }
	C
	./solvent log --follow >"$work/follow" 3>&- &
	follower=$!
	started+=("$follower")
	./solvent run --account small -- "$work/greedy"
	./solvent log | grep -E "Z small greedy\[[0-9]+\] refused malloc 1.0 GiB   budget 64.0 MiB, held"
	./solvent log --account small --frames >"$work/frames"
	cat "$work/frames"
	grep -qE "ask_for_too_much  .*:2  \(" "$work/frames"
	./solvent log --json --frames >"$work/json"
	[ "$(wc -l <"$work/json")" = 1 ]
	[ "$(field op <"$work/json")" = malloc ]
	[ "$(field bytes <"$work/json")" = $((1 << 30)) ]
	[ "$(field outcome <"$work/json")" = refused ]
	wait_for grep -q "small greedy" "$work/follow"
	./solvent run --account small -- "$work/greedy"
	wait_for bash -c "[ \$(wc -l <'$work/follow') = 2 ]"
	kill "$follower"
	broker_end
}

@test "the reading verbs report a full disk" {
	broker_start 'account "one" { limit = 64M  users = {"*"} }'
	for line in status "status --json" audit "audit --json"; do
		status=0
		# shellcheck disable=SC2086
		./solvent $line >/dev/full 2>"$work/err" || status=$?
		[ "$status" = 1 ]
		grep -q "the output could not be written: No space left on device" "$work/err"
	done
	broker_end
}

@test "what a child of fork runs of the library is had for one page fault" {
	# One maps what lies in the same 64 KiB (mm/memory.c:do_fault_around), where the kernel aligns the library.
	[ "$(nm libsolvent.so | grep -c __asan_report_load)" = 0 ] || skip "another build of the library"
	windows=$(nm libsolvent.so | awk '$3 ~ /^(in_child|map_child|alert_child|fork_in_child|self_born|child_begin|charge_child_reset|shared_child|embryo_adopt|purse_swap|signals_restore)$/ {
		print substr($1, 1, length($1) - 4) }' | sort | uniq -c)
	echo "$windows"
	[ "$(wc -l <<<"$windows")" = 1 ]
	[ "$(awk '{ print $1 }' <<<"$windows")" -ge 8 ]
}
