"""The tests of the correction pages use these: a pending correction, its two links, and the content of the pages."""

import html
import re
from typing import Any

import httpx
from sqlalchemy import text

from tests.kit.builders.accounts import PASSWORD
from tests.kit.builders.corrections import (
    answer_token,
    correct,
    corrections,
    participant,
    token,
)
from tests.kit.processes.support import rows
from workers.access.passwords import hash_password
from workers.database import transaction
from workers.web.rendering import TEXTS

STATE = """
    SELECT a.*, l.*, c.* FROM account a LEFT JOIN link l ON l.account_id = a.id
    LEFT JOIN email_correction c ON c.account_id = a.id ORDER BY a.id, l.id"""
HASH = hash_password(PASSWORD)


def pending_correction() -> tuple[str, str]:
    """Creates a pending correction; returns the path for the new address and the path for the old one."""
    with transaction() as session:
        correct(session, participant(session))
        session.execute(text("UPDATE account SET password_hash = :hash"), {"hash": HASH})
        return f"/links/{token(session)}", f"/links/{answer_token(session)}"


def title(answer: httpx.Response) -> str:
    """Returns the title of the browser tab without the name of the platform."""
    found = re.search("<title>(.*?)</title>", answer.text)
    assert found
    return html.unescape(found[1]).rpartition(" – ")[0]


def note_title(name: str, locale: str = "fr") -> str:
    """Returns the title of a note in this language."""
    return str(TEXTS[locale]["notes"][name]["title"])


def address() -> object:
    """Returns the address of the corrected account."""
    return rows("SELECT email_norm FROM account ORDER BY created_at, id LIMIT 1")[0][0]


def state() -> list[tuple[Any, ...]]:
    """Returns state, ground and new address of each correction."""
    with transaction() as session:
        return corrections(session)
