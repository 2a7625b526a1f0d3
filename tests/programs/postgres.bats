# PostgreSQL as a group: the query that asks too much fails alone. And what happens today.
load lib.bash

bin=$(echo /usr/lib/postgresql/*/bin | awk '{ print $NF }')

setup_file() { :; }

pg_user() { # a server refuses to run as root
	if [ "$(id -u)" = 0 ]; then echo postgres; else id -un; fi
}

pg_init() {
	[ "$(id -u)" != 0 ] || chown postgres "$work"
	data=$work/data
	as_user "$(pg_user)" "$bin/initdb" -D "$data" -A trust -U pg >"$work/initdb.log" 2>&1
	cat >>"$data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$work'
		shared_buffers = 64MB
		max_parallel_workers_per_gather = 0
		max_connections = 20
		work_mem = 2GB
		hash_mem_multiplier = 1.0
		log_min_messages = warning
		autovacuum = off
	CONF
}

psql_() { psql -h "$work" -U pg -d postgres -v ON_ERROR_STOP=0 -At "$@"; }

pg_ready() { wait_for psql_ -c 'select 1'; }

# One session sorts more than the group may have, then goes on; another waits beside it.
hungry='
\set VERBOSITY verbose
set client_min_messages = error;
select 1 as before;
select count(*) from (select g, repeat(md5(g::text), 8) as t from generate_series(1, 3000000) g order by t desc, g) s;
select 42 as after;
'

sessions_run() { # SECONDS that the other one sleeps, if it may
	psql_ -c "select pg_sleep($1)" -c "select 'the other session is well'" >"$work/other" 2>&1 3>&- &
	other=$!
	sleep 0.5
	psql_ -f <(echo "$hungry") >"$work/hungry" 2>&1 || true
	wait "$other" || true
	echo "--- hungry"; cat "$work/hungry"; echo "--- other"; cat "$work/other"
}

@test "under one account of 300M the statement fails with 53200, the session and the others go on" {
	pg_init
	broker_start 'pool { limit = 4G }
account "pg" { limit = 300M users = {"*"} }'
	as_user "$(pg_user)" ./solvent run --account pg -- "$bin/postgres" -D "$data" >"$work/pg.log" 2>&1 3>&- &
	started+=($!)
	pg_ready
	sessions_run 8
	grep -q 'ERROR:  53200: out of memory' "$work/hungry"
	grep -qx 42 "$work/hungry"
	grep -qx 'the other session is well' "$work/other"
	./solvent audit
	[ "$(account_field pg refusals)" -ge 1 ]
	as_user "$(pg_user)" "$bin/pg_ctl" -D "$data" stop -m fast >/dev/null
	wait_for account_is_empty pg
	broker_end
}

@test "in a cgroup of 300M without Solvent every session is lost" {
	cgroup_make $((300 << 20))
	pg_init
	[ "$(id -u)" = 0 ] || skip "needs root"
	cgroup_run "$cgroup" setpriv --reuid postgres --regid postgres --init-groups -- "$bin/postgres" -D "$data" \
		>"$work/pg.log" 2>&1 3>&- &
	server=$!
	started+=("$server")
	pg_ready
	sessions_run 60
	says_no 'the other session is well' "$work/other"
	grep -q 'terminated by signal 9' "$work/pg.log"
	kill -QUIT "$server" || true
	wait "$server" || true
}
