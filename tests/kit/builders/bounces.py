"""The tests of bounces use these: return addresses, reports about mails of ours, and a Maildir to drop them in."""

from pathlib import Path
from uuid import UUID

from tests.kit.processes.support import change, rows
from workers.mail.return_address import ReturnAddresses
from workers.settings import get_settings

TEMPLATE = "rebonds+*@formation.test"


def return_addresses() -> ReturnAddresses:
    """Returns the addresses of the settings, which must name a template."""
    addresses = ReturnAddresses.from_settings(get_settings())
    assert addresses is not None
    return addresses


def report_about(to: str, address: str, status: str = "5.1.1", words: str = "550 5.1.1 user unknown") -> bytes:
    """A report as a Postfix writes it, to a return address, about the mail to an address."""
    return f"""Return-Path: <>
From: MAILER-DAEMON@relais.test (Mail Delivery System)
To: {to}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Content-Type: multipart/report; report-type=delivery-status; boundary=B

--B
Content-Type: text/plain

Your message could not be delivered.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; relais.test

Final-Recipient: rfc822; {address}
Action: failed
Status: {status}
Diagnostic-Code: smtp; {words}

--B
Content-Type: text/rfc822-headers

From: formation@formation.test
To: {address}

--B--
""".encode()


def make_maildir(folder: Path) -> Path:
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    return folder


def drop(folder: Path, name: str, raw: bytes) -> Path:
    """Delivers a message as a mail server does: written beside, then moved."""
    written = folder / "tmp" / name
    written.write_bytes(raw)
    return written.rename(folder / "new" / name)


def all_sent() -> list[tuple[UUID, str]]:
    """Makes all mails sent; returns each with its address."""
    change("UPDATE email SET state = 'sent', due_at = NULL, leased_until = NULL, finished_at = now()")
    return [(UUID(str(one)), str(address)) for one, address in rows("SELECT id, to_address FROM email ORDER BY id")]
