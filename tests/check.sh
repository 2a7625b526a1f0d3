#!/bin/bash
# make check: every proof, counted. Ends with "N passed, N failed"; 0 when none failed. What could
# not be tested here is none of the two: "N skipped" stands in front of that.
# Each part runs under a time limit of its own, so that a hang is a failure with a name.
#
#   tests/check.sh [structure|model|unit|stress|fuzz|probes|exact|programs]...     without any: all
set -u
cd "$(dirname "$0")/.."
# Debian's own programs: a version manager in front of them is a program of its own.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
BUILD=${BUILD:-build/release}
MAKE=${MAKE:-make}
passed=0 failed=0 skipped=0
log=$(mktemp) tap=$(mktemp) taps=$(mktemp -d)
trap 'rm -rf "$log" "$tap" "$taps"' EXIT

skip() { # skip NAME WHY
	skipped=$((skipped + 1))
	echo "  skip $1: $2"
}

one() { # one NAME COMMAND...: a check that is right or wrong as a whole; 77: cannot be tested here
	local name=$1
	shift
	"$@" >"$log" 2>&1
	local status=$?
	if [ $status = 0 ]; then
		passed=$((passed + 1))
	elif [ $status = 77 ]; then
		skip "$name" "$(tail -n 1 "$log")"
	else
		failed=$((failed + 1))
		echo "  FAIL $name (status $status)"
		sed 's/^/       /' "$log" | tail -n 25
	fi
}

unit() { # a Criterion program: its synthesis line is the count, which tells of no skips
	local name=${1##*/} line status ok bad left what
	: >"$tap"
	# Tests of a broker wait most of their time.
	timeout -k 5 100 "$1" --jobs 4 --timeout 60 --output="tap:$tap" >"$log" 2>&1
	status=$?
	line=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E 'Synthesis: Tested: ' | tail -n 1)
	ok=$(sed -nE 's/.*Passing: ([0-9]+).*/\1/p' <<<"$line")
	bad=$(sed -nE 's/.*Failing: ([0-9]+).*/\1/p' <<<"$line")
	ok=${ok:-0} bad=${bad:-0} left=$skipped
	while read -r what; do
		skip "$name" "$what"
	done < <(sed -nE 's/^ok - (\S+) .*# SKIP ?/\1: /p' "$tap")
	left=$((skipped - left))
	# No test has failed, but the whole has: it took too long, or a sanitizer had a word at the end.
	[ "$bad" != 0 ] || { [ $status = 0 ] && [ $((ok + left)) != 0 ]; } || bad=1
	passed=$((passed + ok)) failed=$((failed + bad))
	[ "$bad" = 0 ] || { echo "  FAIL $name (status $status)"; sed 's/^/       /' "$log" | tail -n 40; }
}

bats_run() { # a bats file: TAP, and then its status
	local to=$taps/${1##*/}
	timeout -k 5 170 bats --tap "$1" >"$to" 2>&1
	echo $? >"$to.status"
}

bats_count() { # a bats file that has run
	local name=${1##*/} status ok bad what left=$skipped log=$taps/${1##*/}
	status=$(cat "$log.status")
	ok=$(grep -cE '^ok ' "$log")
	bad=$(grep -cE '^not ok ' "$log")
	while read -r what; do
		skip "$name" "$what"
	done < <(sed -nE 's/^ok [0-9]+ (.*) # skip ?/\1: /p' "$log")
	left=$((skipped - left))
	[ $status = 0 ] || [ "$bad" != 0 ] || bad=1
	passed=$((passed + ok - left)) failed=$((failed + bad))
	[ "$bad" = 0 ] || { echo "  FAIL $name"; grep -A 12 -E '^not ok' "$log" | sed 's/^/       /'; tail -n 3 "$log"; }
}

part_structure() {
	for proof in rooms headers steps exports crashless man; do
		one "$proof" "$MAKE" -s --no-print-directory $proof
	done
}
part_model() {
	one "model" timeout -k 5 100 tests/model/check.sh quick
}
part_unit() {
	for t in "$BUILD"/tests/test_*; do
		case $t in *.o | *.d) ;; *) unit "$t" ;; esac
	done
}
part_stress() {
	for t in "$BUILD"/tests/stress_*; do
		case $t in
		*.o | *.d) ;;
		*/stress_broker) one "${t##*/}" timeout -k 5 60 "$t" 300 1 ;; # the whole: make check-programs
		*) one "${t##*/}" timeout -k 5 60 "$t" ;;
		esac
	done
}
part_fuzz() {
	for t in "$BUILD"/tests/fuzz_*; do
		case $t in
		*.o | *.d) ;;
		*) one "${t##*/}" timeout -k 5 60 "$t" "tests/corpus/${t##*/fuzz_}" ;;
		esac
	done
}
part_probes() {
	for t in "$BUILD"/tests/probes/*; do
		case $t in *.o | *.d) ;; *) one "${t##*/}" timeout -k 5 60 tests/probe.sh "$t" ;; esac
	done
}
part_exact() {
	one "exact" timeout -k 5 90 "$BUILD"/tests/exact/drive -n 12000 -b 800
	# Sequences that found something once.
	for seed in 53 62 149 926 948; do
		one "exact $seed" timeout -k 5 60 "$BUILD"/tests/exact/drive -s $seed -n 1000 -b 0
	done
	for seed in 333 374; do
		one "exact $seed with threads" timeout -k 5 60 "$BUILD"/tests/exact/drive -s $seed -n 0 -b 100
	done
}
part_programs() {
	# The longest waits most of its time: beside the others.
	local longest=tests/solventd.bats
	bats_run "$longest" &
	for t in tests/*.bats; do
		[ "$t" = "$longest" ] || bats_run "$t"
	done
	wait
	for t in tests/*.bats; do
		bats_count "$t"
	done
}

for part in ${*:-structure model unit stress fuzz probes exact programs}; do
	declare -F "part_$part" >/dev/null || { echo "$0: $part? one of those at its top" >&2; exit 2; }
	echo "$part"
	"part_$part"
done

echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
