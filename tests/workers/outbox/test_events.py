"""Portals are told what happens to their participants, contracts and certificates, and of no one else's."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event as sql_event

from models.base import new_id
from models.delivery import AttemptFault, SmtpPhase, judge_fault
from models.words import Progress, Purpose
from tests.kit.actors.committed_jobs import claimed
from tests.kit.actors.mailers import claim, has_accepted
from tests.kit.builders.accounts import keys, make_link, token_of
from tests.kit.builders.certificates import organisation
from tests.kit.builders.contracts import asking, someone
from tests.kit.builders.events_page import check_documented
from tests.kit.builders.portal_events import (
    add_endpoint,
    add_portal,
    ask,
    contract,
    done,
    enrolled,
    forget_webhooks,
    owed,
    work,
)
from tests.kit.processes.support import change, rows
from tests.kit.relay.relay import Relay
from workers.access.passwords import choose_password
from workers.actors import rosters
from workers.catalog.organisations import put_organisation
from workers.clock import tick
from workers.database import get_engine, transaction
from workers.engine.acceptance import OwedJob, owe_jobs
from workers.engine.claimer import this_process
from workers.imports.acceptance import accept_file, digest_of
from workers.mail.claimed import ClaimedMail
from workers.mail.mailer import Mailer
from workers.mail.recording import DeliveryAttempt
from workers.people.detachment import detach
from workers.requests.accounts import ErasePerson
from workers.requests.certificates import CorrectCertificate, RevokeCertificate
from workers.requests.enrollment import ProgressEvent, RecordProgress, Withdraw
from workers.requests.imports import ImportRoster, UndoImport
from workers.requests.internal import ReleaseSeats
from workers.requests.queues import Queue

NOON = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def alpha(fresh_database: str) -> Iterator[UUID]:
    portal_id = add_portal("alpha")
    add_endpoint(portal_id)
    yield portal_id
    check_documented()


def told(event: str) -> list[dict[str, Any]]:
    return [one.data for one in owed(event)]


def progress(enrollment: UUID, to: Progress = Progress.IN_PROGRESS, minutes: int = 0, **more: Any) -> ProgressEvent:
    at = NOON + timedelta(minutes=minutes)
    return ProgressEvent(enrollment_id=enrollment, progress=to, occurred_at=at, **more)


# Participants


def test_each_enrolled_person_is_told_without_a_name_or_an_address(alpha: UUID) -> None:
    people = [someone("anne@example.com", "Anne", "Lorval", external_id="M-0042"), someone("luc@example.com", "Luc")]
    [job] = ask(alpha, asking(*people))
    work()
    found = owed("participant.enrolled")
    assert [one.resource for one in found] == [f"enrollment:{one.data['enrollment_id']}" for one in found]
    first = found[0].data
    [(account, enrollment, since)] = rows(
        "SELECT account_id, id, enrolled_at FROM enrollment WHERE id = :id", id=UUID(first["enrollment_id"])
    )
    assert first == {
        "sequence": 1,
        "portal": "alpha",
        "enrollment_id": str(enrollment),
        "account_id": str(account),
        "contract": "C-1",
        "company": "acme",
        "training": "T-1",
        "progress": "not_started",
        "time_spent_seconds": 0,
        "enrolled_at": first["enrolled_at"],
        "code": "enrolled",
        "job_id": str(job),
    }
    assert datetime.fromisoformat(first["enrolled_at"]) == since
    kept = str(rows("SELECT CAST(payload AS text) FROM webhook"))
    assert [word for word in ("Anne", "anne@", "Lorval", "luc@", "M-0042") if word in kept] == []


def test_a_person_who_is_enrolled_already_is_no_news(alpha: UUID) -> None:
    enrolled(alpha, asking("anne"))
    forget_webhooks()
    done(alpha, asking("anne"), asking("luc", dry_run=True))
    assert {one.event for one in owed()} == {"job.finished"}


def test_a_withdrawal_is_told_once(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    request = Withdraw(contract="C-1", enrollment_ids=[anne])
    [job, _] = done(alpha, request, request)
    [one] = owed("participant.withdrawn")
    assert (one.resource, one.sequence) == (f"enrollment:{anne}", 2)
    assert (one.data["by"], one.data["job_id"]) == ("withdraw", job["id"])
    assert datetime.fromisoformat(one.data["withdrawn_at"]) > datetime.fromisoformat(one.data["enrolled_at"])


def test_a_released_seat_is_told_as_a_withdrawal(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    change("UPDATE contract SET release_after_days = 30")
    change(
        "UPDATE enrollment SET enrolled_at = now() - interval '60 days', release_warned_at = now() - interval '9 days'"
    )
    change("UPDATE email SET state = 'sent', due_at = NULL, finished_at = now() - interval '9 days'")
    with transaction() as session:
        owe_jobs(session, [OwedJob(ReleaseSeats(contract="C-1", enrollment_ids=[anne]), "release:1", alpha)])
    work()
    assert [(one["by"], one["enrollment_id"]) for one in told("participant.withdrawn")] == [
        ("release_seats", str(anne))
    ]


def test_undoing_an_import_is_told_person_by_person(alpha: UUID) -> None:
    file = io.BytesIO("Nom;Prénom;E-mail\nDû;Zoé;zoe@example.com\nDû;Luc;luc@example.com\n".encode())
    request = ImportRoster(contract="C-1", file=digest_of(file), file_name="liste.csv")
    with transaction() as session:
        job_id = accept_file(session, alpha, file, request, key="import").job_id
    rosters.do_batch(claimed(Queue.ROSTERS))
    ask(alpha, UndoImport(job=job_id))
    rosters.do_batch(claimed(Queue.ROSTERS))
    there = {one["enrollment_id"] for one in told("participant.enrolled")}
    assert (len(there), {one["enrollment_id"] for one in told("participant.withdrawn")}) == (2, there)


def test_an_erased_person_who_had_not_begun_is_told_as_withdrawn(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    done(alpha, ErasePerson(email="anne@example.com", reason="asked"))
    [one] = told("participant.withdrawn")
    assert (one["by"], one["enrollment_id"]) == ("erase_person", str(anne))
    assert "anne@" not in str(rows("SELECT CAST(payload AS text) FROM webhook"))


@pytest.mark.parametrize("begun", [False, True])
def test_a_person_who_detaches_is_told_as_detached(alpha: UUID, begun: bool) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    if begun:
        done(alpha, RecordProgress(events=[progress(anne)]))
    with transaction() as session:
        [(account,)] = rows("SELECT account_id FROM enrollment")
        link, _ = make_link(session, UUID(str(account)), purpose=Purpose.NOT_ME)
    change("UPDATE link SET subject_id = :subject WHERE id = :id", subject=anne, id=link)
    token = token_of(link, UUID(str(account)), purpose=Purpose.NOT_ME)
    with transaction() as session:
        detach(session, keys(), token)
    [one] = owed("participant.detached")
    assert (one.resource, one.data["seat_freed"], "withdrawn_at" in one.data) == (
        f"enrollment:{anne}",
        not begun,
        not begun,
    )
    assert told("participant.withdrawn") == []


def test_progress_is_told_when_it_says_something_new(alpha: UUID) -> None:
    anne, luc = enrolled(alpha, asking("anne", "luc"))
    begun = RecordProgress(events=[progress(anne, score=40.0), progress(luc)])
    done(alpha, begun, begun)
    done(alpha, begun)
    found = {one.data["enrollment_id"]: one for one in owed("participant.progressed")}
    assert found.keys() == {str(anne), str(luc)}
    assert (found[str(anne)].data["progress"], found[str(anne)].data["score"]) == ("in_progress", 40.0)
    done(alpha, RecordProgress(events=[progress(anne, minutes=5, score=55.0)]))
    assert [one["score"] for one in told("participant.progressed") if one["enrollment_id"] == str(anne)] == [40.0, 55.0]


def test_a_completion_is_told_as_that_alone(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    done(alpha, RecordProgress(events=[progress(anne), progress(anne, Progress.COMPLETED, 5)]))
    assert told("participant.progressed") == []
    [one] = told("participant.completed")
    assert (one["enrollment_id"], one["progress"]) == (str(anne), "completed")
    done(alpha, RecordProgress(events=[progress(anne, Progress.COMPLETED, 9, score=70.0)]))
    assert [one["score"] for one in told("participant.progressed")] == [70.0]
    assert len(told("participant.completed")) == 1


# Accounts and mails


def shared() -> tuple[UUID, UUID, UUID]:
    """Enrols one person at two portals with endpoints, beside a third; returns the two and the account."""
    portals = [add_portal(name) for name in ("alpha", "beta", "gamma")]
    for portal in portals:
        add_endpoint(portal)
    for portal in portals[:2]:
        done(portal, asking("anne"))
    forget_webhooks()
    [(account,)] = rows("SELECT id FROM account")
    return portals[0], portals[1], UUID(str(account))


def test_an_activation_is_told_to_each_portal_of_the_person(fresh_database: str) -> None:
    _, beta, account = shared()
    change("UPDATE enrollment SET withdrawn_at = now() FROM contract c WHERE c.id = contract_id AND c.portal_id = :id",
           id=beta)  # fmt: skip
    done(beta, asking("anne"))
    forget_webhooks()
    for _ in range(2):
        with transaction() as session:
            _, token = make_link(session, account, purpose=Purpose.PASSWORD_RESET)
            choose_password(session, keys(), token, "hash")
    found = owed("account.activated")
    assert [(one.portal, one.resource) for one in found] == [(name, f"account:{account}") for name in ("alpha", "beta")]
    live = rows("SELECT p.name, json_agg(e.id) FROM enrollment e JOIN contract c ON c.id = e.contract_id"
                " JOIN portal p ON p.id = c.portal_id WHERE e.withdrawn_at IS NULL GROUP BY 1 ORDER BY 1")  # fmt: skip
    assert [(one.portal, one.data["enrollment_ids"]) for one in found] == live


def test_events_of_a_shared_person_go_to_the_portal_of_the_contract(fresh_database: str) -> None:
    alpha, _, _ = shared()
    [(enrollment,)] = rows(
        "SELECT e.id FROM enrollment e JOIN contract c ON c.id = e.contract_id WHERE c.portal_id = :id", id=alpha
    )
    done(alpha, RecordProgress(events=[progress(UUID(str(enrollment)))]))
    done(alpha, Withdraw(contract="C-1", enrollment_ids=[UUID(str(enrollment))]))
    assert {one.portal for one in owed()} == {"alpha"}


@pytest.mark.usefixtures("relay")
def test_a_mail_that_is_refused_for_good_is_told(alpha: UUID, relay: Relay) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    has_accepted(relay)
    for code in (451, 550):
        change("UPDATE email SET due_at = now()")
        fault = AttemptFault(SmtpPhase.RCPT, code, "5.1.1" if code == 550 else "4.2.0", "no anne@example.com here")
        [attempt] = [DeliveryAttempt(ClaimedMail.of(row), fault=fault, verdict=judge_fault(fault)) for row in claim()]
        Mailer().record([attempt])
    [one] = owed("email.undeliverable")
    assert (one.resource, one.data["mail"], one.data["code"]) == (f"enrollment:{anne}", "invitation", "failed")
    assert one.data["reason"] == "address_rejected"
    assert "anne@" not in str(one.payload)


@pytest.mark.usefixtures("relay", "loop")
def test_a_mail_to_a_suppressed_address_is_told(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    change("INSERT INTO suppression (email_norm, reason) VALUES ('anne@example.com', 'ops')")
    Mailer().do_batch(claim())
    [one] = owed("email.undeliverable")
    assert (one.resource, one.data["code"]) == (f"enrollment:{anne}", "suppressed")


@pytest.mark.usefixtures("relay", "loop")
def test_a_mail_that_was_not_sent_in_time_is_told(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    change("UPDATE email SET expires_at = now() - interval '1 hour'")
    Mailer().do_batch(claim())
    [one] = owed("email.undeliverable")
    assert (one.resource, one.data["code"]) == (f"enrollment:{anne}", "expired")


@pytest.mark.usefixtures("relay", "loop")
def test_a_mail_that_cannot_be_made_is_told(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    change("UPDATE email SET to_address = 'a,b@example.com'")
    change("UPDATE account SET email_norm = 'a,b@example.com'")
    Mailer().do_batch(claim())
    assert rows("SELECT state FROM email") == [("failed",)]
    [one] = owed("email.undeliverable")
    assert (one.resource, one.data["code"]) == (f"enrollment:{anne}", "failed")


def test_a_mail_that_three_mailers_were_lost_with_is_told(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    change("UPDATE email SET state = 'sending', rescues = 2, due_at = NULL, leased_until = now() - interval '1 hour'")
    tick(this_process())
    assert rows("SELECT state FROM email") == [("failed",)]
    [one] = owed("email.undeliverable")
    assert (one.resource, one.data["code"]) == (f"enrollment:{anne}", "failed")


def test_a_mail_about_no_contract_concerns_each_portal_of_the_person(fresh_database: str, relay: Relay) -> None:
    _, _, account = shared()
    has_accepted(relay)
    change("DELETE FROM email WHERE enrollment_id <> (SELECT enrollment_id FROM email ORDER BY enrollment_id LIMIT 1)")
    change("UPDATE email SET kind = 'password_reset', enrollment_id = NULL, contract_id = NULL, due_at = now()")
    fault = AttemptFault(SmtpPhase.RCPT, 550, "5.1.1", "no such user")
    [attempt] = [DeliveryAttempt(ClaimedMail.of(row), fault=fault, verdict=judge_fault(fault)) for row in claim()]
    Mailer().record([attempt])
    found = owed("email.undeliverable")
    assert [(one.portal, one.resource) for one in found] == [(name, f"account:{account}") for name in ("alpha", "beta")]


# Certificates


def test_certificates_are_told_when_issued_replaced_and_revoked(alpha: UUID) -> None:
    with transaction() as session:
        put_organisation(session, alpha, new_id(), organisation(portals=["alpha"]))
    [anne] = enrolled(alpha, asking("anne"))
    done(alpha, RecordProgress(events=[progress(anne), progress(anne, Progress.COMPLETED, 5, time_spent_seconds=60)]))
    work()
    [issued] = owed("certificate.issued")
    done(alpha, CorrectCertificate(enrollment_id=anne, last_name="Autre", reason="faute"))
    [replaced] = owed("certificate.replaced")
    done(alpha, RevokeCertificate(enrollment_id=anne, reason="fraude"))
    [revoked] = owed("certificate.revoked")
    found = {version: str(number) for version, number in rows("SELECT version, number FROM certificate")}
    assert {one.resource for one in (issued, replaced, revoked)} == {f"enrollment:{anne}"}
    assert issued.sequence < replaced.sequence < revoked.sequence
    assert (issued.data["number"], "replaces" in issued.data) == (found[1], False)
    assert (replaced.data["number"], replaced.data["replaces"], replaced.data["version"]) == (found[2], found[1], 2)
    assert (revoked.data["number"], revoked.data["certificate_id"]) == (found[2], replaced.data["certificate_id"])
    assert len(owed("certificate.issued")) == 1
    assert "Autre" not in str(rows("SELECT CAST(payload AS text) FROM webhook"))


# Contracts


def levels() -> list[tuple[str, int | None, int]]:
    """Returns what was told of the contract's seats since it was asked last, in order."""
    found = owed("contract.seats_low", "contract.full")
    forget_webhooks()
    return [(one.event, one.data.get("percent"), one.data["enrolled_count"]) for one in found]


LOW, FULL = "contract.seats_low", "contract.full"


def test_few_and_no_seats_left_are_told_once_each(alpha: UUID) -> None:
    enrolled(alpha, asking(*(f"p{number}" for number in range(7))))
    assert levels() == []
    for name, expected in (("p7", [(LOW, 75, 8)]), ("p8", [(LOW, 90, 9)]), ("p9", [(FULL, None, 10)])):
        enrolled(alpha, asking(name))
        assert levels() == expected
    done(alpha, asking("too-many"), asking("p1"))
    assert levels() == []


def test_a_leap_over_several_levels_tells_each(alpha: UUID) -> None:
    enrolled(alpha, asking(*(f"p{number}" for number in range(10))))
    found = owed(LOW, FULL)
    assert [(one.sequence, one.data.get("percent")) for one in found] == [(1, 75), (2, 90), (3, None)]
    assert found[2].data == {
        "sequence": 3,
        "portal": "alpha",
        "contract_id": found[2].resource.removeprefix("contract:"),
        "contract": "C-1",
        "company": "acme",
        "planned_seats": 10,
        "enrolled_count": 10,
        "remaining": 0,
    }


def test_a_level_is_told_again_after_it_fell(alpha: UUID) -> None:
    people = enrolled(alpha, asking(*(f"p{number}" for number in range(8))))
    assert levels() == [(LOW, 75, 8)]
    done(alpha, Withdraw(contract="C-1", enrollment_ids=people[:1]))
    assert levels() == []
    enrolled(alpha, asking("again"))
    assert levels() == [(LOW, 75, 8)]


def test_what_one_transaction_takes_and_gives_back_is_no_news(alpha: UUID) -> None:
    people = enrolled(alpha, asking(*(f"p{number}" for number in range(8))))
    forget_webhooks()
    jobs = done(alpha, Withdraw(contract="C-1", enrollment_ids=people[:3]), asking("a", "b", "c"))
    assert ([job["state"] for job in jobs], levels()) == (["succeeded"] * 2, [])


def test_requests_of_one_transaction_that_reach_a_level_tell_it_once(alpha: UUID) -> None:
    done(alpha, *(asking(f"p{number}") for number in range(9)))
    assert levels() == [(LOW, 75, 9), (LOW, 90, 9)]


def test_other_seats_of_a_contract_change_its_level(alpha: UUID) -> None:
    enrolled(alpha, asking(*(f"p{number}" for number in range(5))))
    done(alpha, contract(seats=6))
    assert levels() == [(LOW, 75, 5)]
    done(alpha, contract(seats=5))
    assert levels() == [(LOW, 90, 5), (FULL, None, 5)]
    done(alpha, contract(seats=20))
    assert levels() == []
    done(alpha, contract(seats=5))
    assert levels() == [(LOW, 75, 5), (LOW, 90, 5), (FULL, None, 5)]


# What it costs


@contextmanager
def counted() -> Iterator[list[str]]:
    """Lists the statements that this process runs in the block."""
    seen: list[str] = []

    def see(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    sql_event.listen(get_engine(), "before_cursor_execute", see)
    yield seen
    sql_event.remove(get_engine(), "before_cursor_execute", see)


def statements_of(portal_id: UUID, people: int) -> int:
    ask(portal_id, *(asking(f"{new_id().hex}@example.com") for _ in range(people)))
    with counted() as seen:
        work((Queue.ENROLLMENTS,))
    return len(seen)


def test_an_endpoint_costs_the_same_statements_for_one_and_for_many(fresh_database: str) -> None:
    quiet, told_of = add_portal("alpha", 1_000), add_portal("beta", 1_000)
    without = [statements_of(quiet, people) for people in (1, 100)]
    add_endpoint(told_of)
    withal = [statements_of(told_of, people) for people in (1, 100)]
    assert without[0] == without[1]
    assert withal == [without[0] + 4] * 2  # facts of people, seats and jobs, and the webhooks
    assert len(owed("participant.enrolled")) == 101
