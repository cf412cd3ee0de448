"""A completed enrollment has one certificate, numbered without gaps and frozen: corrected or revoked,
never rewritten.
"""

from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.certificate import new_verification_code, read_verification_code
from models.document import CertificateSnapshot
from models.words import LOCALES, Code
from tests.kit.builders.certificates import (
    SIRET,
    certificate,
    complete,
    completed,
    did,
    graduates,
    organisation,
    training,
)
from tests.kit.builders.contracts import (
    add_contract,
    enrolled,
    query,
    results,
    someone,
)
from workers.certificates import issuing as certificates
from workers.certificates.changes import revoke_certificate
from workers.certificates.enrollments import hold_enrollments, snapshot_of
from workers.database import Session
from workers.i18n.catalogues import code_sentence
from workers.requests.accounts import ErasePerson
from workers.requests.catalog import PutCompany, PutTraining
from workers.requests.certificates import CatchUpCertificates, CorrectCertificate, RevokeCertificate
from workers.requests.enrollment import RecordProgress
from workers.requests.internal import IssueCertificate

ISSUE_JOBS = "SELECT state, CAST(result AS text) FROM job WHERE kind = 'issue_certificate' ORDER BY id"


def numbers(session: Session) -> list[str]:
    return [number for (number,) in query(session, "SELECT number FROM certificate ORDER BY number")]


def again(session: Session, enrollment: UUID) -> dict[str, Any]:
    [job] = did(session, IssueCertificate(enrollment_id=enrollment))
    return job


def test_a_completion_is_certified_with_everything_that_is_printed(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
    _, number, code, kept, version = certificate(session, zoe)
    snapshot = CertificateSnapshot.model_validate(kept)
    year = query(session, "SELECT extract(year FROM now() AT TIME ZONE 'Europe/Paris')::int")[0][0]
    assert (number, version) == (f"{year}-000001", 1)
    assert read_verification_code(code) == code
    assert snapshot.issuer.legal_name == "Formation Pro SAS"
    assert snapshot.issuer.address == ("12 rue des Écoles", "75005 Paris")
    assert snapshot.issuer.siret == SIRET
    assert (snapshot.first_name, snapshot.last_name, snapshot.employer) == ("Zoé", "Le Dû", "Acmé")
    assert (snapshot.title, snapshot.objectives) == ("Sécurité incendie", ("Reconnaître un risque", "Donner l’alerte"))
    assert (snapshot.starts_on, snapshot.ends_on) == (date(2026, 3, 2), date(2026, 3, 9))
    assert (snapshot.planned_minutes, snapshot.done_minutes, snapshot.score) == (420, 400, 87.5)
    assert snapshot.verify_url.replace("-", "").endswith(f"/certificates/{code}")


def test_issued_again_it_is_the_same(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    before = certificate(session, zoe)
    job = again(session, zoe)
    assert results(job) == ["issued"]
    assert job["result"]["people"][0]["detail"]["number"] == before[1]
    assert certificate(session, zoe) == before


def test_numbers_follow_each_other_without_gaps_for_each_organisation(session: Session) -> None:
    graduates(session, *"abc")
    did(session, organisation("of-2", legal_name="Autre", portals=["local"]))
    more = enrolled(session, *"de")
    complete(session, *more)
    [year] = {number[:4] for number in numbers(session)}
    assert numbers(session) == [f"{year}-{n:06}" for n in (1, 1, 2, 2, 3)]


@pytest.mark.parametrize(
    ("moment", "number"), [("2026-12-31T22:59Z", "2026-000001"), ("2026-12-31T23:00Z", "2027-000001")]
)
def test_the_year_of_a_number_is_that_of_france(session: Session, moment: str, number: str) -> None:
    add_contract(session)
    did(session, organisation())
    [zoe] = enrolled(session, "zoe")
    held, code = hold_enrollments(session, [zoe])[zoe], new_verification_code()
    snapshot, now = snapshot_of(held, code), datetime.fromisoformat(moment)
    assert held.organisation_id
    issued = (new_id(), held.portal_id, zoe, held.organisation_id, snapshot, code, now, held.completed_at)
    new = certificates.NewCertificate(*issued)
    assert certificates.write_certificates(session, [new])[zoe].number == number
    assert numbers(session) == [number]


@pytest.mark.moment
def test_its_time_counts_from_the_end_of_the_training_even_if_issued_late(session: Session) -> None:
    add_contract(session)
    did(session, organisation())
    [zoe] = enrolled(session, "zoe")
    session.execute(text("UPDATE enrollment SET progress = 'completed', completed_at = '2021-12-31T22:59Z'"))
    again(session, zoe)
    did(session, CorrectCertificate(enrollment_id=zoe, last_name="Autre", reason="faute"))
    kept = query(session, "SELECT version, kept_until FROM certificate ORDER BY version")
    law = datetime.fromisoformat("2028-01-01T00:00+01:00")
    assert kept == [(1, law), (2, law)]


def test_read_again_it_keeps_the_printed_names(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
    session.execute(text("UPDATE account SET first_name = 'Autre', last_name = 'Personne'"))
    did(session, PutTraining(reference="T-1", title="Titre juste"))
    did(session, CorrectCertificate(enrollment_id=zoe, reread=True, reason="titre"))
    kept = certificate(session, zoe)[3]
    assert (kept["title"], kept["first_name"], kept["last_name"]) == ("Titre juste", "Zoé", "Le Dû")
    did(session, CorrectCertificate(enrollment_id=zoe, reread=True, last_name="Le Duc", reason="nom"))
    kept = certificate(session, zoe)[3]
    assert (kept["first_name"], kept["last_name"]) == ("Zoé", "Le Duc")


def test_without_a_signatory_it_waits_and_is_issued_later(session: Session) -> None:
    add_contract(session)
    people = enrolled(session, *"ab")
    complete(session, *people)
    assert [state for state, _ in query(session, ISSUE_JOBS)] == ["refused", "refused"]
    assert all("unknown_organisation" in result for _, result in query(session, ISSUE_JOBS))
    did(session, organisation())
    assert len(numbers(session)) == 0 or len(numbers(session)) == 2
    did(session, CatchUpCertificates())
    assert len(numbers(session)) == 2
    [job] = did(session, CatchUpCertificates())
    assert job["result"]["counts"] == {}


def test_a_catch_up_goes_on_in_parts(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    add_contract(session, seats=20)
    people = enrolled(session, *"abcde")
    complete(session, *people)
    monkeypatch.setattr(certificates, "CATCH_UP", 2)
    did(session, organisation())
    for _ in range(3):
        did(session, training())  # also does the work that became due meanwhile
    assert len(numbers(session)) == 5


@pytest.mark.parametrize("progress", ["not_started", "in_progress"])
def test_nothing_is_issued_before_completion(session: Session, progress: str) -> None:
    add_contract(session)
    did(session, organisation())
    [zoe] = enrolled(session, "zoe")
    session.execute(text("UPDATE enrollment SET progress = :progress"), {"progress": progress})
    assert results(again(session, zoe)) == ["not_completed"]
    assert results(again(session, new_id())) == ["not_found"]
    assert numbers(session) == []


def test_nothing_that_changes_later_changes_a_certificate(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
    before = certificate(session, zoe)
    did(
        session,
        PutCompany(reference="acme", name="Autre nom"),
        PutTraining(reference="T-1", title="Autre titre"),
        organisation(legal_name="Autre organisme"),
        RecordProgress(events=[completed(zoe, day=12, score=12.0)]),
    )
    session.execute(text("UPDATE account SET first_name = 'Autre', last_name = 'Personne'"))
    again(session, zoe)
    assert certificate(session, zoe) == before


def test_a_training_keeps_what_a_later_request_does_not_say(session: Session) -> None:
    add_contract(session)
    did(session, training(), PutTraining(reference="T-1", title="Titre"))
    kept = query(session, "SELECT title, planned_minutes, modality, objectives FROM training")
    assert kept == [("Titre", 420, "remote", ["Reconnaître un risque", "Donner l’alerte"])]
    did(session, PutTraining(reference="T-1", title="Titre", planned_minutes=None))
    assert query(session, "SELECT planned_minutes FROM training") == [(None,)]


def test_a_wrong_name_is_mended_by_a_new_version_the_old_one_names(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    first = certificate(session, zoe)
    asked = CorrectCertificate(enrollment_id=zoe, first_name="Zoé", last_name="Le Dû", reason="faute de frappe")
    [job] = did(session, asked)
    second = certificate(session, zoe)
    assert (job["state"], job["result"]["code"], job["result"]["replaces"]) == ("succeeded", "reissued", first[1])
    assert (second[4], second[3]["first_name"], second[3]["last_name"]) == (2, "Zoé", "Le Dû")
    assert second[1] != first[1]
    assert second[2] != first[2]
    [(replaced_by, old)] = query(session, "SELECT replaced_by, snapshot FROM certificate WHERE id = :id", id=first[0])
    assert (replaced_by, old) == (second[0], first[3])
    assert query(session, "SELECT first_name, last_name FROM account") == [("Zoe", "Ledu")]
    assert query(session, "SELECT count(*) FROM audit WHERE action = 'correct_certificate'") == [(1,)]
    assert again(session, zoe)["result"]["people"][0]["detail"]["number"] == second[1]


def test_a_correction_may_read_all_facts_again(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
    did(session, PutTraining(reference="T-1", title="Le bon titre"))
    did(session, CorrectCertificate(enrollment_id=zoe, reread=True, reason="titre"))
    snapshot = certificate(session, zoe)[3]
    assert (snapshot["title"], snapshot["last_name"]) == ("Le bon titre", "Le Dû")


def test_read_again_it_has_the_current_signatory_and_their_next_number(session: Session) -> None:
    """Under the number of the earlier organisation, two documents of the later one would have the same number."""
    zoe, _ = graduates(session, "zoe", "luc")
    did(session, organisation("of-2", legal_name="Autre organisme"))
    did(session, CorrectCertificate(enrollment_id=zoe, reread=True, reason="organisme"))
    [max_] = enrolled(session, "max")
    complete(session, max_)
    numbered = query(
        session,
        """SELECT o.reference, k.number, k.snapshot -> 'issuer' ->> 'legal_name' FROM certificate k
           JOIN organisation o ON o.id = k.organisation_id ORDER BY o.reference, k.number""",
    )
    year = numbered[0][1][:4]
    assert numbered == [
        *[("of-1", f"{year}-00000{number}", "Formation Pro SAS") for number in (1, 2)],
        *[("of-2", f"{year}-00000{number}", "Autre organisme") for number in (1, 2)],
    ]
    did(session, CorrectCertificate(enrollment_id=zoe, last_name="Autre", reason="nom"))
    assert certificate(session, zoe)[1] == f"{year}-000003"


@pytest.mark.parametrize(
    "asked", [{"reread": True}, {"first_name": "Zoé"}, {"first_name": "Zoé", "last_name": "Le Dû"}]
)
def test_a_correction_that_corrects_nothing_is_refused(session: Session, asked: dict[str, Any]) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
    before = certificate(session, zoe)
    [job] = did(session, CorrectCertificate(enrollment_id=zoe, reason="rien", **asked))
    assert (job["state"], job["result"]["code"]) == ("refused", "unchanged")
    assert certificate(session, zoe) == before


def test_the_audit_says_which_parts_were_corrected_and_not_into_what(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    did(session, PutTraining(reference="T-1", title="Le bon titre"))
    did(session, CorrectCertificate(enrollment_id=zoe, first_name="Zoé", reread=True, reason="titre et nom"))
    [(detail,)] = query(session, "SELECT detail FROM audit WHERE action = 'correct_certificate'")
    assert detail["changed"] == ["first_name", "title"]
    assert "Zoé" not in str(detail)


def test_a_revoked_certificate_stays_and_is_revoked_for_good(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    [job] = did(session, RevokeCertificate(enrollment_id=zoe, reason="fraude"))
    assert job["result"]["code"] == "revoked"
    refused = did(
        session,
        RevokeCertificate(enrollment_id=zoe, reason="encore"),
        CorrectCertificate(enrollment_id=zoe, first_name="A", reason="non"),
    )
    assert [one["result"]["code"] for one in refused] == ["certificate_revoked"] * 2
    assert query(session, "SELECT revocation_reason FROM certificate") == [("fraude",)]


def test_a_missing_certificate_cannot_be_corrected(session: Session) -> None:
    add_contract(session)
    zoe, nobody_signs = enrolled(session, "zoe", "max")
    complete(session, nobody_signs)
    for enrollment, code in ((zoe, "not_completed"), (nobody_signs, "unknown_organisation"), (new_id(), "not_found")):
        correct = CorrectCertificate(enrollment_id=enrollment, first_name="A", reason="r")
        jobs = did(session, correct, RevokeCertificate(enrollment_id=enrollment, reason="r"))
        assert [job["result"]["code"] for job in jobs] == [code, code]


@pytest.mark.parametrize("locale", LOCALES)
def test_the_message_about_a_revoked_certificate_fits_every_request(locale: str) -> None:
    said = code_sentence(Code.CERTIFICATE_REVOKED, locale)
    assert "duplicata" not in said  # neither a correction nor a second revocation mentions one
    assert ("corrigée" if locale == "fr" else "corrected") in said


def test_another_portals_certificate_is_not_found(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    other = new_id()
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'autre')"), {"id": other})
    _, result = revoke_certificate(session, other, new_id(), RevokeCertificate(enrollment_id=zoe, reason="x"))
    assert result["code"] == "not_found"


def test_an_erasure_leaves_what_the_certificate_says(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
    before = certificate(session, zoe)
    did(session, ErasePerson(email="zoe@example.com", reason="demande"))
    assert certificate(session, zoe) == before


def test_a_person_erased_before_is_certified_with_the_names_kept_apart(session: Session) -> None:
    add_contract(session)
    [zoe] = enrolled(session, someone("zoe", "Zoé", "Le Dû"))
    complete(session, zoe)
    did(session, ErasePerson(email="zoe@example.com", reason="demande"))
    did(session, organisation())
    did(session, CatchUpCertificates())
    snapshot = certificate(session, zoe)[3]
    assert (snapshot["first_name"], snapshot["last_name"]) == ("Zoé", "Le Dû")


def test_an_unknown_portal_changes_nothing(session: Session) -> None:
    [job] = did(session, organisation(portals=["local", "inconnu"]))
    assert (job["state"], job["result"]["code"], job["result"]["unknown"]) == ("refused", "unknown_portal", ["inconnu"])
    assert query(session, "SELECT count(*) FROM organisation") == [(0,)]
