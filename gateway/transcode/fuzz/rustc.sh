#!/usr/bin/env bash
# Cargo's wrapper around rustc: coverage counters go into the transcoder alone. What prost-reflect and the targets do would
# only lead the fuzzer astray, and its maps, seeded anew in each process, would make no two runs the same.
set -euo pipefail
if [ "${CARGO_PKG_NAME:-}" = transcode ] && [[ " $* " == *" --crate-name transcode "* ]]; then
  exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
fi
exec "$@"
