"""People and managers read these mails about automatic releases: warnings and reports, with the right names."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from models.words import EmailKind
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    enrolled,
    query,
    seats,
    someone,
)
from tests.kit.builders.contracts import did as do_request
from tests.kit.builders.invited_people import (
    MANAGER,
    OPTIONS,
    answers,
    change_contract,
    deliver,
    invited,
    later,
    letter_to,
    owed,
    plan,
    text_of,
    warned,
)
from workers.access.passwords import choose_password
from workers.database import Session
from workers.mail.renderer import render
from workers.security.link_views import LinkView


@pytest.mark.moment
def test_the_warning_has_the_link_and_the_day(session: Session) -> None:
    invited(session, "anne")
    later(session, 23)
    [before] = query(session, "SELECT id, expires_at, resent FROM link")
    plan(session)
    letter = letter_to(session, "anne@example.com", EmailKind.RELEASE_WARNING)
    [(enrolled_at, warned_at)] = query(session, "SELECT enrolled_at, release_warned_at FROM enrollment")
    assert letter.context["released_from"] == enrolled_at + timedelta(days=30)
    assert warned_at is not None
    assert query(session, "SELECT id, expires_at, resent FROM link") == [before]
    said = text_of(letter)
    assert "votre place sera rendue à votre entreprise à partir du" in said
    token = letter.context["link"].rpartition("/")[2]
    assert isinstance(choose_password(session, keys(), token, "hash"), LinkView)
    later(session, 7)
    plan(session)
    assert (answers(session), seats(session)) == ([], 1)


def test_the_manager_is_told_twice_who_will_lose_a_seat_and_who_did(session: Session) -> None:
    people = [someone(f"{name}@example.com", name.title(), "Durand") for name in ("anne", "zoe")]
    invited(session, *people, manager_locale="en")
    later(session, 23)
    plan(session)
    report = letter_to(session, MANAGER, EmailKind.RELEASE_REPORT)
    assert report.row.columns.locale == "en"
    said = text_of(report, "en")
    assert "Anne Durand <anne@example.com>\nZoe Durand <zoe@example.com>\n" in said
    assert "Number of seats: 2" in said
    assert "may come back to you from" in said
    deliver(session)
    later(session, 7)
    plan(session)
    said = text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))
    assert "leurs places sont de nouveau libres" in said
    assert "Zoe Durand <zoe@example.com>\n" in said
    assert "Votre compte sur Formation n’a pas été activé à temps" in text_of(
        letter_to(session, "zoe@example.com", EmailKind.RELEASE)
    )
    assert owed(session, "withdrawal") == []


def report_text(session: Session) -> str:
    return text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))


def test_an_account_of_a_stranger_has_the_name_this_company_typed(session: Session) -> None:
    """The account may belong to a stranger; its registered names are not for a company that guessed the address."""
    add_contract(session, "C-0", company="other")
    enrolled(session, someone("anne@example.com", "Secret", "Stranger"), contract="C-0")
    enrolled(session, someone("zoe@example.com", "Secret", "Stranger"), contract="C-0")
    later(session, 1)
    add_contract(session, seats=100)
    change_contract(session, **OPTIONS)
    do_request(session, asking(someone("anne@example.com", "Annabelle", "Dupond"), someone("luc@example.com", "Luc")))
    enrolled(session, someone("zoe@example.com", "Lost", "Request"))  # the typed names are no longer known
    deliver(session)
    later(session, 23)
    plan(session)
    said = report_text(session)
    assert "Stranger" not in said
    for shown in ("\nAnnabelle Dupond <anne@example.com>\n", "\nLuc Le Dû <luc@example.com>\n", "\nzoe@example.com\n"):
        assert shown in said


def test_two_companies_at_the_same_moment_see_no_name_of_each_other(session: Session) -> None:
    """Two requests in one transaction do not tell which of them created the account, so neither is shown its names."""
    add_contract(session, "C-0", company="other")
    enrolled(session, someone("anne@example.com", "Secret", "Stranger"), contract="C-0")
    invited(session, someone("anne@example.com", "Anne"))
    later(session, 23)
    plan(session)
    assert "\nanne@example.com\n" in report_text(session)


@pytest.mark.parametrize(
    ("became", "marked"),
    [
        ("state = 'suppressed'", True),
        ("""state = 'failed', error = '{"reason": "address_rejected"}'""", True),
        ("""state = 'failed', error = '{"reason": "policy"}'""", False),
        ("state = 'sent'", False),
    ],
)
def test_the_report_marks_a_refused_address(session: Session, became: str, marked: bool) -> None:
    invited(session, "anne", "zoe")
    session.execute(text(f"UPDATE email SET {became} WHERE to_address LIKE 'zoe%'"))
    later(session, 23)
    plan(session)
    said = report_text(session)
    assert ("zoe@example.com> – Adresse refusée" in said) is marked
    assert ("ne fonctionne pas : celles-ci gardent leur place" in said.replace("\u00a0", " ")) is marked
    assert "anne@example.com> –" not in said
    deliver(session)
    later(session, 7)
    plan(session)
    session.execute(text(f"UPDATE email SET {became} WHERE to_address LIKE 'zoe%'"))
    said = report_text(session)
    assert "leurs places sont de nouveau libres" in said
    assert ("zoe@example.com> – Adresse refusée" in said) is marked


def test_the_report_on_one_person_reads_the_result_of_the_job(session: Session) -> None:
    warned(session, someone("anne@example.com", "Anne", "Durand"))
    plan(session)
    assert query(session, "SELECT count(*) FROM job_person") == [(0,)]
    assert "Anne Durand <anne@example.com>" in text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))


def test_a_report_names_a_hundred_and_counts_all(session: Session) -> None:
    invited(session, *[f"p{number}" for number in range(100)], planned_seats=200)
    enrolled(session, *[f"q{number}" for number in range(50)])
    deliver(session)
    later(session, 23)
    plan(session)
    said = text_of(letter_to(session, MANAGER, EmailKind.RELEASE_REPORT))
    assert said.count("@example.com>") == 100
    assert "Seules les 100 premières personnes sur 150" in said


def test_without_a_manager_no_mail_is_owed(session: Session) -> None:
    warned(session, "anne", manager_email=None)
    plan(session)
    assert query(session, "SELECT count(*) FROM email WHERE kind = 'release_report'") == [(0,)]
    assert seats(session) == 0


def test_names_that_are_addresses_of_pages_are_inert_in_the_report(session: Session) -> None:
    invited(session, someone("anne@example.com", "Gagnez http://evil.fr", "<script>alert(1)</script>"))
    later(session, 23)
    plan(session)
    letter = letter_to(session, MANAGER, EmailKind.RELEASE_REPORT)
    mail = render(letter.kind, "fr", letter.context)
    assert not re.search(r"http://evil|evil\.fr", mail.text + mail.html + mail.subject)
    assert "<script" not in mail.html
