"""The content of a claimed mail when it is sent, or the reason why it is not sent."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from models.words import EmailKind, EmailState, Purpose
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import (
    add_contract,
    enrol_people,
    query,
    someone,
)
from tests.kit.builders.letters import (
    attach,
    change,
    claim,
    letters,
)
from tests.kit.processes import support
from tests.kit.processes.support import wait_until
from tests.kit.races.racers import waiting_for_a_lock
from workers.access.passwords import choose_password
from workers.database import Session, transaction
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.requests.queues import Queue
from workers.security.link_views import LinkView
from workers.security.tokens import check_token, read_token

LINK = re.compile(r"http://127\.0\.0\.1:8020/links/(\S+)")


def letter(session: Session) -> Letter:
    [found] = letters(session)
    return found


def link_of(found: Letter) -> str:
    matched = LINK.fullmatch(found.context["link"])
    assert matched
    return matched[1]


def opens(session: Session, token: str) -> bool:
    """Tells whether the token is the valid token of the live link it names."""
    link_id = read_token(token)
    [(key_id, version, account_id)] = query(
        session,
        "SELECT key_id, version, account_id FROM link WHERE id = :id AND consumed_at IS NULL AND voided_at IS NULL",
        id=link_id,
    )
    assert isinstance(link_id, UUID)
    return check_token(
        keys(),
        token,
        key_id=key_id,
        link_id=link_id,
        purpose=Purpose.ACTIVATION,
        version=version,
        account_id=account_id,
    )


def test_an_invitation_carries_the_link_that_opens_the_account(session: Session) -> None:
    add_contract(session)
    enrol_people(session, someone("anne@example.com", "Anne"))
    found = letter(session)
    assert (found.kind, found.unsent) == (EmailKind.INVITATION, None)
    assert opens(session, link_of(found))
    [(expires_at,)] = query(session, "SELECT expires_at FROM link")
    assert found.context["expires_at"] == expires_at
    assert [found.context[name] for name in ("first_name", "company_name", "training_title")] == [
        "Anne",
        "Acmé",
        "Sécurité",
    ]
    rendered = render(found.kind, "fr", found.context)
    assert found.context["link"] in rendered.text
    assert found.context["link"] in rendered.html


def test_a_mail_sent_again_carries_the_very_same_link(session: Session) -> None:
    add_contract(session)
    enrol_people(session, "anne")
    found = letter(session)
    [again] = write_letters(session, [found.row])
    assert again.context == found.context


def test_a_person_activated_meanwhile_is_told_of_the_training_only(session: Session) -> None:
    add_contract(session)
    enrol_people(session, "anne")
    change(session, "UPDATE account SET activated_at = now()")
    found = letter(session)
    assert (found.kind, found.unsent) == (EmailKind.ATTACHMENT, None)
    assert (found.context["link"], found.context["expires_at"]) == (None, None)
    rendered = render(found.kind, "fr", found.context)
    assert "connectez-vous" in rendered.text
    assert LINK.findall(rendered.text) == LINK.findall(found.context["not_me_link"])  # there is no other


def test_after_activation_the_mail_about_the_other_training_still_leaves(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol_people(session, "anne")
    enrol_people(session, "anne", contract="C-2")
    change(session, "UPDATE email SET due_at = now() + interval '1 hour' WHERE kind = 'invitation'")  # a long queue
    attachment = letter(session)
    assert isinstance(choose_password(session, keys(), link_of(attachment), "hash"), LinkView)
    change(session, "UPDATE email SET due_at = now() WHERE due_at > now()")
    invitation = letter(session)
    assert (invitation.row.columns.kind, invitation.kind) == (EmailKind.INVITATION, EmailKind.ATTACHMENT)
    assert (invitation.unsent, invitation.context["link"]) == (None, None)


def test_an_attached_person_who_is_active_gets_no_link(session: Session) -> None:
    attach(session, activated=True)
    found = letter(session)
    assert (found.kind, found.context["link"], found.context["first_name"]) == (EmailKind.ATTACHMENT, None, "Anne")


def test_an_attached_person_not_activated_gets_the_activation_link(session: Session) -> None:
    attach(session, activated=False)
    found = letter(session)
    assert found.kind is EmailKind.ATTACHMENT
    assert opens(session, link_of(found))
    assert found.context["link"] in render(found.kind, "fr", found.context).text


@pytest.mark.parametrize(
    ("meanwhile", "ends"),
    [
        ("UPDATE email SET expires_at = now()", EmailState.EXPIRED),
        ("UPDATE enrollment SET withdrawn_at = now()", EmailState.CANCELLED),
        ("UPDATE link SET voided_at = now()", EmailState.CANCELLED),
        ("UPDATE link SET consumed_at = now()", EmailState.CANCELLED),
        ("UPDATE link SET voided_at = now(), expires_at = now(), key_id = 'gone'", EmailState.CANCELLED),
        (
            "WITH n AS (UPDATE enrollment SET withdrawn_at = now()) UPDATE link SET key_id = 'gone'",
            EmailState.CANCELLED,
        ),
        ("WITH e AS (UPDATE email SET expires_at = now()) UPDATE link SET key_id = 'gone'", EmailState.EXPIRED),
        ("UPDATE email SET contract_id = NULL", EmailState.CANCELLED),
    ],
)
def test_a_mail_that_would_mislead_is_not_sent(session: Session, meanwhile: str, ends: EmailState) -> None:
    add_contract(session)
    enrol_people(session, "anne")
    change(session, meanwhile)
    links = query(session, "SELECT * FROM link")
    found = letter(session)
    assert (found.unsent, found.context) == (ends, {})
    assert query(session, "SELECT * FROM link") == links


ENDED = pytest.mark.parametrize("ended", ["key_id = 'gone'", "expires_at = now()"])


@ENDED
def test_a_link_that_ended_while_its_mail_was_owed_is_replaced(session: Session, ended: str) -> None:
    add_contract(session)
    enrol_people(session, "anne", "zoe", "luc")
    of_two = "account_id IN (SELECT id FROM account WHERE email_norm < 'm')"  # Anne and Luc
    change(session, f"UPDATE link SET {ended} WHERE {of_two}")
    found = letters(session)
    assert [(one.kind, one.unsent) for one in found] == [(EmailKind.INVITATION, None)] * 3
    assert all(opens(session, link_of(one)) for one in found)
    links = "SELECT count(*) FILTER (WHERE voided_at IS NULL), count(*) FROM link"
    assert query(session, f"{links} WHERE {of_two}") == [(2, 4)]
    assert query(session, f"{links} WHERE NOT {of_two}") == [(1, 1)]
    [(expires_at,)] = query(session, "SELECT DISTINCT expires_at FROM link WHERE voided_at IS NULL")
    assert {one.context["expires_at"] for one in found} == {expires_at}
    assert [one.context for one in write_letters(session, [one.row for one in found])] == [one.context for one in found]


def read_while(others: str) -> Letter:
    """Returns Anne's letter, when her link has expired and this change is committed while a mailer reads it."""
    with transaction() as session:
        add_contract(session)
        enrol_people(session, "anne")
        change(session, "UPDATE link SET key_id = 'gone'")
        rows = claim(session, EMAILS, Queue.EMAILS)

    def read() -> list[Letter]:
        with transaction() as session:
            return write_letters(session, rows)

    with ThreadPoolExecutor(1) as pool, transaction() as session:
        change(session, "SELECT 1 FROM account FOR UPDATE")
        reading = pool.submit(read)
        wait_until(waiting_for_a_lock(1))
        change(session, others)
        session.commit()
        [found] = reading.result()
    return found


VOIDED = "UPDATE link SET voided_at = now()"


@pytest.mark.parametrize(
    ("others", "kind", "unsent"),
    [
        (VOIDED, EmailKind.INVITATION, EmailState.CANCELLED),
        (f"WITH l AS ({VOIDED}) UPDATE account SET activated_at = now()", EmailKind.ATTACHMENT, None),
    ],
)
def test_a_link_voided_on_purpose_while_it_is_replaced_stays_voided(
    fresh_database: str, others: str, kind: EmailKind, unsent: EmailState | None
) -> None:
    found = read_while(others)
    assert (found.kind, found.unsent) == (kind, unsent)
    assert support.rows("SELECT count(*), count(voided_at) FROM link WHERE purpose = 'activation'") == [(1, 1)]


def test_two_mails_read_at_once_carry_the_same_new_link(fresh_database: str) -> None:
    with transaction() as session:
        attach(session, activated=False)
        add_contract(session, "C-3")
        enrol_people(session, "anne", contract="C-3")
        change(session, "UPDATE link SET expires_at = now()")
        first, second = claim(session, EMAILS, Queue.EMAILS)

    def read(row: ClaimedRow[MailColumns]) -> Letter:
        with transaction() as session:
            [found] = write_letters(session, [row])
            return found

    with ThreadPoolExecutor(1) as pool, transaction() as session:
        [found] = write_letters(session, [first])
        reading = pool.submit(read, second)
        wait_until(waiting_for_a_lock(1))
        session.commit()
        assert reading.result().context["link"] == found.context["link"]
    assert support.rows("SELECT count(*), count(voided_at) FROM link WHERE purpose = 'activation'") == [(2, 1)]


def test_a_mail_has_the_facts_of_its_own_person(session: Session) -> None:
    add_contract(session, seats=50)
    enrol_people(session, *(someone(f"p{n}@example.com", f"Prénom{n}") for n in range(20)))
    found = {one.row.columns.to_address: one for one in letters(session)}
    assert {address: one.context["first_name"] for address, one in found.items()} == {
        f"p{n}@example.com": f"Prénom{n}" for n in range(20)
    }
    assert len({link_of(one) for one in found.values()}) == 20
    assert all(opens(session, link_of(one)) for one in found.values())


def test_nothing_secret_is_kept(session: Session) -> None:
    attach(session, activated=False)
    token = link_of(letter(session))
    kept = json.dumps(query(session, "SELECT CAST(e AS text), CAST(l AS text) FROM email e, link l"))
    assert token not in kept
    assert "/links/" not in kept
    assert query(session, "SELECT count(*), count(context) FROM email") == [(1, 0)]
