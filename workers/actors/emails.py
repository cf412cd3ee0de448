"""The actors of `emails` and `emails_bulk`: owed mails are claimed in batches and handed to the mailer."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from workers.engine.claimer import Claimer
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.mail.mailer import Mailer
from workers.requests.queues import Queue
from workers.settings import get_settings

ROUNDS: Final = 4
"""Mails that are claimed for each connection. A claim costs a commit and two reads, however many mails it brings; but
all mails of a claim lose a lease when their process is killed (docs/decisions/0032)."""


def emails() -> Claimer[MailColumns]:
    """Makes the claimer of `emails`: mails that a person waits for."""
    return _claimer(Queue.EMAILS)


def emails_bulk() -> Claimer[MailColumns]:
    """Makes the claimer of `emails_bulk`: all other mails."""
    return _claimer(Queue.EMAILS_BULK)


@lru_cache(maxsize=1)
def mailer() -> Mailer:
    """Returns the mailer of this process, made on first use, which is after the fork."""
    return Mailer()


def _claimer(queue: Queue) -> Claimer[MailColumns]:
    size = ROUNDS * get_settings().smtp_connections
    return Claimer(EMAILS, queue, _do_batch, size=size, ready=lambda: mailer().may_send())


def _do_batch(rows: Sequence[ClaimedRow[MailColumns]]) -> None:
    mailer().do_batch(rows)
