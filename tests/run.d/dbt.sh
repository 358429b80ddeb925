# shellcheck shell=bash
# Read by tests/run: two versions of dbt for the tests. Leaves SLUICEGATE_TEST_DBT (their programs, with a colon between) in
# the environment. Uses `say` and `install_python_tools` of tests/run.

# Uses the programs that are named, else installs them.
open_dbt() {
  if [ -n "${SLUICEGATE_TEST_DBT:-}" ]; then
    say "using the dbt of SLUICEGATE_TEST_DBT"
    return
  fi
  local version tools programs=''
  for version in 1.9 1.11; do
    tools=${CARGO_TARGET_DIR:-target}/dbt-$version
    install_python_tools "tests/requirements-dbt-$version.txt" "$tools"
    programs=${programs:+$programs:}$(cd "$tools" && pwd)/bin/dbt
  done
  export SLUICEGATE_TEST_DBT=$programs
  say "installed dbt 1.9 and 1.11"
}
