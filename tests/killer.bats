#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Memory that runs out, in a memory control group of this test's own: who is killed, that it is
# whom solvent rank named, that a trace decides the same again, and that the broker allocates
# nothing on the way.

load lib.bash

setup_file() {
	export FILE_WORK
	FILE_WORK=$(mktemp -d /tmp/solvent-bats-XXXXXX)
	chmod 755 "$FILE_WORK"
	# hog MIB RATE [deaf]: takes so much at so many MiB a second, and keeps it; deaf: SIGTERM is ignored.
	"${CC:-cc}" -O1 -w -D_GNU_SOURCE -x c -o "$FILE_WORK/hog" - <<-'C' || return 1
		#include <signal.h>
		#include <stdlib.h>
		#include <string.h>
		#include <sys/mman.h>
		#include <sys/prctl.h>
		#include <time.h>
		#include <unistd.h>
		int main(int argc, char **argv)
		{
			size_t mib = atoi(argv[1]), rate = atoi(argv[2]);
			char *held = mmap(NULL, mib << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (argc > 3)
				signal(SIGTERM, SIG_IGN);
			for (size_t i = 0; i < mib; i++) {
				memset(held + (i << 20), 1, 1 << 20);
				nanosleep(&(struct timespec){ 0, 1000000000 / rate }, NULL);
			}
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
	cgroup_make $((128 << 20))
	group=${cgroup#"$(cgroup_root)"}
	freezer=
}

teardown() {
	# Who is frozen there does not end.
	[ -z "$freezer" ] || freezer_set 0
	test_end
}

# killer_start RULES [OPTION...]: the rules begin in line 3.
killer_start() {
	local rules=$1
	shift
	broker_start "account \"a/one\" { limit = 1G users = {\"*\"} }
watch { cgroup = \"$group\" warn = 30% act = 20% }
$rules" --record "$work/trace" "$@"
}

hog() { # MIB RATE [deaf]: in the group
	cgroup_run "$cgroup" "$FILE_WORK/hog" "$@" 3>&- &
	hog=$!
	started+=("$hog")
}

# holds PID MIB: it has taken all of it.
holds() {
	[ "$(awk '/^VmRSS:/ { print $2 }' "/proc/$1/status")" -ge $(($2 << 10)) ]
}

# Whom the kill would begin with, by solvent rank.
first() {
	./solvent rank --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["order"][0]["pid"])'
}

# freezer_make: sets $freezer to a control group that can be frozen; in v2 one inside of ours.
freezer_make() {
	local folder
	if [ -e "$cgroup/cgroup.freeze" ]; then
		folder=$cgroup/freezer
	else
		folder=/sys/fs/cgroup/freezer$group
	fi
	mkdir "$folder" || skip "no control group can be frozen here"
	freezer=$folder
	groups+=("$freezer")
}

# freezer_set 1|0
freezer_set() {
	if [ -e "$freezer/cgroup.freeze" ]; then
		echo "$1" >"$freezer/cgroup.freeze"
	elif [ "$1" = 1 ]; then
		echo FROZEN >"$freezer/freezer.state"
	else
		echo THAWED >"$freezer/freezer.state"
	fi
}

trace_is_the_same() {
	./solventd --replay "$work/trace" >"$work/replayed"
	cmp "$work/trace" "$work/replayed"
}

@test "the one that rank names first goes, and nobody else" {
	killer_start 'rule { unmanaged = true  over = 8M  action = kill }'
	hog 40 1000
	small=$hog
	hog 45 1000
	large=$hog
	wait_for holds "$small" 40
	wait_for holds "$large" 45
	[ "$(first)" = "$large" ]
	hog 60 200
	wait_for is_gone "$large"
	sleep 0.3
	lives "$small"
	lives "$hog" || grep -q "hog\[$hog\] is gone" "$work/log"
	grep -q "first is hog\[$large\] by the rule in line 3 (kill)" "$work/log"
	broker_end
	trace_is_the_same
}

@test "a watch is found by its control group, whether others are there or not" {
	broker_start "watch { cgroup = \"/solvent-nowhere\" warn = 30% act = 20% }
watch { cgroup = \"$group\" warn = 30% act = 20% }
rule { unmanaged = true action = kill }"
	./solvent rank --watch "$group" | grep -q "^$group: "
	run ./solvent rank
	[ "$status" = 1 ]
	[[ $output == *"the memory of /solvent-nowhere cannot be read now: its control group is not there" ]]
	run ./solvent rank --watch /solvent-else
	[ "$status" = 1 ]
	[[ $output == *"/solvent-else is not watched; write watch"* ]]
	broker_end
}

@test "whom a rule spares is passed over, and that is said" {
	killer_start "rule { match-exe = \"$FILE_WORK/spared\"  action = never }
rule { unmanaged = true  action = kill }"
	cp "$FILE_WORK/hog" "$FILE_WORK/spared"
	kill -HUP "$broker" # the file is there now
	sleep 0.3
	cgroup_run "$cgroup" "$FILE_WORK/spared" 60 1000 3>&- &
	spared=$!
	started+=("$spared")
	wait_for holds "$spared" 60
	hog 60 200
	wait_for is_gone "$hog"
	lives "$spared"
	grep -q "passed over: spared\[$spared\], which holds 60.* MiB: its rule says never (line 3)" "$work/log"
	./solvent rank --all | grep -E "spared .* its rule says never"
	broker_end
	trace_is_the_same
}

@test "who ignores SIGTERM is killed when its grace is over" {
	killer_start 'rule { unmanaged = true  action = kill  grace = 300ms }'
	hog 105 400 deaf
	wait_for is_gone "$hog"
	grep -q "is killed" "$work/log"
	broker_end
	trace_is_the_same
}

@test "who is frozen by its control group gives its memory back, and nobody else goes" {
	freezer_make
	killer_start 'rule { unmanaged = true  action = kill }'
	hog 70 2000
	frozen=$hog
	echo "$frozen" >"$freezer/cgroup.procs"
	wait_for holds "$frozen" 70
	freezer_set 1
	hog 40 100
	wait_for grep -q "memory is there again" "$work/log"
	lives "$hog"
	freezer_set 0
	wait_for is_gone "$frozen"
	broker_end
	trace_is_the_same
}

@test "a dry run says who, and nobody goes" {
	killer_start "rule { match-cgroup = \"$group\"  action = kill }" --dry-run
	hog 105 1000
	wait_for grep -q "dry run: hog\[$hog\] is killed" "$work/log"
	lives "$hog"
	broker_end
	trace_is_the_same
}

@test "freeze stops one until there is memory again" {
	killer_start "rule { match-exe = \"$FILE_WORK/hog\" over = 50M action = freeze }
rule { action = kill }"
	hog 40 2000
	small=$hog
	wait_for holds "$small" 40
	hog 90 400
	wait_for grep -q "first is hog\[$hog\] by the rule in line 3 (freeze)" "$work/log"
	wait_for is_gone "$small"
	lives "$hog"
	wait_for grep -q "hog\[$hog\] goes on: memory is there again" "$work/log"
	broker_end
	trace_is_the_same
}

@test "from the crossing to the kill no memory is asked for" {
	command -v strace >/dev/null || skip "strace is not installed"
	killer_start 'rule { unmanaged = true  action = kill }'
	sleep 1.5 # until its memory is locked
	strace -f -qq -o "$work/strace" -p "$broker" 3>&- &
	tracer=$!
	started+=("$tracer")
	wait_for grep -q "^TracerPid:[[:space:]]*$tracer$" "/proc/$broker/status"
	hog 110 400
	wait_for is_gone "$hog"
	kill "$tracer"
	wait "$tracer" || true
	grep -q "pidfd_send_signal" "$work/strace"
	run grep -E "^[0-9]+ +(mmap|brk|mremap|mprotect|munmap|shmat|clone|fork)" "$work/strace"
	[ "$status" = 1 ]
	# What it may not do any more: the kernel says so.
	[ "$(awk '/^Seccomp:/ { print $2 }' "/proc/$broker/status")" = 2 ]
	broker_end
}

@test "members that handle the signal hear of it before anybody goes, and a command is run" {
	cat >"$work/hear.py" <<-'PY'
		import os, signal, sys, time
		signal.signal(signal.SIGUSR1, lambda *_: open(sys.argv[1], "a").write("heard\n"))
		print("ready", flush=True)
		while True: time.sleep(1)
	PY
	broker_start "account \"a\" { limit = 1G users = {\"*\"} warn-signal = USR1 warn-command = \"echo \$SOLVENT_ALERT \$SOLVENT_ALERT_ACCOUNT >>$work/told\" }
watch { cgroup = \"$group\" warn = 50% act = 10% }
rule { unmanaged = true action = kill }"
	cgroup_run "$cgroup" ./solvent run --account a -- python3 "$work/hear.py" "$work/heard" >"$work/hearer" 3>&- &
	hearer=$!
	started+=("$hearer")
	cgroup_run "$cgroup" ./solvent run --account a -- sleep 60 3>&- &
	deaf=$!
	started+=("$deaf")
	wait_for grep -q ready "$work/hearer"
	sleep 0.3
	hog 80 400
	wait_for grep -q "memory-warn a" "$work/told"
	wait_for grep -q heard "$work/heard"
	lives "$deaf" # a signal that it does not handle would have ended it
	lives "$hog"
	kill "$hearer" "$deaf"
	wait_for is_gone "$hearer"
	wait_for is_gone "$deaf"
	sleep 0.3 # until the broker has settled them: its keeper ends with it then
	broker_end
}
