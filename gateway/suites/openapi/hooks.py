"""What schemathesis cannot read in /openapi.json. Each exception has its reason.

MERCAT_URL names the gateway, MERCAT_PASSWORD is the administrator's.
"""

import os
import re
import uuid

import jsonschema_rs
import requests
import schemathesis

# How long a generated deadline must be to be kept, in seconds.
DEADLINE_MIN = 5
SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, None: 1}

# Why a request that keeps its schema is refused (INVALID_ARGUMENT, UNAUTHENTICATED).
# FAILED_PRECONDITION is not listed: by its meaning, things are in a state that forbids
# what was asked, which no schema knows.
REASONS = {
    "mercat.mesh.v1": {
        "MONEY_INVALID",  # Currencies are the list of ISO 4217, and a request has one of them.
        "PAGE_TOKEN_INVALID",  # A page token is what an answer gave, for the same filter.
        "UPDATE_MASK_INVALID",  # Which fields may change, and how deep, is the service's to say.
    },
    "mercat.catalog.v1": {
        "OPTIONS_INVALID",  # A variant chooses one value of each option of its product.
        "PRICE_INVALID",  # The prices of a list are in its currency.
        "TAX_CATEGORY_UNKNOWN",  # It names a thing, which is not there.
    },
    "mercat.identity.v1": {
        "INVALID_CREDENTIALS",  # Nobody has this password.
        "PERMISSION_UNKNOWN",  # Permissions are those in the contracts' access rules.
        "REFRESH_TOKEN_INVALID",  # A refresh token is what signing in gave,
        "REFRESH_TOKEN_REUSED",  # and is good once.
        "WEAK_PASSWORD",  # There is a list of passwords that anybody would guess.
    },
    "mercat.inventory.v1": {
        "SAME_LOCATION",  # Two fields must differ.
    },
    "mercat.payments.v1": {
        "AMOUNT_INVALID",  # Units and nanos together are more than nothing.
        "CURRENCY_MISMATCH",  # An intent has one currency.
        "PAYMENT_METHOD_REQUIRED",  # The intent may name one already.
        "PAYMENT_METHOD_UNKNOWN",  # The provider says which there are.
        "WEBHOOK_SIGNATURE_INVALID",  # Only the provider has the secret to sign with.
    },
}
# What a creation demands of a resource and a change may leave out, which have one schema.
CREATED_WITH = {
    "AccessService_CreateRole": {"role.name"},
    "UserService_CreateAddress": {"address.postal_address"},
}
# Made of the title, if that has a letter or digit to make it of.
SLUGS = {"CategoryService_CreateCategory", "ProductService_CreateProduct"}
NO_SLUG = "cannot be made from this title: give one"
# Batches answer for each row, with 200, the wrong ones too.
BATCHES = {"ImportService_ImportProducts", "StockService_BulkSetStock"}
# An administrator who takes away their own rights can call nothing any more.
AGAINST_ONESELF = {"AccessService_UnassignRole", "UserService_SuspendUser"}
# Headers that mean the same to every operation are tried with one in so many.
HEADERS_OF_ALL = {"Prefer", "X-Request-Timeout", "If-None-Match"}
TRIED_WITH_ONE_IN = 8

_made = 0


# Once: a token is good for a quarter of an hour, whatever becomes of its session. A
# 401 is of what was asked, a password that was wrong; and after some of those for the
# administrator, who can change theirs, nobody may sign in as them for a while.
@schemathesis.auth(refresh_interval=840, retry_on=[])
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
        return not (is_read_otherwise(case) or is_told_by_row(case, response))
    return True


def is_refused_by_state(case, response):
    """A request can keep its schema and not fit the things it is about; a password
    or token of the right form can be wrong."""
    error = json_of(response).get("error")
    if error is None or response.status_code not in (400, 401):
        return False
    if error["status"] == "FAILED_PRECONDITION" or error.get("reason") in REASONS.get(error.get("domain"), ()):
        return True
    violations = error.get("violations", [])
    fields = {violation["field"] for violation in violations}
    name = operation_id(case)
    return bool(fields) and (
        all(violation["description"] == "is required" for violation in violations)
        and fields <= CREATED_WITH.get(name, set())
        # A mask may not leave out what a merge patch names.
        or fields == {"update_mask"}
        or all(is_cleared(case, field) for field in fields)
        or name in SLUGS
        and all(violation == {"field": "slug", "description": NO_SLUG} for violation in violations)
        # Rows are counted by the service, which names the wrong ones.
        or name == "ImportService_ImportProducts"
        and fields == {"products"}
    )


def is_cleared(case, field):
    """What the mask names, which is all members of a body that comes without one, and
    the body has no value of, is cleared; and not everything may be."""
    if case.method != "PATCH":
        return False
    body = case.body if isinstance(case.body, dict) else {}
    mask = str((case.query or {}).get("updateMask") or ",".join(body))
    last = field.split(".")[-1]
    camel = re.sub("_(.)", lambda found: found[1].upper(), last)
    named = {path.split(".")[-1] for path in mask.split(",")}
    return bool({"*", camel, last} & named) and body.get(camel) in (None, "")


def is_no_tag(case):
    """Of a text with a pattern and a greatest length schemathesis makes one of that
    length which does not match. And escapes that are no text count as they stand."""
    tag = (case.headers or {}).get("If-Match")
    return tag is not None and re.fullmatch(r'\*|"([!#$&-~]|%[2-7][0-9A-F])*"', tag) is None


def is_told_by_row(case, response):
    return operation_id(case) in BATCHES and bool(json_of(response).get("errors"))


def json_of(response):
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def is_read_otherwise(case):
    """Whether all that is wrong with a request is read as something that is not."""
    wrong = list(violations(case))
    return bool(wrong) and all(is_read(case, *one) for one in wrong)


def is_read(case, name, kind, value):
    """Whether a wrong value is read as a right one."""
    if kind == "required":
        # The header stands in for the field, which is then not missing.
        return name == "requestId" and "Idempotency-Key" in case.headers
    if name == "If-Match":
        # A tag that lacks its quotes counts as in quotes.
        return re.fullmatch("[!#-+.-~-]+", value) is not None
    # The JSON mapping reads null, and the zero of a type that has no presence, for
    # absence; an enum by its number, and a number from text and the other way round.
    return value in (None, "") or kind in ("enum", "type") and re.fullmatch("[0-9]+", str(value)) is not None


def violations(case):
    """Everything that breaks the schema of a request: what it is called, the keyword
    of the schema, and the value."""
    for parameter in parameters(case):
        container = {"path": case.path_parameters, "query": case.query, "header": case.headers}[parameter["in"]] or {}
        name = parameter["name"]
        if name not in container:
            if parameter.get("required"):
                yield name, "required", None
            continue
        value = container[name]
        for error in validator(case, f"parameter {name}", parameter["schema"]).iter_errors(value):
            yield name, error.kind.name, error.instance
    body = case.operation.definition.raw.get("requestBody", {}).get("content", {}).get(case.media_type or "application/json")
    if body is not None:
        # No body is an empty one, which may lack what is required.
        value = case.body if isinstance(case.body, (dict, list, str, int, float, bool, type(None))) else {}
        for error in validator(case, "body", body["schema"]).iter_errors(value):
            last = error.kind.property if error.kind.name == "required" else str((error.instance_path or [""])[-1])
            yield last, error.kind.name, error.instance


def parameters(case):
    raw = case.operation.schema.raw_schema
    for parameter in case.operation.definition.raw.get("parameters", []):
        name = parameter.get("$ref", "").rsplit("/")[-1]
        yield raw["components"]["parameters"][name] if name else parameter


_validators = {}


def validator(case, what, schema):
    key = (operation_id(case), case.media_type, what)
    if key not in _validators:
        schemas = case.operation.schema.raw_schema["components"]["schemas"]
        _validators[key] = jsonschema_rs.Draft202012Validator(
            {"allOf": [schema], "components": {"schemas": schemas}}, validate_formats=True
        )
    return _validators[key]
