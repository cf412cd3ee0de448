"""Records who signs certificates, and for which portals; shows what is recorded."""

import base64
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from sqlalchemy import text

from models.document import MOST_LOGO_BYTES
from models.words import JobState
from workers.cli.asking import DEAD_CODE, EXIT_OF_STATE, ask_as_ops, asker, finished
from workers.cli.edge import COMMON_CODES, LIST_CODES, command_app, edge, fail, print_json, to_json
from workers.database import transaction
from workers.i18n.catalogues import code_sentence
from workers.requests.base import read
from workers.requests.certificates import PutOrganisation
from workers.sql import fetch

EXIT_CODES: Final = f"""\b
Exit codes:
   0  done
   1  refused: an unknown portal, a colour or a picture that cannot be
      printed
   2  wrong use of the command
  65  invalid request: problems as JSON
{COMMON_CODES}
{DEAD_CODE}
  75  not finished within the wait; it goes on by itself
"""

PUT: Final = """Record an organisation, or change it.

Certificates state its name, address and registrations, as the law wants. What is left out stays as it is. It signs
the certificates of the portals named. Those issued before do not change; trainings completed before it could sign
are certified now."""

# Lists organisations with their portals and the number of their certificates.
SHOW: Final = text("""
    SELECT o.reference, o.legal_name, o.address, o.siret, o.activity_number, o.activity_region, o.signatory_name,
      o.signatory_quality, o.place, o.colour, o.logo,
      (SELECT coalesce(json_agg(p.name ORDER BY p.name), '[]') FROM portal p WHERE p.organisation_id = o.id) AS portals,
      (SELECT count(*) FROM certificate k WHERE k.organisation_id = o.id) AS certificates
    FROM organisation o ORDER BY o.reference""")


class _ShownOrganisation(NamedTuple):
    reference: str
    legal_name: str
    address: list[str]
    siret: str | None
    activity_number: str | None
    activity_region: str | None
    signatory_name: str
    signatory_quality: str
    place: str
    colour: str | None
    logo: str | None
    portals: list[str]
    certificates: int


app = command_app()


@app.command(help=PUT, epilog=EXIT_CODES)
def put(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="your own name for it")],
    *,
    legal_name: Annotated[str, typer.Option(metavar="NAME", help="as it is registered")],
    signatory_name: Annotated[str, typer.Option(metavar="NAME", help="who signs")],
    signatory_quality: Annotated[str, typer.Option(metavar="TEXT", help="as what: “Directrice de la formation”")],
    place: Annotated[str, typer.Option(metavar="TEXT", help="where it signs")],
    address: Annotated[
        list[str] | None, typer.Option(metavar="LINE", help="a line of its address; may be repeated")
    ] = None,
    siret: Annotated[str | None, typer.Option(metavar="DIGITS", help="14 digits")] = None,
    activity_number: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="of its declaration of activity, 11 characters")
    ] = None,
    activity_region: Annotated[
        str | None, typer.Option(metavar="TEXT", help="of the prefect it was declared to")
    ] = None,
    colour: Annotated[
        str | None, typer.Option(metavar="COLOUR", help="#rrggbb, dark enough to be read on white")
    ] = None,
    logo: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PNG, JPEG or WebP, at most 130 kB", exists=True, dir_okay=False)
    ] = None,
    portal: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="a portal it signs certificates for; may be repeated")
    ] = None,
    wait: Annotated[float, typer.Option(metavar="SECONDS", help="how long to wait for the answer", min=0)] = 60.0,
) -> None:
    given: dict[str, Any] = {
        "reference": reference, "legal_name": legal_name, "signatory_name": signatory_name,
        "signatory_quality": signatory_quality, "place": place, "address": address, "siret": siret,
        "activity_number": activity_number, "activity_region": activity_region, "colour": colour,
        "logo": _picture(logo) if logo else None, "portals": portal,
    }  # fmt: skip
    with edge():
        said = {name: value for name, value in given.items() if value is not None} | {"requested_by": asker()}
        request = read(PutOrganisation, to_json(said))
        asked = ask_as_ops(request, request.model_dump_json(exclude_unset=True), wait=wait)
    job = finished(asked, wait)
    result = {name: value for name, value in job["result"].items() if name != "people"}
    print_json(result)
    if job["state"] != JobState.SUCCEEDED:
        code = result.get("code", job["state"])
        fail(EXIT_OF_STATE[JobState(job["state"])], f"refused: {code_sentence(code, 'en')} ({code})")


def _picture(path: Path) -> str:
    """Reads a picture as base64; of one that is too large no more than is needed to refuse it."""
    with path.open("rb") as file:
        return base64.b64encode(file.read(MOST_LOGO_BYTES + 3)).decode()


@app.command(help="Print the organisations that are recorded, as JSON.", epilog=LIST_CODES)
def show() -> None:
    with edge(), transaction() as session:
        print_json([row._asdict() for row in fetch(session, _ShownOrganisation, SHOW)])
