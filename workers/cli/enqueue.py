"""Sends one request from a shell: validated, recorded in the ledger, its queue woken."""

import json
import textwrap
from typing import Annotated, Any, Final

import typer

from models.words import Code
from workers.cli.asking import DEAD_CODE, ask, end, new_key
from workers.cli.edge import COMMON_CODES, command_app, edge, print_json, read_document
from workers.cli.options import Key, Portal, Wait, WaitCommand
from workers.errors import InvalidRequest, Problem
from workers.requests.registry import KINDS, parse

HELP: Final = """Send one request: KIND with its fields as JSON.

The request is recorded in the ledger and its queue is woken; the job is printed as JSON. This works without any worker
running: the job then waits. With --wait the answer has a result per person.
"""

EXIT_CODES: Final = f"""\b
Exit codes:
   0  done; without --wait: accepted
   1  refused, a business answer: nothing was changed, the code says why
   2  wrong use of the command, or FILE cannot be opened
  65  invalid request, or the key was used for another one: problems as JSON
{COMMON_CODES}
{DEAD_CODE}
  75  not finished within the wait; it goes on, ask again with the same --key
"""


def describe_kinds() -> str:
    """Lists every kind with its fields, from the request classes themselves."""
    blocks = ["\b\nKinds and their fields (* required):"]
    for kind, request in KINDS.items():
        if not request.internal:
            summary = textwrap.wrap(f"{kind}: {(request.__doc__ or '').strip().splitlines()[0]}", 76)
            blocks.append("\n".join(["\b", *summary, *_fields(request.model_json_schema())]))
    return "\n\n".join(blocks)


def _fields(schema: dict[str, Any], indent: str = "  ") -> list[str]:
    lines = []
    for name, field in schema["properties"].items():
        star = "*" if name in schema.get("required", ()) else " "
        said = f"{name:<14} {_type(field, schema)}{_default(field)}{_description(field)}"
        lines += textwrap.wrap(said, 76, initial_indent=f"{indent}{star} ", subsequent_indent=indent + " " * 17)
        nested = schema.get("$defs", {}).get(_reference(field.get("items", {})))
        if nested and "properties" in nested:
            lines += _fields(nested | {"$defs": schema["$defs"]}, indent + "    ")
    return lines


def _type(field: dict[str, Any], schema: dict[str, Any]) -> str:
    choices = schema.get("$defs", {}).get(_reference(field), {}).get("enum")
    if choices:
        return " | ".join(choices)
    if "anyOf" in field:
        return " or ".join(_type(option, schema) for option in field["anyOf"])
    if field.get("type") == "array":
        size = f"list of {field.get('minItems', 0)} to {field['maxItems']}"
        return f"{size}, each:" if _reference(field["items"]) else f"{size} {_type(field['items'], schema)}"
    if "maximum" in field:
        return f"{field['type']} from {field['minimum']} to {field['maximum']}"
    return str(field.get("format") or field.get("type"))


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    return "" if default in (None, "") else f" (default: {json.dumps(default)})"


def _description(field: dict[str, Any]) -> str:
    return f": {field['description']}" if "description" in field else ""


def _reference(field: dict[str, Any]) -> str:
    return str(field.get("$ref", "")).rpartition("/")[2]


app = command_app()


@app.command(cls=WaitCommand, help=HELP, epilog=f"{describe_kinds()}\n\n{EXIT_CODES}")
def main(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="one of the kinds below")],
    file: Annotated[typer.FileBinaryRead, typer.Option(metavar="FILE", help="the fields as JSON; - for stdin")],
    key: Key = "",
    portal: Portal = "local",
    wait: Wait = None,
) -> None:
    key = key or new_key()
    with edge():
        body = _text(read_document(file))
        asked = ask(parse(kind, body), body, portal=portal, key=key, wait=wait)
    print_json({"key": key, "repeated": asked.repeated, **asked.job})
    end(asked.job, wait, f": ask again with --key {key}")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(Code.INVALID_REQUEST, "", f"not UTF-8: byte {error.start}")
        raise InvalidRequest(problem) from None
