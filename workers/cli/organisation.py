"""Records who signs certificates, and for which portals; shows what is recorded."""

import base64
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import typer
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.words import JobState
from workers.cli.edge import COMMON_CODES, UNFINISHED, edge, fail, print_json, to_json
from workers.cli.edge import run as run_command
from workers.cli.enqueue import EXIT_OF_STATE, follow
from workers.cli.retry import asker
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.engine.broker import wake
from workers.i18n.catalogues import code_sentence
from workers.requests.base import read
from workers.requests.certificates import PutOrganisation

EXIT_CODES: Final = f"""\b
Exit codes:
   0  done
   1  refused: a portal nobody knows, a colour or a picture that cannot be printed
   2  wrong use of the command
  65  invalid request: problems as JSON
{COMMON_CODES}
  70  dead: gave up after its attempts (scripts/status, scripts/retry ID)
  75  not finished within the wait; it goes on by itself
"""

HELP: Final = "Say who signs certificates: the training organisation, with the facts the law has it state."

PUT: Final = """Record an organisation, or change it; what is left out stays as it is.

It signs the certificates of the portals named. Those issued before do not change; trainings completed before anybody
could sign are certified now."""

SHOW: Final = text("""
    SELECT o.reference, o.legal_name, o.address, o.siret, o.activity_number, o.activity_region, o.signatory_name,
      o.signatory_quality, o.place, o.colour, o.logo,
      (SELECT coalesce(json_agg(p.name ORDER BY p.name), '[]') FROM portal p WHERE p.organisation_id = o.id) AS portals,
      (SELECT count(*) FROM certificate k WHERE k.organisation_id = o.id) AS certificates
    FROM organisation o ORDER BY o.reference""")

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=HELP, no_args_is_help=True
)


@app.command(help=PUT, epilog=EXIT_CODES)
def put(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="your own name for it")],
    *,
    legal_name: Annotated[str, typer.Option()],
    signatory_name: Annotated[str, typer.Option(help="who signs")],
    signatory_quality: Annotated[str, typer.Option(help="as what: “Directrice de la formation”")],
    place: Annotated[str, typer.Option(help="where it signs")],
    address: Annotated[list[str] | None, typer.Option(help="a line of its address; may be repeated")] = None,
    siret: Annotated[str | None, typer.Option(help="14 digits")] = None,
    activity_number: Annotated[str | None, typer.Option(help="of its declaration of activity, 11 characters")] = None,
    activity_region: Annotated[str | None, typer.Option(help="of the prefect it was declared to")] = None,
    colour: Annotated[str | None, typer.Option(help="#rrggbb, dark enough to be read on white")] = None,
    logo: Annotated[
        Path | None, typer.Option(help="PNG, JPEG or WebP, at most 130 kB", exists=True, dir_okay=False)
    ] = None,
    portal: Annotated[list[str] | None, typer.Option(help="whose certificates it signs; may be repeated")] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="how long to wait for the answer", min=0)] = 60.0,
) -> None:
    """The command `put`."""
    given: dict[str, Any] = {
        "reference": reference, "legal_name": legal_name, "signatory_name": signatory_name,
        "signatory_quality": signatory_quality, "place": place, "address": address, "siret": siret,
        "activity_number": activity_number, "activity_region": activity_region, "colour": colour,
        "logo": base64.b64encode(logo.read_bytes()).decode() if logo else None, "portals": portal,
    }  # fmt: skip
    with edge():
        said = {name: value for name, value in given.items() if value is not None} | {"requested_by": asker()}
        request = read(PutOrganisation, to_json(said))
        with transaction() as session:
            body = request.model_dump_json(exclude_unset=True)
            accepted = accept_internal(session, LOCAL_PORTAL_ID, request, body, key=f"ops:{uuid4()}")
        wake(accepted.queue)
        job = follow(accepted.job_id, wait)
    if not job["finished"]:
        fail(UNFINISHED, f"not finished within {wait:g} s; job {job['id']} goes on (scripts/status)")
    result = {name: value for name, value in job["result"].items() if name != "people"}
    print_json(result)
    if job["state"] != JobState.SUCCEEDED:
        code = result.get("code", job["state"])
        fail(EXIT_OF_STATE[JobState(job["state"])], f"refused: {code_sentence(code, 'en')} ({code})")


@app.command(help="Print the organisations that are recorded, as JSON.")
def show() -> None:
    """The command `show`."""
    with edge(), transaction() as session:
        print_json([dict(row) for row in session.execute(SHOW).mappings()])


if __name__ == "__main__":
    run_command(app, "organisation")
