# Never under: real programs at work, audited at ten moments each. Every member's charge is
# set beside the kernel's own count of it (solvent audit), and at the end all is back.
load lib.bash

setup_account() {
	broker_start 'pool { limit = 16G }
account "all" { limit = 12G users = {"*"} }'
}

# begin COMMAND...: a server in the account, ended by teardown if not before; sets $server.
begin() {
	./solvent run --account all --no-summary -- "$@" >"$work/server.log" 2>&1 3>&- &
	server=$!
	started+=("$server")
}

# moments COMMAND...: ten audits while the command runs, which must run that long.
moments() {
	local i load
	"$@" >"$work/load.log" 2>&1 3>&- &
	load=$!
	started+=("$load")
	for i in $(seq 10); do
		sleep 0.4
		kill -0 "$load" 2>/dev/null || { echo "the load ended before moment $i"; tail "$work/load.log"; return 1; }
		./solvent audit >"$work/audit" || { echo "moment $i"; grep -A 1 UNDER "$work/audit"; return 1; }
		[ "$(wc -l <"$work/audit")" -gt 1 ] || { echo "moment $i: nobody was audited"; return 1; }
	done
	kill "$load" 2>/dev/null || true
	wait "$load" 2>/dev/null || true
}

# in_account COMMAND...: the load itself is what is audited; instead of this shell, so that the pid is its.
in_account() { exec ./solvent run --account all --no-summary -- "$@"; }

# All that is in the account ends, whoever started it.
ended() {
	members_end
	wait_for account_is_empty all
	broker_end
}

again() { while "$@"; do :; done; }

@test "PostgreSQL under pgbench" {
	local bin user=$(id -un)
	bin=$(echo /usr/lib/postgresql/*/bin | awk '{ print $NF }')
	[ "$user" != root ] || { user=postgres; chown postgres "$work"; }
	setup_account
	as_user "$user" "$bin/initdb" -D "$work/data" -A trust -U pg >/dev/null
	printf "listen_addresses = ''\nunix_socket_directories = '%s'\nautovacuum_naptime = 1\n" "$work" >>"$work/data/postgresql.conf"
	as_user "$user" ./solvent run --account all --no-summary -- "$bin/postgres" -D "$work/data" >"$work/server.log" 2>&1 3>&- &
	server=$!
	started+=("$server")
	wait_for psql -h "$work" -U pg -d postgres -c 'select 1'
	"$bin/pgbench" -h "$work" -U pg -i -s 2 -q postgres >/dev/null 2>&1
	moments "$bin/pgbench" -h "$work" -U pg -c 6 -j 2 -T 30 postgres
	moments "$bin/pgbench" -h "$work" -U pg -C -c 2 -T 30 -S postgres
	# Killed, it would leave a SysV segment behind, which is charged for as long as it exists.
	kill -INT "$(head -n 1 "$work/data/postmaster.pid")"
	wait_for account_is_empty all
	ended
}

@test "Redis under redis-benchmark, with BGSAVE" {
	setup_account
	begin redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --dir "$work"
	wait_for redis-cli -s "$work/redis.sock" ping
	saves() {
		redis-benchmark -s "$work/redis.sock" -n 100000000 -r 100000 -d 500 -P 8 -t set,lpush,get -q &
		local bench=$!
		trap 'kill $bench' TERM
		while kill -0 "$bench"; do
			redis-cli -s "$work/redis.sock" bgsave
			sleep 0.3
		done
	}
	moments saves
	ended
}

@test "MariaDB under inserts" {
	local user=$(id -un)
	[ "$user" != root ] || { user=mysql; chown mysql "$work"; }
	setup_account
	as_user "$user" mariadb-install-db --no-defaults --datadir="$work/my" --auth-root-authentication-method=normal >/dev/null 2>&1
	as_user "$user" ./solvent run --account all --no-summary -- mariadbd --no-defaults --datadir="$work/my" --skip-networking \
		--socket="$work/my.sock" --pid-file="$work/my.pid" >"$work/server.log" 2>&1 3>&- &
	server=$!
	started+=("$server")
	sql() { mariadb --no-defaults -uroot -S "$work/my.sock" "$@"; }
	wait_for sql -e 'select 1'
	sql -e 'create database d; create table d.t (a int auto_increment primary key, b text)'
	moments again sql d -e 'insert into t (b) select repeat("x", 500) from seq_1_to_5000; select b from t order by b, a limit 10'
	ended
}

@test "memcached under stores" {
	id=$(id -un); [ "$id" != root ] || { id=nobody; chmod 777 "$work"; }
	setup_account
	begin memcached -u "$id" -s "$work/mc.sock" -a 777 -m 64
	wait_for test -S "$work/mc.sock"
	moments python3 -c '
import socket, sys
while True:
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rwb")
    for i in range(2000):
        f.write(b"set k%d 0 0 3000\r\n%s\r\n" % (i * 7919 % 50000, b"x" * 3000)); f.flush()
        assert f.readline() == b"STORED\r\n"' "$work/mc.sock"
	ended
}

@test "nginx under requests" {
	mkdir -p "$work/www" "$work/logs"
	head -c 3000000 ./solvent >"$work/www/file"
	chmod -R a+rX "$work"
	cat >"$work/nginx.conf" <<-CONF
		$([ "$(id -u)" = 0 ] && echo "user root;")
		worker_processes 2; daemon off; pid $work/nginx.pid; error_log $work/logs/error.log;
		events { worker_connections 64; }
		http { access_log off; gzip on; gzip_types *; client_body_temp_path $work/b; proxy_temp_path $work/p;
		fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
		server { listen unix:$work/nginx.sock; root $work/www; } }
	CONF
	setup_account
	begin nginx -c "$work/nginx.conf" -p "$work"
	wait_for test -S "$work/nginx.sock"
	moments python3 -c '
import socket, sys
while True:
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    s.sendall(b"GET /file HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    assert s.recv(12).endswith(b" 200")
    while s.recv(65536): pass' "$work/nginx.sock"
	ended
}

@test "OpenJDK, with threads and garbage" {
	cat >"$work/T.java" <<-'JAVA'
		import java.util.*;
		class T { public static void main(String[] a) throws Exception {
			for (;;) {
				Thread[] t = new Thread[6];
				for (int i = 0; i < 6; i++) (t[i] = new Thread(() -> {
					List<byte[]> l = new ArrayList<>();
					for (int k = 0; k < 2000; k++) { l.add(new byte[8192]); if (k % 500 == 0) l.clear(); }
				})).start();
				for (Thread x : t) x.join();
			}
		} }
	JAVA
	command -v javac >/dev/null || skip "javac is not installed"
	javac -d "$work" "$work/T.java"
	setup_account
	moments in_account java -Xmx128m -cp "$work" T
	ended
}

@test "node" {
	setup_account
	moments in_account node -e '
const { Worker, isMainThread } = require("worker_threads");
let kept = [];
setInterval(() => { kept = []; for (let i = 0; i < 100000; i++) kept.push({ i, s: "x".repeat(i % 100) }); }, 20);
setInterval(() => new Worker("let a = []; for (let i = 0; i < 1e5; i++) a.push([i])", { eval: true }), 200);'
	ended
}

@test "CPython's tests of mmap, fork, subprocess and multiprocessing" {
	python3 -c 'import test.test_mmap' 2>/dev/null || skip "libpython3.11-testsuite is not installed"
	setup_account
	cd "$work"
	tests() { cd "$work" && again "$OLDPWD/solvent" run --account all --no-summary -- python3 -m test -q test_mmap test_fork1 test_subprocess test_multiprocessing_fork; }
	cd "$OLDPWD"
	moments tests
	ended
}

@test "gcc builds this tree with make -j2" {
	setup_account
	mkdir "$work/tree"
	git ls-files | tar -cf - -T - | tar -xf - -C "$work/tree"
	moments in_account make -C "$work/tree" -j2 all
	ended
}
