# Accounts beside each other, and members that die.
load lib.bash

@test "one account leaks until it is refused; the other never hears a no within its guarantee" {
	broker_start 'pool { limit = 400M }
account "leaky" { limit = 400M users = {"*"} }
account "steady" { limit = 200M guarantee = 100M users = {"*"} }'
	./solvent run --account leaky -- python3 -c '
import mmap, time
kept = []
while True:
    try: kept.append(mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except OSError: time.sleep(0.001)' 3>&- &
	leaky=$!
	started+=("$leaky")
	wait_for bash -c '[ "$(./solvent status --json | python3 -c "import json,sys; print([a for a in json.load(sys.stdin)[\"accounts\"] if a[\"name\"] == \"leaky\"][0][\"refusals\"])")" -gt 10 ]'
	for i in $(seq 20); do
		./solvent run --account steady -- python3 -c '
import mmap
kept = [mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(60)]'
	done
	[ "$(account_field steady refusals)" = 0 ]
	[ "$(account_field leaky refusals)" -gt 10 ]
	kill -9 "$leaky"
	wait_for account_is_empty leaky
	wait_for account_is_empty steady
	broker_end
}

@test "2,000 members killed at random moments: the account is at 0 after the last death" {
	broker_start 'pool { limit = 8G }
account "storm" { limit = 2G users = {"*"} }'
	./solvent run --account storm -- "$BUILD/tests/programs/storm" 2000 >"$work/storm" &
	wait $!
	cat "$work/storm"
	wait_for account_is_empty storm
	broker_end
}
