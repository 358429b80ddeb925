# shellcheck shell=bash
# Read by tests/run: the PostgreSQL server of the tests. Leaves SLUICEGATE_TEST_POSTGRES and …_CA in the environment.
# Uses `dir`, `say`, `die` and `get_package` of tests/run.

bin=''    # the folder of initdb and pg_ctl
user=''   # who runs the server, when root must not

# Runs a command as the user that owns the server, from a folder that this user can read.
as_server() {
  (
    cd "$dir"
    if [ -z "$user" ]; then
      "$@"
    elif command -v setpriv >/dev/null; then
      setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@"
    elif command -v runuser >/dev/null; then
      runuser -u "$user" -- "$@"
    else
      su -s /bin/sh "$user" -c "$(printf '%q ' "$@")"
    fi
  ) </dev/null
}

# The folder of the newest PostgreSQL of version 13 or above, into `bin`.
find_postgres() {
  local best=12 place major
  for place in "$(dirname "$(command -v initdb || echo /none/initdb)")" /usr/lib/postgresql/*/bin /usr/local/bin /opt/homebrew/opt/postgresql*/bin; do
    [ -x "$place/initdb" ] && [ -x "$place/pg_ctl" ] && [ -x "$place/postgres" ] || continue
    major=$("$place/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
    if [ "$major" -gt "$best" ]; then best=$major bin=$place; fi
  done
  [ -n "$bin" ]
}

# A CA and a certificate that it signed for 127.0.0.1 and localhost, good for the time of a run.
make_certificates() {
  cat >"$dir/tls.cnf" <<'CNF'
[req]
distinguished_name = name
prompt = no
[name]
CN = Sluicegate tests
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
CNF
  (
    cd "$dir"
    openssl ecparam -name prime256v1 -genkey -noout -out ca.key
    openssl ecparam -name prime256v1 -genkey -noout -out server.key
    openssl req -x509 -new -key ca.key -sha256 -days 2 -config tls.cnf -extensions ca -subj '/CN=Sluicegate tests CA' -out ca.crt
    openssl req -new -key server.key -sha256 -config tls.cnf -subj '/CN=localhost' -out server.csr
    openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -sha256 -days 2 -extfile tls.cnf -extensions server -out server.crt
    chmod 600 ca.key server.key
  ) >"$dir/openssl.log" 2>&1 </dev/null || { cat "$dir/openssl.log" >&2; die "openssl could not make the certificates for the TLS tests."; }
}

# Starts the server on a port that was free a moment ago, and on another when somebody else was faster.
start_server() {
  local port attempt sockets=$dir
  # The path of a socket may have about 100 characters; behind a long TMPDIR the server does without one.
  [ "${#dir}" -le 80 ] || sockets=''
  for attempt in 1 2 3 4 5 6 7 8; do
    # Below the range from which systems take the ports of outgoing connections.
    port=$((15000 + RANDOM % 15000))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue; fi
    cat >"$dir/data/postgresql.auto.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$sockets'
max_connections = 100
fsync = off
synchronous_commit = off
full_page_writes = off
timezone = 'UTC'
ssl = on
ssl_cert_file = '$dir/server.crt'
ssl_key_file = '$dir/server.key'
CONF
    if as_server "$bin/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 start >/dev/null 2>&1; then
      export SLUICEGATE_TEST_POSTGRES="postgres://postgres@127.0.0.1:$port/postgres"
      export SLUICEGATE_TEST_POSTGRES_CA="$dir/ca.crt"
      return
    fi
  done
  cat "$dir/server.log" >&2 || true
  die "PostgreSQL did not start after $attempt attempts; its log stands above."
}

# Uses the server that is named, else makes one. Sets `server`, a word for the end.
open_postgres() {
  if [ -n "${SLUICEGATE_TEST_POSTGRES:-}" ]; then
    server='the server of SLUICEGATE_TEST_POSTGRES'
    say "using $server"
    return
  fi
  find_postgres || { get_package postgresql SLUICEGATE_TEST_POSTGRES && find_postgres; } || die "found no PostgreSQL of version 13 or newer."
  command -v openssl >/dev/null || get_package openssl SLUICEGATE_TEST_POSTGRES
  if [ "$(id -u)" = 0 ]; then
    user=nobody
    if id postgres >/dev/null 2>&1; then user=postgres; fi
  fi
  server=$("$bin/postgres" --version)
  make_certificates
  if [ -n "$user" ]; then chown -R "$user" "$dir"; fi
  as_server "$bin/initdb" -D "$dir/data" --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 ||
    { cat "$dir/initdb.log" >&2; die "initdb failed; its output stands above."; }
  start_server
  say "started $server${user:+ as $user}: $SLUICEGATE_TEST_POSTGRES (TLS on; stopped and removed at the end)"
}

# Stops the server that was started here.
close_postgres() {
  [ -f "$dir/data/postmaster.pid" ] || return 0
  as_server "$bin/pg_ctl" -D "$dir/data" -w -m immediate stop >/dev/null 2>&1 || say "the server in $dir/data did not stop"
}
