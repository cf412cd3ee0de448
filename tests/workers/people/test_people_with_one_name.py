"""A person with one name is greeted, listed and certified by it: the sign in place of the other is shown nowhere."""

import pytest

from models.words import EmailKind
from tests.kit.builders.certificates import graduates
from tests.kit.builders.contracts import accepted, add_contract, asking, enrol_people, query, someone
from tests.kit.builders.documents import pdf_of, text_of
from tests.kit.builders.letters import claim, letters
from tests.kit.pages.links import make
from tests.kit.processes.serving import serving
from tests.kit.processes.support import change
from workers.actors.registry import do_jobs
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import JOBS
from workers.mail.attachments import people_file
from workers.mail.renderer import RenderedMail, render
from workers.requests.queues import Queue

PEOPLE = {"Madonna": ("-", "Madonna"), "Sukarnoto": ("Sukarnoto", "—")}


def mails(session: Session) -> dict[EmailKind, RenderedMail]:
    return {one.kind: render(one.kind, "fr", one.context) for one in letters(session)}


@pytest.mark.parametrize("name", PEOPLE)
def test_mails_greet_a_person_by_the_only_name(session: Session, name: str) -> None:
    add_contract(session)
    first, last = PEOPLE[name]
    enrol_people(session, someone("one@example.com", first, last))
    sent = mails(session)[EmailKind.INVITATION]
    assert f"Bonjour {name}," in sent.text
    assert f"Bonjour {name}," in sent.html


def test_the_confirmation_lists_a_person_by_the_only_name(session: Session) -> None:
    add_contract(session)
    people = [someone(f"{name}@example.com", *given) for name, given in PEOPLE.items()]
    accepted(session, asking(*people, report_to="chef@example.com"))
    ledger.finish(session, JOBS, do_jobs(session, claim(session, JOBS, Queue.ENROLLMENTS, Queue.ROSTERS)))
    sent = mails(session)[EmailKind.ENROLLMENT_REPORT]
    for place, name in enumerate(PEOPLE, start=1):
        assert f"{place}. {name} <{name}@example.com>" in sent.text.replace("\u2060", "")
    assert "-" not in {line.strip() for line in sent.text.splitlines()}


def test_the_table_of_people_has_an_empty_cell() -> None:
    people = [
        {"position": 1, "first_name": first, "last_name": last, "email": "a@b.fr", "code": "enrolled"}
        for first, last in PEOPLE.values()
    ]
    rows = people_file(people, "fr").content.decode("utf-8-sig").splitlines()
    assert [row.split(";")[1:3] for row in rows[1:]] == [["", "Madonna"], ["Sukarnoto", ""]]


@pytest.mark.parametrize(("first", "last"), [("", "Madonna"), ("Madonna", "")])
def test_a_certificate_is_made_out_to_the_only_name(first: str, last: str) -> None:
    text = text_of(pdf_of(first_name=first, last_name=last))
    assert " Madonna " in text
    assert "- Madonna" not in text


def test_a_certificate_of_a_person_with_one_name_keeps_the_other_empty(session: Session) -> None:
    graduates(session, someone("one", "-", "Madonna"))
    [(snapshot,)] = query(session, "SELECT snapshot FROM certificate")
    assert (snapshot["first_name"], snapshot["last_name"]) == ("", "Madonna")


@pytest.mark.usefixtures("fresh_database")
def test_the_page_of_a_link_greets_by_the_only_name() -> None:
    path = make(first_name="")
    change("UPDATE account SET last_name = 'Madonna'")
    with serving() as site:
        assert "Bonjour <bdi>Madonna</bdi>," in site.get(path).text
