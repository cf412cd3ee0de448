"""The page of a link says until when it is valid: in words, in both languages, in the time of Paris."""

import httpx
import pytest
from sqlalchemy import text

from models.words import Purpose
from tests.kit.builders.accounts import PASSWORD, make_account, make_link
from workers.database import transaction


def path(expires_at: str, purpose: Purpose = Purpose.ACTIVATION) -> str:
    with transaction() as session:
        _, token = make_link(session, make_account(session), purpose=purpose)
        session.execute(text("UPDATE link SET expires_at = :at"), {"at": expires_at})
    return f"/links/{token}"


@pytest.mark.parametrize(
    ("expires_at", "french", "english"),
    [
        ("2090-01-15T08:30Z", "dimanche 15 janvier 2090 à 09:30", "Sunday 15 January 2090 at 09:30"),
        ("2090-12-31T23:30Z", "lundi 1 janvier 2091 à 00:30", "Monday 1 January 2091 at 00:30"),
    ],
)
def test_the_page_says_until_when(site: httpx.Client, expires_at: str, french: str, english: str) -> None:
    where = path(expires_at)
    shown = site.get(where).text
    assert f"Ce lien est valable jusqu’au <bdi>{french}</bdi> (heure de Paris)." in shown
    shown = site.get(where, params={"lang": "en"}).text
    assert f"This link is valid until <bdi>{english}</bdi> (Paris time)." in shown


@pytest.mark.parametrize("purpose", [Purpose.ACTIVATION, Purpose.PASSWORD_RESET])
def test_also_when_a_password_was_refused_and_for_a_reset(site: httpx.Client, purpose: Purpose) -> None:
    where = path("2090-01-15T08:30Z", purpose)
    refused = site.post(where, data={"password": PASSWORD, "again": "another"})
    assert refused.status_code == 422
    assert "dimanche 15 janvier 2090 à 09:30" in refused.text
