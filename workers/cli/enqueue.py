"""Sends one request from a shell: validated, recorded in the ledger, its queue woken."""

import json
import textwrap
import time
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import typer

from models.words import Code, JobState
from workers.actors.registry import show_job
from workers.cli.edge import COMMON_CODES, DEAD, REFUSED, UNFINISHED, edge, fail, print_json, run
from workers.cli.options import Key, Portal, Wait, WaitCommand
from workers.database import transaction
from workers.engine.acceptance import AcceptedJob, accept, find_portal
from workers.engine.broker import wake
from workers.errors import InvalidRequest, Problem
from workers.requests.base import Request
from workers.requests.registry import KINDS, parse

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 1.0

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
  70  dead: gave up after its attempts (scripts/retry ID)
  75  not finished within the wait; it goes on, ask again with the same --key
"""

EXIT_OF_STATE: Final = {
    JobState.SUCCEEDED: 0,
    JobState.REFUSED: REFUSED,
    JobState.CANCELLED: REFUSED,
    JobState.DEAD: DEAD,
}


def describe_kinds() -> str:
    """Every kind with its fields, from the request classes themselves."""
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


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=WaitCommand, help=HELP, epilog=f"{describe_kinds()}\n\n{EXIT_CODES}")
def main(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="one of the kinds below")],
    file: Annotated[typer.FileBinaryRead, typer.Option(metavar="FILE", help="the fields as JSON; - for stdin")],
    key: Key = "",
    portal: Portal = "local",
    wait: Wait = None,
) -> None:
    """The command."""
    key = key or f"shell:{uuid4()}"
    with edge():
        accepted = _accept(kind, _text(file.read()), key=key, portal=portal)
        wake(accepted.queue)
        job = follow(accepted.job_id, wait or 0.0)
    print_json({"key": key, "repeated": accepted.repeated, **job})
    if job["finished"]:
        raise typer.Exit(EXIT_OF_STATE[JobState(job["state"])])
    if wait is not None:
        fail(UNFINISHED, f"not finished within {wait:g} s; it goes on: ask again with --key {key}")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = Problem(Code.INVALID_REQUEST, "", f"not UTF-8: byte {error.start}")
        raise InvalidRequest(problem) from None


def _accept(kind: str, body: str, *, key: str, portal: str) -> AcceptedJob:
    request: Request = parse(kind, body)
    with transaction() as session:
        return accept(session, find_portal(session, portal), request, body, key=key)


def follow(job_id: UUID, seconds: float) -> dict[str, Any]:
    """The job as soon as it is finished, or as it stands when the time is over; looks less and less often."""
    deadline, pause = time.monotonic() + seconds, SHORTEST_PAUSE
    while True:
        with transaction() as session:
            job = show_job(session, job_id)
        if job is None:
            raise LookupError(f"job {job_id} was accepted and is not in the ledger")
        left = deadline - time.monotonic()
        if job["finished"] or left <= 0:
            return job
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE)


if __name__ == "__main__":
    run(app, "enqueue")
