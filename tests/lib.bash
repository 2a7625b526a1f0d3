# SPDX-License-Identifier: MIT
# What all bats files share: a folder for each test, waiting, brokers, memory control groups, and
# that whatever a test has started ends with it.

# Debian's own programs, whatever stands in front of them on this machine.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
BUILD=${BUILD:-build/release}

# In the tree, with a folder of its own, and nobody's broker or service manager in the environment.
test_begin() {
	cd "${BATS_TEST_DIRNAME%/tests*}" || return 1
	unset SOLVENT_SOCKET SOLVENT_ACCOUNT SOLVENT_NO_BROKER INVOCATION_ID JOURNAL_STREAM
	unset NOTIFY_SOCKET WATCHDOG_USEC LISTEN_FDS LISTEN_PID LISTEN_FDNAMES FDSTORE
	work=$(mktemp -d /tmp/solvent-bats-XXXXXX)
	chmod 755 "$work"
	socket=$work/socket
	state=$work/state
	config=$work/solvent.conf
	started=() # pids
	groups=()  # control groups
}

test_end() {
	local pid i
	members_end
	for pid in "${started[@]}"; do
		kill -9 "$pid" 2>/dev/null || true
	done
	for pid in "${started[@]}"; do
		gone "$pid" || true
	done
	keepers_end
	# The last one that was made may be inside another.
	for ((i = ${#groups[@]} - 1; i >= 0; i--)); do
		cgroup_end "${groups[i]}"
	done
	rm -rf "$work"
}

# --- processes ---

state_of() {
	sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null
}

lives() {
	[[ $(state_of "$1") == [^ZX] ]]
}

is_gone() {
	! lives "$1"
}

# wait_for COMMAND...: until it succeeds, 10 s at most.
wait_for() {
	local end=$((SECONDS + 10))
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -gt "$end" ]; then
			echo "gave up waiting for: $*" >&2
			[ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2
			return 1
		fi
		sleep 0.02
	done
}

# says_no PATTERN FILE: no line of it matches; shows those that do. `! grep` fails a test in its last
# line only.
says_no() {
	if grep -iE -- "$1" "$2"; then
		return 1
	fi
}

# gone PID: it ends, waited for or not.
gone() {
	wait_for is_gone "$1"
}

# --- brokers ---

# broker [OPTION]...: one in the foreground, with the configuration that is there; sets $broker.
broker() {
	"${solventd:-./solventd}" --foreground --socket "$socket" --state "$state" --config "$config" "$@" \
		>>"$work/log" 2>&1 3>&- &
	broker=$!
	started+=("$broker")
	wait_for listens
}

listens() {
	./solvent --socket "$socket" status
}

# broker_start CONFIGURATION [OPTION]...: and it is everybody's from now on.
broker_start() {
	printf '%s\n' "$1" >"$config"
	shift
	export SOLVENT_SOCKET=$socket
	broker "$@"
}

# It is told to end, and does so with 0; and with it its keeper, where nobody needs that.
broker_end() {
	kill "$broker"
	wait "$broker"
}

# The pids of all members, whoever started them.
members() {
	timeout 5 ./solvent --socket "$socket" status --json 2>/dev/null | grep -oE '"pid": [0-9]+' | grep -oE '[0-9]+'
}

# They may be making others.
members_end() {
	local tries pids
	for tries in 1 2 3 4 5; do
		pids=$(members) || return 0
		# shellcheck disable=SC2086
		kill -9 $pids 2>/dev/null || true
	done
}

# keeper_of STATE: the pid that is noted there.
keeper_of() {
	sed -n 's/^pid \([0-9]*\) .*/\1/p' "$1/keeper" 2>/dev/null
}

# A keeper outlives its broker on purpose: not a test.
keepers_end() {
	local note pid
	for note in "$work"/*/keeper "$work"/*/*/keeper; do
		pid=$(keeper_of "${note%/keeper}") || continue
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != solvent-keeper ] || kill "$pid"
	done
}

# --- memory control groups: v1 where there is a memory controller of it, else v2 ---

cgroup_root() {
	if [ -w /sys/fs/cgroup/memory/cgroup.procs ]; then
		echo /sys/fs/cgroup/memory
	elif grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null && [ -w /sys/fs/cgroup/cgroup.procs ]; then
		echo /sys/fs/cgroup
	fi
}

# The root's children have a memory controller, or get one.
cgroup_delegate() {
	grep -qw memory /sys/fs/cgroup/cgroup.subtree_control || echo +memory >/sys/fs/cgroup/cgroup.subtree_control
}

# cgroup_make BYTES: sets $cgroup to the folder of a new one; skips the test where it may not.
cgroup_make() {
	local root
	root=$(cgroup_root)
	[ -n "$root" ] || skip "no memory control group can be made here (needs root)"
	cgroup=$root/solvent-test-$BATS_TEST_NUMBER-$$-${#groups[@]}
	if [ "$root" = /sys/fs/cgroup ]; then
		cgroup_delegate 2>/dev/null || skip "control groups that are made here have no memory controller"
		mkdir "$cgroup"
		groups+=("$cgroup")
		echo "$1" >"$cgroup/memory.max"
		echo 0 >"$cgroup/memory.swap.max" 2>/dev/null || true
	else
		mkdir "$cgroup"
		groups+=("$cgroup")
		echo "$1" >"$cgroup/memory.limit_in_bytes"
	fi
}

# Whoever is in it ends with it, though not at once: so do a server's children.
cgroup_end() {
	local pid tries
	for tries in $(seq 100); do
		for pid in $(cat "$1/cgroup.procs" 2>/dev/null); do
			kill -9 "$pid" 2>/dev/null || true
		done
		rmdir "$1" 2>/dev/null && return 0
		sleep 0.05
	done
}

# cgroup_run CGROUP COMMAND...: in it from its first instruction, and instead of this shell: after
# `run`, or in the background, where $! is its pid.
cgroup_run() {
	echo "$BASHPID" >"$1/cgroup.procs" || exit 1
	shift
	exec "$@"
}

# How many the kernel's killer has killed in it.
cgroup_kills() {
	if [ -e "$1/memory.events" ]; then
		sed -n 's/^oom_kill //p' "$1/memory.events"
	else
		sed -n 's/^oom_kill //p' "$1/memory.oom_control"
	fi
}
