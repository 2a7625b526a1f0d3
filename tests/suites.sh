#!/bin/bash
# make check-suites: other people's tests, without Solvent and with it. PostgreSQL's regression
# suite and part of Redis's are built from Debian's sources outside of the tree, run bare, and
# run again in an account with a generous budget: the results must be the same, and nothing
# may have been refused. Ends with "N passed, N failed", and with status 77 when neither suite could be
# had.
#
# SUITES=DIR keeps sources and builds there for the next run; else they are removed.
set -u
cd "$(dirname "$0")/.."
tree=$PWD
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
unset MAKELEVEL MAKEFLAGS MFLAGS CFLAGS CPPFLAGS LDFLAGS CC # of our own make: theirs build with what they choose
passed=0 failed=0

dir=${SUITES:-}
if [ -z "$dir" ]; then
	dir=$(mktemp -d /var/tmp/solvent-suites-XXXXXX)
	trap 'rm -rf "$dir"' EXIT INT TERM
fi
mkdir -p "$dir"
chmod 755 "$dir"

# PostgreSQL will not be root.
user=$(id -un)
[ "$user" != root ] || user=nobody
as_user() {
	if [ "$(id -u)" = 0 ]; then
		HOME=$dir setpriv --reuid "$user" --regid "$(id -gn "$user")" --clear-groups -- "$@"
	else
		"$@"
	fi
}

# source_get PACKAGE: unpacks Debian's source package of what is installed. apt is given a
# list of its own: the machine's may name no sources.
source_get() {
	local package=$1 version
	version=$(dpkg-query -W -f='${source:Version}' "$2" 2>/dev/null)
	compgen -G "$dir/$package-*/" >/dev/null && return 0
	mkdir -p "$dir/apt/lists/partial"
	sed 's/^deb /deb-src /; s/^Types: .*/Types: deb-src/' /etc/apt/sources.list /etc/apt/sources.list.d/*.list \
		2>/dev/null >"$dir/apt/sources.list"
	mkdir -p "$dir/apt/parts"
	for list in /etc/apt/sources.list.d/*.sources; do
		[ ! -e "$list" ] || sed 's/^Types: .*/Types: deb-src/' "$list" >"$dir/apt/parts/${list##*/}"
	done
	apt=(-q -o "Dir::Etc::sourcelist=$dir/apt/sources.list" -o "Dir::Etc::sourceparts=$dir/apt/parts"
		-o "Dir::State::lists=$dir/apt/lists" -o Dir::Cache::srcpkgcache= -o Dir::Cache::pkgcache=)
	(
		cd "$dir" && apt-get "${apt[@]}" update &&
			{ apt-get "${apt[@]}" source "$package=$version" || apt-get "${apt[@]}" source "$package"; }
	) >"$dir/$package.get" 2>&1
}

# verdict NAME BARE UNDER: both outcomes, a line each, are the same and good.
verdict() {
	if [ -n "$2" ] && [ "$2" = "$3" ] && [ "$(wc -l <"$dir/refusals")" = 0 ]; then
		passed=$((passed + 1))
		echo "  $1: $2, with and without"
	else
		failed=$((failed + 1))
		echo "  FAIL $1: without Solvent: ${2:-nothing}; with it: ${3:-nothing}"
		tail -n 20 "$dir/under.log" | sed 's/^/       /'
		cat "$dir/refusals"
	fi
}

# under COMMAND...: in an account of 8 GiB; what was refused goes to $dir/refusals.
under() {
	"$tree/solvent" run --budget 8G --summary -- "$@" >"$dir/under.log" 2>"$dir/under.err"
	grep -E '^solvent: .* refused [a-z]' "$dir/under.err" >"$dir/refusals" || true
}

postgres() {
	source_get postgresql-15 postgresql-15 || { echo "  skip PostgreSQL: its source could not be had"; return; }
	cd "$dir"/postgresql-15-*/ || return
	if [ ! -e built ]; then
		chown -R "$user" . && as_user sh -c './configure -q --without-readline --without-zlib --without-icu &&
			make -s -j2 && make -s -C src/test/regress && touch built' >"$dir/build.log" 2>&1 ||
			{ tail "$dir/build.log"; failed=$((failed + 1)); return; }
	fi
	as_user make -s check MAX_CONNECTIONS=10 >"$dir/bare.log" 2>&1
	touch "$dir/under.log" "$dir/under.err" "$dir/refusals"
	chown "$user" "$dir/under.log" "$dir/under.err" "$dir/refusals"
	export -f under
	as_user env dir="$dir" tree="$tree" bash -c 'under make -s check MAX_CONNECTIONS=10'
	verdict "PostgreSQL's regression suite" "$(grep -oE 'All [0-9]+ tests passed' "$dir/bare.log")" \
		"$(grep -oE 'All [0-9]+ tests passed' "$dir/under.log")"
}

redis() {
	local tests="" bare
	for t in unit/type/list unit/other unit/oom-score-adj unit/memefficiency integration/rdb unit/maxmemory unit/scripting; do
		tests="$tests --single $t"
	done
	source_get redis redis-server || { echo "  skip Redis: its source could not be had"; return; }
	cd "$dir"/redis-*/ || return
	[ -e built ] || { make -s MALLOC=libc && touch built; } >"$dir/build.log" 2>&1 ||
		{ tail "$dir/build.log"; failed=$((failed + 1)); return; }
	# shellcheck disable=SC2086
	./runtest --clients 2 $tests >"$dir/bare.log" 2>&1
	bare=$(grep -oE 'All tests passed without errors' "$dir/bare.log")
	# shellcheck disable=SC2086
	under ./runtest --clients 2 $tests
	verdict "part of Redis's suite" "$bare" "$(grep -oE 'All tests passed without errors' "$dir/under.log")"
}

(postgres; echo "$passed $failed" >"$dir/count")
read -r p f <"$dir/count"
(redis; echo "$passed $failed" >"$dir/count")
read -r passed failed <"$dir/count"
passed=$((passed + p)) failed=$((failed + f))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] || exit 1
[ "$passed" != 0 ] || exit 77
