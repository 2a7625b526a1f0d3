# What the tests of real programs share, beside what all do.
load ../lib.bash

setup() {
	test_begin
}

teardown() {
	local segment
	# A postmaster that is killed leaves a SysV segment, whose id stands in the 7th line.
	segment=$(sed -n '7s/.* //p' "$work/data/postmaster.pid" 2>/dev/null)
	test_end
	[ -z "$segment" ] || ipcrm -m "$segment" 2>/dev/null || true
}

# account_field ACCOUNT FIELD, from status --json
account_field() {
	./solvent status --json | python3 -c '
import json, sys
for a in json.load(sys.stdin)["accounts"]:
    if a["name"] == sys.argv[1]:
        print(len(a[sys.argv[2]]) if isinstance(a[sys.argv[2]], list) else a[sys.argv[2]])' "$1" "$2"
}

# The account is empty: used exactly 0, no members left.
account_is_empty() {
	[ "$(account_field "$1" used_bytes)" = 0 ] && [ "$(account_field "$1" members)" = 0 ]
}

# Runs a command as an unprivileged user where we are root (servers insist on it).
as_user() {
	local user=$1
	shift
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
	else
		"$@"
	fi
}
