#!/bin/sh
# make demo: sort asks for 256 MiB under a budget of 16, hears no, asks for less, and sorts
# the same. The input is real: headers, manuals and package lists of this machine.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# Enough that sort wants its whole buffer at once (it asks for about 33 bytes of buffer per
# byte of input), little enough for a demonstration.
find /var/lib/dpkg/info /usr/include /usr/share/doc /usr/share/perl* /usr/lib/python3* \
	-type f -size -2000k -size +0 \( -name '*.list' -o -name '*.md5sums' -o -name '*.h' -o -name copyright \
	-o -name '*.pm' -o -name '*.pl' -o -name '*.py' \) -printf '%s %p\n' 2>/dev/null | LC_ALL=C sort -k 2 |
	awk '/ .* / { next } { bytes += $1; names += length($2) + 1 } names > 100000 { exit } { print $2 }
	     bytes > 10000000 { exit }' >"$work/files"
files=$(cat "$work/files")
# shellcheck disable=SC2086
bytes=$(cat $files | wc -c)
echo "sorting $(wc -l <"$work/files") files, $((bytes / 1024 / 1024)) MiB, first without a budget, then with one of 16 MiB:"

export LC_ALL=C TMPDIR="$work"
# shellcheck disable=SC2086
sort -S 256M $files >"$work/unlimited"

echo "  ./solvent run --budget 16M -- sort -S 256M FILES..."
# shellcheck disable=SC2086
./solvent run --budget 16M --summary -- sort -S 256M $files >"$work/budgeted"

if cmp -s "$work/unlimited" "$work/budgeted"; then
	echo "identical output: $(wc -l <"$work/budgeted") lines"
else
	echo "the outputs differ" >&2
	exit 1
fi
