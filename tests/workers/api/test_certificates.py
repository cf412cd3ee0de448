"""Certificates over HTTP: progress with every version, what one says, and the files of duplicates."""

import zipfile
from io import BytesIO
from uuid import UUID, uuid4

import httpx2
import pytest

from models.portal import LOCAL_PORTAL_ID
from models.words import Scope
from tests.kit.builders.certificates import certified, did, duplicated
from tests.kit.builders.contracts import enrolled
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import problem
from workers.api.schemas import Certificate, ParticipantProgress
from workers.database import transaction
from workers.requests.certificates import CorrectCertificate, RevokeCertificate


@pytest.fixture
def graduates(fresh_database: str) -> list[UUID]:
    """Makes two participants with certificates."""
    return certified("ada", "bob")


@pytest.fixture
def portal(graduates: list[UUID]) -> UUID:
    """Gives the portal of the certificates."""
    return LOCAL_PORTAL_ID


def test_progress_has_the_certificate(api: httpx2.Client, graduates: list[UUID]) -> None:
    shown = api.get(f"/enrollments/{graduates[0]}/progress").json()
    assert (shown["email"], shown["progress"], shown["score"]) == ("ada@example.com", "completed", 87.5)
    assert (shown["contract"], shown["training_title"]) == ("C-1", "Sécurité incendie")
    ParticipantProgress.model_validate(shown)
    [certificate] = shown["certificates"]
    assert (certificate["status"], certificate["version"], certificate["replaced_by"]) == ("valid", 1, None)
    assert certificate["verify_url"].endswith(f"/certificates/{certificate['code']}")
    assert api.get(f"/certificates/{certificate['id']}").json().items() >= certificate.items()


def test_progress_of_one_who_has_not_begun(api: httpx2.Client) -> None:
    with transaction() as session:
        [enrollment] = enrolled(session, "zoe")
    shown = api.get(f"/enrollments/{enrollment}/progress").json()
    assert (shown["progress"], shown["completed_at"], shown["certificates"]) == ("not_started", None, [])


def test_a_certificate_says_what_is_printed(api: httpx2.Client, graduates: list[UUID]) -> None:
    [certificate] = api.get(f"/enrollments/{graduates[0]}/progress").json()["certificates"]
    duplicated(graduates[0])
    shown = api.get(f"/certificates/{certificate['id']}").json()
    Certificate.model_validate(shown)
    assert (shown["says"]["last_name"], shown["says"]["ends_on"], shown["says"]["done_minutes"]) == (
        "Le Dû",
        "2026-03-09",
        400,
    )
    [duplicate] = shown["duplicates"]
    assert duplicate["number"] == f"{certificate['number']}-D1"
    assert api.get(f"/jobs/{duplicate['job']}").json()["kind"] == "duplicate_certificates"


def test_every_version_has_its_status(api: httpx2.Client, graduates: list[UUID]) -> None:
    with transaction() as session:
        did(session, CorrectCertificate(enrollment_id=graduates[0], first_name="Ada", reason="faute"))
        did(session, RevokeCertificate(enrollment_id=graduates[0], reason="erreur"))
    first, second = api.get(f"/enrollments/{graduates[0]}/progress").json()["certificates"]
    assert (first["status"], first["replaced_by"], second["status"]) == ("replaced", second["id"], "revoked")
    assert second["revocation_reason"] == "erreur"


def test_an_erased_person_is_not_spoken_of(api: httpx2.Client, graduates: list[UUID]) -> None:
    [(certificate,)] = rows("SELECT id FROM certificate WHERE enrollment_id = :id", id=graduates[0])
    change("UPDATE account SET erased_at = now() WHERE email_norm = 'ada@example.com'")
    assert api.get(f"/certificates/{certificate}").json()["says"] is None
    problem(api.get(f"/enrollments/{graduates[0]}/progress"), 404, "not_found")


def test_a_document_and_a_zip_are_fetched(api: httpx2.Client, graduates: list[UUID]) -> None:
    one, two = duplicated(graduates[0]), duplicated(*graduates)
    pdf = api.get(f"/certificate-duplicates/{one['id']}.pdf")
    assert (pdf.headers["content-type"], pdf.content[:5]) == ("application/pdf", b"%PDF-")
    assert pdf.headers["content-length"] == str(len(pdf.content))
    assert "content-encoding" not in pdf.headers
    assert pdf.headers["content-disposition"].startswith('attachment; filename="attestation-Le-Du-Zoe-')
    archive = api.get(f"/certificate-duplicates/{two['id']}.zip")
    assert len(zipfile.ZipFile(BytesIO(archive.content)).namelist()) == 3
    for wrong in (f"{one['id']}.zip", f"{two['id']}.pdf", f"{uuid4()}.pdf", "x.pdf", f"{one['id']}", ".pdf", "%00.pdf"):
        problem(api.get(f"/certificate-duplicates/{wrong}"), 404, "not_found")
    assert api.head(f"/certificate-duplicates/{one['id']}.pdf").headers["content-length"] == str(len(pdf.content))


def test_a_file_is_given_no_longer_than_its_link_works(api: httpx2.Client, graduates: list[UUID]) -> None:
    path = f"/certificate-duplicates/{duplicated(graduates[0])['id']}.pdf"
    change("UPDATE certificate SET revoked_at = now()")
    problem(api.get(path), 410, "certificate_revoked")
    change("UPDATE certificate_file SET expires_at = now()")
    problem(api.get(path), 410, "expired_link")
    change("DELETE FROM certificate_file")
    problem(api.get(path), 404, "not_found")


def test_certificates_of_others_are_not_found(
    base_url: str, api: httpx2.Client, portal: UUID, graduates: list[UUID]
) -> None:
    [certificate] = api.get(f"/enrollments/{graduates[0]}/progress").json()["certificates"]
    job = duplicated(graduates[0])["id"]
    scopes = {Scope.READ, Scope.CERTIFICATES}
    for key in (make_key(make_portal("other")), make_key(portal, scopes, companies=["autre"])):
        with client_of(base_url, key) as client:
            for path in (
                f"/enrollments/{graduates[0]}/progress",
                f"/certificates/{certificate['id']}",
                f"/certificate-duplicates/{job}.pdf",
            ):
                problem(client.get(path), 404, "not_found")
    with client_of(base_url, make_key(portal, scopes, companies=["acme"])) as client:
        assert client.get(f"/certificate-duplicates/{job}.pdf").status_code == 200
