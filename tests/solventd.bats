#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# solventd(8) from outside: starting, refusing to start, reloading, being killed, ending.

load lib.bash

setup_file() {
	cd "$BATS_TEST_DIRNAME/.." || return 1
	export FILE_WORK
	FILE_WORK=$(mktemp -d /tmp/solvent-bats-XXXXXX)
	chmod 755 "$FILE_WORK"
	# member SOCKET ACCOUNT PAGES: joins, charges, says "member PID USED" or "no STATUS", waits.
	cat >"$FILE_WORK/member.c" <<-'C'
		#include <stdio.h>
		#include <stdlib.h>
		#include "tests/peer.h"
		int main(int argc, char **argv)
		{
			struct peer_member m;
			int status = argc == 4 ? peer_join(argv[1], argv[2], &m) : 99;
			if (status == 0 && peer_take(&m, (uint64_t)atoi(argv[3])) != REASON_NONE)
				status = STATUS_REFUSED;
			if (status != 0)
				return printf("no %d\n", status), 1;
			printf("member %d\n", getpid());
			fflush(stdout);
			for (;;)
				pause();
		}
	C
	# look SOCKET ACCOUNT: "USED GRANTED LIMIT MEMBERS DAMAGED", or "none".
	cat >"$FILE_WORK/look.c" <<-'C'
		#include <stdio.h>
		#include "reserve/purse.h"
		#include "tests/peer.h"
		int main(int argc, char **argv)
		{
			struct reply_account r;
			struct ledger *l;
			if (argc != 3 || peer_look(argv[1], argv[2], &r, &l) != 0)
				return puts("none"), 1;
			uint64_t word = purse_read(&l->header.purse);
			printf("%u %u %u %u %u\n", PURSE_USED(word), PURSE_GRANTED(word), l->header.limit, r.members, r.damaged);
		}
	C
	local mcx16=
	[ "$(uname -m)" != x86_64 ] || mcx16=-mcx16
	for program in member look; do
		# shellcheck disable=SC2086
		"${CC:-cc}" -std=gnu11 -O1 -w $mcx16 -D_GNU_SOURCE -I. -o "$FILE_WORK/$program" "$FILE_WORK/$program.c" \
			reserve/ledger.c reserve/slot.c reserve/object.c reserve/purse.c reserve/transfer.c reserve/gather.c \
			reserve/embryo.c || return 1
	done
}

teardown_file() {
	rm -rf "$FILE_WORK"
}

setup() {
	test_begin
	solventd=$PWD/solventd
	cat >"$config" <<-'EOF'
		pool { limit = 1G }
		account a { limit = 64M }
		account b { limit = 64M guarantee = 16M }
	EOF
}

teardown() {
	test_end
}

# expect STATUS TEXT...: what `run` ran ended like that and said all of it.
expect() {
	local text wanted=$1
	shift
	[ "$status" = "$wanted" ] || { echo "status $status, said: $output" >&2; return 1; }
	for text; do
		[[ $output == *"$text"* ]] || { echo "said: $output, not: $text" >&2; return 1; }
	done
}

# member ACCOUNT PAGES: one that stays; sets $member.
member() {
	rm -f "$work/member"
	"$FILE_WORK/member" "$socket" "$1" "$2" >"$work/member" 3>&- &
	member=$!
	started+=("$member")
	wait_for test -s "$work/member"
	grep -q "^member $member$" "$work/member"
}

look() {
	"$FILE_WORK/look" "$socket" "$1"
}

says() {
	look "$1" | grep -qx "$2"
}

logs() {
	grep -qF -- "$1" "$work/log"
}

@test "says what it is and what it takes" {
	run "$solventd" --version
	expect 0 "solventd "
	run "$solventd" --help
	[ "$status" = 0 ]
	for option in --socket --state --config --foreground --check --until-empty --ready-fd; do
		[[ $output == *"$option"* ]]
	done
	run "$solventd" --nonsense
	[ "$status" = 2 ]
	run "$solventd" more
	expect 2 "more is not understood"
	run "$solventd" --ready-fd x
	[ "$status" = 2 ]
}

@test "--check tells a good configuration from a bad one" {
	run "$solventd" --check --config "$config"
	[ "$status" = 0 ]
	[ "$output" = "$config: 2 accounts, 0 rules, fine" ]
	printf 'account a {\n\tlimit = "16X"\n}\n' >"$config"
	run "$solventd" --check --config "$config"
	[ "$status" = 1 ]
	[ "$output" = "solventd: $config:2: limit = \"16X\" is not a size; write a number with K, M, G or T, a percentage, or infinity" ]
	run "$solventd" --check --config "$work/nothing"
	expect 1 "$work/nothing: there is no such file"
	run "$solventd" --check --config dist/solvent.conf
	[ "$status" = 0 ]
}

@test "does not start with a bad configuration" {
	echo 'account a { limit = -1 }' >"$config"
	run "$solventd" --foreground --socket "$socket" --state "$state" --config "$config"
	expect 1 ":1: " "is not a size"
	run "$solventd" --socket "$socket" --state "$state" --config "$config"
	expect 1 ":1: " "is not a size"
	[ ! -e "$socket" ]
	[ ! -e "$state" ]
}

@test "goes to the background when it listens, and ends on SIGTERM without a trace" {
	run "$solventd" --socket "$socket" --state "$state" --config "$config"
	expect 0
	[ "$output" = "" ]
	look a # at once
	run stat -c %a "$socket" "$state"
	[ "$output" = "$(printf '666\n700')" ]
	broker=$(fuser_of "$state/lock")
	started+=("$broker")
	keeper=$(keeper_of "$state")
	[ "$(cat "/proc/$keeper/comm")" = solvent-keeper ]
	# nothing of the terminal or of this test is held
	run ls -l "/proc/$broker/fd" "/proc/$keeper/fd"
	[[ $output != *"$BATS_RUN_TMPDIR"* ]]
	[[ $output != */dev/pts/* ]]
	kill "$broker"
	gone "$broker"
	gone "$keeper"
	[ ! -e "$socket" ]
	[ ! -e "$state/keeper" ]
}

# The process that holds FILE open.
fuser_of() {
	local process
	for process in /proc/[0-9]*; do
		has_open "${process#/proc/}" "$1" && echo "${process#/proc/}" && return 0
	done
	return 1
}

# has_open PID FILE
has_open() {
	local fd
	for fd in "/proc/$1/fd"/*; do
		[ "$(readlink "$fd" 2>/dev/null)" != "$2" ] || return 0
	done
	return 1
}

@test "a failure in the background is told by the first process" {
	run "$solventd" --socket "$work/no/such/dir/sock" --state "$state" --config "$config"
	expect 1 "in a directory that does not exist"
}

@test "sockets: too long, no directory, not a socket, not writable" {
	run "$solventd" --foreground --socket "$work/$(printf 'x%.0s' $(seq 110))" --state "$state" --config "$config"
	expect 1 "too long a name"
	run "$solventd" --foreground --socket "" --state "$state" --config "$config"
	expect 1 "is empty"
	echo precious >"$socket"
	run "$solventd" --foreground --socket "$socket" --state "$state" --config "$config"
	expect 1 "is a file that is no socket"
	[ "$(cat "$socket")" = precious ]
	rm "$socket"
	run "$solventd" --foreground --socket /proc/solventd.sock --state "$state" --config "$config"
	expect 1 "/proc/solventd.sock"
}

@test "a living broker keeps its socket and its state, a dead one's are taken over" {
	broker
	run "$solventd" --foreground --socket "$socket" --state "$work/other" --config "$config"
	expect 1 "$socket has a broker already"
	run "$solventd" --foreground --socket "$work/other.sock" --state "$state" --config "$config"
	expect 1 "another broker uses the state directory $state"
	look a
	kill -9 "$broker"
	gone "$broker"
	[ -S "$socket" ]
	broker
	look a
}

@test "a socket it did not make is not removed" {
	broker
	rm "$socket"
	echo precious >"$socket"
	kill "$broker"
	gone "$broker"
	[ "$(cat "$socket")" = precious ]
}

@test "state directories: a file, writable by others, of somebody else, below a file" {
	echo precious >"$state"
	run "$solventd" --foreground --socket "$socket" --state "$state" --config "$config"
	expect 1 "state directory $state cannot be opened: Not a directory"
	run "$solventd" --foreground --socket "$socket" --state "$state/x" --config "$config"
	expect 1 "cannot be made"
	rm "$state"
	mkdir "$state"
	chmod 777 "$state"
	run "$solventd" --foreground --socket "$socket" --state "$state" --config "$config"
	expect 1 "may be written by others" "chmod go-w"
	chmod 700 "$state"
	ln -s /etc/passwd "$state/lock"
	run "$solventd" --foreground --socket "$socket" --state "$state" --config "$config"
	expect 1 "$state/lock cannot be made"
	[ ! -e "$socket" ]
	[ "$(id -u)" = 0 ] || skip "only root can own a directory as somebody else"
	rm "$state/lock"
	chown 12345 "$state"
	run "$solventd" --foreground --socket "$socket" --state "$state" --config "$config"
	expect 1 "belongs to user 12345"
}

@test "a socket inside the state directory can be reached by others" {
	socket=$state/sock
	broker
	[ "$(stat -c %a "$state")" = 755 ]
}

@test "an ordinary user needs nothing from root" {
	[ "$(id -u)" = 0 ] || skip "the other tests show it"
	mkdir "$work/home"
	chown 12345 "$work/home"
	setpriv --reuid 12345 --regid 12345 --clear-groups "$solventd" --foreground --socket "$work/home/sock" \
		--state "$work/home/state" --config "$config" 2>"$work/log" 3>&- &
	started+=("$!")
	socket=$work/home/sock
	wait_for listens
	setpriv --reuid 12345 --regid 12345 --clear-groups "$FILE_WORK/member" "$socket" a 500 >"$work/member" 3>&- &
	started+=("$!")
	wait_for grep -q member "$work/member"
	says a "[0-9]* [0-9]* 16384 1 0"
	# another user may not join, root may
	run setpriv --reuid 12346 --regid 12346 --clear-groups "$FILE_WORK/member" "$socket" a 1
	[ "$output" = "no 2" ]
	kill -9 "${started[1]}"
	wait_for says a "0 [0-9]* 16384 0 0"
}

@test "root gives up what it does not need" {
	[ "$(id -u)" = 0 ] || skip "only root has something to give up"
	broker
	# CAP_DAC_READ_SEARCH, CAP_KILL, CAP_IPC_LOCK, CAP_SYS_PTRACE
	grep -qx 'CapEff:[[:space:]]*0000000000884024' "/proc/$broker/status"
	grep -qx 'CapPrm:[[:space:]]*0000000000884024' "/proc/$broker/status"
}

@test "what a broker locks in memory is at most 2 MiB, with members and a watch" {
	printf 'watch { }\nrule { unmanaged = true over = 16G action = kill }\n' >>"$config"
	broker
	for _ in $(seq 10); do
		member a 10
	done
	sleep 2 # until it has locked, and has looked at all of them
	locked_kb=$(awk '/^VmLck:/ { print $2 }' "/proc/$broker/status")
	echo "$locked_kb kB"
	[ "$locked_kb" != 0 ] || skip "nothing may be locked here"
	[ "$locked_kb" -le 2048 ]
	# Every name is bound, so the tables of names need not stay.
	readelf -d "$solventd" | grep -q BIND_NOW
	awk '/^[0-9a-f]+-/ { of_names = $2 == "r--p" && $3 == "00000000" && $6 ~ /\/libc\.so/; seen += of_names }
	     /^VmFlags/ && of_names && / lo/ { locked = 1 }
	     END { exit !seen || locked }' "/proc/$broker/smaps"
}

@test "the broker has the shortest slice, so that it runs as soon as it is asked" {
	[ "$(printf '%s\n' 6.12 "$(uname -r)" | sort -V | head -n 1)" = 6.12 ] || skip "this kernel has no slices"
	broker
	slice=$(awk '/^se\.slice/ { print $3 }' "/proc/$broker/sched") || slice=
	[ -n "$slice" ] || skip "this kernel does not tell"
	[ "$slice" = 100000 ]
}

@test "a broker that is killed is succeeded by one that knows the members" {
	broker
	member a 1000
	one=$member
	member b 2000
	a=$(look a) b=$(look b)
	kill -9 "$broker"
	gone "$broker"
	broker
	[ "$(look a)" = "$a" ]
	[ "$(look b)" = "$b" ]
	logs "took over 2 ledgers with 2 members"
	# and again, from the keeper of the second
	kill -9 "$broker"
	gone "$broker"
	broker
	[ "$(look a)" = "$a" ]
	kill -9 "$one"
	wait_for says a "0 .* 0 0"
}

@test "a broker that is told to end leaves members to the next" {
	broker
	member a 1000
	a=$(look a)
	kill "$broker"
	gone "$broker"
	logs "1 members live on"
	[ ! -e "$socket" ]
	[ -e "$state/keeper" ]
	broker
	[ "$(look a)" = "$a" ]
}

@test "a keeper ends when nobody needs it any more" {
	broker
	member a 1000
	kill -9 "$broker"
	gone "$broker"
	keeper=$(keeper_of "$state")
	sleep 1.5
	[ "$(cat "/proc/$keeper/comm")" = solvent-keeper ]
	kill -9 "$member"
	gone "$keeper" # in five seconds and a little
	# the note of a keeper that is gone is no obstacle
	broker
	logs "is gone"
	says a "0 0 16384 0 0"
}

@test "a keeper that is killed is replaced" {
	broker
	keeper=$(keeper_of "$state")
	member a 1000
	kill -9 "$keeper"
	wait_for logs "another one is started"
	wait_for eval '[ "$(keeper_of "$state")" != "$keeper" ]'
	a=$(look a)
	kill -9 "$broker"
	gone "$broker"
	broker
	[ "$(look a)" = "$a" ]
}

@test "SIGHUP: a new configuration is taken, a bad one is not" {
	broker
	member a 1000
	printf 'pool { limit = 1G }\naccount a { limit = 32M }\naccount c { limit = 8M }\n' >"$config"
	kill -HUP "$broker"
	wait_for says a "[0-9]* [0-9]* 8192 1 0"
	wait_for says c "0 0 2048 0 0"
	run look b
	[ "$output" = none ]
	printf 'account a { limit = 16X }\n' >"$config"
	kill -HUP "$broker"
	wait_for logs "$config:1: limit = \"16X\" is not a size"
	logs "the old configuration stays in force"
	says a "[0-9]* [0-9]* 8192 1 0"
	rm "$config"
	kill -HUP "$broker"
	wait_for logs "there is no such file"
	kill -0 "$broker"
	# what was added is kept like the rest
	printf 'pool { limit = 1G }\naccount a { limit = 32M }\naccount c { limit = 8M }\n' >"$config"
	member c 100
	c=$(look c)
	kill -9 "$broker"
	gone "$broker"
	broker
	[ "$(look c)" = "$c" ]
}

@test "SIGHUP: an account that is removed stays until its members are gone" {
	broker
	member b 1000
	printf 'account a { limit = 32M }\n' >"$config"
	kill -HUP "$broker"
	wait_for logs 'account "b" is no longer configured; it stays until its members are gone'
	run "$FILE_WORK/member" "$socket" b 1
	[ "$output" = "no 1" ]
	says b "[0-9]* [0-9]* 16384 1 0"
	kill -9 "$member"
	wait_for eval '[ "$(look b)" = none ]'
}

@test "a private broker ends with its last member" {
	socket=@solventd-bats-$$-$RANDOM
	mkfifo "$work/ready"
	"$solventd" --foreground --until-empty --socket "$socket" --config /dev/fd/5 --ready-fd 4 4>"$work/ready" \
		5<"$config" 2>"$work/log" 3>&- &
	broker=$!
	started+=("$broker")
	read -r -N 1 -t 5 _ <"$work/ready"
	member a 1000
	one=$member
	member a 1000
	kill -9 "$one"
	sleep 0.6
	kill -0 "$broker"
	kill -9 "$member"
	gone "$broker"
	wait "$broker"
	[ ! -e "$state" ]
}

@test "a private broker nobody joins ends by itself" {
	socket=@solventd-bats-$$-$RANDOM
	"$solventd" --foreground --until-empty --socket "$socket" --config "$config" 2>"$work/log" 3>&- &
	broker=$!
	started+=("$broker")
	wait_for listens
	sleep 3
	kill -0 "$broker"
	gone "$broker"
	wait "$broker"
}

@test "tells a service manager what it wants to know" {
	command -v socat >/dev/null || skip "socat is not installed"
	socat -u "UNIX-RECVFROM:$work/notify,fork" "OPEN:$work/told,creat,append" 3>&- &
	started+=("$!")
	wait_for test -S "$work/notify"
	NOTIFY_SOCKET=$work/notify WATCHDOG_USEC=200000 broker
	wait_for grep -q READY=1 "$work/told"
	wait_for grep -q WATCHDOG=1 "$work/told"
	kill -HUP "$broker"
	wait_for grep -q RELOADING=1 "$work/told"
	grep -q MONOTONIC_USEC= "$work/told"
	kill "$broker"
	wait_for grep -q STOPPING=1 "$work/told"
	gone "$broker"
}

@test "does not wait for a reader of its complaints" {
	mkfifo "$work/pipe"
	sleep 60 <"$work/pipe" 3>&- & # holds the pipe and never reads
	started+=("$!")
	"$solventd" --foreground --socket "$socket" --state "$state" --config "$config" 2>"$work/pipe" 3>&- &
	broker=$!
	started+=("$broker")
	wait_for listens
	for _ in $(seq 120); do
		"$FILE_WORK/member" "$socket" "$(printf 'n%.0s' $(seq 60))" 1 >/dev/null || true
	done
	look a
}

# accounted POLICY COMMAND...: a program under the shim, in account a, instead of this shell.
accounted() {
	local policy=$1
	shift
	exec env LD_PRELOAD="${solventd%/*}/libsolvent.so" SOLVENT_SOCKET="$socket" SOLVENT_ACCOUNT=a SOLVENT_NO_BROKER="$policy" "$@"
}

@test "a program that starts while the broker is restarted waits for it" {
	broker
	kill -9 "$broker"
	gone "$broker"
	accounted strict sleep 60 3>&- 2>"$work/errors" &
	local program=$!
	started+=("$program")
	sleep 0.5
	kill -0 "$program"
	broker
	wait_for says a "[1-9][0-9]* [0-9]* 16384 1 0"
	kill -9 "$program"
	wait_for says a "0 [0-9]* 16384 0 0"
}

# As a fork of it does that has not closed them yet.
@test "what a killed broker held for a moment longer is waited for" {
	broker
	kill -9 "$broker"
	gone "$broker"
	rm "$socket"
	socat -u UNIX-LISTEN:"$socket",type=5,fork OPEN:/dev/null 3>&- &
	local listener=$!
	started+=("$listener")
	flock --no-fork "$state/lock" sleep 60 3>&- &
	local holder=$!
	started+=("$holder")
	wait_for test -S "$socket"
	wait_for is_locked
	"$solventd" --foreground --socket "$socket" --state "$state" --config "$config" 2>>"$work/log" 3>&- &
	broker=$!
	started+=("$broker")
	wait_for has_open "$broker" "$state/lock"
	sleep 0.2
	kill "$holder"
	sleep 0.3
	lives "$broker"
	kill -9 "$listener"
	wait_for listens
	look a
}

is_locked() {
	! flock --nonblock "$state/lock" true
}

@test "a program that starts while the broker is silent, and then killed, waits for the next" {
	broker
	kill -STOP "$broker"
	accounted strict sleep 60 3>&- 2>"$work/errors" &
	local program=$!
	started+=("$program")
	sleep 2.2
	kill -9 "$broker"
	gone "$broker"
	broker
	wait_for says a "[1-9][0-9]* [0-9]* 16384 1 0"
	kill -9 "$program"
	wait_for says a "0 [0-9]* 16384 0 0"
}

@test "without a broker a program does not start, or runs unaccounted if it may" {
	run accounted strict true
	expect 125 "solvent: no broker answers"
	run accounted open true
	[ "$status" = 0 ]
}

@test "without a broker a copy of a process that nobody conceived ends as one that cannot start" {
	cat >"$work/copy.c" <<-'C'
		#include <signal.h>
		#include <stdlib.h>
		#include <string.h>
		#include <sys/syscall.h>
		#include <sys/wait.h>
		#include <unistd.h>
		/* fork, past every door: copy BROKER */
		int main(int argc, char **argv)
		{
			long pid;
			int status;
			kill(atoi(argv[argc - 1]), SIGKILL);
			usleep(100000);
			__asm__ volatile("syscall" : "=a"(pid) : "a"(SYS_fork) : "rcx", "r11", "memory");
			if (pid == 0)
				_exit(memset(malloc(8 << 20), 1, 8 << 20) ? 3 : 4);
			waitpid((pid_t)pid, &status, 0);
			return WEXITSTATUS(status);
		}
	C
	"${CC:-cc}" -w -O1 -o "$work/copy" "$work/copy.c"
	broker
	run accounted strict "$work/copy" "$broker"
	[ "$status" = 125 ]
	broker
	run accounted open "$work/copy" "$broker"
	[ "$status" = 3 ]
}

@test "a child of vfork that outlives its parent charges nobody" {
	cat >"$work/vfork.c" <<-'C'
		#include <signal.h>
		#include <sys/mman.h>
		#include <unistd.h>
		int main(void)
		{
			pid_t parent = getpid();
			if (vfork() == 0) {
				kill(parent, SIGKILL);
				usleep(300000); /* its slot is given up meanwhile */
				mmap(0, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
				_exit(0);
			}
			return 0;
		}
	C
	"${CC:-cc}" -w -O1 -o "$work/vfork" "$work/vfork.c"
	broker
	run accounted strict "$work/vfork"
	[ "$status" = 137 ]
	sleep 1
	wait_for says a "0 [0-9]* 16384 0 0"
	member a 100 # and another is charged what it takes
	kill -9 "$member"
	wait_for says a "0 [0-9]* 16384 0 0"
	sleep 1.1
	says_no "written over" "$work/log"
}

@test "children that were put into another pid namespace are who they are" {
	[ "$(id -u)" = 0 ] || skip "only root may make a pid namespace"
	cat >"$work/put.c" <<-'C'
		#define _GNU_SOURCE
		#include <sched.h>
		#include <signal.h>
		#include <sys/mman.h>
		#include <sys/wait.h>
		#include <unistd.h>
		static int large_is_refused(void)
		{
			return mmap(0, 1ul << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
		}
		int main(void)
		{
			int status = 1;
			if (unshare(CLONE_NEWPID) != 0)
				return 9;
			pid_t first = fork();
			if (first == 0)
				return pause();
			pid_t second = fork();
			if (second == 0) {
				usleep(500000);
				pid_t third = large_is_refused() ? fork() : -1;
				if (third == 0)
					_exit(!large_is_refused());
				return third < 0 || waitpid(third, &status, 0) != third || status != 0;
			}
			if (waitpid(second, &status, 0) != second || kill(first, 9) != 0)
				return 8;
			return status != 0;
		}
	C
	"${CC:-cc}" -w -O1 -o "$work/put" "$work/put.c"
	broker
	run accounted strict "$work/put"
	[ "$status" = 0 ]
	wait_for says a "0 [0-9]* 16384 0 0"
	says_no "written over|two slots" "$work/log"
}

@test "who is stopped while it joins goes on when it is continued" {
	broker
	kill -STOP "$broker"
	accounted strict sleep 0.1 3>&- &
	local member=$!
	started+=("$member")
	sleep 0.5
	kill -STOP "$member"
	sleep 0.2
	kill -CONT "$member"
	sleep 0.2
	kill -CONT "$broker"
	wait "$member"
}

@test "a family in a pid namespace of its own forks on while brokers are killed" {
	[ "$(id -u)" = 0 ] || skip "only root may make a pid namespace"
	cat >"$work/family.c" <<-'C'
		#include <stdlib.h>
		#include <string.h>
		#include <sys/wait.h>
		#include <unistd.h>
		int main(void)
		{
			for (int i = 0; i < 150; i++) {
				int status = 1;
				pid_t pid = fork();
				if (pid == 0)
					_exit(!memset(malloc(1 << 20), 1, 1 << 20));
				if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
					return WEXITSTATUS(status);
				usleep(10000);
			}
			return 0;
		}
	C
	"${CC:-cc}" -w -O1 -o "$work/family" "$work/family.c"
	broker
	accounted strict unshare --pid --fork "$work/family" 3>&- 2>"$work/errors" &
	local family=$!
	started+=("$family")
	for _ in 1 2 3; do
		sleep 0.3
		kill -9 "$broker"
		gone "$broker"
		sleep 0.2
		broker
	done
	wait "$family"
	wait_for says a "0 [0-9]* 16384 0 0"
	sleep 1.1
	says_no "written over" "$work/log"
}
