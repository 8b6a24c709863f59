"""Does every gateway give the right answer? A fast wrong one is no peer."""

import http.client
import json
import subprocess

from gateways import BACKEND, MADE

GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
DATA = MADE / "data"


def call(port, method, path, body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def grpc(port, method, frame):
    """The body of a gRPC answer, and its head and trailers as text. By curl, since Python speaks no HTTP/2."""
    answer = subprocess.run(
        ["curl", "-s", "-m", "10", "--http2-prior-knowledge", *GRPC, "-D", DATA / "head.txt",
         "--data-binary", f"@{DATA / frame}", f"http://127.0.0.1:{port}/catalog.v1.Catalog/{method}"],
        capture_output=True, check=False,
    )
    return answer.stdout, (DATA / "head.txt").read_text(errors="replace").lower()


def meaning(value):
    """JSON without what has its default: whether that is printed is free (ProtoJSON), and Envoy, grpc-gateway and
    vanguard do."""
    if isinstance(value, dict):
        return {key: meaning(member) for key, member in value.items() if member not in (False, 0, "", [])}
    if isinstance(value, list):
        return [meaning(item) for item in value]
    return value


def write_expected(gateway):
    """Keeps what a gateway answers as what the floors are to answer."""
    for name, path in [("get", "/v1/products/p-000007"), ("list", "/v1/products?page_size=50")]:
        status, body = call(gateway.port, "GET", path)
        assert status == 200, f"{gateway.name}: {path} is answered with {status}"
        (DATA / f"{name}.json").write_bytes(body)
    (DATA / "create.json").write_bytes((DATA / "get.json").read_bytes())


def problems(gateway):
    """What is wrong with the answers of a gateway, a line each."""
    found = []

    def check(what, right):
        if not right:
            found.append(f"{gateway.name}: {what}")

    wanted = {name: meaning(json.loads((DATA / f"{name}.json").read_bytes())) for name in ["get", "list"]}
    frames = {
        name: grpc(BACKEND, method, f"{name}.grpc")[0]
        for name, method in [("get", "GetProduct"), ("list", "ListProducts")]
    }
    headers = dict(gateway.headers)
    if "get" in gateway.does:
        status, body = call(gateway.port, "GET", "/v1/products/p-000007", headers=headers)
        check("get", status == 200 and meaning(json.loads(body)) == wanted["get"])
        status, body = call(gateway.port, "GET", "/v1/products?page_size=50", headers=headers)
        check("list", status == 200 and meaning(json.loads(body)) == wanted["list"])
        sent = (DATA / "create.json").read_bytes()
        kind = {"content-type": "application/json", **headers}
        status, body = call(gateway.port, "POST", "/v1/products", sent, kind)
        check("create", status in (200, 201) and meaning(json.loads(body)) == wanted["get"])
        if gateway.kind != "floor":
            status, _ = call(gateway.port, "GET", "/v1/products/nope", headers=headers)
            check(f"what is not there is answered with {status}", status == 404)
    if "web" in gateway.does:
        kind = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", **headers}
        sent = (DATA / "get.grpc").read_bytes()
        status, body = call(gateway.port, "POST", "/catalog.v1.Catalog/GetProduct", sent, kind)
        data, trailers = body[: len(frames["get"])], body[len(frames["get"]) :].lower()
        is_right = data == frames["get"] and trailers[:1] == b"\x80"
        is_right &= b"grpc-status:0" in trailers.replace(b" ", b"")
        check("gRPC-Web", status == 200 and is_right)
    if "grpc" in gateway.does and not headers:
        for name, method in [("get", "GetProduct"), ("list", "ListProducts")]:
            body, head = grpc(gateway.port, method, f"{name}.grpc")
            check(f"gRPC {method}", body == frames[name] and "grpc-status: 0" in head)
    return found
