#!/bin/bash
# make model: spin tries every order of steps of the ledger's protocol, and has to find each of the
# mistakes that are planted in the model. Ends with "N passed, N failed"; 0 when none failed.
#
#   tests/model/check.sh [quick|ci|full [PATTERN]]     seconds; minutes, what .ci/run does; longer
#
# With a PATTERN only what has a name like that is run, and lines not reached are not looked for.
#
# A configuration passes when pan says that it saw every state: no error, and no search cut short
# by depth, memory or time (no bits are hashed, no two states taken for one). A mistake passes when
# pan finds it. And what never happens proves nothing: each line of the model that does something
# must have been reached in a configuration that passed, or say "never" and why.
set -u
cd "$(dirname "$0")" || exit 1
level=${1:-ci}
pattern=${2:-.}
case $level in quick | ci | full) ;; *) echo "usage: $0 [quick|ci|full [PATTERN]]" >&2; exit 2 ;; esac
command -v spin >/dev/null 2>&1 || { echo "spin is not installed"; exit 77; }
CC=${CC:-cc}
JOBS=${JOBS:-2}
MEGABYTES=${MEGABYTES:-3000} # for each job
DEPTH=200000                 # steps; a search that is deeper fails
passed=0 failed=0 short=
work=$(mktemp -d)
trap 'jobs -rp | xargs -r kill 2>/dev/null; rm -rf "$work"' EXIT

# LEVEL NAME FILE DEFINITIONS: the longest first.
configurations='
full  transfers-3-long  transfers SLOTS=3 MOVES=1 IMAGES=0 BROKER_DEATHS=1
full  fork-3-long       fork      SLOTS=3 BROKER_DEATHS=1
full  fork-window-long  fork      SLOTS=2 BROKER_DEATHS=1 WINDOW
full  pool-2-long       pool      ACCOUNTS=2 TAKES1=1 TRIES=1 BATCH=0 SWEEPS=0 BROKER_DEATHS=1
full  pool-batch-long   pool      ACCOUNTS=1 TAKES1=1 TRIES=2 BATCH=1 SWEEPS=1 BROKER_DEATHS=1
full  share-three-long  share     START=0 HOLDS0=1 HOLDS1=1 HOLDS2=1 DEATHS=0 BROKER_DEATHS=0
full  offer-three       offer     MEMBERS=3 HOLDS=1 DEATHS=0
ci    fork-3            fork      SLOTS=3 BROKER_DEATHS=0
ci    share-grows       share     START=3 HOLDS0=0 HOLDS1=0 HOLDS2=0 DEATHS=1 BROKER_DEATHS=0
ci    fork-exec         fork      SLOTS=2 BROKER_DEATHS=0 EXEC
ci    fork-broker       fork      SLOTS=2 BROKER_DEATHS=1
ci    fork-anew         fork      SLOTS=3 BROKER_DEATHS=1 ANEW
ci    transfers-3       transfers SLOTS=3 MOVES=1 IMAGES=0 BROKER_DEATHS=0
ci    share-broker      share     START=0 HOLDS0=1 HOLDS1=1 HOLDS2=0 DEATHS=1 BROKER_DEATHS=1
ci    fork-3-slack      fork      SLOTS=3 BROKER_DEATHS=0 SLACK
ci    fork-window       fork      SLOTS=2 BROKER_DEATHS=0 WINDOW
ci    transfers-2-long  transfers SLOTS=2 MOVES=2 IMAGES=0 BROKER_DEATHS=1
ci    pool-2-accounts   pool      ACCOUNTS=2 TAKES1=1 TRIES=1 BATCH=0 SWEEPS=0 BROKER_DEATHS=0
ci    pool-sweep        pool      ACCOUNTS=1 TAKES1=2 TRIES=1 BATCH=0 SWEEPS=1 BROKER_DEATHS=1
ci    pool-batch        pool      ACCOUNTS=1 TAKES1=1 TRIES=1 BATCH=1 SWEEPS=1 BROKER_DEATHS=0
ci    share-hands-on    share     START=2 HOLDS0=0 HOLDS1=1 HOLDS2=0 DEATHS=1 BROKER_DEATHS=1
ci    share-leaves      share     START=1 HOLDS0=1 HOLDS1=0 HOLDS2=0 DEATHS=1 BROKER_DEATHS=0
ci    transfers-2-fine  transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=1 FINE
ci    transfers-2-anew  transfers SLOTS=2 MOVES=1 IMAGES=1 BROKER_DEATHS=1
ci    offer-again       offer     MEMBERS=2 HOLDS=2 DEATHS=1
ci    fork-2            fork      SLOTS=2 BROKER_DEATHS=0
quick bell              bell      MEMBERS=3
quick offer-quick       offer     MEMBERS=2 HOLDS=1 DEATHS=1
quick share-quick       share     START=0 HOLDS0=1 HOLDS1=1 HOLDS2=0 DEATHS=0 BROKER_DEATHS=0
quick transfers-quick   transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=1
'

# LEVEL NAME FILE DEFINITIONS: NAME is the definition that plants the mistake.
mistakes='
quick READS_BEFORE_IT_RINGS        bell      MEMBERS=1
quick LOOKS_BEFORE_IT_SAYS         bell      MEMBERS=1
quick CREDITS_FIRST                transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=1
quick CLEARS_EARLY                 transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=1
quick EMPTIES_WITHOUT_INTENT       transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=1
quick REAPS_WITHOUT_SETTLEMENT     transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=1
ci    OVERWRITES_UNCONFIRMED       transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=1
ci    REPAIRS_AS_IT_WAS            share     START=0 HOLDS0=1 HOLDS1=1 HOLDS2=0 DEATHS=1 BROKER_DEATHS=1
ci    REPAIRS_UNCONFIRMED          transfers SLOTS=2 MOVES=1 IMAGES=0 BROKER_DEATHS=2
ci    REPAIR_NAMES_SELF            share     START=0 HOLDS0=1 HOLDS1=1 HOLDS2=0 DEATHS=1 BROKER_DEATHS=1
ci    STEPS_BEGIN_ANEW             transfers SLOTS=2 MOVES=2 IMAGES=1 BROKER_DEATHS=0
ci    SWEEPS_EMBRYOS               fork      SLOTS=3 BROKER_DEATHS=0
ci    ANYONE_FINISHES              share     START=1 HOLDS0=1 HOLDS1=0 HOLDS2=0 DEATHS=1 BROKER_DEATHS=0
ci    LOOKS_ONCE                   share     START=1 HOLDS0=1 HOLDS1=0 HOLDS2=0 DEATHS=1 BROKER_DEATHS=0
ci    FORGETS_THE_FREE             share     START=1 HOLDS0=1 HOLDS1=0 HOLDS2=0 DEATHS=1 BROKER_DEATHS=0
ci    FINDS_QUIETLY                share     START=0 HOLDS0=1 HOLDS1=1 HOLDS2=0 DEATHS=0 BROKER_DEATHS=0
quick ADDS_BLINDLY                 share     START=0 HOLDS0=1 HOLDS1=1 HOLDS2=0 DEATHS=0 BROKER_DEATHS=0
quick OFFERS_UNSEEN                offer     MEMBERS=2 HOLDS=1 DEATHS=1
quick LOWEST_WINS                  offer     MEMBERS=2 HOLDS=1 DEATHS=1
quick PASSES_THE_LEAVING           offer     MEMBERS=2 HOLDS=1 DEATHS=1
ci    PUBLISHES_THE_DEAD           offer     MEMBERS=2 HOLDS=1 DEATHS=1
ci    INHERITS_QUIETLY             share     START=2 HOLDS0=0 HOLDS1=1 HOLDS2=0 DEATHS=1 BROKER_DEATHS=0
ci    LEAVES_BEFORE_IT_RINGS       fork      SLOTS=2 BROKER_DEATHS=0
ci    REAPS_WHAT_IS_ADOPTED        fork      SLOTS=2 BROKER_DEATHS=0
ci    SEIZES_BY_NAME               fork      SLOTS=3 BROKER_DEATHS=1 ANEW
ci    LEAVES_STRAYS                fork      SLOTS=2 BROKER_DEATHS=0 WINDOW
ci    SWEEP_COUNTS_ANEW            fork      SLOTS=2 BROKER_DEATHS=1
ci    EXEC_FORGETS_THE_BORN        fork      SLOTS=2 BROKER_DEATHS=0 EXEC
ci    BOOKS_LATER                  pool      ACCOUNTS=2 TAKES1=1 TRIES=1 BATCH=0 SWEEPS=0 BROKER_DEATHS=1
ci    RECLAIMS_USED                pool      ACCOUNTS=2 TAKES1=1 TRIES=1 BATCH=0 SWEEPS=0 BROKER_DEATHS=0
'

at_level() { # is what begins at level $1 run at ours?
	case $1 in
	quick) ;;
	ci) [ "$level" != quick ] ;;
	full) [ "$level" = full ] ;;
	esac
}

# One file of FILE.pml and what it includes, so that a line's number is its name; and the table of
# these numbers.
flatten() { # FILE DIRECTORY
	awk -v table="$2/lines" '
		function put(file, line, n) {
			while ((getline line <file) > 0) {
				n++
				if (line ~ /^#include "/) { split(line, part, "\""); put(part[2]); continue }
				print line
				print ++total, file ":" n >table
			}
		}
		BEGIN { put(ARGV[1]) }' "$1.pml" >"$2/model.pml"
}

build() { # DIRECTORY FILE DEFINITIONS...: a pan
	local d=$1 file=$2
	local optimise=-O2 # which takes longer than a short search
	shift 2
	[ -z "$short" ] || optimise=-O0
	mkdir -p "$d" && flatten "$file" "$d" && cd "$d" || return 1
	# shellcheck disable=SC2046
	spin $(printf -- '-D%s ' "$@") -a model.pml >spin.log 2>&1 &&
		"$CC" "$optimise" -w -DSAFETY -DCOLLAPSE -DMEMLIM="$MEGABYTES" -DVECTORSZ=2048 -o pan pan.c >cc.log 2>&1
}

# States of the model that are actions, by line: reached or not.
lines_reached() { # in the directory of a pan that has run
	awk '
		FNR == 1 { part++ }
		part == 1 { name[$1] = $2; next }
		part == 2 && /^unreached in proctype/ { proctype = $4; next }
		part == 2 && /^unreached in|^\t\(/ { next }
		part == 2 && proctype != "" && /, state / {
			match($0, /state [0-9]+/)
			dark[proctype, substr($0, RSTART + 6, RLENGTH - 6)] = 1
			next
		}
		part == 3 && /^proctype/ { proctype = $2; next }
		part == 3 && match($0, /model\.pml:[0-9]+ => /) {
			text = substr($0, RSTART + RLENGTH)
			line = substr($0, RSTART + 10, RLENGTH - 14) + 0
			if (text ~ /^(\(1\)|\.\(goto\)|break|goto .*|-end-|else)$/)
				next
			match($0, /state +[0-9]+/)
			state = substr($0, RSTART, RLENGTH)
			sub(/state +/, "", state)
			print ((proctype, state) in dark) ? "dark" : "reached", name[line]
		}' lines out states
}

configuration() { # NAME FILE DEFINITIONS...
	local name=$1 d=$work/$1 states
	shift
	[ "$level" = quick ] && short=yes
	if ! (build "$d" "$@"); then
		echo "FAIL $name: $(tail -n 2 "$d"/*.log | tr '\n' ' ')" >"$d.result"
		return
	fi
	cd "$d" || return
	./pan -m$DEPTH >out 2>&1 </dev/null
	./pan -d >states 2>/dev/null
	states=$(awk '/ states, stored/ { print $1; exit }' out)
	# In this order: what pan says when it was cut short, when it found something, when it is done.
	if ! grep -q 'Full statespace search' out || ! grep -q 'errors: 0$' out ||
		grep -qiE 'max search depth too small|memory limit|out of memory|aborting|search not completed' out; then
		echo "FAIL $name: $(grep -E 'pan:|errors:|max search|memory limit' out | head -n 3 | tr '\n' ' ')" >"$d.result"
	else
		lines_reached >"$d.lines"
		echo "ok   $name: 0 errors, $states states, $(awk '/elapsed time/ { print $4 }' out) s" >"$d.result"
	fi
}

mistake() { # NAME FILE DEFINITIONS...
	local name=$1 d=$work/$1
	shift
	if ! (short=yes build "$d" "$@" "$name"); then
		echo "FAIL $name: $(tail -n 2 "$d"/*.log | tr '\n' ' ')" >"$d.result"
		return
	fi
	cd "$d" || return
	./pan -m$DEPTH >out 2>&1 </dev/null
	if grep -qE 'errors: [1-9]' out && [ -s model.pml.trail ] && ! grep -q 'max search depth' out; then
		echo "ok   $name: found, $(($(wc -l <model.pml.trail) - 3)) steps, $(grep -m 1 -oE 'assertion violated|invalid end state' out)" >"$d.result"
	else
		echo "FAIL $name: not found" >"$d.result"
	fi
}

wait_for() { # fewer than $1 jobs
	while [ "$(jobs -rp | wc -l)" -ge "$1" ]; do
		wait -n
	done
}

run() { # KIND, its list on stdin
	local at name file definitions
	names=
	while read -r at name file definitions; do
		[ -n "$at" ] && at_level "$at" && [[ $name =~ $pattern ]] || continue
		names="$names $name"
		wait_for "$JOBS"
		# shellcheck disable=SC2086
		"$1" "$name" "$file" $definitions </dev/null &
	done
	wait
	for name in $names; do
		cat "$work/$name.result"
		case $(cat "$work/$name.result") in ok*) passed=$((passed + 1)) ;; *) failed=$((failed + 1)) ;; esac
	done
}

# What no configuration has reached, and what is said to be never reached and was.
coverage() {
	cat "$work"/*.lines 2>/dev/null | sort -u >"$work/seen"
	awk '$1 == "reached" { print $2 }' "$work/seen" | sort -u >"$work/reached"
	awk '$1 == "dark" { print $2 }' "$work/seen" | sort -u | comm -23 - "$work/reached" >"$work/dark"
	grep -nE '/\* never[:, ]' ./*.pml | sed 's,^\./,,' | cut -d: -f1,2 | sort -u >"$work/never"
	comm -23 "$work/dark" "$work/never" | while IFS=: read -r file line; do
		echo "  $file:$line is never reached: $(sed -n "${line}p" "$file")"
	done
	comm -12 "$work/reached" "$work/never" | sed 's/$/ is reached, and says that it never is/'
}

echo "configurations"
run configuration <<<"$configurations"
if [ "$level" != quick ] && [ "$pattern" = . ]; then
	coverage >"$work/coverage"
	if [ -s "$work/coverage" ]; then
		echo "FAIL coverage"
		cat "$work/coverage"
		failed=$((failed + 1))
	else
		echo "ok   coverage: $(wc -l <"$work/reached") lines reached, $(wc -l <"$work/dark") that say they never are"
		passed=$((passed + 1))
	fi
fi
echo "mistakes"
run mistake <<<"$mistakes"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
