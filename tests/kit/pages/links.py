"""What tests of the page a mail leads to share: a link, what is typed there, what the page shows."""

import re

import httpx

from models.words import Purpose
from tests.kit.builders.accounts import PASSWORD, make_account, make_link
from tests.kit.processes.support import rows
from workers.database import transaction

GOOD = {"password": PASSWORD, "again": PASSWORD}


def make(*, first_name: str = "Élodie", locale: str = "fr", purpose: Purpose = Purpose.ACTIVATION) -> str:
    """The path of a live link of a new account."""
    with transaction() as session:
        account_id = make_account(session, first_name=first_name, locale=locale)
        return f"/links/{make_link(session, account_id, purpose=purpose)[1]}"


def title(answer: httpx.Response) -> str:
    """What the tab of the browser shows."""
    found = re.search("<title>(.*?)</title>", answer.text)
    assert found
    return found[1]


def password_hash() -> object:
    """What is kept of the password of the only account; None before it was chosen."""
    return rows("SELECT password_hash FROM account")[0][0]


def field(answer: httpx.Response, name: str) -> str:
    """The tag of an input."""
    found = re.search(f'<input [^>]*name="{name}"[^>]*>', answer.text)
    assert found
    return found[0]
