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
