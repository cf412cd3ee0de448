"""The confirmation of an enrollment request: its text, and the names it uses."""

from typing import Any

from models.words import Code, EmailKind, Policy
from tests.kit.builders.contracts import (
    accepted,
    add_contract,
    asking,
    enrol_people,
    query,
    someone,
)
from tests.kit.builders.letters import (
    attach,
    change,
    claim,
    letters,
)
from workers.actors.registry import do_jobs
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import JOBS
from workers.mail.renderer import render
from workers.requests.enrollment import Enroll
from workers.requests.queues import Queue


def report(session: Session, request: Enroll) -> dict[str, Any]:
    """Does the job and returns the content of its confirmation."""
    job_id = accepted(session, request)
    rows = claim(session, JOBS, Queue.ENROLLMENTS, Queue.ROSTERS)
    ledger.finish(session, JOBS, do_jobs(session, rows))
    [found] = [one for one in letters(session) if one.kind is EmailKind.ENROLLMENT_REPORT]
    assert (found.unsent, found.row.columns.to_address) == (None, "chef@example.com")
    assert found.context["job_id"] == str(job_id)
    return dict(found.context)


def told(context: dict[str, Any]) -> list[tuple[int, str, str, str]]:
    return [(person["position"], person["first_name"], person["email"], person["code"]) for person in context["people"]]


def test_a_report_says_what_became_of_each_as_the_manager_wrote_them(session: Session) -> None:
    add_contract(session, seats=2)
    enrol_people(session, someone("anne@example.com", "Anne"))
    change(session, "DELETE FROM email")
    people = [
        someone("  ANNE@Example.com ", "Annie"),
        someone("pas une adresse", "Bob"),
        someone("zoe@example.com", "Zoé"),
        someone("ZOE@example.com", "Zoé bis"),
        someone("yann@example.com", "Yann"),
    ]
    context = report(session, asking(*people, policy=Policy.UNTIL_FULL, report_to="chef@example.com"))
    assert told(context) == [
        (1, "Annie", "  ANNE@Example.com ", Code.ALREADY_ENROLLED),
        (2, "Bob", "pas une adresse", Code.INVALID_EMAIL),
        (3, "Zoé", "zoe@example.com", Code.ENROLLED),
        (4, "Zoé bis", "ZOE@example.com", Code.DUPLICATE_IN_FILE),
        (5, "Yann", "yann@example.com", Code.NO_SEAT_LEFT),
    ]
    assert (context["planned_seats"], context["enrolled_count"], context["remaining"]) == (2, 2, 0)
    assert context["counts"] == dict.fromkeys(
        ("already_enrolled", "invalid_email", "enrolled", "duplicate_in_file", "no_seat_left"), 1
    )
    assert (context["state"], context["contract_reference"]) == ("succeeded", "C-1")


def test_a_report_of_one_person_reads_the_result_of_the_job(session: Session) -> None:
    add_contract(session, seats=3)
    context = report(session, asking(someone("anne@example.com", "Anne"), report_to="chef@example.com"))
    assert query(session, "SELECT count(*) FROM job_person") == [(0,)]
    assert told(context) == [(1, "Anne", "anne@example.com", Code.ENROLLED)]
    assert (context["enrolled_count"], context["remaining"], context["counts"]) == (1, 2, {"enrolled": 1})


def test_a_report_of_a_refused_request_says_that_nothing_was_done(session: Session) -> None:
    add_contract(session, seats=1)
    context = report(session, asking("a", "b", report_to="chef@example.com"))
    assert (context["state"], context["enrolled_count"], context["remaining"]) == ("refused", 0, 1)
    assert not {code for *_, code in told(context)} & {Code.ENROLLED, Code.ATTACHED}
    assert sum(context["counts"].values()) == 2
    rendered = render(EmailKind.ENROLLMENT_REPORT, "fr", context)
    assert "1. Zoé Le Dû <a@example.com>" in rendered.text


def test_a_report_on_an_unknown_contract_says_so(session: Session) -> None:
    context = report(session, asking("a", "b", contract="C-404", report_to="chef@example.com"))
    assert (context["state"], context["counts"]) == ("refused", {"unknown_contract": 2})
    assert (context["company_name"], context["training_title"]) == (None, None)
    rendered = render(EmailKind.ENROLLMENT_REPORT, "fr", context)
    assert rendered.subject == "Demande d’inscription refusée : le contrat n’est pas connu"
    assert "Contrat\u00a0: C-404\n" in rendered.text
    assert "Places restantes" not in rendered.text + rendered.html
    assert "Ce contrat n’est pas connu" in rendered.text


def test_a_report_never_tells_the_names_an_account_is_registered_with(session: Session) -> None:
    attach(session, activated=True)
    change(session, "DELETE FROM email")
    add_contract(session, "C-3")
    request = asking(someone("anne@example.com", "Surnom"), "b", contract="C-3", report_to="chef@example.com")
    context = report(session, request)
    rendered = render(EmailKind.ENROLLMENT_REPORT, "fr", context)
    assert told(context)[0] == (1, "Surnom", "anne@example.com", Code.ATTACHED)
    assert "Anne" not in rendered.text + rendered.html
