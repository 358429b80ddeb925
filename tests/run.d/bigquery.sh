# shellcheck shell=bash
# Read by tests/run: an emulator of BigQuery for the tests. Leaves SLUICEGATE_TEST_BIGQUERY (its address) and
# SLUICEGATE_TEST_BIGQUERY_STORAGE (that of its Storage Read API) in the environment. Uses `dir`, `say`, `die` and `install_python_tools` of tests/run.

bigquery=''  # the process of the emulator

# Starts the emulator on ports that were free a moment ago, and on others when somebody else was faster.
start_bigquery() {
  local tools=$1 port storage attempt tries address version
  # The extension that the emulator loads, where DuckDB looks for it.
  version=$("$tools/bin/python" -c 'import duckdb; print("v" + duckdb.__version__)')
  mkdir -p "$dir/bigquery/.duckdb/extensions/$version/linux_amd64" "$dir/bigquery/.duckdb/extensions/$version/linux_arm64"
  for attempt in "$dir/bigquery/.duckdb/extensions/$version"/*; do
    cp "$tools"/lib/python*/site-packages/duckdb_extension_spatial/extensions/*/spatial.duckdb_extension "$attempt/"
  done
  for attempt in 1 2 3 4; do
    port=$((15000 + RANDOM % 15000))
    storage=$((port + 1))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || (exec 3<>"/dev/tcp/127.0.0.1/$storage") 2>/dev/null; then continue; fi
    address=http://127.0.0.1:$port
    (
      cd "$dir/bigquery"
      exec env HOME="$dir/bigquery" BQEMULATOR_ENABLE_FORMAT_EXTENSIONS=false "$tools/bin/bqemulator" start --rest-port "$port" --grpc-port "$storage" --log-level error
    ) >"$dir/bigquery.log" 2>&1 </dev/null &
    bigquery=$!
    for tries in $(seq 600); do
      kill -0 "$bigquery" 2>/dev/null || break
      if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        export SLUICEGATE_TEST_BIGQUERY=$address SLUICEGATE_TEST_BIGQUERY_STORAGE=http://127.0.0.1:$storage
        return
      fi
      sleep 0.1
    done
    close_bigquery
  done
  cat "$dir/bigquery.log" >&2 || true
  die "the BigQuery emulator did not start after $attempt attempts ($tries looks at the last); its log stands above."
}

# Uses the emulator that is named, else starts one.
open_bigquery() {
  if [ -n "${SLUICEGATE_TEST_BIGQUERY:-}" ] && [ -n "${SLUICEGATE_TEST_BIGQUERY_STORAGE:-}" ]; then
    say "using the BigQuery emulator of SLUICEGATE_TEST_BIGQUERY and SLUICEGATE_TEST_BIGQUERY_STORAGE"
    return
  fi
  local tools=${CARGO_TARGET_DIR:-target}/bigquery
  install_python_tools tests/requirements-bigquery.txt "$tools"
  start_bigquery "$(cd "$tools" && pwd)"
  say "started $("$tools/bin/python" -m pip freeze --disable-pip-version-check 2>/dev/null | grep -i '^bqemulator=='): $SLUICEGATE_TEST_BIGQUERY (stopped at the end)"
}

# Stops the emulator that was started here.
close_bigquery() {
  [ -n "$bigquery" ] || return 0
  stop_process "$bigquery"
  bigquery=''
}
