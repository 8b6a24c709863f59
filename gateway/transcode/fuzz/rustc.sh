#!/usr/bin/env bash
# Cargo's wrapper around rustc: coverage counters go into the transcoder alone. What prost-reflect and the targets do would
# only lead the fuzzer astray, and its maps, seeded anew in each process, would make no two runs the same.
#
# Cargo makes a hash of the folder a part of every symbol's name, and by the names the compiler divides the code and orders
# the counters. So the transcoder is named the same wherever it stands.
set -euo pipefail
if [ "${CARGO_PKG_NAME:-}" = transcode ] && [[ " $* " == *" --crate-name transcode "* ]]; then
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
  arguments=()
  for argument in "$@"; do
    if [[ $argument == metadata=* ]]; then argument=metadata=transcode; fi
    arguments+=("$argument")
  done
  exec "${arguments[@]}" "--remap-path-prefix=$root=." -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
fi
exec "$@"
