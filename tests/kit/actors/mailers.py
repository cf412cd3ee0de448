"""The tests of mailers use these: people with an invitation to send, the state of mails, and a claimed
batch of them.
"""

from collections import Counter
from typing import Any

from dramatiq.asyncio import get_event_loop_thread

from models.base import new_id
from tests.kit.builders.contracts import add_contract, asking, enrol
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from tests.kit.relay.relay import Relay
from workers.database import transaction
from workers.engine import ledger
from workers.engine.broker import wake
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.mail.mailer import Mailer
from workers.requests.enrollment import PersonToEnroll
from workers.requests.queues import Queue
from workers.settings import Settings

QUEUES = ("emails", "emails_bulk")

CONNECTIONS: int = Settings.model_fields["smtp_connections"].default
"""The connections of a mailer: it sends as many mails at the same time."""


def owe_invitations(*people: PersonToEnroll | str) -> None:
    """Enrolls these people, so that each has an invitation in the outbox."""
    with transaction() as session:
        add_contract(session, seats=1_000)
        enrol(session, asking(*people))


def many_names(number: int) -> list[str]:
    """Returns this many different names."""
    return [f"p{index}" for index in range(number)]


def mail(word: str = "anne") -> dict[str, Any]:
    """Returns the row of one mail; `pause` is the number of seconds between its last failed attempt and
    the next one.
    """
    [(found,)] = rows(
        "SELECT to_jsonb(e) || jsonb_build_object('pause', (SELECT extract(epoch FROM e.due_at - max(a.created_at))"
        " FROM job_attempt a WHERE a.row_id = e.id)) FROM email e WHERE to_address = :address",
        address=f"{word}@example.com",
    )
    assert isinstance(found, dict)
    return found


def attempts(word: str = "anne") -> list[object]:
    """Returns the outcome of each recorded attempt of a mail, oldest first."""
    found = rows(
        "SELECT outcome FROM job_attempt a JOIN email e ON e.id = a.row_id"
        " WHERE a.ledger = 'email' AND to_address = :address ORDER BY a.id",
        address=f"{word}@example.com",
    )
    return [outcome for (outcome,) in found]


def states() -> Counter[object]:
    """Counts the mails by state."""
    return Counter(state for (state,) in rows("SELECT state FROM email"))


def due_now() -> None:
    """Makes the next attempt of all waiting mails due now, and wakes the mailers."""
    change("UPDATE email SET due_at = now() WHERE due_at IS NOT NULL")
    for queue in QUEUES:
        wake(queue)


def wait_for_states(processes: Processes, **wanted: int) -> None:
    """Waits until exactly this many mails are in each state."""
    wait_until(lambda: states() == wanted, say=lambda: f"{states()} {processes.logs()[-3000:]}")


def each_came_once(relay: Relay, number: int) -> None:
    """Checks that the relay received this many mails, each of them once."""
    assert Counter(relay.got().values()) == {1: number}


def has_accepted(relay: Relay) -> None:
    """Enters into the register that this relay accepted a mail a moment ago, so that what it refuses is believed."""
    change("INSERT INTO mail_relay (name, accepted_at) VALUES (:name, now())", name=f"127.0.0.1:{relay.port}")


def claim() -> list[ClaimedRow[MailColumns]]:
    """Claims urgent mails as a mailer of this process does."""
    with transaction() as session:
        return ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())


def close_connections(mailer: Mailer) -> None:
    """Closes the SMTP connections of a mailer that runs in this process."""

    async def close() -> None:
        mailer.connections.close()

    loop = get_event_loop_thread()
    assert loop is not None
    loop.run_coroutine(close())
