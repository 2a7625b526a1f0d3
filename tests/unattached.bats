#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Processes of an account that the preload does not reach, and memory that no door sees: found
# by the broker, charged, named, and known to the next broker.

load lib.bash

setup_file() {
	export FILE_WORK
	FILE_WORK=$(mktemp -d /tmp/solvent-bats-XXXXXX)
	chmod 755 "$FILE_WORK"
	# hold MIB: holds so much, written to, until it is killed.
	"${CC:-cc}" -O1 -w -x c -static -o "$FILE_WORK/hold" - <<-'C' || return 1
		#include <stdlib.h>
		#include <string.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			size_t bytes = (size_t)atoi(argv[1]) << 20;
			char *volatile held = malloc(bytes);
			memset(held, 1, bytes);
			for (;;)
				pause();
		}
	C
	# threads: libc makes one for a timer, whose stack no door sees.
	"${CC:-cc}" -O1 -w -x c -o "$FILE_WORK/threads" - <<-'C' || return 1
		#include <signal.h>
		#include <time.h>
		#include <unistd.h>
		static void wait(union sigval value)
		{
			for (;;)
				pause();
		}
		int main(void)
		{
			timer_t timer;
			struct sigevent event = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = wait };
			struct itimerspec at = { .it_value.tv_nsec = 1 };
			timer_create(CLOCK_MONOTONIC, &event, &timer);
			timer_settime(timer, 0, &at, NULL);
			for (;;)
				pause();
		}
	C
	# copies: holds private and shared memory; told so, makes a copy of itself past every door, which
	# then asks for memory, too.
	"${CC:-cc}" -O1 -w -x c -o "$FILE_WORK/copies" - <<-'C' || return 1
		#include <signal.h>
		#include <stdlib.h>
		#include <sys/mman.h>
		#include <sys/syscall.h>
		#include <unistd.h>
		static long copy(void)
		{
			long r;
			__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_clone), "D"(SIGCHLD), "S"(0), "d"(0) : "rcx", "r11", "memory");
			return r;
		}
		static volatile sig_atomic_t told;
		static void tell(int number) { told = 1; }
		int main(void)
		{
			char *volatile held = malloc(64 << 20);
			mmap(NULL, 32 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
			signal(SIGUSR1, tell);
			while (!told)
				usleep(10000);
			if (copy() == 0)
				held = malloc(8 << 20);
			for (;;)
				pause();
		}
	C
}

teardown_file() {
	rm -rf "$FILE_WORK"
}

setup() {
	test_begin
	broker_start 'pool { limit = 4G }
account "x" { limit = 512M users = {"*"} }'
}

teardown() {
	test_end
}

# Python over the account of `solvent status --json`, as `a`, and its members by pid, as `m`.
ask() {
	./solvent status --json 2>/dev/null | python3 -c '
import json, sys
a = json.load(sys.stdin)["accounts"][0]
m = {x["pid"]: x for x in a["members"]}
sys.exit(0 if eval(sys.argv[1]) else 1)' "$1"
}

# begin COMMAND...: in the account; $! stays its pid.
begin() {
	./solvent run --account x --no-summary -- "$@" 3>&- &
	started+=("$!")
}

audited() {
	./solvent audit
}

empty() {
	ask 'a["used_bytes"] == 0 and not a["members"] and a["unseen_bytes"] == 0 and a["drift_bytes"] == 0'
}

@test "a static program that a member starts is charged as the kernel counts, and named" {
	begin bash -c "$FILE_WORK/hold 100 & wait"
	wait_for ask 'any(x["state"] == "unattached" and x["reason"] == "statically linked" and x["used_bytes"] >= 100 << 20
		for x in a["members"])'
	wait_for audited
	[[ $(./solvent status) == *"hold["*"is not attached (statically linked)"* ]]
	kill -9 $(members)
	wait_for empty
}

@test "a member that becomes a static program" {
	begin bash -c "exec $FILE_WORK/hold 40"
	pid=$!
	wait_for ask "m[$pid]['state'] == 'unattached' and m[$pid]['comm'] == 'hold' and m[$pid]['used_bytes'] >= 40 << 20"
	wait_for audited
	kill -9 $pid
	wait_for empty
}

@test "a program whose environment was cleared by one that is static" {
	"${CC:-cc}" -O1 -w -x c -static -o "$work/clear" - <<-'C'
		#include <unistd.h>
		int main(int argc, char **argv) { char *none[] = { 0 }; execve(argv[1], argv + 1, none); return 1; }
	C
	begin bash -c "$work/clear /usr/bin/sleep 100 & wait"
	wait_for ask 'any(x["state"] == "unattached" and x["comm"] == "sleep" and x["reason"] == "started without the preload"
		for x in a["members"])'
	wait_for audited
	kill -9 $(members)
	wait_for empty
}

@test "a set-user-ID program, which an ordinary user starts" {
	[ "$(id -u)" = 0 ] || skip "needs root to make one"
	cp /usr/bin/sleep "$work/sleep"
	chown 1 "$work/sleep"
	chmod 4755 "$work/sleep"
	[ -u "$work/sleep" ] || skip "this file system keeps no such bit"
	started+=("$(setpriv --reuid nobody --regid nogroup --clear-groups bash -c \
		"./solvent run --account x --no-summary -- bash -c '$work/sleep 100 & wait' 3>&- >/dev/null 2>&1 & echo \$!")")
	wait_for ask 'any(x["state"] == "unattached" and x["comm"] == "sleep" and x["used_bytes"] > 0 and x["reason"] == "set-user-ID"
		for x in a["members"])'
	kill -9 $(members)
	wait_for empty
}

@test "a thread that libc makes for itself" {
	begin "$FILE_WORK/threads"
	pid=$!
	wait_for ask "m[$pid]['unseen_bytes'] >= 7 << 20 and m[$pid]['state'] == 'live'"
	wait_for audited
	kill -9 $pid
	wait_for empty
}

@test "the next broker knows them, and what was unseen" {
	begin bash -c "$FILE_WORK/hold 100 & wait"
	begin "$FILE_WORK/threads"
	wait_for ask 'any(x["state"] == "unattached" for x in a["members"]) and a["unseen_bytes"] >= 7 << 20'
	wait_for audited
	used='a["used_bytes"] >= (100 << 20) + (7 << 20) and len(m) == 3'
	ask "$used"
	kill -9 "$broker"
	gone "$broker"
	broker
	ask "$used and a['unseen_bytes'] >= 7 << 20"
	wait_for audited
	kill -9 $(members)
	wait_for empty
}

@test "what the account cannot pay for is drift, and refuses everybody else" {
	begin bash -c "$FILE_WORK/hold 600 & wait"
	wait_for ask 'a["used_bytes"] == 512 << 20 and a["drift_bytes"] >= 80 << 20'
	[[ $(./solvent status) == *"are in use and not charged"* ]]
	run ./solvent run --account x --no-summary -- true
	[ "$status" = 125 ]
	kill -9 $(members)
	wait_for empty
}

@test "a copy in a ledger that was lost is charged in the one that there is" {
	begin "$FILE_WORK/copies"
	pid=$!
	wait_for ask "m[$pid]['used_bytes'] >= 64 << 20 and a['used_bytes'] >= (64 + 32) << 20"
	kill -9 "$broker" "$(sed -n 's/^pid \([0-9]*\) .*/\1/p' "$work/state/keeper")"
	wait "$broker" 2>/dev/null || true
	rm -rf "$work/state"
	broker
	ask 'not m'
	kill -USR1 "$pid"
	wait_for ask "len(m) == 1 and $pid not in m and a['used_bytes'] >= (64 + 32 + 8) << 20"
	ask "all(x['state'] == 'live' and (64 + 8) << 20 <= x['used_bytes'] < (64 + 32) << 20 for x in a['members'])"
	kill -9 $(members)
	wait_for empty
}
