"""The people who run a portal are written to when an endpoint of theirs fails, and when it was disabled."""

import pytest

from models.portal import LOCAL_PORTAL_ID
from models.words import EmailKind
from tests.kit.builders.letters import letters
from tests.kit.processes.support import change, rows
from tests.kit.webhooks.endpoints import add_endpoint, owe, pass_to_next_try, send_due
from tests.kit.webhooks.receiver import Receiver, answer, in_turn
from workers.database import transaction
from workers.mail.renderer import render

pytestmark = pytest.mark.usefixtures("fresh_database", "loopback")


@pytest.fixture(autouse=True)
def _contact(loopback: None) -> None:
    change("UPDATE portal SET contact = 'tech@lms.example' WHERE id = :id", id=LOCAL_PORTAL_ID)


def mails() -> list[str]:
    """Returns the text of each mail to the portal that is owed and wanted."""
    with transaction() as session:
        written = [one for one in letters(session) if one.kind is EmailKind.WEBHOOKS_FAILING and not one.unsent]
    return [render(one.kind, "fr", one.context).text for one in written]


def test_the_contact_hears_of_the_third_failure_and_not_before() -> None:
    with Receiver(lambda _: answer(500)) as receiver:
        owe(add_endpoint(receiver.url, "suivi"), "enrollment:1")
        told = []
        for _ in range(5):
            pass_to_next_try()
            send_due()
            told.append(len(rows("SELECT 1 FROM email")))
    assert told == [0, 0, 1, 1, 1]
    [mail] = mails()
    assert "suivi" in mail
    assert "HTTP 500" in mail
    assert rows("SELECT to_address, locale FROM email") == [("tech@lms.example", "fr")]


def test_a_receiver_that_restarts_is_no_news() -> None:
    with Receiver() as receiver:
        receiver.stop()
        owe(add_endpoint(receiver.url), *(f"enrollment:{n}" for n in range(50)))
        send_due()
    assert mails() == []


def test_the_mail_of_a_failure_is_dropped_once_it_works_again() -> None:
    with Receiver(in_turn(*[answer(500)] * 3)) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        for _ in range(3):
            pass_to_next_try()
            send_due()
        assert len(mails()) == 1
        pass_to_next_try()
        send_due()
    assert mails() == []


def test_the_contact_hears_that_an_endpoint_was_disabled() -> None:
    with Receiver(in_turn(answer(410))) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1", "enrollment:1")
        send_due()
    [mail] = mails()
    assert "Il a répondu 410" in mail
    assert "Événements en attente : 2" in mail.replace("\u00a0", " ").replace("\u202f", " ")


def test_a_portal_without_a_contact_is_written_nothing() -> None:
    change("UPDATE portal SET contact = NULL")
    with Receiver(in_turn(answer(410))) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
    assert rows("SELECT 1 FROM email") == []
