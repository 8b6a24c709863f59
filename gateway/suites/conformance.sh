#!/usr/bin/env bash
# connectconformance (connectrpc.com/conformance, a Go module) against the gateway.
#
#   gateway/suites/conformance.sh                     every case, through the gateway
#   gateway/suites/conformance.sh direct              the test server alone, without the gateway
#   gateway/suites/conformance.sh --run 'PATTERN' -v  one case, or those of a pattern
#
# A pattern is a name as the suite prints it, with `*` for one part and `**` for any
# number of them: 'Basic/**/unary/success'. Further flags go to connectconformance:
# `--trace` shows what went over the wire, `-v` names every case.
#
# Known failures stand in conformance/*.txt, each with its reason; the gateway has none.
# CONNECTCONFORMANCE names the program; without it, it is installed.
# CONFORMANCE_SERVER names the built server; without it, cargo builds it.
set -euo pipefail
suites=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$suites/../.." && pwd)

mode=gateway
if [ "${1-}" = direct ]; then mode=direct; shift; fi
if [ -z "${CONNECTCONFORMANCE-}" ]; then
  CONNECTCONFORMANCE=$root/target/tools/bin/connectconformance
  [ -x "$CONNECTCONFORMANCE" ] || GOBIN=$root/target/tools/bin go install connectrpc.com/conformance/cmd/connectconformance@v1.0.5
fi
if [ -z "${CONFORMANCE_SERVER-}" ]; then
  (cd "$root" && cargo build -q -p suites --bin conformance)
  CONFORMANCE_SERVER=$root/target/debug/conformance
fi
if [ "$mode" = gateway ]; then
  lists=(--known-flaky "@$suites/conformance/details.txt")
else
  lists=(--known-failing "@$suites/conformance/direct.txt")
fi

# The suite's own defaults are for more than two cores: cases with a deadline of two
# seconds would wait behind those that are work.
#
# Failures that are expected are not shown, but what details.txt lets pass must be
# the one complaint that it is about.
timeout 1200 "$CONNECTCONFORMANCE" --mode server --conf "$suites/conformance/$mode.yaml" --max-servers 2 --parallel 4 "${lists[@]}" "$@" \
  -- "$CONFORMANCE_SERVER" "$mode" 2>&1 |
  awk -v failing="$suites/conformance/$mode.txt" '
    BEGIN {
      while ((getline line < failing) > 0) {
        if (line ~ /^ *(#|$)/) continue
        gsub(/\./, "\\.", line); gsub(/[()]/, "\\\\&", line)
        gsub(/\*\*/, "\001", line); gsub(/\*/, "[^/]*", line); gsub(/\001/, ".*", line)
        known = known "|" line
      }
      known = "^(" substr(known, 2) ")$"
    }
    /^INFO: .* failed \(as expected\):$/ {
      expected = 1; name = substr($0, 7); sub(/ failed \(as expected\):$/, "", name); next
    }
    /^(FAILED|Total)/ { expected = 0 }
    !expected { print; next }
    name !~ known && /./ && $0 !~ /^\tactual error contain 1 details; expecting 0$/ { print "FAILED: " name ":"; print; bad = 1 }
    END { exit bad }'
