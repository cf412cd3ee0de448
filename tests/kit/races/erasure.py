"""The tests of erasure races use these: Anne on a contract, the work that runs beside the erasure, and the final
checks.
"""

from typing import Any
from uuid import UUID

from tests.kit.builders.contracts import add_contract, enrolled, someone
from tests.kit.processes.support import rows
from tests.kit.races.racers import outcome_of, until_done
from workers.database import Session, transaction
from workers.ops.reconciliation import find_drift
from workers.requests.accounts import ErasePerson
from workers.requests.base import Request

ANNE = "anne@example.com"
ERASING = ErasePerson(email=ANNE, reason="x")
TRACES = """
    SELECT count(*) FROM account a JOIN email m ON m.account_id = a.id
    WHERE a.erased_at IS NOT NULL AND (m.to_address <> '' OR m.due_at IS NOT NULL)"""


def anne(first_name: str = "Anne") -> Any:
    return someone(ANNE, first_name, "Lorval")


def contract_with_anne() -> list[UUID]:
    with transaction() as session:
        add_contract(session)
        return enrolled(session, anne())


def do(session: Session, request: Request) -> dict[str, Any]:
    """Returns the answer of the service."""
    return dict(outcome_of(session, request).result or {})


def do_until_done(request: Request) -> dict[str, Any]:
    """Does a request in its own transactions, and again after each transient fault, as a worker does."""
    return until_done(lambda session: do(session, request))


def assert_no_trace_left() -> None:
    with transaction() as session:
        assert find_drift(session) == []
    assert rows(TRACES) == [(0,)]
