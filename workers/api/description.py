"""The description of the API (OpenAPI 3.1), made from the table of operations and the classes of requests."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from models.words import Code
from workers.api.examples import EXAMPLES
from workers.api.operation import Body, Operation
from workers.api.problems import MEDIA_TYPE, STATUS, title
from workers.api.schemas import Job, Problem

SCHEMAS: Final = "#/components/schemas/"
PROBLEMS: Final = "#/components/responses/"

INTRODUCTION: Final = """\
Matricule enrols the employees of companies on contracts with a number of seats. A call that changes something makes a
**job**: it is answered with 202 and the job, and is done a moment later. `Prefer: wait=10` waits for the result.

* **Key**: `Authorization: Bearer mtr_…`, for one portal, with scopes.
* **Idempotency-Key**: one new key for each request, and the same for its repeats. Whatever happens to your connection,
  send the request again under its key: it is done once. Another body under the same key answers 409.
* **Refusals are answers**: a job with `state: refused` says in `result.code` why nothing was changed.
* **Problems** (RFC 9457) have a stable `code`; nothing was accepted.
* **Lists** are `{"items": […], "next": cursor or null}`; send `next` back as `cursor`.
"""

OWN_KINDS: Final = """\
A key without `read` finds the jobs of the requests that its scopes let it send, and no others."""
"""The paragraph about keys of which another scope is enough."""

FORM: Final = "multipart/form-data"

_PARAMETER: Final = re.compile(r"\{(\w+)\}")

_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")

_IDENTIFIERS: Final = frozenset({"account", "enrollment", "job", "certificate", "duplicate"})
"""Parameters of addresses that are identifiers; the others are references of the portal."""


def describe(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Returns the description of these operations.

    Parameters:
      version: the version of Matricule.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Matricule", "version": version, "description": INTRODUCTION},
        "servers": [{"url": "/v1"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "a key of a portal"}},
            "schemas": _schemas(operations),
            "responses": {code.value: _problem(code) for code in STATUS},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": _description(operation),
        "tags": [operation.tag],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation),
        "security": [{"key": []}] if operation.scope else [],
    }
    if operation.scope:
        described["x-scope"] = operation.scope.value
    if operation.instead:
        described["x-scopes-instead"] = sorted(operation.instead)
        described["description"] += f"\n\n{OWN_KINDS}"
    if operation.body is not None:
        described["requestBody"] = {"required": operation.body.required, "content": _content(operation.body)}
    return described


def _description(operation: Operation) -> str:
    """Returns what the class of the request says, else the handler, each paragraph on one line."""
    said = operation.body.request if operation.body and operation.body.request else operation.handler
    paragraphs = (said.__doc__ or "").strip().split("\n\n")
    kept = [one for one in paragraphs if not re.match(r"\s*(Parameters|Raises|Returns):", one)]
    return "\n\n".join(" ".join(one.replace("``", "`").split()) for one in kept)


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"}
            if name in _IDENTIFIERS
            else {"type": "string", "minLength": 1},
        }
        for name in _PARAMETER.findall(operation.path)
    ]


def _query_parameters(operation: Operation) -> list[dict[str, Any]]:
    schema = operation.query.model_json_schema(ref_template=SCHEMAS + "{model}")
    described = []
    for name, field in schema.get("properties", {}).items():
        shown = {key: value for key, value in field.items() if key not in ("description", "title")}
        options = [option for option in shown.get("anyOf", []) if option != {"type": "null"}]
        if "anyOf" in shown and len(options) < len(shown["anyOf"]):
            shown = {**{key: value for key, value in shown.items() if key not in ("anyOf", "default")}, **options[0]}
        described.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": field.get("description", ""),
                "schema": shown,
            }
        )
    return described


def _headers(operation: Operation) -> list[dict[str, Any]]:
    if not operation.keyed:
        return []
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": operation.method == "POST",
            "description": "one new key for each request, the same for its repeats; 1 to 200 visible ASCII characters",
            "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
            "example": "order-4711",
        },
        {
            "name": "Prefer",
            "in": "header",
            "required": False,
            "description": "`wait=N` answers with the result if it is there within N seconds, at most 30 (RFC 7240)",
            "schema": {"type": "string"},
        },
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    answers: Mapping[int, Any] = operation.answers or ({200: Job, 202: Job} if operation.keyed else {200: None})
    described: dict[str, Any] = {str(status): _answer(status, shape) for status, shape in answers.items()}
    for code in _problems_of(operation):
        described.setdefault(str(STATUS[code]), {"$ref": PROBLEMS + code.value})
    return dict(sorted(described.items()))


def _answer(status: int, shape: Any) -> dict[str, Any]:
    words = {200: "The result", 202: "Accepted: the job goes on", 204: "Done", 304: "Nothing has changed"}
    described: dict[str, Any] = {"description": words.get(status, "The answer")}
    if isinstance(shape, str):
        described["content"] = {shape: {"schema": {"type": "string", "format": "binary"}}}
    elif shape is not None:
        described["content"] = {"application/json": {"schema": {"$ref": SCHEMAS + _name(shape)}}}
    if status == 202:
        described["headers"] = {
            "Location": {"description": "the address of the job", "schema": {"type": "string"}},
            "Idempotency-Replayed": {"description": "`true` for a repeat", "schema": {"type": "string"}},
        }
    return described


def _problems_of(operation: Operation) -> Iterable[Code]:
    yield from operation.problems
    yield Code.INVALID_REQUEST
    if operation.scope is not None:
        yield from (Code.UNAUTHORIZED, Code.INSUFFICIENT_SCOPE, Code.RATE_LIMITED)
    yield from (Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED)
    if operation.keyed:
        yield Code.IDEMPOTENCY_CONFLICT
    if operation.body is not None:
        yield from (Code.TOO_LARGE, Code.TOO_SLOW)
    yield Code.UNAVAILABLE


def _problem(code: Code) -> dict[str, Any]:
    example = {"type": f"/v1/docs#{code}", "title": title(code), "status": STATUS[code], "code": code.value}
    return {
        "description": title(code),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": SCHEMAS + _name(Problem)},
                "example": example | {"request_id": "0f6b2c1d9e8a4b7c8d1e2f3a4b5c6d7e"},
            }
        },
    }


def _content(body: Body) -> dict[str, Any]:
    if body.request is None:
        schema = {"$ref": SCHEMAS + _name(body.shape)} if body.shape else {"type": "string", "format": "binary"}
        form = {"type": "object", "properties": {"file": schema}, "required": ["file"]}
        return {one: {"schema": form if one == FORM else schema} for one in body.media_types}
    described: dict[str, Any] = {"schema": _request_schema(body)}
    if body.request.kind in EXAMPLES:
        shown = {name: value for name, value in EXAMPLES[body.request.kind].items() if name not in body.given}
        described["example"] = shown
    return {"application/json": described}


def _request_schema(body: Body) -> dict[str, Any]:
    """Returns the schema of a request without the fields that the address gives."""
    if body.request is None:
        raise TypeError("no request")
    schema: dict[str, Any] = body.request.model_json_schema(ref_template=SCHEMAS + "{model}")
    properties = {name: field for name, field in schema["properties"].items() if name not in body.given}
    for name in body.request.refused_alone:
        if name in properties:
            properties[name] = _with_any_element(properties[name])
    required = [name for name in schema.get("required", ()) if name not in body.given]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _with_any_element(field: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a list in which a wrong element is refused alone, so that any is taken."""
    alone = {"description": "an element that cannot be read is answered with a code of its own; the others are done"}
    return {**field, "items": {"anyOf": [field["items"], alone]}}


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    """Returns the schemas that operations refer to: the shapes of answers, and the parts of requests."""
    shapes: dict[type[BaseModel], None] = {Problem: None, Job: None}
    for operation in operations:
        shapes |= {shape: None for shape in operation.answers.values() if isinstance(shape, type)}
        if operation.body is not None and operation.body.shape is not None:
            shapes[operation.body.shape] = None
    _, written = models_json_schema([(shape, "serialization") for shape in shapes], ref_template=SCHEMAS + "{model}")
    found: dict[str, Any] = dict(written["$defs"])
    sources: list[type[BaseModel]] = [one.query for one in operations]
    sources += [one.body.request for one in operations if one.body and one.body.request]
    for source in sources:
        found |= source.model_json_schema(ref_template=SCHEMAS + "{model}").get("$defs", {})
    return dict(sorted(found.items()))


def _name(shape: type[BaseModel]) -> str:
    """Returns the name under which a shape stands among the schemas."""
    return _NO_NAME.sub("_", shape.__name__)
