"""The recipients of the mail about "this is not me", and the names in it."""

import json
import re
from uuid import UUID

import pytest
from sqlalchemy import text

from models.withdrawal import DetachmentStep
from models.words import EmailKind
from tests.kit.builders.accounts import keys
from tests.kit.builders.attachments import (
    attach,
    detachment_letter,
    done,
    enrollment_state,
    letters,
)
from tests.kit.builders.contracts import asking, query, someone
from workers.database import Session
from workers.mail.renderer import render
from workers.people import detachment
from workers.people.detachment import detach, look_at_attachment
from workers.security.link_views import LinkView, look_at_link


def test_the_manager_reads_the_names_they_gave_and_the_address_it_went_to(session: Session) -> None:
    anne = attach(session)
    detach(session, keys(), anne.token)
    context = detachment_letter(session)
    assert (context["to"], context["locale"]) == ("chef@example.com", "fr")
    assert (context["first_name"], context["last_name"]) == ("Annabelle", "Dupond")
    assert (context["person_email"], context["contract_reference"]) == ("anne@example.com", "C-2")
    assert (context["seat_free"], context["training_title"]) == (True, "Sécurité")
    rendered = render(EmailKind.DETACHMENT, "fr", context)
    for shown in (rendered.text, rendered.html):
        assert "Durand" not in shown
        assert "la place est de nouveau libre" in shown
    assert "&lt;" not in rendered.html
    assert "Gestion entreprise" in rendered.html


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "evil.com", "\u202emoc.live", "{{ 7 * 7 }} %(x)s", "<a href='http://evil.fr'>x"],
)
def test_hostile_names_in_the_mail_to_the_manager_are_inert(session: Session, hostile: str) -> None:
    anne = attach(session)
    people = [{"email": "anne@example.com", "first_name": hostile, "last_name": hostile}]
    kept = json.dumps({"report_to": "chef@example.com", "people": people})
    session.execute(text("UPDATE job SET request = CAST(:kept AS json)"), {"kept": kept})
    session.execute(text("UPDATE company SET name = :name"), {"name": hostile})
    session.execute(text("UPDATE training SET title = :name"), {"name": hostile})
    session.execute(text("DELETE FROM email WHERE kind = 'enrollment_report'"))
    detach(session, keys(), anne.token)
    for locale in ("fr", "en"):
        mail = render(EmailKind.DETACHMENT, locale, detachment_letter(session))
        assert "<script" not in mail.html
        assert "<a href='" not in mail.html
        assert not re.search(r"evil\.(?!\u200c)\S|http://|\u202e|49", mail.subject + mail.text + mail.html)
        assert len(mail.subject.splitlines()) == 1


def test_the_manager_of_the_contract_comes_before_the_report_address(session: Session) -> None:
    anne = attach(session)
    session.execute(text("UPDATE contract SET manager_email = 'rh@example.com', manager_locale = 'en'"))
    detach(session, keys(), anne.token)
    context = detachment_letter(session)
    assert (context["to"], context["locale"]) == ("rh@example.com", "en")


@pytest.mark.parametrize(
    ("kept", "told_to"),
    [
        ({"report_to": " Chef@Example.COM ", "people": [{"first_name": "\x00", "last_name": None}]}, 1),
        ({"report_to": "chef@example.com", "report_locale": "xx", "people": "erased"}, 1),
        ({"report_to": "no address", "people": []}, 0),
        ([1], 0),
        (None, 0),
    ],
)
def test_a_damaged_request_gives_a_recipient_or_none(session: Session, kept: object, told_to: int) -> None:
    anne = attach(session)
    session.execute(text("DELETE FROM email WHERE kind = 'enrollment_report'"))
    session.execute(text("UPDATE job SET request = CAST(:kept AS json)"), {"kept": json.dumps(kept) if kept else None})
    assert detach(session, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK
    assert enrollment_state(session, anne.enrollment_id)[5] == told_to
    if told_to:
        context = detachment_letter(session)
        assert (context["to"], context["locale"]) == ("chef@example.com", "fr")
        render(EmailKind.DETACHMENT, "fr", context)


def test_the_page_reads_no_request(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Link scanners open the page again and again, and the request may contain 200,000 people."""

    def fail(*_: object) -> None:
        raise AssertionError("the request was read")

    monkeypatch.setattr(detachment, "read_enrolling_request", fail)
    anne = attach(session)
    view = look_at_link(session, keys(), anne.token)
    assert isinstance(view, LinkView)
    shown = look_at_attachment(session, view)
    assert shown is not None
    assert shown.told
    session.execute(text("UPDATE job SET request = NULL"))  # as after 90 days: the names are no longer known
    shown = look_at_attachment(session, view)
    assert shown is not None
    assert not shown.told


def test_without_a_recipient_it_is_done_all_the_same(session: Session) -> None:
    anne = attach(session, report_to=None)
    assert detach(session, keys(), anne.token) is DetachmentStep.GIVE_SEAT_BACK
    assert enrollment_state(session, anne.enrollment_id) == ("not_started", True, True, 0, 0, 0, 1)


def test_the_right_one_of_several_people_is_named(session: Session) -> None:
    anne = attach(session)
    session.execute(text("""
        UPDATE enrollment SET withdrawn_at = now() WHERE id = :id"""), {"id": anne.enrollment_id})  # fmt: skip
    session.execute(text("DELETE FROM email"))
    people = [someone("zoe@example.com", "Zoé"), someone("anne@example.com", "Anouk"), someone("x@example.com", "Xu")]
    job = done(session, asking(*people, contract="C-2", report_to="chef@example.com"))
    ids = {person["code"]: person["enrollment_id"] for person in job["result"]["people"]}
    [letter] = [one for one in letters(session) if one.kind is EmailKind.ATTACHMENT]
    detach(session, keys(), letter.context["not_me_link"].rpartition("/")[2])
    assert detachment_letter(session)["first_name"] == "Anouk"
    assert query(session, "SELECT id FROM enrollment WHERE detached_at IS NOT NULL") == [(UUID(ids["attached"]),)]
    session.execute(text("DELETE FROM job_person"))  # the request is gone: no name is better than a wrong one
    assert detachment_letter(session)["first_name"] == ""


def test_a_mail_to_the_manager_of_an_erased_person_is_not_sent(session: Session) -> None:
    anne = attach(session)
    detach(session, keys(), anne.token)
    session.execute(text("UPDATE account SET erased_at = now()"))
    assert {one.unsent for one in letters(session) if one.kind is EmailKind.DETACHMENT} == {"cancelled"}
