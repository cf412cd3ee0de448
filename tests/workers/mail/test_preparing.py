"""Mails with a file that cannot be read at the moment wait, and lose nothing."""

import logging
from collections.abc import Iterator

import pytest
from dramatiq.asyncio import EventLoopThread, set_event_loop_thread
from sqlalchemy.exc import OperationalError

from models.base import new_id
from tests.kit.builders.contracts import add_contract
from tests.kit.builders.imports import (
    close_open_files,
    drop,
    rows_of,
    work,
)
from tests.kit.processes.support import change, rows
from tests.kit.relay.relay import Relay
from workers.database import transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.errors import Transient
from workers.mail import preparing
from workers.mail.mailer import Mailer
from workers.mail.preparing import FILE_PAUSE
from workers.requests.queues import Queue


@pytest.fixture
def mailer(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailer]:
    thread = EventLoopThread(logging.getLogger("test"))
    thread.start(timeout=5)
    set_event_loop_thread(thread)
    with Relay() as relay:
        monkeypatch.setenv("SMTP_URL", relay.url)
        ours = Mailer()
        yield ours
        thread.run_coroutine(_close(ours))
    set_event_loop_thread(None)
    thread.stop()  # type: ignore[no-untyped-call]
    close_open_files()


async def _close(mailer: Mailer) -> None:
    mailer.connections.close()


def send(mailer: Mailer) -> None:
    with transaction() as session:
        found = ledger.claim(session, EMAILS, Queue.EMAILS_BULK, size=50, lease=30, worker=new_id())
    mailer.do_batch(found)


@pytest.mark.parametrize("fault", [OperationalError("", {}, Exception("the server is away")), Transient("away")])
def test_a_mail_waits_for_its_file(mailer: Mailer, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def away(*_: object) -> None:
        raise fault

    with transaction() as session:
        add_contract(session)
    drop(rows_of("Dû;Zoé;zoe@x.fr;", "Dû;Luc;b@b;"), report_to="chef@example.com")
    work()
    with monkeypatch.context() as broken:
        broken.setattr(preparing, "open_file", away)
        send(mailer)
    state = "SELECT kind, state, failures, leased_until, due_at > now() + make_interval(secs => :pause) FROM email"
    # The pause is spread over half to one and a half times its length.
    assert sorted(rows(state, pause=0.4 * FILE_PAUSE)) == [
        ("import_report", "owed", 0, None, True),
        ("invitation", "sent", 0, None, None),
    ]
    change("UPDATE email SET due_at = now() WHERE due_at IS NOT NULL")
    send(mailer)
    assert rows("SELECT state, count(*) FROM email GROUP BY state") == [("sent", 2)]
