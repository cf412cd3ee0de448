"""The client of portals keeps webhook endpoints, checks passwords, and shows the progress of a participant."""

import pytest

from tests.kit.processes.support import Processes, change
from workers.access.passwords import hash_password
from workers.portal_client import NotFound, Portal

PASSWORD = "correct horse battery staple"


def test_an_endpoint_is_kept_tried_and_deleted(by_http: Portal) -> None:
    made = by_http.put_webhook_endpoint("hook", url="https://lms.example/hook", events=["job.finished"])
    assert (made.events, made.enabled, (made.secret or "")[:6]) == (("job.finished",), True, "whsec_")
    assert by_http.put_webhook_endpoint("hook", url="https://lms.example/hook").events is None
    turned = by_http.rotate_webhook_secret("hook", secret_version=made.secret_version)
    assert (turned.secret_version, turned.secret != made.secret) == (made.secret_version + 1, True)
    assert [one.reference for one in by_http.webhook_endpoints()] == ["hook"]
    assert by_http.try_webhook_endpoint("hook").secret is None
    by_http.delete_webhook_endpoint("hook")
    with pytest.raises(NotFound):
        by_http.webhook_endpoint("hook")


def test_a_participant_signs_in_and_their_progress_is_shown(by_http: Portal, workers: Processes) -> None:
    by_http.wait_for(by_http.put_company("DUBOIS", name="Atelier Dubois"))
    by_http.wait_for(by_http.put_training("SEC-1", title="Sécurité au travail"))
    by_http.wait_for(by_http.put_contract("C-1", company="DUBOIS", training="SEC-1", planned_seats=2))
    zoe = {"email": "zoe@example.com", "first_name": "Zoë", "last_name": "Müller"}
    [person] = by_http.wait_for(by_http.enroll("C-1", [zoe], key="one")).result.people  # type: ignore[list-item]
    change("UPDATE account SET activated_at = now(), password_hash = :hash", hash=hash_password(PASSWORD))
    assert by_http.sign_in("zoe@example.com", PASSWORD).account_id == person.account_id
    wrong = by_http.sign_in("zoe@example.com", "another")
    assert (wrong.account_id, wrong.code, wrong.state) == (None, "wrong_credentials", "refused")
    assert person.enrollment_id is not None
    shown = by_http.progress(person.enrollment_id)
    assert (shown.progress, shown.certificates) == ("not_started", ())
