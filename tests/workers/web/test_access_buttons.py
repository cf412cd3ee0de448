"""The page after a password was chosen leads to the training, or says whom to ask."""

import html
import re

import httpx
import pytest

from models.words import Purpose
from tests.kit.builders.accounts import token_of
from tests.kit.builders.contracts import add_contract, did, enrol_people, query, someone
from tests.kit.pages.links import GOOD
from workers.database import transaction
from workers.requests.catalog import PutTraining

URL = "https://lms.example/cours?id=7&l=fr"


def invited(url: str | None, title: str = "Sécurité") -> str:
    """Invites a person to a training; returns the path of their link."""
    with transaction() as session:
        add_contract(session)
        did(session, PutTraining(reference="T-1", title=title, access_url=url))
        enrol_people(session, someone("anne@example.com"))
        [(link_id, account_id)] = query(session, "SELECT id, account_id FROM link")
        return f"/links/{token_of(link_id, account_id, purpose=Purpose.ACTIVATION)}"


def buttons(page: httpx.Response) -> list[tuple[str, str]]:
    """Returns address and label of each button that leads away."""
    found = re.findall(r'<a class="button" href="([^"]*)" rel="noreferrer noopener">(.*?)</a>', page.text)
    return [(html.unescape(url), re.sub("<[^>]+>", "", html.unescape(label))) for url, label in found]


def test_after_the_password_a_button_leads_to_the_training(site: httpx.Client) -> None:
    link = invited(URL)
    done = site.post(link, data=GOOD)
    assert buttons(done) == [(URL, "Accéder à la formation «\u00a0Sécurité\u00a0»")]
    assert "lms.example" in re.sub("<[^>]+>", "", done.text)
    used = site.get(link, params={"lang": "en"})
    assert (used.status_code, buttons(used)) == (410, [(URL, "Go to my trainings")])  # an old link tells no title
    assert "Sécurité" not in used.text


@pytest.mark.parametrize(("support", "said"), [("aide@formation.test", "écrivez au support"), ("", "demandez-la")])
def test_without_an_address_the_page_says_whom_to_ask(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch, support: str, said: str
) -> None:
    from workers.settings import get_settings  # noqa: PLC0415 - the fixture sets the environment first

    monkeypatch.setenv("SUPPORT_ADDRESS", support)
    get_settings.cache_clear()
    done = site.post(invited(None), data=GOOD)
    assert done.status_code == 200
    assert (buttons(done), said in done.text) == ([], True)


def test_a_hostile_title_stays_a_title(site: httpx.Client) -> None:
    done = site.post(invited(URL, '<script>x</script> " onclick="y'), data=GOOD)
    assert "<script>x" not in done.text
    assert [url for url, _ in buttons(done)] == [URL]


def test_the_link_is_not_told_to_the_site_it_leads_to(site: httpx.Client) -> None:
    done = site.post(invited(URL), data=GOOD)
    assert done.headers["Referrer-Policy"] == "no-referrer"
