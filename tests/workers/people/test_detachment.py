""" "This is not me": the data that is detached, the data that stays, and the results of later requests."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from models.base import new_id
from models.withdrawal import DetachmentStep
from models.words import Code, JobState, Progress, Purpose
from tests.kit.builders.accounts import keys, make_link, token_of
from tests.kit.builders.attachments import (
    Attached,
    attach,
    detachment_letter,
    done,
    enrollment_state,
    letters,
    start_trainings,
)
from tests.kit.builders.contracts import (
    asking,
    everything,
    query,
    someone,
)
from workers.database import Session
from workers.engine.ledger import queues_to_wake
from workers.ops.reconciliation import find_drift
from workers.people import detachment
from workers.people.detachment import detach
from workers.requests.accounts import RequestPasswordReset, ResendInvitations, ResetPasswords
from workers.requests.base import Request
from workers.requests.enrollment import ProgressEvent, RecordProgress, Withdraw
from workers.requests.queues import Queue

OWED = "SELECT kind, state FROM email ORDER BY kind"


def test_a_person_who_has_not_started_gives_the_seat_back(session: Session) -> None:
    anne = attach(session)
    assert detach(session, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK
    assert enrollment_state(session, anne.enrollment_id) == ("not_started", True, True, 0, 0, 1, 1)
    assert query(session, OWED) == [("attachment", "cancelled"), ("detachment", "owed"), ("enrollment_report", "owed")]
    assert queues_to_wake(session) >= {Queue.EMAILS}
    [(account, subject, portal, company, detail)] = query(
        session, "SELECT account_id, subject_id, portal_id, company_id, detail FROM audit WHERE action = 'detach'"
    )
    assert (account, subject, portal, detail) == (
        anne.account_id, anne.enrollment_id, None, {"progress": "not_started", "seat_freed": True, "told": True},
    )  # fmt: skip
    assert query(session, "SELECT reference FROM company WHERE id = :id", id=company) == [("autre",)]
    assert find_drift(session) == []
    # The training of her own company is unchanged.
    assert query(session, "SELECT count(*) FROM enrollment WHERE detached_at IS NULL AND withdrawn_at IS NULL") == [
        (1,)
    ]


@pytest.mark.parametrize("progress", ["in_progress", "completed"])
def test_a_person_who_has_started_is_detached_and_the_seat_stays_used(session: Session, progress: str) -> None:
    anne = attach(session)
    session.execute(text("UPDATE enrollment SET progress = :p, started_at = now()"), {"p": progress})
    assert detach(session, keys(), anne.token) is DetachmentStep.KEEP_SEAT
    assert enrollment_state(session, anne.enrollment_id) == (progress, False, True, 1, 1, 1, 1)
    assert query(session, OWED)[0] == ("attachment", "cancelled")
    assert detachment_letter(session)["seat_free"] is False
    assert find_drift(session) == []


def test_twice_does_it_once(session: Session) -> None:
    anne = attach(session)
    detach(session, keys(), anne.token)
    before = everything(session)
    assert detach(session, keys(), anne.token) is Code.USED_LINK
    assert everything(session) == before


def test_nothing_of_the_person_is_detached_after_a_withdrawal(session: Session) -> None:
    anne = attach(session)
    done(session, Withdraw(contract="C-2", enrollment_ids=[anne.enrollment_id], notify=False))
    before = everything(session)
    assert detach(session, keys(), anne.token) is DetachmentStep.NOTHING_LEFT
    assert everything(session) == before


def test_a_second_link_of_the_same_enrollment_does_nothing_more(session: Session) -> None:
    anne = attach(session)
    detach(session, keys(), anne.token)
    link_id, token = make_link(session, anne.account_id, purpose=Purpose.NOT_ME)
    session.execute(text("UPDATE link SET subject_id = :subject WHERE id = :id"),
                    {"subject": anne.enrollment_id, "id": link_id})  # fmt: skip
    before = everything(session)
    assert detach(session, keys(), token) is DetachmentStep.DONE_BEFORE
    assert everything(session) == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("consumed_at = now()", Code.USED_LINK),
        ("voided_at = now()", Code.INVALID_LINK),
        ("expires_at = now()", Code.EXPIRED_LINK),
        ("version = 2", Code.INVALID_LINK),
        ("key_id = 'withdrawn'", Code.INVALID_LINK),
        ("purpose = 'correction_answer'", Code.INVALID_LINK),
    ],
)
def test_an_expired_link_detaches_no_one(session: Session, change: str, code: Code) -> None:
    anne = attach(session)
    session.execute(text(f"UPDATE link SET {change} WHERE purpose = 'not_me'"))
    before = everything(session)
    assert detach(session, keys(), anne.token) is code
    assert everything(session) == before


def test_a_link_of_another_purpose_or_person_detaches_no_one(session: Session) -> None:
    anne = attach(session)
    done(session, asking("luc", contract="C-1"))
    [(luc,)] = query(session, "SELECT id FROM account WHERE email_norm LIKE 'luc%'")
    activation, reset = make_link(session, anne.account_id)[1], make_link(session, anne.account_id,
                                                                         purpose=Purpose.PASSWORD_RESET)[1]  # fmt: skip
    session.execute(
        text("UPDATE link SET voided_at = now() WHERE purpose = 'not_me'")
    )  # an enrollment has one live link
    link_id, of_luc = make_link(session, luc, purpose=Purpose.NOT_ME)
    session.execute(text("UPDATE link SET subject_id = :subject WHERE id = :id"),
                    {"subject": anne.enrollment_id, "id": link_id})  # fmt: skip
    before = everything(session)
    assert [detach(session, keys(), token) for token in (activation, reset)] == [Code.INVALID_LINK] * 2
    assert detach(session, keys(), of_luc) is DetachmentStep.NOTHING_LEFT  # Anne's enrollment does not concern him
    forged = token_of(link_id, anne.account_id, purpose=Purpose.NOT_ME)
    assert detach(session, keys(), forged) is Code.INVALID_LINK
    assert everything(session) == before


# Later requests


def requests_about(anne: Attached) -> list[Request]:
    ids = [anne.enrollment_id]
    event = ProgressEvent(
        enrollment_id=anne.enrollment_id, progress=Progress.COMPLETED, occurred_at=datetime(2026, 3, 5, tzinfo=UTC)
    )
    return [
        Withdraw(contract="C-2", enrollment_ids=ids),
        ResetPasswords(contract="C-2", enrollment_ids=ids),
        ResendInvitations(contract="C-2", enrollment_ids=ids),
        RecordProgress(events=[event]),
    ]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("activated", [False, True])
def test_every_later_request_gets_the_date_and_changes_nothing(session: Session, begun: bool, activated: bool) -> None:
    anne = attach(session, activated=activated)
    if begun:
        start_trainings(session)
    detach(session, keys(), anne.token)
    [(since,)] = query(session, "SELECT detached_at FROM enrollment WHERE id = :id", id=anne.enrollment_id)
    before = everything(session)
    for request in requests_about(anne):
        job = done(session, request, state=JobState.REFUSED)
        [person] = job["result"]["people"]
        assert (person["code"], person["detail"]) == ("detached", {"since": since.isoformat()})
    after = everything(session)
    assert {table for table in after if after[table] != before[table]} <= {"job", "idempotency", "audit"}
    assert find_drift(session) == []


def test_a_person_detached_before_starting_is_enrolled_again(session: Session) -> None:
    anne = attach(session)
    detach(session, keys(), anne.token)
    session.execute(text("UPDATE email SET state = 'cancelled', due_at = NULL WHERE due_at IS NOT NULL"))
    job = done(session, asking(someone("anne@example.com"), contract="C-2"))
    [person] = job["result"]["people"]
    assert (person["code"], person["enrollment_id"] == str(anne.enrollment_id)) == ("attached", False)
    [letter] = letters(session)
    again = letter.context["not_me_link"].rpartition("/")[2]
    assert (letter.unsent, again == anne.token) == (None, False)
    assert detach(session, keys(), again) is DetachmentStep.GIVE_SEAT_BACK
    assert query(session, "SELECT count(*), count(detached_at) FROM enrollment") == [(3, 2)]
    assert find_drift(session) == []


def test_a_started_enrollment_is_reported_as_enrolled_and_detached(session: Session) -> None:
    anne = attach(session)
    start_trainings(session)
    detach(session, keys(), anne.token)
    [(since,)] = query(session, "SELECT detached_at FROM enrollment WHERE id = :id", id=anne.enrollment_id)
    mails = query(session, "SELECT count(*) FROM email")
    job = done(session, asking(someone("anne@example.com"), contract="C-2"))
    [person] = job["result"]["people"]
    assert person["code"] == "already_enrolled"
    assert person["detail"] == {"detached_since": since.isoformat(), "names_differ": True}
    assert query(session, "SELECT count(*) FROM email") == mails


def test_a_reset_by_address_does_not_invite_to_the_training_they_left(session: Session) -> None:
    anne = attach(session, activated=False)
    start_trainings(session)  # both trainings; the LMS needs no password
    session.execute(text("UPDATE enrollment SET withdrawn_at = now() WHERE id <> :id"), {"id": anne.enrollment_id})
    detach(session, keys(), anne.token)
    done(session, RequestPasswordReset(email="anne@example.com"))
    done_follow_up = query(session, "SELECT count(*) FROM job WHERE kind = 'send_password_reset'")
    assert done_follow_up == [(1,)]
    done(session, asking("luc"))  # also does the following job
    assert query(session, "SELECT count(*) FROM email WHERE to_address LIKE 'anne%' AND state = 'owed'") == [(0,)]


def test_half_way_nothing_is_done(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    anne = attach(session)
    before = everything(session)
    savepoint = session.begin_nested()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(detachment, "record", fail)
        with pytest.raises(RuntimeError):
            detach(session, keys(), anne.token)
    savepoint.rollback()
    assert everything(session) == before
    assert detach(session, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK
    assert enrollment_state(session, anne.enrollment_id) == ("not_started", True, True, 0, 0, 1, 1)


def test_an_unknown_token_detaches_no_one(session: Session) -> None:
    anne = attach(session)
    for token in ("", "x", anne.token[:-1], anne.token + "A", token_of(new_id(), anne.account_id)):
        assert detach(session, keys(), token) is Code.INVALID_LINK
