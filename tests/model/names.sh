#!/bin/bash
# The C code and the model name each other's steps; are there such steps, on both sides?
#
#   C      "model: NAME": a step, a label or an inline of a .pml file
#   model  CRASH(NAME): a crash point of reserve/crash.h; "file.c: function": a function there
#
# And every step that an actor of the model can be `at` is named by the C code.
set -u
cd "$(dirname "$0")/../.." || exit 1
model=(tests/model/*.pml)
status=0
wrong() {
	echo "$*"
	status=1
}

named=$(grep -hoE 'model: [A-Za-z_]+(, [A-Za-z_]+)*' reserve/*.c daemon/*.c shim/*.c | sed 's/^model: //; s/, /\n/g' | sort -u)
[ -n "$named" ] || wrong "the C code names no step of the model"
for name in $named; do
	grep -qE "^#define $name( |\$)|^inline $name\\(|^$name:" "${model[@]}" ||
		wrong "the C code names $name, which the model has not"
done
for step in $(grep -hoE 'at == [A-Z_]+' "${model[@]}" | sed 's/^at == //' | sort -u); do
	[ "$step" = LOOK ] || grep -qxF "$step" <<<"$named" || wrong "the C code does not name the model's $step"
done
for point in $(grep -hoE '\bCRASH\([A-Z_]+\)' "${model[@]}" | sed 's/CRASH(//; s/)//' | sort -u); do
	[ "$point" = NOWHERE ] || grep -qE "X\\([0-9]+, $point," reserve/crash.h || wrong "the model names the crash point $point, which there is not"
done
referred=$(grep -hoE '[a-z]+\.c: [a-z_]+' "${model[@]}" | sort -u)
[ -n "$referred" ] || wrong "the model names no function of the C code"
while read -r file function; do
	grep -qE "^[a-z].*\\b$function\\(" reserve/"${file%:}" daemon/"${file%:}" shim/"${file%:}" 2>/dev/null ||
		wrong "the model names $function of ${file%:}, which there is not"
done <<<"$referred"
exit $status
