"""The pages of a correction: the content for each mailbox, its answers, and the resulting address."""

import re
from collections.abc import Callable

import httpx
import pytest
import redis
from sqlalchemy import text

from models.words import Purpose
from tests.kit.builders.accounts import PASSWORD
from tests.kit.builders.contracts import did
from tests.kit.builders.corrections import (
    NEW,
    OLD,
    enrol_also,
    notice_sent,
    participant,
    sweep,
    token,
)
from tests.kit.builders.password_links import reset
from tests.kit.pages.corrections import (
    address,
    note_title,
    pending_correction,
    state,
    title,
)
from tests.kit.processes.support import change, rows, wait_until
from workers.database import transaction
from workers.requests.queues import Queue
from workers.settings import get_settings


def test_the_new_address_sees_what_it_confirms_and_nothing_of_the_account(site: httpx.Client) -> None:
    confirmation, _ = pending_correction()
    page = site.get(confirmation).text
    for shown in (NEW, "Acmé", "Formation", "facultatif", 'autocomplete="current-password"'):
        assert shown in page
    for hidden in (OLD, "Zoé", "Le Dû"):
        assert hidden not in page
    assert "required" not in page
    assert site.get(confirmation, params={"lang": "en"}).text.count("Confirm your email address") == 2


def test_the_old_address_sees_the_company_and_little_of_the_new_one(site: httpx.Client) -> None:
    _, answer = pending_correction()
    page = site.get(answer).text
    assert "a***@example.org" in page
    assert "Acmé" in page
    assert NEW not in page
    assert page.count("<button") == 2
    assert 'name="answer" value="refuse"' in page
    assert 'name="answer" value="agree"' in page
    assert all(f'id="{name}"' in page for name in re.findall('aria-describedby="([^"]+)"', page))


def urgent_mails_woken() -> bool:
    """Tells whether the queue of urgent mails was woken."""
    with redis.Redis.from_url(get_settings().redis_url) as opened:
        return bool(opened.llen(f"{get_settings().redis_namespace}:{Queue.EMAILS}"))


@pytest.mark.parametrize("how", ["password", "agreement", "refusal"])
def test_the_mails_an_answer_owes_leave_at_once(site: httpx.Client, how: str) -> None:
    confirmation, answer = pending_correction()
    if how != "password":
        assert site.post(confirmation, data={"password": ""}).status_code == 200
    assert not urgent_mails_woken()
    if how == "password":
        site.post(confirmation, data={"password": PASSWORD})
    else:
        site.post(answer, data={"answer": "agree" if how == "agreement" else "refuse"})
    wait_until(urgent_mails_woken)


def test_confirmed_with_the_password_it_is_applied_at_once(site: httpx.Client) -> None:
    confirmation, answer = pending_correction()
    done = site.post(confirmation, data={"password": PASSWORD})
    assert (done.status_code, title(done)) == (200, note_title("correction_applied"))
    assert NEW in done.text
    assert "hreflang" not in done.text  # this page cannot be shown a second time
    assert (address(), state()) == (NEW, [("applied", "password", NEW)])
    assert rows("SELECT count(*) FROM sign_in") == [(0,)]
    again = site.get(confirmation)
    assert (again.status_code, title(again)) == (410, note_title("correction_made"))
    late = site.post(answer, data={"answer": "refuse"})
    assert (late.status_code, title(late)) == (404, note_title("invalid_link_correction_answer"))
    assert address() == NEW


@pytest.mark.parametrize(
    ("before", "name", "said"),
    [
        (lambda: None, "correction_waits_message", "72 heures"),
        (lambda: change("UPDATE email SET state = 'sent', finished_at = now() WHERE kind = 'correction_notice'"),
         "correction_waits_until", "heure de Paris"),
        (lambda: change("""
            INSERT INTO email_correction (id, account_id, portal_id, job_id, old_email, new_email, state, ground,
              ended_at)
            SELECT portal_id, account_id, portal_id, job_id, '', '', 'cancelled', 'refusal', now()
            FROM email_correction"""),
         "correction_waits_agreement", "heure de Paris"),
    ],
)  # fmt: skip
def test_confirmed_without_the_password_it_says_what_it_waits_for(
    site: httpx.Client, before: Callable[[], None], name: str, said: str
) -> None:
    confirmation, _ = pending_correction()
    before()
    done = site.post(confirmation, data={"password": ""})
    assert (done.status_code, title(done)) == (200, note_title(name))
    assert said in done.text
    assert address() == OLD
    assert title(site.post(confirmation, data={"password": PASSWORD})) == note_title(
        "used_link_correction_confirmation"
    )
    assert address() == OLD


def test_the_old_address_agrees_and_then_the_new_one_confirms(site: httpx.Client) -> None:
    confirmation, answer = pending_correction()
    agreed = site.post(answer, data={"answer": "agree"})
    assert (agreed.status_code, title(agreed)) == (200, note_title("correction_agreed"))
    assert NEW not in agreed.text
    assert address() == OLD
    assert title(site.post(confirmation, data={"password": ""})) == note_title("correction_applied")
    assert (address(), state()) == (NEW, [("applied", "agreement", NEW)])
    assert title(site.get(answer)) == note_title("used_link_correction_answer")


def test_the_old_address_refuses(site: httpx.Client) -> None:
    confirmation, answer = pending_correction()
    site.post(confirmation, data={"password": ""})
    refused = site.post(answer, data={"answer": "refuse"})
    assert (refused.status_code, title(refused)) == (200, note_title("correction_refused"))
    with transaction() as session:
        notice_sent(session, hours=100)
        assert sweep(session) == {}
    assert (address(), state()) == (OLD, [("cancelled", "refusal", NEW)])
    again = site.get(confirmation)  # no answer is expected now
    assert (again.status_code, title(again)) == (410, note_title("correction_declined"))
    assert title(site.post(answer, data={"answer": "agree"})) == note_title("used_link_correction_answer")


@pytest.mark.parametrize("support", ["", "support@formation.example"])
def test_no_page_names_a_support_that_does_not_exist(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch, support: str
) -> None:
    confirmation, _ = pending_correction()
    monkeypatch.setenv("SUPPORT_ADDRESS", support)
    get_settings.cache_clear()
    with transaction() as session:
        enrol_also(session)
    told = site.post(confirmation, data={"password": ""}).text
    assert ("support" in told) is bool(support)
    assert "gère votre inscription" in told


def test_a_change_in_the_meantime_is_reported(site: httpx.Client) -> None:
    confirmation, _ = pending_correction()
    with transaction() as session:
        enrol_also(session)
    shared = site.post(confirmation, data={"password": PASSWORD})
    assert (shared.status_code, title(shared)) == (200, note_title("correction_shared"))
    assert title(site.get(confirmation)) == note_title("correction_shared")
    assert address() == OLD


def test_an_address_taken_meanwhile_is_told(site: httpx.Client) -> None:
    confirmation, answer = pending_correction()
    with transaction() as session:
        participant(session, NEW)
    assert title(site.post(answer, data={"answer": "agree"})) == note_title("correction_taken")
    assert site.get(confirmation).status_code == 404
    assert state() == [("cancelled", "taken", NEW)]


def test_a_reset_after_confirming_still_goes_to_the_old_address(site: httpx.Client) -> None:
    confirmation, answer = pending_correction()
    site.post(confirmation, data={"password": ""})
    with transaction() as session:
        [(enrollment_id,)] = session.execute(text("SELECT id FROM enrollment")).all()
        did(session, reset(enrollment_id))
    assert rows("SELECT to_address FROM email WHERE kind = 'password_reset'") == [(OLD,)]
    with transaction() as session:
        path = f"/links/{token(session, Purpose.PASSWORD_RESET)}"
    fields = {"password": "six mots tout neufs et longs", "again": "six mots tout neufs et longs"}
    assert site.post(path, data=fields).status_code == 200
    with transaction() as session:
        notice_sent(session, hours=100)
        assert sweep(session) == {"cancelled": 1}
    assert title(site.post(answer, data={"answer": "agree"})) == note_title("invalid_link_correction_answer")
    assert address() == OLD
