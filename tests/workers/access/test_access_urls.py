"""Where a training is reached: its own address, its portal's or the setting, in mails and after the password."""

import json

import pytest
from sqlalchemy import text

from models.access_url import WayIn
from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from tests.kit.builders.contracts import add_contract, did, enrol_people, query, someone
from tests.kit.builders.letters import attach, letters
from workers.access.trainings import read_ways_in
from workers.database import Session
from workers.errors import InvalidRequest
from workers.mail.renderer import render
from workers.requests.base import read
from workers.requests.catalog import PutPortal, PutTraining
from workers.settings import Settings, get_settings

OF_TRAINING, OF_PORTAL, OF_SETTINGS = (f"https://{host}.example/cours" for host in ("lms", "portail", "plateforme"))


@pytest.fixture
def lms_url(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets LMS_URL for this test."""
    monkeypatch.setenv("LMS_URL", OF_SETTINGS)
    get_settings.cache_clear()


def mail(session: Session, *, activated: bool = True) -> str:
    """Attaches a person to a second contract; returns the text of the mail that tells them."""
    attach(session, activated=activated)
    [letter] = [one for one in letters(session) if one.unsent is None]
    rendered = render(letter.kind, "fr", letter.context)
    for shown in (rendered.text, rendered.html):
        assert ("/cours" in shown) == ("/cours" in rendered.text)
    return rendered.text


@pytest.mark.usefixtures("lms_url")
@pytest.mark.parametrize(
    ("training", "portal", "shown"),
    [
        (OF_TRAINING, OF_PORTAL, OF_TRAINING),
        (None, OF_PORTAL, OF_PORTAL),
        (OF_TRAINING, None, OF_TRAINING),
        (None, None, OF_SETTINGS),
    ],
)
def test_the_nearest_address_counts(session: Session, training: str | None, portal: str | None, shown: str) -> None:
    add_contract(session)
    did(session, PutTraining(reference="T-1", title="Sécurité", access_url=training), PutPortal(access_url=portal))
    said = mail(session)
    assert [url in said for url in (OF_TRAINING, OF_PORTAL, OF_SETTINGS)] == [
        url == shown for url in (OF_TRAINING, OF_PORTAL, OF_SETTINGS)
    ]


@pytest.mark.parametrize("activated", [True, False])
def test_an_attachment_shows_where_the_training_is(session: Session, activated: bool) -> None:
    add_contract(session)
    did(session, PutTraining(reference="T-1", title="Sécurité", access_url=OF_TRAINING))
    said = mail(session, activated=activated)
    assert said.index(OF_TRAINING) > said.index("Sécurité")
    assert ("/links/" in said[: said.index(OF_TRAINING)]) is not activated  # first the password, then the training


def test_reminders_and_invitations_show_it_too(session: Session) -> None:
    add_contract(session)
    did(session, PutTraining(reference="T-1", title="Sécurité", access_url=OF_TRAINING))
    enrol_people(session, someone("anne@example.com"))
    session.execute(
        text("""
        INSERT INTO email SELECT (json_populate_record(m, json_build_object('id', gen_random_uuid(), 'kind', 'reminder',
          'dedup_key', 'reminder:1', 'context', json_build_object('step', 1)))).* FROM email m""")
    )
    found = {str(one.kind): render(one.kind, "en", one.context).text for one in letters(session)}
    assert found.keys() == {"invitation", "reminder"}
    assert all(OF_TRAINING in said for said in found.values())


def test_without_any_address_the_mail_shows_none(session: Session) -> None:
    said = mail(session)
    assert "à cette adresse" not in said


def test_a_training_may_be_changed_and_lose_its_address(session: Session) -> None:
    add_contract(session)
    did(session, PutTraining(reference="T-1", title="Sécurité", access_url=OF_TRAINING))
    did(session, PutTraining(reference="T-1", title="Sécurité"))
    assert query(session, "SELECT access_url FROM training") == [(OF_TRAINING,)]
    did(session, PutTraining(reference="T-1", title="Sécurité", access_url=None))
    assert query(session, "SELECT access_url FROM training") == [(None,)]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://u:p@lms.example", "lms.example", "https://a b.fr"])
def test_an_address_that_could_mislead_is_refused_at_every_door(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for shape, body in ((PutTraining, {"reference": "T-1", "title": "Sécurité"}), (PutPortal, {})):
        with pytest.raises(InvalidRequest) as refused:
            read(shape, json.dumps(body | {"access_url": url}))
        assert [problem.code for problem in refused.value.problems] == [Code.INVALID_URL]
    monkeypatch.setenv("LMS_URL", url)
    with pytest.raises(ValueError, match="lms_url"):
        Settings(database_url="postgresql://x", redis_url="redis://x")


def test_a_portal_changes_its_own_address_only(session: Session) -> None:
    session.execute(text("INSERT INTO portal (id, name) VALUES (gen_random_uuid(), 'other')"))
    did(session, PutPortal(access_url=OF_PORTAL))
    assert query(session, "SELECT name, access_url FROM portal ORDER BY name") == [
        ("local", OF_PORTAL),
        ("other", None),
    ]
    [(portal_id,)] = query(session, "SELECT subject_id FROM audit WHERE action = 'put_portal'")
    assert portal_id == LOCAL_PORTAL_ID


@pytest.mark.usefixtures("lms_url")
def test_a_person_is_led_to_each_of_their_trainings(session: Session) -> None:
    addresses = ((1, OF_TRAINING), (2, None), (3, None), (4, "https://elle.example/cours"))
    for number, _ in addresses:
        add_contract(session, f"C-{number}")
    for number, url in addresses:
        did(session, PutTraining(reference=f"T-{number}", title=f"Titre {number}", access_url=url))
        _move(session, f"C-{number}", f"T-{number}")
        enrol_people(session, someone("anne@example.com"), contract=f"C-{number}")
    session.execute(text("UPDATE enrollment SET withdrawn_at = now() WHERE contract_id ="
                         " (SELECT id FROM contract WHERE reference = 'C-4')"))  # fmt: skip
    [(account_id,)] = query(session, "SELECT id FROM account")
    assert sorted(read_ways_in(session, account_id)) == [
        WayIn(OF_TRAINING, "Titre 1"), WayIn(OF_SETTINGS, None),
    ]  # fmt: skip
    assert [way.title for way in read_ways_in(session, account_id, titles=False)] == [None, None]


def _move(session: Session, contract: str, training: str) -> None:
    session.execute(
        text("UPDATE contract SET training_id = (SELECT id FROM training WHERE reference = :training)"
             " WHERE reference = :contract"),
        {"training": training, "contract": contract},
    )  # fmt: skip
