# The benchmark itself: what it says of a figure, and how it ends.
load lib.bash

# verdict MOST VALUE...
verdict() {
	PYTHONPATH=tests/bench PYTHONDONTWRITEBYTECODE=1 python3 -c '
import sys
from report import verdict
from task import Bound
most, *values = map(float, sys.argv[1:])
print(verdict(Bound("bare", most=most), values))' "$@"
}

@test "a median on one side of its bound, in a spread that reaches the other, is told as such" {
	[ "$(verdict 1.10 1.00 1.01 1.02)" = "holds" ]
	[ "$(verdict 1.10 1.00 1.01 1.20)" = "holds, within the spread" ]
	[ "$(verdict 1.10 1.00 1.15 1.20)" = "**does not hold**, within the spread" ]
	[ "$(verdict 1.10 1.12 1.15 1.20)" = "**does not hold**" ]
}

# in_turn PROGRAM: the medians of two sides on which it is run, in shell; or why there are none.
in_turn() {
	PYTHONPATH=tests/bench PYTHONDONTWRITEBYTECODE=1 python3 -c '
import random, sys
from sides import Side
from turns import medians
sides = [Side("one", {"STEP": "1"}), Side("two", {"STEP": "2"})]
try:
    took = medians({side: ["sh", "-c", sys.argv[1]] for side in sides}, random)
    print(*(took[side] for side in sides))
except RuntimeError as error:
    print(error)' "$1"
}

@test "sides take turns: a batch each, of which the median counts, and as often as the hastiest asks for" {
	[ "$(in_turn 'echo $((3 * STEP)); n=0; while read -r _; do n=$((n + STEP)); echo $n; done')" = "2.0 4.0" ]
	[[ $(in_turn 'echo 3; read -r _; exit 7') == "sh -c "*" ended with 7" ]]
	# Who waits for a turn that does not come is ended.
	run in_turn "echo 3; [ \$STEP = 1 ] || exit 1; : $work; while read -r _; do echo 1; done"
	[ "$status" = 0 ]
	run pgrep -f -- ": $work;"
	[ "$status" != 0 ]
}

@test "the first burst of each side warms it up, and of the others the median counts" {
	run env PYTHONPATH=tests/bench PYTHONDONTWRITEBYTECODE=1 python3 -c '
import random
from turns import bursts
left = {"one": [99, 1, 2, 50], "two": [0, 7, 7, 6]}
print(bursts(["one", "two"], random, 3, lambda side: {"served": left[side].pop(0)}))
print(left)'
	[ "${lines[0]}" = "{'one': {'served': 2}, 'two': {'served': 7}}" ]
	[ "${lines[1]}" = "{'one': [], 'two': []}" ]
}

# make passes on what its whole group was sent.
@test "ended by signal after signal, the benchmark leaves no process and no file" {
	local before pid
	before=$(ls -d /var/tmp/solvent-bench-work.* || true)
	TMPDIR=$work PYTHONDONTWRITEBYTECODE=1 tests/bench/bench.py --build "$BUILD" --out "$work/out" ledger 2>"$work/said" &
	pid=$!
	wait_for grep -q "round 1" "$work/said" || wait_for grep -q "round 1" "$work/said"
	while kill "$pid" 2>/dev/null; do :; done
	wait "$pid" || [ $? = 143 ]
	[ "$(ls -d /var/tmp/solvent-bench-work.* || true)" = "$before" ]
	run ls -d "$work"/solvent-bench.* # its broker's
	[ "$status" != 0 ]
	run pgrep -f -- "$work/solvent-bench"
	[ "$status" != 0 ]
}
