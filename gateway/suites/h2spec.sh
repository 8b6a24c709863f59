#!/usr/bin/env bash
# h2spec (github.com/summerwind/h2spec, a Go module) against the port of the
# gateway: its 146 cases of HTTP/2 and HPACK, in plain text and in TLS.
#
#   gateway/suites/h2spec.sh
#
# Fails if a case fails that h2spec.txt does not explain, or if fewer than 141 pass.
# H2SPEC names the program; without it, it is installed. MERCAT names the built
# program under test; without it, cargo builds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
passes_min=141

if [ -z "${H2SPEC-}" ]; then
  H2SPEC=$root/target/tools/bin/h2spec
  # The newest version that Go's module proxy has. It names none of what it needs.
  [ -x "$H2SPEC" ] || (cd "$root/gateway/suites/h2spec" && GOBIN=$root/target/tools/bin go install tool)
fi
if [ -z "${MERCAT-}" ]; then
  (cd "$root" && cargo build -q -p mesh --bin mercat)
  MERCAT=$root/target/debug/mercat
fi

scratch=$(mktemp -d)
mesh=
cleanup() {
  if [ -n "$mesh" ]; then kill "$mesh" 2>/dev/null || true; wait "$mesh" 2>/dev/null || true; fi
  rm -rf "$scratch"
}
trap cleanup EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
  -keyout "$scratch/tls.key" -out "$scratch/tls.crt" 2>/dev/null

run() { # name, flag of h2spec or nothing, settings...
  local name=$1 flag=$2 port
  shift 2
  timeout 300 "$MERCAT" up --data "$scratch/$name" --listen 127.0.0.1:0 --ports 0 --admin 127.0.0.1:0 "$@" >"$scratch/$name.log" 2>&1 &
  mesh=$!
  for _ in $(seq 600); do
    grep -q 'Ctrl-C stops it' "$scratch/$name.log" && break
    kill -0 "$mesh" 2>/dev/null || { cat "$scratch/$name.log"; exit 1; }
    sleep 0.1
  done
  port=$(sed -n 's|.*REST, gRPC.*://.*:||p' "$scratch/$name.log")
  # A list of products comes from a database: what h2spec sends behind the head of a
  # request is mostly there before the answer is.
  #
  # The exit code says that something failed; which, the report.
  timeout 250 "$H2SPEC" $flag -S -h 127.0.0.1 -p "$port" -P /v1/products -j "$scratch/$name.xml" >"$scratch/$name.txt" 2>&1 || true
  kill "$mesh"
  wait "$mesh" || true
  mesh=
  python3 - "$name" "$scratch/$name.xml" "$root/gateway/suites/h2spec.txt" "$passes_min" <<'PYTHON' || { cat "$scratch/$name.txt"; exit 1; }
import collections, sys, xml.etree.ElementTree as xml

name, report, listed, passes_min = sys.argv[1:]
lines = [line.split(maxsplit=1) for line in open(listed) if line.strip() and not line.startswith("#")]
explained = {case: reason.strip() for case, reason in lines}
numbers, passed, failed = collections.Counter(), 0, []
for case in xml.parse(report).iter("testcase"):
    section = case.get("package")
    numbers[section] += 1
    case_name = f"{section}/{numbers[section]}"
    if case.find("failure") is not None or case.find("error") is not None:
        failed.append((case_name, case.get("classname")))
    elif case.find("skipped") is None:
        passed += 1
print(f"{name}: {passed} of {sum(numbers.values())} passed")
for case_name, title in failed:
    print(f"  failed {case_name} ({title}): {explained.get(case_name, 'NOT EXPLAINED')}")
unexplained = [case_name for case_name, _ in failed if case_name not in explained]
sys.exit(1 if unexplained or passed < int(passes_min) else 0)
PYTHON
}

run plain ""
run tls "-t -k" \
  --set "connections.tls.certificate_file=$scratch/tls.crt" --set "connections.tls.key_file=$scratch/tls.key"
