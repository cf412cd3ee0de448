"""A real Postfix takes a mail, cannot deliver it and says so later; its report finds its way to the participant."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dramatiq.asyncio import EventLoopThread

from tests.kit.actors.mailers import close_connections, owe_invitations
from tests.kit.builders.bounces import TEMPLATE, return_addresses
from tests.kit.processes.support import Processes, change, forget, rows, wait_until
from tests.kit.relay.postfix import Postfix, postfix
from tests.kit.relay.relay import Relay
from workers.bounces.parsing import read_report
from workers.database import transaction
from workers.engine import ledger
from workers.engine.claimer import this_process
from workers.engine.ledger import EMAILS
from workers.mail.mailer import Mailer
from workers.requests.queues import Queue

NOBODY = "65534"


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """A relay that takes every mail, and bounces it later; mails to us go to a Maildir."""
    refuses = {"EHLO": "250 mx.test", "RCPT": "550 5.1.1 user unknown"}
    with TemporaryDirectory() as folder, Relay(always=refuses) as theirs:
        Path(folder).chmod(0o755)
        boxes = Path(folder) / "boxes"
        boxes.mkdir()
        boxes.chmod(0o777)
        settings = {
            "default_transport": f"smtp:[127.0.0.1]:{theirs.port}",
            "virtual_mailbox_domains": "formation.test",
            "virtual_mailbox_base": str(boxes),
            "virtual_mailbox_maps": "static:rebonds/",
            "virtual_uid_maps": f"static:{NOBODY}",
            "virtual_gid_maps": f"static:{NOBODY}",
            "recipient_delimiter": "+",
            "notify_classes": "",
        }
        with postfix(Path(folder) / "postfix", **settings) as opened:
            yield opened


@pytest.fixture
def maildir(server: Postfix, fresh_database: str, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = server.folder.parent / "boxes" / "rebonds"
    for name in ("new", "cur"):
        for path in (folder / name).glob("*"):
            path.unlink()
    monkeypatch.setenv("SMTP_URL", server.url)
    monkeypatch.setenv("MAIL_RETURN_ADDRESS", TEMPLATE)
    monkeypatch.setenv("BOUNCE_MAILDIR", str(folder))
    forget()
    return folder


def send_due() -> None:
    mailer = Mailer()
    with transaction() as session:
        held = ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=this_process())
    mailer.do_batch(held)
    close_connections(mailer)


def test_a_report_of_postfix_marks_its_participant(maildir: Path, server: Postfix, processes: Processes) -> None:
    owe_invitations("anne", "paul")
    change("UPDATE email SET due_at = now() + interval '1 day' WHERE to_address LIKE 'paul%'")
    change("UPDATE email SET queue = 'emails'")
    send_due()
    assert rows("SELECT state FROM email WHERE to_address LIKE 'anne%'") == [("sent",)], server.log
    wait_until(lambda: list(maildir.glob("new/*")), say=lambda: server.log)
    [report] = maildir.glob("new/*")
    [(mail_id,)] = rows("SELECT id FROM email WHERE to_address LIKE 'anne%'")
    raw = report.read_bytes()
    assert return_addresses().of(mail_id) in raw.decode()  # type: ignore[arg-type]
    assert b"/links/" not in raw  # headers alone were asked for
    assert read_report(raw).recipients[0].addresses == ("anne@example.com",)
    processes.start("workers.cli", "bounces")
    wait_until(lambda: rows("SELECT 1 FROM email WHERE state = 'bounced'"), seconds=10, say=processes.logs)
    assert rows("SELECT email_norm FROM suppression") == [("anne@example.com",)]
    assert rows("SELECT state FROM email WHERE to_address LIKE 'paul%'") == [("owed",)]
    wait_until(lambda: not list(maildir.glob("new/*")), say=processes.logs)
