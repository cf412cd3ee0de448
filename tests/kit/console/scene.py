"""A database as operators find it one morning: enrolments that were done, dead jobs of two errors, unsent mails."""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.trouble import trouble_of
from tests.kit.builders.contracts import accepted, add_contract, asking, did, someone
from workers.database import Session, transaction

HOSTILE: Final = "<script>alert('x')</script>"

LOST: Final = {"class": "OperationalError", "reason": "", "message": "server closed the connection of zoe@example.com"}
BROKEN: Final = {"class": "KeyError", "reason": HOSTILE, "message": f"'locale' {HOSTILE}"}

_DIE: Final = text("""
    UPDATE job SET state = 'dead', due_at = NULL, created_at = now() - interval '20 minutes',
      started_at = now() - interval '6 minutes', finished_at = now() - interval '5 minutes',
      failures = 8, claim = 8, error = CAST(:error AS json), trouble = :trouble WHERE id = :id""")

_ATTEMPT: Final = text("""
    INSERT INTO job_attempt (ledger, row_id, claim, outcome, error, created_at)
    VALUES (:ledger, :id, 1, 'retry', CAST(:error AS json), now() - interval '15 minutes')""")

_FAIL_MAIL: Final = text("""
    UPDATE email SET state = 'failed', due_at = NULL, created_at = now() - interval '20 minutes',
      finished_at = now(), failures = 3, claim = 3,
      error = CAST(:error AS json), trouble = :trouble WHERE id = :id""")


class Scene(NamedTuple):
    """The rows of the scene.

    Parameters:
      done: a job that enrolled Zoé and Paul.
      dead: jobs that gave up, the first ones with the same error.
      refused: a job that was refused, in which nina@example.com was typed.
      account: of zoe@example.com.
      mail, failed_mail: Zoé's invitation, which is owed, and Paul's, which the relay refused.
    """

    done: UUID
    dead: list[UUID]
    refused: UUID
    account: UUID
    mail: UUID
    failed_mail: UUID


def make_scene(dead: int = 3, broken: Mapping[str, str] = BROKEN, name: str = HOSTILE) -> Scene:
    """Makes the scene.

    Parameters:
      dead: the jobs that gave up with the same error.
      broken: the error of one more.
      name: the first name in them.
    """
    with transaction() as session:
        add_contract(session, "C-1", seats=10)
        [job] = did(session, asking(someone("zoe@example.com", "Zoé"), someone("paul@example.com", "Paul")))
        lost = [kill(session, f"lost-{number}", LOST, name=name) for number in range(dead)]
        last = kill(session, "broken", broken, name=name)
        [refused] = did(session, asking("nina@example.com", contract="C-unknown"))
        account = _one(session, "SELECT id FROM account WHERE email_norm = 'zoe@example.com'")
        mail = _one(session, "SELECT id FROM email WHERE to_address = 'zoe@example.com'")
        failed = _one(session, "SELECT id FROM email WHERE to_address = 'paul@example.com'")
        fail_mail(session, failed)
        return Scene(UUID(str(job["id"])), [*lost, last], UUID(str(refused["id"])), account, mail, failed)


def kill(session: Session, key: str, error: Mapping[str, str], *, contract: str = "C-1", name: str = HOSTILE) -> UUID:
    """Records an enrolment that has given up with this error."""
    row_id = accepted(session, asking(someone(f"{key}@example.com", name), contract=contract), key=f"key-{key}")
    given = {"id": row_id, "error": json.dumps(error)}
    session.execute(_DIE, given | {"trouble": trouble_of(error)})
    session.execute(_ATTEMPT, given | {"ledger": "job"})
    return row_id


def fail_mail(session: Session, mail: UUID) -> None:
    """Lets the relay refuse a mail for good."""
    error = {"class": "SMTPResponseError", "reason": "address_rejected", "message": "550 5.1.1 <paul@example.com> gone"}
    given = {"id": mail, "error": json.dumps(error)}
    session.execute(_FAIL_MAIL, given | {"trouble": trouble_of(error)})
    session.execute(_ATTEMPT, given | {"ledger": "email"})


def suppress_zoe(session: Session) -> None:
    """Puts Zoé's address on the suppression list."""
    session.execute(text("INSERT INTO suppression (email_norm, reason) VALUES ('zoe@example.com', 'hard_bounce')"))


def _one(session: Session, statement: str) -> UUID:
    found: UUID = session.execute(text(statement)).scalar_one()
    return found


__all__ = ["BROKEN", "HOSTILE", "LOST", "Scene", "fail_mail", "kill", "make_scene", "suppress_zoe"]
