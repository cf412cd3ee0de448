"""One address, another person: the manager is asked to check it, and learns no name from it."""

import json
from typing import Any

import pytest

from models.words import Code, EmailKind, JobState, Policy
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    did,
    enrol,
    enrol_people,
    query,
    someone,
)
from tests.kit.builders.letters import letters
from workers.database import Session
from workers.i18n.catalogues import code_sentence
from workers.mail.renderer import render
from workers.reading.jobs import show_job

JEANNE = someone("jeanne@example.com", "Jeanne", "Martin")
KARIM = someone("jeanne@example.com", "Karim", "Haddad")
HINT = {"names_differ": True}


def details(session: Session, *people: Any, **options: Any) -> list[tuple[str, Any]]:
    """Enrolls these people; returns the code and the detail of each."""
    answer = enrol(session, asking(*people, **options))[0]
    return [(person.code.value, person.detail) for person in answer.people]


@pytest.fixture
def jeanne(session: Session) -> None:
    """Jeanne is enrolled on a contract of another company."""
    add_contract(session)
    add_contract(session, "C-2", company="autre")
    enrol_people(session, JEANNE)


@pytest.mark.usefixtures("jeanne")
def test_an_address_of_another_person_is_told_and_the_outcome_stays(session: Session) -> None:
    assert details(session, KARIM, contract="C-2") == [("attached", HINT)]
    assert details(session, KARIM, contract="C-2") == [("already_enrolled", HINT)]
    assert query(session, "SELECT first_name, last_name FROM account") == [("Jeanne", "Martin")]


@pytest.mark.usefixtures("jeanne")
def test_another_spelling_of_the_name_is_not_told(session: Session) -> None:
    for first, last in (("JEANNE", "martin"), ("Martin", "Jeanne"), ("J.", "Martin"), ("Jeanne-Marie", "Martin Dû")):
        assert details(session, someone("jeanne@example.com", first, last)) == [("already_enrolled", None)]


@pytest.mark.usefixtures("jeanne")
def test_a_dry_run_never_tells_that_names_differ(session: Session) -> None:
    for contract in ("C-1", "C-2"):  # enrolled on the first, known to the other company's request by no name
        for policy in Policy:
            [(code, detail)] = details(session, KARIM, contract=contract, dry_run=True, policy=policy)
            assert (code, detail) == ("already_enrolled" if contract == "C-1" else "attached", None)


@pytest.mark.usefixtures("jeanne")
def test_a_request_left_undone_tells_nothing_of_names(session: Session) -> None:
    found = details(session, KARIM, someone("not an address"), contract="C-2", policy=Policy.ALL_OR_NOTHING)
    assert found == [("not_carried_out", None), ("invalid_email", None)]


def test_the_other_name_is_told_within_one_batch_too(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    first, again, elsewhere = enrol(session, asking(JEANNE), asking(KARIM), asking(KARIM, contract="C-2"))
    assert [answer.people[0].detail for answer in (first, again, elsewhere)] == [None, HINT, HINT]
    assert again.people[0].code is Code.ALREADY_ENROLLED


@pytest.mark.usefixtures("jeanne")
def test_no_answer_and_no_report_holds_the_other_name(session: Session) -> None:
    request = asking(KARIM, someone("zoe"), contract="C-2", report_to="rh@example.com", policy=Policy.UNTIL_FULL)
    [job] = did(session, request)
    assert job["result"]["hints"] == {"names_differ": 1}
    said = [json.dumps(job)]
    for letter in letters(session):
        if letter.kind is EmailKind.ENROLLMENT_REPORT:
            mail = render(letter.kind, "fr", letter.context)
            said += [mail.text, mail.html]
    assert len(said) == 3
    assert not any("Jeanne Martin" in one or "Jeanne" in one.replace("jeanne@", "") for one in said)


@pytest.mark.usefixtures("jeanne")
@pytest.mark.parametrize("locale", ["fr", "en"])
def test_the_manager_reads_what_to_check(session: Session, locale: str) -> None:
    did(session, asking(KARIM, contract="C-2", report_to="rh@example.com"))
    [letter] = [one for one in letters(session) if one.kind is EmailKind.ENROLLMENT_REPORT]
    mail = render(letter.kind, locale, letter.context)
    sentence = code_sentence(Code.NAMES_DIFFER, locale)
    attached = code_sentence(Code.ATTACHED, locale)
    assert f"{attached}. {sentence}" in mail.text
    assert f"1 – {sentence}" in mail.text
    assert mail.text.index("Karim Haddad") < mail.text.index(f"{attached}. {sentence}")


@pytest.mark.usefixtures("jeanne")
def test_the_person_is_greeted_by_their_own_name_and_may_say_no(session: Session) -> None:
    query_none = query(session, "UPDATE account SET activated_at = now() RETURNING 1")
    assert query_none == [(1,)]
    did(session, asking(KARIM, contract="C-2"))
    [letter] = [one for one in letters(session) if one.mail.kind is EmailKind.ATTACHMENT]
    mail = render(letter.kind, "fr", letter.context)
    assert "Bonjour Jeanne," in mail.text
    assert "Karim" not in mail.text + mail.html + mail.subject
    assert letter.context["not_me_link"] in mail.text


@pytest.mark.usefixtures("jeanne")
def test_a_repeat_of_the_request_answers_the_same(session: Session) -> None:
    request = asking(KARIM, contract="C-2")
    did(session, request, key="once")
    job_id = accepted(session, request, key="once")
    job = show_job(session, job_id) or {}
    assert job["state"] == JobState.SUCCEEDED
    assert (job["result"]["people"][0]["code"], job["result"]["people"][0]["detail"]) == ("attached", HINT)
