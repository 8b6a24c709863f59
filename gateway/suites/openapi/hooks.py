"""What schemathesis cannot read in /openapi.json. Each exception has its reason.

MERCAT_URL names the gateway, MERCAT_PASSWORD is the administrator's.
"""

import os
import re
import uuid

import requests
import schemathesis

# How long a generated deadline must be to be kept, in seconds.
DEADLINE_MIN = 5
SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, None: 1}

# Reasons of the mesh itself for refusing a request that keeps its schema. Those of
# the services are rules about their things, by the reason in the contract.
REASONS = {
    # Currencies are the list of ISO 4217, and the sums of a request have one of them.
    "MONEY_INVALID",
    # A page token is what an answer gave, to the same caller for the same filter.
    "PAGE_TOKEN_INVALID",
    # Which fields may change is not said in the contract.
    "UPDATE_MASK_INVALID",
}
# An administrator who takes away their own rights can call nothing any more.
AGAINST_ONESELF = {"AccessService_UnassignRole", "UserService_SuspendUser"}
# Headers that mean the same to every operation are tried with one in so many.
HEADERS_OF_ALL = {"Prefer", "X-Request-Timeout", "If-None-Match"}
TRIED_WITH_ONE_IN = 8

_made = 0


# Once: a token is good for a quarter of an hour, and who signs in too often waits.
@schemathesis.auth(refresh_interval=840)
class Administrator:
    """Signs in as who may call everything."""

    user_id = None

    def get(self, case, context):
        login = requests.post(
            os.environ["MERCAT_URL"] + "/v1/auth:login",
            json={"email": "admin@example.com", "password": os.environ["MERCAT_PASSWORD"]},
            timeout=10,
        )
        login.raise_for_status()
        Administrator.user_id = login.json()["user"]["userId"]
        return login.json()["tokens"]["accessToken"]

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


# --- requests ---


@schemathesis.hook
def before_load_schema(context, raw_schema):
    methods = [method for path in raw_schema["paths"].values() for method in path.values()]
    for number, operation in enumerate(methods):
        if number % TRIED_WITH_ONE_IN:
            operation["parameters"] = [
                parameter
                for parameter in operation["parameters"]
                if parameter.get("$ref", "").rsplit("/")[-1] not in HEADERS_OF_ALL
            ]


@schemathesis.hook
def before_call(context, case, kwargs):
    once(case)
    tag_once(case)
    with_time(case)
    name = operation_id(case)
    if name in AGAINST_ONESELF and case.path_parameters.get("userId") == Administrator.user_id:
        case.path_parameters["userId"] = str(uuid.UUID(int=1))
    # The keys that signed the token are kept.
    if name == "AuthService_RotateSigningKey" and isinstance(case.body, dict) and case.body.get("revokePrevious") is True:
        case.body["revokePrevious"] = False
    # It goes on for as long as it may; as events it ends well when it is to end.
    if name == "OrderService_WatchOrder":
        case.headers["Accept"] = "text/event-stream"
        case.headers.setdefault("X-Request-Timeout", "1")


def operation_id(case):
    return case.operation.definition.raw.get("operationId")


def once(case):
    """A request id names one request. Schemathesis sends the same again with another
    request, which is refused (IDEMPOTENCY_KEY_REUSED) whatever else it says; and a
    header that says otherwise than the request is refused too."""
    global _made
    _made += 1
    fresh = str(uuid.uuid5(uuid.NAMESPACE_URL, str(_made)))
    for container, name in places(case, "requestId", "Idempotency-Key"):
        if is_uuid(container.get(name)):
            container[name] = fresh


def tag_once(case):
    """The entity tag in two places that differ is refused, which no schema can say."""
    found = places(case, "etag", "If-Match", "Last-Event-ID")
    if len(found) > 1 and is_positive(case):
        for container, name in found[1:]:
            del container[name]


def with_time(case):
    """A deadline that nobody can keep tells nothing of the operation: it is 504."""
    headers = case.headers or {}
    asked = re.fullmatch(r"([0-9]{1,10}(?:\.[0-9]{1,9})?)(h|m|s|ms|us)?", str(headers.get("X-Request-Timeout", "")))
    if asked and float(asked[1]) * SECONDS[asked[2]] < DEADLINE_MIN:
        headers["X-Request-Timeout"] = str(DEADLINE_MIN)


def places(case, field, *headers):
    """Where a request says a field: in the body, the query or a header that stands for it."""
    found = [(container, field) for container in containers(case)]
    found.extend((case.headers or {}, name) for name in headers)
    return [(container, name) for container, name in found if name in container]


def containers(case):
    """Every object in the body, and the query."""
    return [*objects(case.body), case.query or {}]


def objects(value):
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from objects(member)
    if isinstance(value, list):
        for item in value:
            yield from objects(item)


def is_uuid(value):
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value)


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


# --- answers ---


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a failure is one: `False` for what is explained here."""
    if failure.code == "ST202":
        return not (is_refused_by_state(case, response) or is_no_tag(case))
    if failure.code == "ST201":
        return not (is_read_otherwise(case) or is_keyed_by_header(case) or is_told_by_row(response))
    return True


def is_refused_by_state(case, response):
    """A request can keep its schema and not fit the things it is about; a password
    or token of the right form can be wrong."""
    error = json_of(response).get("error")
    if error is None or response.status_code not in (400, 401):
        return False
    if error.get("domain") != "mercat.mesh.v1" or error["status"] == "FAILED_PRECONDITION":
        return True
    violations = error.get("violations", [])
    fields = {violation["field"] for violation in violations}
    name = operation_id(case)
    return (
        error.get("reason") in REASONS
        # A creation demands what a change may leave out, so that the resource does not.
        or "_Create" in name
        and all(violation["description"] == "is required" for violation in violations)
        # A mask may not leave out what a merge patch names.
        or fields == {"update_mask"}
        # Rows are counted by the service, which names the wrong ones.
        or name == "ImportService_ImportProducts"
        and fields == {"products"}
    )


def is_no_tag(case):
    """Of a text with a pattern and a greatest length schemathesis makes one of that
    length which does not match. And escapes that are no text count as they stand."""
    tag = (case.headers or {}).get("If-Match")
    return tag is not None and re.fullmatch(r'\*|"([!#$&-~]|%[2-7][0-9A-F])*"', tag) is None


def is_told_by_row(response):
    """A batch answers for each row, the wrong ones too."""
    return bool(json_of(response).get("errors"))


def json_of(response):
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def is_keyed_by_header(case):
    """`Idempotency-Key` stands in for `requestId`, which is then not missing; nor is
    a body that demands nothing else."""
    missing = ("Missing required property: requestId", "Missing request body")
    return "Idempotency-Key" in (case.headers or {}) and case.meta.phase.data.description in missing


def is_read_otherwise(case):
    """The JSON mapping reads more than it writes: null, and the zero of a type that
    has no presence, for absence; enums by their number."""
    data = case.meta.phase.data
    names = {data.parameter} | {mutation.parameter for mutation in data.mutations}
    # Of a body the description names the member.
    names.update(re.findall(r"(\w+): ", data.description or ""))
    values = [container[name] for container in containers(case) for name in names if name in container]
    absent = (None, "", "null")
    return bool(values) and all(value in absent or re.fullmatch("[0-9]+", str(value)) for value in values)
