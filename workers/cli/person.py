"""Exports what is known of a person as JSON, and erases a person."""

import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from models.words import Code, JobState
from workers.cli.asking import DEAD_CODE, EXIT_OF_STATE, ask_as_ops, asker, finished
from workers.cli.edge import COMMON_CODES, INVALID, REFUSED, command_app, edge, fail, print_json, to_json, write_private
from workers.i18n.catalogues import code_sentence
from workers.requests.accounts import ErasePerson, ExportPerson
from workers.requests.base import Request, read

DEFAULT_WAIT: Final = 60.0

EXIT_CODES: Final = """\b
Exit codes:
   0  done
   1  refused: {refused}
   2  wrong use of the command
  65  {invalid}
{common}
{dead}
  75  not finished within the wait; it goes on by itself
"""

EXPORT_CODES: Final = EXIT_CODES.format(
    refused="no account has this address",
    invalid="no mail address, or FILE is there already",
    common=COMMON_CODES,
    dead=DEAD_CODE,
)

ERASE_CODES: Final = EXIT_CODES.format(
    refused="no account has this address, or you answered no",
    invalid="no mail address, or no reason that can be kept",
    common=COMMON_CODES,
    dead=DEAD_CODE,
)

EXPORT: Final = """Print all that is known of a person, as JSON.

This answers article 15 of the GDPR. The audit trail records your name. Only the owner of FILE can read it."""

ERASE: Final = """Forget who a person was; it cannot be undone.

This answers article 17 of the GDPR. Seats of trainings they have not begun are free again, mails still owed are
cancelled; names on certificates are kept as long as the law requires (docs/retention.md). Give the reason without
a name or an address: it stays in the audit trail."""

app = command_app()

SENTENCES: Final = {
    Code.NOT_FOUND: "no account has this address",
}
"""Refusals in the words of operators; those of mails speak to managers."""

Who = Annotated[str, typer.Argument(metavar="ADDRESS", help="the address the person's account has now")]
Wait = Annotated[float, typer.Option(metavar="SECONDS", help="how long to wait for the answer", min=0)]


@app.command(help=EXPORT, epilog=EXPORT_CODES)
def export(
    address: Who,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="write it there instead")] = None,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    if output is not None and os.path.lexists(output):
        fail(INVALID, f"{output} is there already: name another file")
    result = _ask(ExportPerson, {"email": address}, wait)
    if output is None:
        print_json(result["person"])
    else:
        write_private(output, [f"{to_json(result['person'])}\n".encode()])


@app.command(help=ERASE, epilog=ERASE_CODES)
def erase(
    address: Who,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail: no name, no address")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask whether it is meant")] = False,
    wait: Wait = DEFAULT_WAIT,
) -> None:
    if not yes and not typer.confirm(f"Erase the person with the address {address}? It cannot be undone", err=True):
        fail(REFUSED, "nothing was done")
    print_json(_ask(ErasePerson, {"email": address, "reason": reason}, wait))


def _ask(shape: type[Request], fields: dict[str, str], wait: float) -> dict[str, Any]:
    """Returns the result of a request of the portal `local`; ends the command when there is none."""
    with edge():
        request = read(shape, to_json(fields | {"requested_by": asker()}))
        asked = ask_as_ops(request, request.model_dump_json(), wait=wait)
    job = finished(asked, wait)
    state = JobState(job["state"])
    if state is not JobState.SUCCEEDED:
        fail(EXIT_OF_STATE[state], _why(job))
    return {name: value for name, value in job["result"].items() if name != "people"}


def _why(job: dict[str, Any]) -> str:
    if job["state"] == JobState.DEAD:
        return (
            f"job {job['id']} gave up: see why with matricule jobs show {job['id']}, then matricule retry {job['id']}"
        )
    code = job["result"].get("code", job["state"])
    return f"refused: {SENTENCES.get(code) or code_sentence(code, 'en')} ({code})"
