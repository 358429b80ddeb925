# shellcheck shell=bash
# Read by tests/run: the Python tools of tests/requirements.txt, and an emulator of AWS (MiniStack) for the tests. Leaves
# SLUICEGATE_TEST_TOOLS (the folder of the tools) and SLUICEGATE_TEST_AWS (the emulator's address) in the environment.
# Uses `dir`, `say`, `die` and `get_package` of tests/run.

emulator=''  # the process of the emulator
python=''    # a Python of version 3.11 or newer that can make virtual environments

find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python=$name
      return
    fi
  done
  return 1
}

# Installs what a file of pinned packages names: `install_python_tools FILE FOLDER`. Does nothing when the folder was
# installed from this very file.
install_python_tools() {
  local file=$1 tools=$2
  cmp -s "$file" "$tools/requirements.txt" && return
  find_python || { get_package python3-venv SLUICEGATE_TEST_AWS && find_python; } ||
    die "found no Python of version 3.11 or newer with venv and pip: the tests' tools need it ($file)."
  say "installing the tools of $file into $tools"
  rm -rf -- "$tools"
  mkdir -p -- "$(dirname "$tools")"
  # Only what the file names, with the content it names.
  if ! { "$python" -m venv "$tools" && "$tools/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r "$file"; } >"$dir/tools.log" 2>&1 </dev/null; then
    cat "$dir/tools.log" >&2
    rm -rf -- "$tools"
    die "the tools could not be installed; pip's output stands above."
  fi
  cp "$file" "$tools/requirements.txt"
}

# The tools that the tests call, and the folder of them.
install_tools() {
  local tools=${CARGO_TARGET_DIR:-target}/tools
  install_python_tools tests/requirements.txt "$tools"
  SLUICEGATE_TEST_TOOLS=$(cd "$tools/bin" && pwd)
  export SLUICEGATE_TEST_TOOLS PATH="$SLUICEGATE_TEST_TOOLS:$PATH"
}

# True when the emulator says that it is ready.
is_healthy() {
  "$SLUICEGATE_TEST_TOOLS/python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1] + "/_ministack/health", timeout=2).read()' "$1" >/dev/null 2>&1
}

# Starts the emulator on a port that was free a moment ago, and on another when somebody else was faster.
start_emulator() {
  local port attempt tries address
  mkdir "$dir/aws"
  for attempt in 1 2 3 4; do
    # Below the range from which systems take the ports of outgoing connections.
    port=$((15000 + RANDOM % 15000))
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue; fi
    address=http://127.0.0.1:$port
    # Functions that it starts inherit its environment, and with it the address. Its own folder for all that it writes.
    (
      cd "$dir/aws"
      exec env HOME="$dir/aws" TMPDIR="$dir/aws" BIND_HOST=127.0.0.1 GATEWAY_PORT="$port" AWS_ENDPOINT_URL="$address" AWS_REGION=eu-west-1 \
        AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test "$SLUICEGATE_TEST_TOOLS/ministack"
    ) >"$dir/aws.log" 2>&1 </dev/null &
    emulator=$!
    for tries in $(seq 300); do
      kill -0 "$emulator" 2>/dev/null || break
      if is_healthy "$address"; then
        export SLUICEGATE_TEST_AWS=$address
        return
      fi
      sleep 0.1
    done
    close_aws
  done
  cat "$dir/aws.log" >&2 || true
  die "the AWS emulator did not start after $attempt attempts ($tries looks at the last); its log stands above."
}

# Uses the emulator that is named, else starts one.
open_aws() {
  install_tools
  if [ -n "${SLUICEGATE_TEST_AWS:-}" ]; then
    say "using the AWS emulator of SLUICEGATE_TEST_AWS"
    return
  fi
  start_emulator
  say "started $("$SLUICEGATE_TEST_TOOLS/python" -m pip freeze --disable-pip-version-check 2>/dev/null | grep -i '^ministack=='): $SLUICEGATE_TEST_AWS (stopped at the end)"
}

# Stops the emulator that was started here.
close_aws() {
  [ -n "$emulator" ] || return 0
  stop_process "$emulator"
  emulator=''
}
