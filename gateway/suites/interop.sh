#!/usr/bin/env bash
# The gRPC interop client (google.golang.org/grpc/interop/client, a Go module)
# against a server by itself, and against the same server behind the gateway.
#
#   gateway/suites/interop.sh            every case
#   gateway/suites/interop.sh CASE...    these cases
#
# Fails if a case passes by itself and not through the gateway, and if one fails by
# itself: then the server is wrong.
# INTEROP_CLIENT names the program; without it, it is installed.
# INTEROP_SERVER names the built server; without it, cargo builds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

cases=("$@")
if [ $# = 0 ]; then
  # The others need credentials of a cloud, several servers or load reports (ORCA).
  cases=(empty_unary large_unary client_streaming server_streaming ping_pong empty_stream
    cancel_after_begin cancel_after_first_response timeout_on_sleeping_server custom_metadata
    status_code_and_message special_status_message unimplemented_method unimplemented_service)
fi
if [ -z "${INTEROP_CLIENT-}" ]; then
  INTEROP_CLIENT=$root/target/tools/interop/client
  [ -x "$INTEROP_CLIENT" ] || GOBIN=$root/target/tools/interop go install google.golang.org/grpc/interop/client@v1.85.0
fi
if [ -z "${INTEROP_SERVER-}" ]; then
  (cd "$root" && cargo build -q -p suites --bin interop)
  INTEROP_SERVER=$root/target/debug/interop
fi

coproc SERVER { exec timeout 300 "$INTEROP_SERVER"; }
read -r -t 60 direct gateway <&"${SERVER[0]}"

failed=0
for case in "${cases[@]}"; do
  for way in direct gateway; do
    if said=$(timeout 30 "$INTEROP_CLIENT" -server_host 127.0.0.1 -server_port "${!way}" -test_case "$case" 2>&1); then
      echo "passed  $way  $case"
    else
      echo "FAILED  $way  $case"
      echo "$said" | sed 's/^/        /'
      failed=1
    fi
  done
done
input=${SERVER[1]}
server=$SERVER_PID
exec {input}>&-
wait "$server" || failed=1
exit "$failed"
