#!/bin/bash
# make fuzz: every fuzzer for FUZZ_SECONDS seconds (60), or only those named in FUZZ ("ledger
# message"). It starts from tests/corpus and what earlier runs added to build/fuzz/corpus; an
# input that breaks something is left in build/fuzz/found, and belongs into tests/corpus with
# the fix. 0 when nothing was found.
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build/fuzz}
FUZZ_SECONDS=${FUZZ_SECONDS:-60}
failed=0
mkdir -p "$BUILD/found"

for fuzzer in "$BUILD"/tests/fuzz_*; do
	case $fuzzer in *.o | *.d) continue ;; esac
	name=${fuzzer##*/fuzz_}
	[[ -z ${FUZZ:-} || " $FUZZ " == *" $name "* ]] || continue
	mkdir -p "$BUILD/corpus/$name"
	log=$BUILD/found/$name.log
	if nice "$fuzzer" -max_total_time="$FUZZ_SECONDS" -timeout=20 -max_len=2048 -len_control=0 -print_final_stats=1 \
		-artifact_prefix="$BUILD/found/$name-" "$BUILD/corpus/$name" "tests/corpus/$name" >"$log" 2>&1; then
		printf '%-8s %s executions, coverage %s\n' "$name" \
			"$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
			"$(sed -n 's/.*DONE *cov: \([0-9]*\).*/\1/p' "$log")"
	else
		failed=$((failed + 1))
		printf '%-8s FOUND SOMETHING, see %s\n' "$name" "$log"
		grep -E 'must be:|runtime error|ERROR:|Test unit written' "$log" | sed 's/^/         /'
	fi
done
[ "$failed" = 0 ]
