#!/usr/bin/env bash
# /openapi.json of the whole mesh before tools that know nothing else of it: Spectral
# (npm) lints it by OpenAPI's rules and OWASP's, and schemathesis (PyPI) calls the
# gateway with what the document allows and with what it forbids.
#
#   gateway/suites/openapi.sh                  both, always the same requests: every bound of every value,
#                                              and fifteen drawn ones of each kind for each operation
#   gateway/suites/openapi.sh SEED SECONDS     schemathesis alone, with ones that are drawn and chained from
#                                              answers for so long: who looks for more, since no two runs are alike
#
# Fails on all that openapi/spectral.yaml and openapi/hooks.py do not explain.
# MERCAT names the built program under test; without it, cargo builds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
suite=$root/gateway/suites/openapi
tools=$root/target/tools/openapi

mkdir -p "$tools"
# Spectral looks for rulesets of others beside its own.
cp "$suite/package.json" "$suite/spectral.yaml" "$tools"
(cd "$tools" && npm install --no-audit --no-fund --no-package-lock --silent)
[ -x "$tools/python/bin/schemathesis" ] || python3 -m venv "$tools/python"
"$tools/python/bin/pip" install --quiet --disable-pip-version-check -r "$suite/requirements.txt"
if [ -z "${MERCAT-}" ]; then
  (cd "$root" && cargo build -q -p mesh --bin mercat)
  MERCAT=$root/target/debug/mercat
fi
MERCAT=$(realpath "$MERCAT")

scratch=$(mktemp -d)
mesh=
lint=
cleanup() {
  if [ -n "$lint" ]; then kill "$lint" 2>/dev/null || true; fi
  if [ -n "$mesh" ]; then kill "$mesh" 2>/dev/null || true; wait "$mesh" 2>/dev/null || true; fi
  rm -rf "$scratch"
}
trap cleanup EXIT

timeout 900 "$MERCAT" up --data "$scratch/data" --listen 127.0.0.1:0 --ports 0 --admin 127.0.0.1:0 >"$scratch/up.log" 2>&1 &
mesh=$!
for _ in $(seq 300); do
  grep -q 'Ctrl-C stops it' "$scratch/up.log" && break
  kill -0 "$mesh" 2>/dev/null || break
  sleep 0.1
done
if ! grep -q 'Ctrl-C stops it' "$scratch/up.log"; then cat "$scratch/up.log" >&2; exit 1; fi
MERCAT_URL=$(sed -n 's|.*REST, gRPC.*\(http://\)|\1|p' "$scratch/up.log")
export MERCAT_URL
curl -sSf "$MERCAT_URL/openapi.json" -o "$scratch/openapi.json"
MERCAT_PASSWORD=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["password"])' "$scratch/data/admin.json")
export MERCAT_PASSWORD

if [ $# = 0 ]; then
  (cd "$tools" && timeout 300 node_modules/.bin/spectral lint --quiet --ruleset spectral.yaml --fail-severity=hint \
    "$scratch/openapi.json") >"$scratch/lint.log" 2>&1 &
  lint=$!
fi

# It leaves files where it stands.
mkdir "$scratch/run"
cp "$suite/hooks.py" "$suite/schemathesis.toml" "$scratch/run"
if [ $# = 0 ]; then
  # The seed is in schemathesis.toml. Of answers, which have new ids in every run,
  # nothing goes into a request.
  printf '[phases.fuzzing]\nextra-data-sources.responses = false\nerror-feedback.enabled = false\n' >>"$scratch/run/schemathesis.toml"
  chosen=(--phases coverage,fuzzing --max-examples 15)
else
  chosen=(--seed "$1" --max-time "$2")
fi
ended=0
(cd "$scratch/run" && PYTHONPATH=. timeout 600 "$tools/python/bin/schemathesis" --config-file schemathesis.toml \
  run "$MERCAT_URL/openapi.json" --no-color --warnings off "${chosen[@]}") || ended=$?

if [ -n "$lint" ]; then
  wait "$lint" && echo "Spectral finds nothing." || { cat "$scratch/lint.log"; ended=1; }
  lint=
fi
exit "$ended"
