"""A field left out and the same field sent with its default are two requests exactly where they do other things."""

import json
from typing import Any

import pytest

from tests.kit.builders.certificates import organisation
from tests.kit.builders.contracts import add_contract, did, query
from tests.workers.catalog.test_branding import picture
from workers.database import Session
from workers.requests.base import Request, fingerprint
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.certificates import PutOrganisation
from workers.requests.registry import KINDS

VALUES: dict[type[Request], dict[str, Any]] = {
    PutCompany: {"colour": "#1b3a5f", "logo": picture()},
    PutTraining: {
        "nature": "skills_assessment",
        "objectives": ["Porter secours"],
        "modality": "remote",
        "planned_minutes": 7,
        "access_url": "https://lms.example.com/t-1",
    },
    PutContract: {
        "starts_on": "2026-01-01",
        "ends_on": "2030-01-01",
        "manager_email": "m@example.com",
        "manager_locale": "en",
        "reminders": False,
        "release_after_days": 30,
    },
    PutOrganisation: {
        "address": ["1 rue du Lac"],
        "siret": "73282932000074",
        "activity_number": "11755555555",
        "activity_region": "Bretagne",
        "colour": "#1b3a5f",
        "logo": picture(),
        "portals": ["local"],
    },
}
"""A value other than the default for each field that has one."""

REQUIRED: dict[type[Request], dict[str, Any]] = {
    PutCompany: {"reference": "acme", "name": "Acm\u00e9"},
    PutTraining: {"reference": "T-1", "title": "S\u00e9curit\u00e9"},
    PutContract: {"reference": "C-1", "company": "acme", "training": "T-1", "planned_seats": 9},
    PutOrganisation: {
        name: value
        for name, value in organisation().model_dump().items()
        if PutOrganisation.model_fields[name].is_required()
    },
}

ROW = {
    PutCompany: "SELECT to_jsonb(t) FROM company t",
    PutTraining: "SELECT to_jsonb(t) FROM training t",
    PutContract: "SELECT to_jsonb(t) FROM contract t",
    PutOrganisation: "SELECT to_jsonb(t) || jsonb_build_object('portals', (SELECT json_agg(name) FROM portal"
    " WHERE organisation_id = t.id)) FROM organisation t",
}


def asked(kind: type[Request], **fields: Any) -> Request:
    return kind.model_validate_json(json.dumps(REQUIRED[kind] | fields))


def done(session: Session, request: Request) -> dict[str, Any]:
    """Does the request and returns the row it leaves."""
    [job] = did(session, request)
    assert job["state"] == "succeeded", job
    [(row,)] = query(session, ROW[type(request)])
    return dict(row)


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.kind)
def test_two_requests_are_the_same_exactly_when_they_do_the_same(session: Session, kind: type[Request]) -> None:
    add_contract(session)
    optional = {name for name, field in kind.model_fields.items() if not field.is_required()} - {"requested_by"}
    assert VALUES[kind].keys() == optional
    for name, value in VALUES[kind].items():
        spoken = {name: kind.model_fields[name].default}
        rows = []
        for last in ({}, spoken):
            done(session, asked(kind, **{name: value}))
            rows.append(done(session, asked(kind, **last)))
        alike = fingerprint(asked(kind)) == fingerprint(asked(kind, **spoken))
        assert (rows[0] == rows[1]) is alike, name


def test_only_these_kinds_leave_fields_unchanged() -> None:
    assert {kind for kind in KINDS.values() if kind.unchanged_if_left_out} == set(VALUES)
