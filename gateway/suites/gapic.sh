#!/usr/bin/env bash
# Google's own REST clients (cloud.google.com/go/retail, a Go module) against
# `mercat gateway` before a server of the same API that is made up: every method, with
# messages that are drawn. The request that reaches the server must be the one that the
# client was given, and the client must hand out what the server answered, or its
# failure with code, message and details.
#
#   gateway/suites/gapic.sh                  each method 20 times, answered and refused; always the same
#   gateway/suites/gapic.sh ROUNDS SEED      others
#
# MERCAT names the built program under test; without it, cargo builds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

mkdir -p "$root/target/tools/bin"
(cd "$root/gateway/suites/gapic" && go build -o "$root/target/tools/bin/gapic" .)
if [ -z "${MERCAT-}" ]; then
  (cd "$root" && cargo build -q -p mesh --bin mercat)
  MERCAT=$root/target/debug/mercat
fi
timeout 300 "$root/target/tools/bin/gapic" -mercat "$MERCAT" -rounds "${1:-20}" -seed "${2:-1}"
