"""Correcting a name: at once where it is the company's own list, else by the person, by operators, with a record."""

import json
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.words import EmailKind, Purpose
from tests.kit.builders.accounts import keys
from tests.kit.builders.contracts import add_contract, asking, did, enrol, query, someone
from tests.kit.builders.corrections import (
    OLD,
    account_id,
    by_ops,
    code_of,
    do,
    enrol_also,
    later,
    participant,
    sweep,
    token,
)
from tests.kit.builders.letters import letters
from tests.kit.builders.name_corrections import (
    NEW_NAME,
    OLD_NAME,
    confirm,
    correct_name,
    name_by_ops,
    name_corrections,
    name_mails,
    name_token,
    named,
    refuse,
)
from workers.access.passwords import choose_password
from workers.database import Session
from workers.errors import InvalidRequest
from workers.mail.renderer import render
from workers.outbox.suppression import suppress
from workers.requests.accounts import CorrectName, ErasePerson, ExportPerson
from workers.requests.base import read
from workers.requests.enrollment import Withdraw

OLD_FULL, NEW_FULL = " ".join(OLD_NAME), " ".join(NEW_NAME)
ENTRIES = "SELECT action, result, requested_by FROM audit WHERE action LIKE '%name%' ORDER BY id"


# At once


def test_a_name_of_an_account_never_activated_is_corrected_at_once(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    assert correct_name(session, enrollment_id) == ("name_corrected", None)
    assert named(session) == NEW_FULL
    assert name_corrections(session) == [("applied", "never_activated", NEW_NAME[1])]
    assert name_mails(session) == []


def test_an_invitation_that_is_still_owed_greets_by_the_right_name(session: Session) -> None:
    add_contract(session)
    [answer] = enrol(session, asking(someone(OLD, "Jaen")))
    correct_name(session, answer.people[0].enrollment_id or new_id(), "Jean", None)
    [letter] = letters(session)
    assert "Bonjour Jean," in render(letter.kind, "fr", letter.context).text


def test_a_name_left_out_stays(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    correct_name(session, enrollment_id, None, "Durand")
    assert named(session) == "Zoé Durand"
    correct_name(session, enrollment_id, "Chloé", None)
    assert named(session) == "Chloé Durand"


def test_the_present_name_changes_nothing(session: Session) -> None:
    enrollment_id = participant(session)
    assert correct_name(session, enrollment_id, *OLD_NAME) == ("unchanged", None)
    assert (name_corrections(session), name_mails(session)) == ([], [])


# The person confirms


@pytest.mark.parametrize("why", ["activated", "shared", "both"])
def test_any_other_account_keeps_its_name_until_the_person_confirms(session: Session, why: str) -> None:
    enrollment_id = participant(session, activated=why != "shared")
    if why != "activated":
        enrol_also(session)
    code, detail = correct_name(session, enrollment_id)
    assert (code, list(detail)) == ("name_confirmation_sent", ["until"])
    assert (named(session), name_mails(session)) == (OLD_FULL, [("name_confirmation", OLD, "owed")])
    assert confirm(session) == "confirmed"
    assert named(session) == NEW_FULL
    assert name_corrections(session) == [("applied", "confirmed", NEW_NAME[1])]
    assert confirm(session) == "used_link"


def test_a_person_who_refuses_keeps_their_name(session: Session) -> None:
    correct_name(session, participant(session))
    assert refuse(session) == "refused"
    assert named(session) == OLD_FULL
    assert name_corrections(session) == [("cancelled", "refusal", NEW_NAME[1])]
    assert confirm(session) == "used_link"


def test_the_mail_shows_both_names_and_brings_one_link(session: Session) -> None:
    correct_name(session, participant(session))
    [letter] = [one for one in letters(session) if one.kind is EmailKind.NAME_CONFIRMATION]
    for locale, ask in (("fr", "Vérifier mon nom"), ("en", "Check my name")):
        mail = render(letter.kind, locale, letter.context)
        assert f": {OLD_FULL}" in mail.text.replace("\u00a0", " ").replace(" :", ":")
        assert NEW_FULL in mail.text
        assert ask in mail.html
        assert mail.text.count("/links/") == 1
        assert OLD_NAME[1] not in mail.subject


def test_asked_again_the_same_link_is_sent_and_no_time_is_won(session: Session) -> None:
    enrollment_id = participant(session)
    first, again = correct_name(session, enrollment_id), correct_name(session, enrollment_id)
    assert first == again
    assert [kind for kind, *_ in name_mails(session)] == ["name_confirmation"] * 2
    assert query(session, "SELECT count(*) FROM link WHERE purpose = 'name_confirmation'") == [(1,)]


def test_another_name_takes_the_place_of_the_one_that_waits(session: Session) -> None:
    enrollment_id = participant(session)
    correct_name(session, enrollment_id)
    earlier = name_token(session)
    correct_name(session, enrollment_id, "Zoé", "Durand")
    assert [state for *_, state in name_mails(session)] == ["cancelled", "owed"]
    assert confirm(session, earlier) == "invalid_link"
    assert confirm(session) == "confirmed"
    assert named(session) == "Zoé Durand"
    assert name_corrections(session) == [
        ("superseded", "taken_back", NEW_NAME[1]), ("applied", "confirmed", "Durand"),
    ]  # fmt: skip


def test_the_present_name_takes_back_the_one_that_waits(session: Session) -> None:
    enrollment_id = participant(session)
    correct_name(session, enrollment_id)
    assert correct_name(session, enrollment_id, *OLD_NAME)[0] == "unchanged"
    assert confirm(session) == "invalid_link"
    assert name_corrections(session) == [("superseded", "taken_back", NEW_NAME[1])]


def test_a_correction_that_is_not_confirmed_in_time_expires(session: Session) -> None:
    enrollment_id = participant(session)
    correct_name(session, enrollment_id)
    later(session, 15)
    session.execute(text("UPDATE name_correction SET asked_at = asked_at - interval '15 days'"))
    assert confirm(session) == "expired_link"
    sweep(session)
    assert name_corrections(session) == [("expired", None, NEW_NAME[1])]
    assert named(session) == OLD_FULL


def test_the_choice_of_a_password_leaves_the_link_alive(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    enrol_also(session)
    correct_name(session, enrollment_id)
    choose_password(session, keys(), token(session, Purpose.ACTIVATION), "hash")
    assert confirm(session) == "confirmed"


def test_another_address_ends_the_correction_and_it_can_be_asked_anew(session: Session) -> None:
    enrollment_id = participant(session)
    correct_name(session, enrollment_id)
    by_ops(session, account_id(session), "anne.new@example.org")
    assert confirm(session) == "invalid_link"
    sweep(session)
    assert name_corrections(session) == [("cancelled", "links_voided", NEW_NAME[1])]
    assert correct_name(session, enrollment_id)[0] == "name_confirmation_sent"
    assert confirm(session) == "confirmed"
    assert named(session, "anne.new@example.org") == NEW_FULL


# Refused


def test_nobody_is_renamed_by_a_stranger(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    stranger = do(session, CorrectName(enrollment_id=enrollment_id, first_name="Max"), portal_id=new_id())
    assert code_of(stranger) == "not_found"
    assert code_of(do(session, CorrectName(enrollment_id=new_id(), first_name="Max"))) == "not_found"
    assert named(session) == OLD_FULL


def test_people_who_left_are_not_renamed(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    did(session, Withdraw(contract="C-1", enrollment_ids=[enrollment_id]))
    assert correct_name(session, enrollment_id)[0] == "already_withdrawn"
    assert named(session) == OLD_FULL


def test_an_address_without_mail_cannot_be_asked(session: Session) -> None:
    enrollment_id = participant(session)
    suppress(session, OLD, why="complaint", requested_by="ops")
    code, detail = correct_name(session, enrollment_id)
    assert (code, list(detail)) == ("suppressed_address", ["since"])


def test_a_name_is_corrected_three_times_in_thirty_days(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    codes = [correct_name(session, enrollment_id, "Zoé", f"Dû-{word}")[0] for word in ("a", "b", "c", "d")]
    assert codes == ["name_corrected"] * 3 + ["throttled"]
    later(session, 31)
    assert correct_name(session, enrollment_id, "Zoé", "Dû-e")[0] == "name_corrected"


@pytest.mark.parametrize("name", ["", " \u200b ", "A\u202eB", "A\x00", "x" * 101])
def test_a_name_that_cannot_be_kept_is_refused_at_the_door(name: str) -> None:
    with pytest.raises(InvalidRequest):
        read(CorrectName, json.dumps({"enrollment_id": str(new_id()), "first_name": name}))


def test_a_correction_without_a_name_is_refused_at_the_door() -> None:
    with pytest.raises(InvalidRequest, match="nothing to correct"):
        read(CorrectName, json.dumps({"enrollment_id": str(new_id())}))


# Operators


def test_operators_correct_any_name_at_once_and_the_person_is_told(session: Session) -> None:
    enrollment_id = participant(session)
    enrol_also(session)
    correct_name(session, enrollment_id, "Zoé", "Durand")
    assert name_by_ops(session, account_id(session)) == "name_corrected"
    assert named(session) == NEW_FULL
    assert name_corrections(session) == [
        ("superseded", "taken_back", "Durand"), ("applied", "ops", NEW_NAME[1]),
    ]  # fmt: skip
    assert name_mails(session)[-1] == ("name_corrected", OLD, "owed")
    assert name_by_ops(session, account_id(session)) == "unchanged"
    assert name_by_ops(session, new_id()) == "not_found"


def test_operators_tell_no_person_who_never_activated(session: Session) -> None:
    participant(session, activated=False)
    name_by_ops(session, account_id(session))
    assert (named(session), name_mails(session)) == (NEW_FULL, [])


# The record


def test_the_audit_trail_tells_who_asked_and_no_name(session: Session) -> None:
    correct_name(session, participant(session))
    confirm(session)
    assert query(session, ENTRIES) == [
        ("correct_name", "name_confirmation_sent", "m-7"), ("apply_name_correction", "applied", ""),
    ]  # fmt: skip
    trail = json.dumps(query(session, "SELECT CAST(a AS text) FROM audit a"))
    assert not any(name in trail for name in (NEW_NAME[1], OLD_NAME[1]))


@pytest.mark.parametrize(
    ("answer", "ending", "said"),
    [("confirm", "confirmed", "a confirmé"), ("refuse", "refusal", "a refusé"), ("wait", "expired", "pas répondu")],
)
def test_the_manager_of_the_contract_learns_the_answer(session: Session, answer: str, ending: str, said: str) -> None:
    correct_name(session, participant(session))
    session.execute(text("UPDATE contract SET manager_email = 'rh@example.com'"))
    if answer == "wait":
        later(session, 15)
        session.execute(text("UPDATE name_correction SET asked_at = asked_at - interval '15 days'"))
        sweep(session)
    else:
        confirm(session) if answer == "confirm" else refuse(session)
    [letter] = [one for one in letters(session) if one.kind is EmailKind.NAME_ANSWER]
    mail = render(letter.kind, "fr", letter.context)
    assert (letter.context["ending"], said in mail.text) == (ending, True)
    assert NEW_FULL in mail.text
    assert OLD_FULL not in mail.text.replace(NEW_FULL, "")


def test_a_hostile_name_does_no_harm_in_any_mail(session: Session) -> None:
    hostile = "<script>alert(1)</script> http://evil.example =?utf-8?q?x=0D=0A?="
    enrollment_id = participant(session)
    session.execute(text("UPDATE contract SET manager_email = 'rh@example.com'"))
    correct_name(session, enrollment_id, hostile, "{{ 7*7 }} %(name)s")
    texts = [render(one.kind, "fr", one.context) for one in letters(session)]
    confirm(session)
    texts += [render(one.kind, "fr", one.context) for one in letters(session)]
    assert len(texts) == 3
    for mail in texts:
        assert "<script" not in mail.html
        assert "evil.example" not in mail.text + mail.html + mail.subject
        assert "49" not in mail.text
        assert "\n" not in mail.subject


# The person's rights


def test_an_export_shows_the_corrections_of_a_name(session: Session) -> None:
    correct_name(session, participant(session))
    confirm(session)
    [job] = did(session, ExportPerson(email=OLD))
    [shown] = job["result"]["person"]["name_corrections"]
    assert (shown["old_last_name"], shown["new_last_name"], shown["state"]) == (OLD_NAME[1], NEW_NAME[1], "applied")
    typed = [one["request"] for one in job["result"]["person"]["typed"] if one["kind"] == "correct_name"]
    assert [one["last_name"] for one in typed] == [NEW_NAME[1]]


@pytest.mark.parametrize("confirmed", [True, False])
def test_an_erasure_leaves_no_name_of_a_correction(session: Session, confirmed: bool) -> None:
    correct_name(session, participant(session))
    if confirmed:
        confirm(session)
    [job] = did(session, ErasePerson(email=OLD, reason="asked"))
    assert job["result"]["code"] == "erased"
    assert query(session, "SELECT old_last_name, new_last_name, state FROM name_correction") == [
        ("", "", "applied" if confirmed else "cancelled")
    ]
    assert confirm(session) == ("used_link" if confirmed else "invalid_link")
    everything = json.dumps(query(session, "SELECT CAST(j AS text) FROM job j"))
    assert "Martin" not in everything
    assert [one for one in letters(session) if one.unsent is None] == []


def test_a_corrected_name_is_kept_for_an_erased_person_s_certificate(session: Session) -> None:
    enrollment_id = participant(session, activated=False)
    session.execute(text("UPDATE enrollment SET progress = 'completed', completed_at = now()"))
    correct_name(session, enrollment_id)
    did(session, ErasePerson(email=OLD, reason="asked"))
    assert query(session, "SELECT enrollment_id, last_name FROM certificate_holder") == [
        (UUID(str(enrollment_id)), NEW_NAME[1])
    ]
