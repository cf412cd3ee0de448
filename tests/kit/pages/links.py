"""The tests of the password pages use these: a link, the values typed there, and the content of the page."""

import re

import httpx

from models.words import Purpose
from tests.kit.builders.accounts import PASSWORD, make_account, make_link
from tests.kit.processes.support import rows
from workers.database import transaction

GOOD = {"password": PASSWORD, "again": PASSWORD}


def make(*, first_name: str = "Élodie", locale: str = "fr", purpose: Purpose = Purpose.ACTIVATION) -> str:
    """Creates an account with a valid link; returns the path of the link."""
    with transaction() as session:
        account_id = make_account(session, first_name=first_name, locale=locale)
        return f"/links/{make_link(session, account_id, purpose=purpose)[1]}"


def title(answer: httpx.Response) -> str:
    """Returns the title of the browser tab."""
    found = re.search("<title>(.*?)</title>", answer.text)
    assert found
    return found[1]


def password_hash() -> object:
    """Returns the password hash of the only account; None before a password was chosen."""
    return rows("SELECT password_hash FROM account")[0][0]


def field(answer: httpx.Response, name: str) -> str:
    """Returns the tag of an input."""
    found = re.search(f'<input [^>]*name="{name}"[^>]*>', answer.text)
    assert found
    return found[0]
