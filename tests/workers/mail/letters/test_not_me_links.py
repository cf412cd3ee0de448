"""The link "this is not me" of an attachment mail is made when the letter is read, once for each enrollment."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from models.base import new_id
from models.withdrawal import DetachmentStep
from models.words import EmailKind
from tests.kit.builders.accounts import PASSWORD, keys
from tests.kit.builders.attachments import (
    LINK,
    attach,
    letters,
    token_of,
)
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    enrol,
    enrol_people,
    query,
    someone,
)
from tests.kit.processes import support
from tests.kit.processes.support import wait_until
from workers.access.passwords import choose_password
from workers.database import Session, get_engine, transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.people.detachment import detach
from workers.requests.queues import Queue
from workers.security.link_views import LinkView

LIVE = "SELECT count(*) FROM link WHERE purpose = 'not_me' AND consumed_at IS NULL AND voided_at IS NULL"
ALL = "SELECT count(*) FROM link WHERE purpose = 'not_me'"
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def attachment(session: Session) -> Letter:
    [found] = [letter for letter in letters(session) if letter.kind is EmailKind.ATTACHMENT]
    return found


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize("locale", ["fr", "en"])
def test_every_attachment_mail_carries_it(session: Session, activated: bool, locale: str) -> None:
    anne = attach(session, activated=activated, locale=locale)
    found = attachment(session)
    assert bool(found.context["link"]) is not activated  # the link that opens the account is beside it
    rendered = render(found.kind, locale, found.context)
    for shown in (rendered.text, rendered.html):
        assert anne.token in LINK.findall(shown.replace('"', " ").replace("<", " "))
    assert detach(session, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK


def test_an_invitation_that_becomes_an_attachment_carries_it(session: Session) -> None:
    add_contract(session)
    enrol_people(session, "anne")
    session.execute(text("UPDATE account SET activated_at = now()"))
    found = attachment(session)
    assert found.row.columns.kind == EmailKind.INVITATION
    assert detach(session, keys(), token_of(found)) is DetachmentStep.GIVE_SEAT_BACK


def test_an_invitation_carries_none_and_costs_no_statement(session: Session) -> None:
    add_contract(session)
    enrol_people(session, "anne", "luc")
    said: list[str] = []
    rows = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())
    event.listen(get_engine(), "before_cursor_execute", lambda *call: said.append(call[2]))
    found = write_letters(session, rows)
    assert len(said) == 1
    assert [(one.kind, "not_me_link" in one.context) for one in found] == [(EmailKind.INVITATION, False)] * 2
    assert query(session, ALL) == [(0,)]


def test_a_mail_sent_again_carries_the_very_same_link(session: Session) -> None:
    anne = attach(session)
    assert [token_of(attachment(session)) for _ in range(3)] == [anne.token] * 3
    assert query(session, ALL) == [(1,)]


@pytest.mark.parametrize("ended", ["key_id = 'gone'", "expires_at = now()"])
@pytest.mark.parametrize("activated", [False, True])
def test_a_link_that_ended_is_replaced(session: Session, ended: str, activated: bool) -> None:
    anne = attach(session, activated=activated)
    session.execute(text(f"UPDATE link SET {ended} WHERE consumed_at IS NULL"))  # the activation link too
    found = attachment(session)
    assert token_of(found) != anne.token
    assert bool(found.context["link"]) is not activated
    assert (query(session, LIVE), query(session, ALL)) == ([(1,)], [(2,)])
    assert token_of(attachment(session)) == token_of(found)
    assert detach(session, keys(), token_of(found)) is DetachmentStep.GIVE_SEAT_BACK


@pytest.mark.parametrize("ended", ["voided_at = now()", "consumed_at = now()", "voided_at = now(), key_id = 'gone'"])
def test_a_link_used_or_voided_on_purpose_is_not_replaced(session: Session, ended: str) -> None:
    attach(session)
    session.execute(text(f"UPDATE link SET {ended} WHERE purpose = 'not_me'"))
    found = attachment(session)
    assert (found.unsent, found.context["not_me_link"], query(session, ALL)) == (None, None, [(1,)])
    assert "signalez-le" in render(found.kind, "fr", found.context).text


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE email SET expires_at = now()",
        "UPDATE enrollment SET withdrawn_at = now()",
        "UPDATE enrollment SET detached_at = now()",
        "UPDATE email SET contract_id = NULL",
        "INSERT INTO suppression (email_norm, reason) VALUES ('anne@example.com', 'ops')",
    ],
)
def test_no_link_is_made_for_a_mail_that_is_not_sent(session: Session, meanwhile: str) -> None:
    attach(session)
    session.execute(text("DELETE FROM link WHERE purpose = 'not_me'"))
    session.execute(text(meanwhile))
    assert {one.unsent for one in letters(session) if one.row.columns.kind == "attachment"} != {None}
    assert query(session, ALL) == [(0,)]


def test_choosing_a_password_leaves_it_alone(session: Session) -> None:
    anne = attach(session, activated=False)
    activation = attachment(session).context["link"].rpartition("/")[2]
    assert isinstance(choose_password(session, keys(), activation, PASSWORD), LinkView)
    assert token_of(attachment(session)) == anne.token
    assert detach(session, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK


def test_each_of_a_batch_has_a_link_of_its_own(session: Session) -> None:
    add_contract(session, seats=50)
    add_contract(session, "C-2", seats=50, company="autre")
    people = [someone(f"p{number}@example.com") for number in range(20)]
    enrol(session, asking(*people))
    session.execute(text("DELETE FROM email"))
    session.execute(text("UPDATE account SET activated_at = now() WHERE email_norm < 'p15'"))
    enrol(session, asking(*people, "new", contract="C-2"))
    found = letters(session)
    tokens = {token_of(one) for one in found if one.kind is EmailKind.ATTACHMENT}
    assert (len(found), len(tokens), query(session, ALL)) == (21, 20, [(20,)])
    assert [detach(session, keys(), token) for token in tokens] == [DetachmentStep.GIVE_SEAT_BACK] * 20
    assert query(session, "SELECT count(*) FROM enrollment e JOIN contract c ON c.id = e.contract_id"
                          " WHERE detached_at IS NOT NULL AND reference = 'C-2'") == [(20,)]  # fmt: skip


def test_nothing_secret_is_kept(session: Session) -> None:
    anne = attach(session)
    kept = str(query(session, "SELECT CAST(e AS text), CAST(l AS text) FROM email e, link l"))
    assert anne.token not in kept


def test_two_mails_of_one_enrollment_read_at_once_carry_one_link(fresh_database: str) -> None:
    with transaction() as session:
        attach(session)
        session.execute(text("DELETE FROM link WHERE purpose = 'not_me'"))
        session.execute(text("DELETE FROM email WHERE kind <> 'attachment'"))
        rows = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())

    def read(rows: list[ClaimedRow[MailColumns]]) -> str:
        with transaction() as session:
            [found] = write_letters(session, rows)
            return token_of(found)

    with ThreadPoolExecutor(1) as pool, transaction() as session:
        [found] = write_letters(session, rows)
        reading = pool.submit(read, rows)
        wait_until(lambda: support.rows(WAITING))
        session.commit()
        assert reading.result(30) == token_of(found)
    assert support.rows(ALL) == [(1,)]


def test_a_link_voided_by_a_correction_during_reading_stays_voided(fresh_database: str) -> None:
    with transaction() as session:
        attach(session)
        session.execute(text("DELETE FROM email WHERE kind <> 'attachment'"))
        session.execute(text("UPDATE link SET expires_at = now() WHERE purpose = 'not_me'"))
        rows = ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id())

    def read() -> object:
        with transaction() as session:
            [found] = write_letters(session, rows)
            return found.context["not_me_link"]

    with ThreadPoolExecutor(1) as pool, transaction() as session:
        session.execute(text("SELECT 1 FROM account FOR UPDATE"))
        reading = pool.submit(read)
        wait_until(lambda: support.rows(WAITING))
        session.execute(text("UPDATE link SET voided_at = now() WHERE voided_at IS NULL"))
        session.commit()
        assert reading.result(30) is None
    assert support.rows(ALL) == [(1,)]
