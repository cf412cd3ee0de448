"""Lists contracts with their counters, and shows the participants of one."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from models.person import full_name
from workers.catalog.contracts import (
    ContractSeats,
    Participant,
    count_contracts,
    find_contract,
    list_contracts,
    list_participants,
)
from workers.cli.columns import print_columns
from workers.cli.edge import COMMON_CODES, LIST_CODES, REFUSED, command_app, edge, fail, print_json
from workers.cli.options import AsJson, is_called_alone
from workers.database import transaction

COUNTERS: Final = ("Inscriptions prévues", "Participants inscrits", "Places restantes")

SHOWN: Final = 100
"""The number of participants in the table; --json has them all."""

HELP: Final = f"""List contracts and their seats, or show one's participants.

The latest comes first, with the counters managers read: Inscriptions prévues, Participants inscrits, Places restantes.
`matricule contract show REFERENCE` adds the participants of one.

{LIST_CODES}"""

SHOW: Final = f"""Show a contract with its seats and its participants.

Each participant is shown with the identifier of the enrollment, which requests use, with their progress, and with the
state of the latest mail about it.

\b
Exit codes:
   0  shown
   1  the portal has no such contract
   2  wrong use of the command
{COMMON_CODES}
"""

app = command_app()


@app.callback(invoke_without_command=True, help=HELP)
def main(
    context: typer.Context,
    *,
    portal: Annotated[str, typer.Option(metavar="NAME", help="only the contracts of this portal")] = "",
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="at most so many")] = 50,
    as_json: AsJson = False,
) -> None:
    if not is_called_alone(context):
        return
    with edge(), transaction() as session:
        contracts = list_contracts(session, portal=portal, limit=limit)
        total = count_contracts(session, portal=portal)
    if as_json:
        print_json([contract._asdict() for contract in contracts])
    else:
        _print_contracts(contracts, total)


@app.command(help=SHOW)
def show(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="the portal's reference of the contract")],
    *,
    portal: Annotated[str, typer.Option(metavar="NAME", help="the portal that the reference belongs to")] = "local",
    as_json: AsJson = False,
) -> None:
    with edge(), transaction() as session:
        contract = find_contract(session, portal, reference) or fail(REFUSED, "this portal has no such contract")
        participants = list_participants(session, contract.id)
    if as_json:
        print_json(contract._asdict() | {"participants": [one._asdict() for one in participants]})
    else:
        _print_contract(contract, participants)


def _print_contracts(contracts: Sequence[ContractSeats], total: int) -> None:
    if not contracts:
        print("no contract is like this")
        return
    print_columns(
        ("contract", "portal", "company", "training", *COUNTERS),
        [(one.reference, one.portal, one.company, one.training, *_counters(one)) for one in contracts],
    )
    if total > len(contracts):
        print(f"the latest {len(contracts)} of {total}; --limit shows more")


def _print_contract(contract: ContractSeats, participants: Sequence[Participant]) -> None:
    days = [
        f"from {contract.starts_on}" if contract.starts_on else "",
        f"to {contract.ends_on}" if contract.ends_on else "",
    ]
    print_columns(
        ("contract", "portal", "company", "training", "open"),
        [
            (
                contract.reference,
                contract.portal,
                contract.company,
                contract.training,
                " ".join(filter(None, days)) or "always",
            )
        ],
    )
    counted = zip(COUNTERS, _counters(contract), strict=True)
    print("\n" + " · ".join(f"{name} {number}" for name, number in counted))
    if not participants:
        return
    print()
    print_columns(
        ("enrollment", "participant", "address", "progress", "latest mail"),
        [_row(one) for one in participants[:SHOWN]],
    )
    if len(participants) > SHOWN:
        print(f"and {len(participants) - SHOWN} more; --json has them all")


def _counters(contract: ContractSeats) -> tuple[int, int, int]:
    return contract.planned_seats, contract.enrolled_count, contract.remaining


def _row(one: Participant) -> tuple[object, ...]:
    mail = f"{one.mail} {one.mail_state}" if one.mail else None
    return one.enrollment_id, full_name(one.first_name, one.last_name), one.email, one.progress, mail
