#!/bin/sh
# retarget.sh LIBRARY: malloc leaves jemalloc's fast path for malloc_slow (shim/malloc.c).
#
# jemalloc's malloc takes a block from the thread's cache in some twenty instructions, and jumps
# to malloc_default when there is none. A function of ours in front of it would cost each call
# another call and return, a tenth of it. The assembler has resolved that jump, so no linker
# option can turn it: this does, in the library that was linked. Anything but the one jump that
# is expected is an error.
set -eu
library=$1

fail() {
	echo "shim/retarget.sh: $1; build with \`make DIRECT=no\`, which puts a function in front of malloc" >&2
	exit 1
}

symbol() {
	nm "$library" | awk -v name="$1" '$3 == name { print $1 }'
}

slow=$(symbol malloc_slow)
behind=$(symbol je_malloc_default)
start=$(symbol malloc)
[ -n "$slow" ] && [ -n "$behind" ] && [ -n "$start" ] || fail "jemalloc has no malloc_default"
size=$(nm -S "$library" | awk '$4 == "malloc" { print $2 }')

jumps=$(objdump -d --no-show-raw-insn --start-address="0x$start" --stop-address="$((0x$start + 0x$size))" "$library" |
	awk '/<je_malloc_default(\+.*)?>$/ { sub(/:/, "", $1); print $2 "@" $1 }')
at=${jumps#jmp@}
case $jumps in
jmp@*@* | [!j]* | j[!m]* | "") fail "jemalloc's malloc does not leave by one jump" ;;
esac

# The text is where it is in memory, or so much further.
offset=$(objdump -h "$library" | awk '$2 == ".text" { print "0x" $6 " - 0x" $4 }')
place=$((0x$at + $offset))
distance=$(((0x$slow - 0x$at - 5) & 0xffffffff))
old=$(((0x$behind - 0x$at - 5) & 0xffffffff))
bytes() {
	printf '\\351\\%03o\\%03o\\%03o\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24))
}
# shellcheck disable=SC2059
[ "$(dd if="$library" bs=1 skip=$place count=5 status=none | od -An -tx1)" = "$(printf "$(bytes $old)" | od -An -tx1)" ] ||
	fail "the jump is not where it should be"
# shellcheck disable=SC2059
printf "$(bytes $distance)" | dd of="$library" bs=1 seek=$place conv=notrunc status=none
