# Programs of every kind run unharmed under a generous budget: same output, account back to
# zero, and never charged less than the kernel counts.
load lib.bash

setup_account() {
	broker_start 'pool { limit = 16G }
account "all" { limit = 8G users = {"*"} }'
}

# unharmed COMMAND...: same exit status and output under Solvent as without.
unharmed() {
	"$@" >"$work/plain" 2>&1
	local plain=$?
	./solvent run --account all -- "$@" >"$work/under" 2>&1
	local under=$?
	[ $plain = $under ] || { echo "exit $plain without, $under with"; cat "$work/under"; return 1; }
	cmp "$work/plain" "$work/under" || { diff "$work/plain" "$work/under" | head; return 1; }
	wait_for account_is_empty all
	[ "$(account_field all refusals)" = 0 ]
}

# served COMMAND... -- CHECK...: a server under Solvent, audited while it serves.
audited() {
	./solvent audit || { ./solvent audit --json; return 1; }
}

@test "python3" {
	setup_account
	unharmed python3 -c '
import threading, subprocess, mmap, json
m = mmap.mmap(-1, 1 << 24); m[5] = 7
ts = [threading.Thread(target=lambda: sum(range(10**5))) for _ in range(8)]
[t.start() for t in ts]; [t.join() for t in ts]
print(subprocess.check_output(["echo", "child"]), m[5], len(json.dumps(list(range(10**5)))))'
	broker_end
}

@test "gcc compiles a real file" {
	setup_account
	unharmed gcc -O2 -mcx16 -D_GNU_SOURCE -I. -c -o "$work/o" reserve/transfer.c
	broker_end
}

@test "sqlite3" {
	setup_account
	unharmed sqlite3 :memory: "create table t(a, b); with recursive c(x) as (select 1 union all select x + 1 from c
where x < 200000) insert into t select x, hex(x * x) from c; select count(*), sum(length(b)) from t;
select b from t order by b desc limit 3;"
	broker_end
}

@test "xz" {
	setup_account
	head -c 8000000 ./solvent >"$work/in"
	unharmed sh -c "xz -9 -T2 -c $work/in | xz -dc | sha256sum"
	broker_end
}

@test "bash pipelines" {
	setup_account
	unharmed bash -c 'for i in $(seq 50); do echo $i | (read x; echo $((x * 2))) | cat; done; { sleep 0.1 & wait; }; ls / | sort | wc -l'
	broker_end
}

@test "node" {
	command -v node >/dev/null || skip "node is not installed"
	setup_account
	unharmed node -e 'const a = []; for (let i = 0; i < 200000; i++) a.push({ i, s: "x".repeat(i % 50) }); console.log(a.length, new Set(a.map(o => o.s)).size)'
	broker_end
}

@test "OpenJDK with -Xmx64m" {
	command -v java >/dev/null || skip "java is not installed"
	setup_account
	cat >"$work/T.java" <<-'JAVA'
		import java.util.*;
		class T { public static void main(String[] a) throws Exception {
			Map<Integer, byte[]> m = new HashMap<>();
			for (int i = 0; i < 200000; i++) m.put(i % 1000, new byte[1024]);
			Thread[] t = new Thread[8];
			for (int i = 0; i < 8; i++) (t[i] = new Thread(() -> new byte[100000].clone())).start();
			for (Thread x : t) x.join();
			System.out.println(m.size());
		} }
	JAVA
	if command -v javac >/dev/null; then
		javac -d "$work" "$work/T.java"
		unharmed java -Xmx64m -cp "$work" T
	else
		unharmed java -Xmx64m -version
	fi
	broker_end
}

@test "memcached" {
	setup_account
	id=$(id -un); [ "$id" != root ] || { id=nobody; chmod 777 "$work"; }
	./solvent run --account all -- memcached -u "$id" -s "$work/mc.sock" -a 777 -m 64 3>&- &
	started+=($!)
	wait_for test -S "$work/mc.sock"
	python3 - "$work/mc.sock" <<-'PY'
		import socket, sys
		s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile("rwb")
		for i in range(5000):
		    f.write(b"set k%d 0 0 1000\r\n%s\r\n" % (i, b"x" * 1000))
		    f.flush()
		    assert f.readline() == b"STORED\r\n"
	PY
	audited
	kill "${started[-1]}"
	wait_for account_is_empty all
	broker_end
}

# nginx_get N: asks for the file so often, and says how many bytes came in all.
nginx_get() {
	python3 -c '
import socket, sys
def get():
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    s.sendall(b"GET /file HTTP/1.0\r\n\r\n")
    head, _, body = b"".join(iter(lambda: s.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200", head
    return len(body)
print(sum(get() for _ in range(int(sys.argv[2]))))' "$work/nginx.sock" "$1"
}

@test "nginx" {
	setup_account
	mkdir -p "$work/www" "$work/logs"
	head -c 3000000 ./solvent >"$work/www/file"
	chmod -R a+rX "$work"
	cat >"$work/nginx.conf" <<-CONF
		$([ "$(id -u)" = 0 ] && echo "user root;")
		worker_processes 2; daemon off; pid $work/nginx.pid; error_log $work/logs/error.log;
		events { worker_connections 64; }
		http { access_log off; client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f;
		uwsgi_temp_path $work/u; scgi_temp_path $work/s;
		server { listen unix:$work/nginx.sock; root $work/www; } }
	CONF
	./solvent run --account all -- nginx -c "$work/nginx.conf" -p "$work" 3>&- &
	started+=($!)
	wait_for nginx_get 1
	[ "$(nginx_get 30)" = $((30 * $(stat -c %s "$work/www/file"))) ]
	audited
	kill "$(cat "$work/nginx.pid")"
	wait_for account_is_empty all
	broker_end
}

@test "MariaDB" {
	command -v mariadbd >/dev/null || skip "mariadb is not installed"
	setup_account
	user=$(id -un); [ "$user" != root ] || { user=mysql; chown mysql "$work"; }
	as_user "$user" mariadb-install-db --no-defaults --datadir="$work/my" --auth-root-authentication-method=normal >"$work/install.log" 2>&1
	as_user "$user" ./solvent run --account all -- mariadbd --no-defaults --datadir="$work/my" --skip-networking \
		--socket="$work/my.sock" --pid-file="$work/my.pid" >"$work/my.log" 2>&1 3>&- &
	started+=($!)
	wait_for mariadb --no-defaults -uroot -S "$work/my.sock" -e 'select 1'
	[ "$(mariadb --no-defaults -uroot -S "$work/my.sock" -Ne 'create database d; use d; create table t (a int primary key, b text);
insert into t select seq, repeat("x", 200) from seq_1_to_50000; select count(*), sum(length(b)) from t')" = $'50000\t10000000' ]
	audited
	mariadb-admin --no-defaults -uroot -S "$work/my.sock" shutdown
	wait_for account_is_empty all
	broker_end
}
