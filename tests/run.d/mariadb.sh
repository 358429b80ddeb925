# shellcheck shell=bash
# Read by tests/run: the MariaDB server of the tests. Leaves SLUICEGATE_TEST_MYSQL in the environment.
# Uses `dir`, `say`, `die` and `get_package` of tests/run, and the certificates of tests/run.d/postgres.sh where it made some.

mariadb=''  # the process of the server

# The folders where a system keeps servers.
find_mariadb() {
  PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/opt/mariadb/bin"
  command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null
}

# Starts the server on a port that was free a moment ago, and on another when somebody else was faster.
start_mariadb() {
  local port attempt tries me data=$dir/mariadb tls=()
  me=$(id -un)
  if [ -f "$dir/server.key" ]; then
    cp "$dir/ca.crt" "$dir/server.crt" "$dir/server.key" "$data/"
    tls=(--ssl-ca="$data/ca.crt" --ssl-cert="$data/server.crt" --ssl-key="$data/server.key")
  fi
  for attempt in 1 2 3 4 5 6 7 8; do
    port=$((15000 + RANDOM % 15000))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue; fi
    mariadbd --no-defaults --user="$me" --datadir="$data/data" --bind-address=127.0.0.1 --port="$port" --socket="$data/s" --pid-file="$data/pid" \
      --skip-name-resolve --innodb-flush-log-at-trx-commit=0 --innodb-buffer-pool-size=64M --max-allowed-packet=64M \
      ${tls[@]+"${tls[@]}"} >"$data/log" 2>&1 </dev/null &
    mariadb=$!
    for tries in $(seq 300); do
      kill -0 "$mariadb" 2>/dev/null || break
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        export SLUICEGATE_TEST_MYSQL="mysql://root@127.0.0.1:$port"
        return
      fi
      sleep 0.1
    done
    close_mariadb
  done
  cat "$data/log" >&2 || true
  die "MariaDB did not start after $attempt attempts ($tries looks at the last); its log stands above."
}

# Uses the server that is named, else makes one.
open_mariadb() {
  if [ -n "${SLUICEGATE_TEST_MYSQL:-}" ]; then
    say "using the server of SLUICEGATE_TEST_MYSQL"
    return
  fi
  find_mariadb || { get_package mariadb-server SLUICEGATE_TEST_MYSQL && find_mariadb; } || die "found no MariaDB."
  mkdir "$dir/mariadb"
  mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$dir/mariadb/data" --auth-root-authentication-method=normal --skip-test-db \
    >"$dir/mariadb.log" 2>&1 </dev/null || { cat "$dir/mariadb.log" >&2; die "mariadb-install-db failed; its output stands above."; }
  start_mariadb
  say "started $(mariadbd --version | sed 's/ for .*//'): $SLUICEGATE_TEST_MYSQL (stopped and removed at the end)"
}

# Stops the server that was started here.
close_mariadb() {
  [ -n "$mariadb" ] || return 0
  stop_process "$mariadb"
  mariadb=''
}
