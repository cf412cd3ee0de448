"""Shows, duplicates, corrects and revokes certificates from a shell."""

import os
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from sqlalchemy import text

from models.certificate import read_verification_code
from models.document import Document
from models.words import LOCALES, JobState
from workers.certificates.duplicates.fetching import pieces
from workers.certificates.duplicates.files import find_by_job
from workers.certificates.verification import as_json, verify
from workers.cli.asking import DEAD_CODE, EXIT_OF_STATE, ask, asker, finished, new_key
from workers.cli.edge import COMMON_CODES, INVALID, REFUSED, command_app, edge, fail, print_json, to_json, write_private
from workers.cli.options import Key, Portal
from workers.database import transaction
from workers.engine.acceptance import find_portal
from workers.i18n.catalogues import code_sentence
from workers.requests.base import Request, read
from workers.requests.certificates import CorrectCertificate, DuplicateCertificates, RevokeCertificate
from workers.sql import fetch_values

EXIT_CODES: Final = f"""\b
Exit codes:
   0  done
   1  refused, a business answer: the code says why
   2  wrong use of the command
  65  invalid request; FILE is there already, or cannot be written
{COMMON_CODES}
{DEAD_CODE}
  75  not finished within the wait; it goes on by itself
"""

DUPLICATE: Final = """Make numbered duplicates for people of a contract.

Several become a zip with an index. Prints the job. With --output the file is written; its link, which is printed too,
can be followed for seven days."""

REVOKE: Final = """Revoke a certificate: it is shown as no longer valid.

The page that verifies it then says so, with the reason."""

CORRECT: Final = """Issue a certificate anew because it says something wrong.

It has a new number and code; the page of the earlier one names the new one. The account keeps its names. One that was
not issued because the fonts cannot print the name is issued with the names given."""

# Finds the codes of certificates by their number, the number of a duplicate, or the enrollment.
FIND: Final = text("""
    SELECT k.code FROM certificate k
    WHERE k.number = :number OR k.enrollment_id = CAST(:enrollment AS uuid)
      OR (k.number = :original AND EXISTS (
        SELECT FROM certificate_duplicate d WHERE d.certificate_id = k.id AND d.number = :number))
    ORDER BY k.id""")

app = command_app()

Wait = Annotated[float, typer.Option(metavar="SECONDS", help="how long to wait for the answer", min=0)]
Enrollment = Annotated[UUID, typer.Argument(metavar="ENROLLMENT", help="as the answer to enroll named it")]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="why, for the audit trail: no name, no address")]
Output = Annotated[Path | None, typer.Option(metavar="FILE", help="write the file there, for its owner alone")]


@app.command(help="Print what certificates say and where they stand, as JSON.", epilog=EXIT_CODES)
def show(
    which: Annotated[
        str, typer.Argument(metavar="WHICH", help="a number, also of a duplicate; a code; or an enrollment")
    ],
) -> None:
    with edge(), transaction() as session:
        code = read_verification_code(which)
        codes = [code] if code else fetch_values(session, str, FIND, _sought(which))
        found = [as_json(one) for known in codes if (one := verify(session, known))]
    if not found:
        fail(REFUSED, "no certificate has this number, code or enrollment")
    print_json(found)


@app.command(help=DUPLICATE, epilog=EXIT_CODES)
def duplicate(
    enrollments: Annotated[list[UUID], typer.Argument(metavar="ENROLLMENT...")],
    *,
    contract: Annotated[str, typer.Option(metavar="REFERENCE", help="the portal's reference of the contract")],
    document: Annotated[Document, typer.Option(help="which of the two documents")] = Document.ATTESTATION,
    locale: Annotated[str, typer.Option(metavar="LOCALE", help="language of the document: fr or en")] = LOCALES[0],
    deliver_to: Annotated[str | None, typer.Option(metavar="ADDRESS", help="mail it there")] = None,
    output: Output = None,
    key: Key = "",
    portal: Portal = "local",
    wait: Wait = 300.0,
) -> None:
    _must_be_new(output)
    body = {"contract": contract, "enrollment_ids": [str(one) for one in enrollments], "document": document.value,
            "locale": locale, "deliver_to": deliver_to}  # fmt: skip
    job = _ask(DuplicateCertificates, body, portal=portal, wait=wait, key=key)
    print_json(job)
    _end(job)
    if output is not None:
        _fetch(UUID(job["id"]), portal, output)


@app.command(help="Write the file a job of duplicates gave.", epilog=EXIT_CODES)
def fetch(
    job: Annotated[UUID, typer.Argument(metavar="JOB")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="where to; for its owner alone")],
    portal: Portal = "local",
) -> None:
    _must_be_new(output)
    _fetch(job, portal, output)


@app.command(help=CORRECT, epilog=EXIT_CODES)
def correct(
    enrollment: Enrollment,
    reason: Reason,
    *,
    first_name: Annotated[str | None, typer.Option(metavar="NAME", help="as it is to be printed")] = None,
    last_name: Annotated[str | None, typer.Option(metavar="NAME", help="as it is to be printed")] = None,
    reread: Annotated[
        bool,
        typer.Option(
            "--reread",
            help="take company, training, dates and organisation as they are now, and a name corrected since",
        ),
    ] = False,
    portal: Portal = "local",
    wait: Wait = 60.0,
) -> None:
    body = {"enrollment_id": str(enrollment), "reason": reason, "first_name": first_name, "last_name": last_name,
            "reread": reread}  # fmt: skip
    job = _ask(CorrectCertificate, body, portal=portal, wait=wait)
    print_json(job)
    _end(job)


@app.command(help=REVOKE, epilog=EXIT_CODES)
def revoke(
    enrollment: Enrollment,
    reason: Reason,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask whether it is meant")] = False,
    portal: Portal = "local",
    wait: Wait = 60.0,
) -> None:
    if not yes and not typer.confirm("Revoke this certificate? It cannot be undone", err=True):
        fail(REFUSED, "nothing was done")
    job = _ask(RevokeCertificate, {"enrollment_id": str(enrollment), "reason": reason}, portal=portal, wait=wait)
    print_json(job)
    _end(job)


def _sought(which: str) -> dict[str, str | UUID | None]:
    """Returns the parameters of FIND. The number of a duplicate begins with that of its original."""
    try:
        enrollment = UUID(which)
    except ValueError:
        enrollment = None
    return {"number": which, "enrollment": enrollment, "original": which.rpartition("-D")[0]}


def _ask(shape: type[Request], body: dict[str, Any], *, portal: str, wait: float, key: str = "") -> dict[str, Any]:
    with edge():
        said = {name: value for name, value in body.items() if value is not None} | {"requested_by": asker()}
        request = read(shape, to_json(said))
        sent = request.model_dump_json(exclude_unset=True)
        asked = ask(request, sent, portal=portal, key=key or new_key(), wait=wait)
    return finished(asked, wait)


def _end(job: dict[str, Any]) -> None:
    """Ends the command by the state of the job, unless it succeeded."""
    state = JobState(job["state"])
    if state is JobState.SUCCEEDED:
        return
    codes = [person["code"] for person in job["result"]["people"]] or [job["result"].get("code", state)]
    fail(EXIT_OF_STATE[state], "; ".join(f"refused: {code_sentence(code, 'en')} ({code})" for code in set(codes)))


def _must_be_new(output: Path | None) -> None:
    """Ends the command unless the file can be written: a duplicate made and not fetched would stay in the register."""
    if output is None:
        return
    if os.path.lexists(output):
        fail(INVALID, f"{output} is there already: name another file")
    if not os.access(output.parent, os.W_OK | os.X_OK) or not output.parent.is_dir():
        fail(INVALID, f"{output} cannot be written: {output.parent} is no folder you may write in")


def _fetch(job: UUID, portal: str, output: Path) -> None:
    with edge():
        with transaction() as session:
            file = find_by_job(session, find_portal(session, portal), job)
        if file is None:
            fail(REFUSED, "this job gave no file")
        content = pieces(file)
        if content is None:
            fail(REFUSED, "the file can no longer be made: what it says is kept no longer")
        write_private(output, content.pieces)
