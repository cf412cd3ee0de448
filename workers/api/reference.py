"""The page that describes the API to people. It needs no script and loads nothing from another host."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from workers.api.problems import STATUS, title

PAGES: Final = Path(__file__).parent / "pages"
STYLE: Final = (PAGES / "docs.css").read_text(encoding="utf-8")
POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    + "'"
)
"""The page may use its own style, and nothing else."""

WIDTH: Final = 80
"""The most characters of an example on one line."""

_CODE: Final = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*")

_POINT: Final = re.compile(r"^\* ", re.MULTILINE)


def render_reference(api: Mapping[str, Any]) -> str:
    """Renders the page of a description."""
    templates = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)
    templates.filters["marked"] = marked
    return templates.get_template("docs.html").render(
        api=api,
        style=Markup(STYLE),  # noqa: S704 - our own file
        introduction=list(_paragraphs(api["info"]["description"])),
        operations=[_operation(path, method, one) for path, of in api["paths"].items() for method, one in of.items()],
        problems=[{"code": code, "status": status, "title": title(code)} for code, status in STATUS.items()],
        shapes=[
            _shape(name, schema) for name, schema in api["components"]["schemas"].items() if "properties" in schema
        ],
    )


def marked(text: str) -> Markup:
    """Escapes a text, and shows what stands in backquotes as code and what stands in double stars as strong."""
    return Markup(_CODE.sub(_tagged, str(escape(text))))  # noqa: S704 - it was escaped


def _tagged(found: "re.Match[str]") -> str:
    return f"<code>{found[1]}</code>" if found[1] else f"<strong>{found[2]}</strong>"


def _paragraphs(text: str) -> Iterator[dict[str, Any]]:
    for paragraph in text.strip().split("\n\n"):
        points = [" ".join(point.split()) for point in _POINT.split(paragraph) if point.strip()]
        is_list = paragraph.startswith("* ")
        yield {"points": points, "text": ""} if is_list else {"points": [], "text": " ".join(paragraph.split())}


def _operation(path: str, method: str, one: Mapping[str, Any]) -> dict[str, Any]:
    content = one.get("requestBody", {}).get("content", {})
    body: Mapping[str, Any] = content.get("application/json", {})
    return {
        "name": one["operationId"],
        "tag": one["tags"][0],
        "summary": one["summary"],
        "method": method.upper(),
        "path": path,
        "scopes": [scope for scope in (one.get("x-scope"), *one.get("x-scopes-instead", ())) if scope],
        "description": [paragraph for paragraph in one["description"].split("\n\n") if paragraph],
        "fields": [*map(_parameter, one["parameters"]), *_fields(body.get("schema", {}), "body")],
        "example": _example(method.upper(), path, one, body.get("example")),
        "answers": [_answer(status, answer) for status, answer in one["responses"].items()],
    }


def _parameter(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": given["name"],
        "place": given["in"],
        "required": given["required"],
        "type": say_type(given["schema"]),
        "description": given.get("description", ""),
    }


def _fields(schema: Mapping[str, Any], place: str = "") -> list[dict[str, Any]]:
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "place": place,
            "required": name in required,
            "type": say_type(field),
            "description": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def say_type(schema: Mapping[str, Any]) -> str:
    """Says in words what a schema takes."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    options = [option for option in schema.get("anyOf", ()) if option.keys() - {"description"}]
    if options:
        return " or ".join(say_type(option) for option in options)
    if schema.get("type") == "array":
        return f"list of {say_type(schema['items'])}"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return str(schema.get("format") or schema.get("type") or "any")


def _answer(status: str, answer: Mapping[str, Any]) -> dict[str, str]:
    code = str(answer.get("$ref", "")).rpartition("/")[2]
    shape = answer.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
    return {
        "status": status,
        "says": code or shape or str(answer["description"]),
        "link": code or (f"schema-{shape}" if shape else ""),
    }


def _shape(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "description": " ".join(schema.get("description", "").split()), "fields": _fields(schema)}


def _example(method: str, path: str, one: Mapping[str, Any], body: Any) -> str:
    """Returns the call as it is typed in a shell; empty for an operation without a body of JSON."""
    if body is None:
        return ""
    lines = [f'curl -X {method} "$PORTAL_URL{_filled(path)}"', '-H "Authorization: Bearer $PORTAL_KEY"']
    lines += [f"-H '{given['name']}: {given['example']}'" for given in _required_headers(one["parameters"])]
    short = json.dumps(body, ensure_ascii=False)
    shown = short if len(short) <= WIDTH else json.dumps(body, ensure_ascii=False, indent=2).replace("\n", "\n  ")
    return " \\\n  ".join([*lines, f"-d '{shown}'"])


def _required_headers(parameters: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [given for given in parameters if given["in"] == "header" and given["required"]]


def _filled(path: str) -> str:
    """Fills the parameters of an address with what stands in the examples."""
    values = {"contract": "CTR-2026-001", "company": "DUBOIS", "training": "SEC-1"}
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], "0198f0c2-7d40-7b02-8c1d-5a2f9e0c4b77"), path)
