# redis-server with 150 MiB of data: BGSAVE forks, and the fork is charged up front.
load lib.bash

redis() { redis-cli -s "$work/redis.sock" "$@"; }

redis_start() { # under ./solvent run "$@"
	./solvent run "$@" -- redis-server --enable-debug-command yes --port 0 --unixsocket "$work/redis.sock" --save '' \
		--dir "$work" --logfile "$work/redis.log" --daemonize no 3>&- &
	server=$!
	started+=("$server")
	wait_for redis_is_ready
}

redis_is_ready() { redis info persistence | tr -d '\r' | grep -qx loading:0; }

redis_fill() { # MIB
	redis debug populate $(($1 * 1024)) key 1000 >/dev/null
}

@test "256M: BGSAVE is refused with an error and the server keeps serving" {
	redis_start --budget 256M
	redis_fill 150
	redis bgsave || true
	wait_for grep -q "fork: Cannot allocate memory" "$work/redis.log"
	[ "$(redis set after 1)" = OK ]
	[ "$(redis get after)" = 1 ]
	[ "$(redis dbsize)" -gt 100000 ]
	[[ $(redis info persistence) == *rdb_last_bgsave_status:err* ]]
	redis shutdown nosave || true
	wait "$server"
}

@test "600M: BGSAVE succeeds and the dump loads" {
	redis_start --budget 600M
	redis_fill 150
	keys=$(redis dbsize)
	redis bgsave
	wait_for bash -c "redis-cli -s $work/redis.sock info persistence | grep -q rdb_bgsave_in_progress:0"
	[[ $(redis info persistence) == *rdb_last_bgsave_status:ok* ]]
	redis shutdown nosave || true
	wait "$server"
	[ "$(stat -c %s "$work/dump.rdb")" -gt 1000 ]
	redis_start --budget 600M
	echo "$(redis dbsize) of $keys"; tail -n 8 "$work/redis.log"
	[ "$(redis dbsize)" = "$keys" ]
	redis shutdown nosave || true
}

stands_still() { [ "$(state_of "$1")" = T ]; }

@test "the broker is killed while redis-benchmark runs: no error, and the books are as before" {
	broker_start 'pool { limit = 4G }
account "redis" { limit = 1G users = {"*"} }'
	redis_start --account redis
	redis_fill 100
	redis-benchmark -s "$work/redis.sock" -n 400000 -c 20 -P 8 -d 200 -r 100000 -t set,get,lpush,hset -q \
		>"$work/benchmark" 2>&1 3>&- &
	client=$!
	started+=("$client")
	sleep 1
	kill -9 "$broker"
	sleep 1
	broker
	wait "$client"
	says_no 'error|refused|closed' "$work/benchmark"
	[ "$(account_field redis members)" = 1 ]
	# What the ledger says is what the process says of itself.
	./solvent audit
	# Redis frees what its clients left a second or two after they went: only while it stands still is before as after.
	kill -STOP "$server"
	wait_for stands_still "$server"
	used=$(account_field redis used_bytes)
	[ "$used" -ge $((100 << 20)) ]
	kill -9 "$broker"
	broker
	[ "$(account_field redis used_bytes)" = "$used" ]
	kill -CONT "$server"
	redis shutdown nosave || true
	wait_for account_is_empty redis
	broker_end
}

bgsave_is_over() { redis info persistence | tr -d '\r' | grep -qx rdb_bgsave_in_progress:0; }

credit_start() { # with fork = 20%
	broker_start 'pool { limit = 4G }
account "redis" { limit = 256M fork = 20% users = {"*"} }'
	redis_start --account redis
	redis_fill 150
}

@test "256M, fork = 20%: BGSAVE completes while little is written" {
	credit_start
	for i in $(seq 5); do
		redis bgsave
		redis debug populate 500 "few$i" 1000 >/dev/null
		wait_for bgsave_is_over
		[[ $(redis info persistence) == *rdb_last_bgsave_status:ok* ]]
	done
	redis shutdown nosave || true
	wait "$server"
	[ "$(stat -c %s "$work/dump.rdb")" -gt 1000 ]
	broker_end
}

# A slow save, so that what is written meanwhile is not over before it has begun.
@test "256M, fork = 20%: under a storm of writes the saving child ends, redis never" {
	credit_start
	redis config set rdb-key-save-delay 100 >/dev/null
	redis config set stop-writes-on-bgsave-error no >/dev/null
	for i in $(seq "${CREDIT_RUNS:-5}"); do
		redis bgsave >/dev/null
		for part in $(seq 0 15); do
			redis eval "for i = $part * 9600, $part * 9600 + 9599 do redis.call('set', 'key:' .. i, string.rep('y', 1000)) end" 0 \
				>/dev/null
		done
		wait_for bgsave_is_over
		[[ $(redis info persistence) == *rdb_last_bgsave_status:err* ]]
		[ "$(redis ping)" = PONG ]
		[ "$(grep -c "fork on credit" "$work/log")" -ge "$i" ]
	done
	kill -0 "$server"
	redis shutdown nosave || true
	wait "$server"
	broker_end
}
