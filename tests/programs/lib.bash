# What the tests of real programs share: memory cgroups of their own, temporary folders,
# and ending by pid whatever they started.

# Debian's own programs, whatever stands in front of them on this machine.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
BUILD=${BUILD:-build/release}

setup() {
	cd "$BATS_TEST_DIRNAME/../.." || return 1
	work=$(mktemp -d /tmp/solvent-programs-XXXXXX)
	chmod 755 "$work"
	started=() groups=()
}

teardown() {
	local pid
	for pid in "${started[@]}"; do
		kill -9 "$pid" 2>/dev/null || true
	done
	# A server's children end with it, but not at once.
	for group in "${groups[@]}"; do
		cgroup_end "$group"
	done
	rm -rf "$work"
}

# --- memory cgroups: v1 where there is a memory controller of it, else v2 ---

cgroup_root() {
	if [ -w /sys/fs/cgroup/memory/cgroup.procs ]; then
		echo /sys/fs/cgroup/memory
	elif grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null && [ -w /sys/fs/cgroup/cgroup.procs ]; then
		echo /sys/fs/cgroup
	fi
}

# cgroup_make BYTES: sets $cgroup to the path of a new one; skips the test where it may not.
cgroup_make() {
	local root
	root=$(cgroup_root)
	[ -n "$root" ] || skip "no memory cgroup can be made here (needs root)"
	cgroup=$root/solvent-test-$BATS_TEST_NUMBER-$$-${#groups[@]}
	if [ "$root" = /sys/fs/cgroup ]; then
		echo +memory >/sys/fs/cgroup/cgroup.subtree_control
		mkdir "$cgroup"
		echo "$1" >"$cgroup/memory.max"
		echo 0 >"$cgroup/memory.swap.max" 2>/dev/null || true
	else
		mkdir "$cgroup"
		echo "$1" >"$cgroup/memory.limit_in_bytes"
	fi
	groups+=("$cgroup")
}

cgroup_end() {
	local pid tries
	for tries in $(seq 50); do
		for pid in $(cat "$1/cgroup.procs" 2>/dev/null); do
			kill -9 "$pid" 2>/dev/null || true
		done
		rmdir "$1" 2>/dev/null && return 0
		sleep 0.1
	done
}

# cgroup_run CGROUP COMMAND...: in it from its first instruction.
cgroup_run() {
	local group=$1
	shift
	bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "$@"
}

# How many the kernel's killer has killed in it.
cgroup_kills() {
	if [ -e "$1/memory.events" ]; then
		sed -n 's/^oom_kill //p' "$1/memory.events"
	else
		sed -n 's/^oom_kill //p' "$1/memory.oom_control"
	fi
}

# --- brokers ---

# broker_start CONFIGURATION: a broker for this test; sets SOLVENT_SOCKET and $broker.
broker_start() {
	printf '%s\n' "$1" >"$work/solvent.conf"
	export SOLVENT_SOCKET=$work/socket
	broker_again
}

broker_again() {
	./solventd --foreground --socket "$SOLVENT_SOCKET" --state "$work/state" --config "$work/solvent.conf" \
		>>"$work/solventd.log" 2>&1 3>&- &
	broker=$!
	started+=("$broker")
	wait_for ./solvent status
}

# The broker ends cleanly, and with it its keeper.
broker_end() {
	kill "$broker"
	wait "$broker" || true
}

# wait_for COMMAND...: until it succeeds, 10 s at most.
wait_for() {
	local tries
	for tries in $(seq 100); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	echo "gave up waiting for: $*" >&2
	return 1
}

# account_field ACCOUNT FIELD, from status --json
account_field() {
	./solvent status --json | python3 -c '
import json, sys
for a in json.load(sys.stdin)["accounts"]:
    if a["name"] == sys.argv[1]:
        print(len(a[sys.argv[2]]) if isinstance(a[sys.argv[2]], list) else a[sys.argv[2]])' "$1" "$2"
}

# The account is empty: used exactly 0, no members left.
account_is_empty() {
	[ "$(account_field "$1" used_bytes)" = 0 ] && [ "$(account_field "$1" members)" = 0 ]
}

# Runs a command as an unprivileged user where we are root (servers insist on it).
as_user() {
	local user=$1
	shift
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
	else
		"$@"
	fi
}
