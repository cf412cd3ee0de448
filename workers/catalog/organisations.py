"""Who signs certificates, and the pictures and colours on them."""

import base64
import hashlib
from typing import Any
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.document import clean_colour
from models.words import Code, JobState
from workers.audit import record
from workers.database import Session
from workers.engine.acceptance import owe_successor
from workers.requests.certificates import CatchUpCertificates, PutOrganisation

UPSERT_ORGANISATION = text("""
    INSERT INTO organisation (id, reference, legal_name, address, siret, activity_number, activity_region,
      signatory_name, signatory_quality, place, colour, logo)
    VALUES (:id, :reference, :legal_name, to_json(CAST(:address AS text[])), :siret, :activity_number, :activity_region,
      :signatory_name, :signatory_quality, :place, :colour, :logo)
    ON CONFLICT (reference) DO UPDATE SET legal_name = excluded.legal_name, signatory_name = excluded.signatory_name,
      signatory_quality = excluded.signatory_quality, place = excluded.place,
      address = CASE WHEN 'address' = ANY(CAST(:said AS text[])) THEN excluded.address ELSE organisation.address END,
      siret = CASE WHEN 'siret' = ANY(CAST(:said AS text[])) THEN excluded.siret ELSE organisation.siret END,
      activity_number = CASE WHEN 'activity_number' = ANY(CAST(:said AS text[])) THEN excluded.activity_number
        ELSE organisation.activity_number END,
      activity_region = CASE WHEN 'activity_region' = ANY(CAST(:said AS text[])) THEN excluded.activity_region
        ELSE organisation.activity_region END,
      colour = CASE WHEN 'colour' = ANY(CAST(:said AS text[])) THEN excluded.colour ELSE organisation.colour END,
      logo = CASE WHEN 'logo' = ANY(CAST(:said AS text[])) THEN excluded.logo ELSE organisation.logo END
    RETURNING id""")

LOCK_PORTALS = text("""
    SELECT name FROM portal WHERE name = ANY(CAST(:portals AS text[])) ORDER BY name FOR NO KEY UPDATE""")
ASSIGN_PORTALS = text("UPDATE portal SET organisation_id = :organisation WHERE name = ANY(CAST(:portals AS text[]))")

INSERT_LOGO = text("INSERT INTO logo (sha256, content) VALUES (:sha256, :content) ON CONFLICT (sha256) DO NOTHING")


def put_organisation(
    session: Session, portal_id: UUID, job_id: UUID, request: PutOrganisation
) -> tuple[JobState, dict[str, Any]]:
    """Does a `put_organisation` job, and owes the certificates nobody could sign until now.

    Refuses a portal nobody knows, a colour or a picture that cannot be printed: nothing is changed then.
    """
    colour = checked_colour(request.colour)
    logo = checked_logo(session, request.logo)
    for name, value in (("colour", colour), ("logo", logo)):
        if isinstance(value, Code):
            return JobState.REFUSED, {"code": value, "field": name}
    known = set(session.execute(LOCK_PORTALS, {"portals": request.portals}).scalars())
    if unknown := set(request.portals) - known:
        return JobState.REFUSED, {"code": Code.UNKNOWN_PORTAL, "field": "portals", "unknown": sorted(unknown)}
    values = request.model_dump(exclude={"portals", "requested_by"}) | {"colour": colour, "logo": logo}
    asked = values | {"id": new_id(), "said": sorted(request.model_fields_set)}
    organisation_id: UUID = session.execute(UPSERT_ORGANISATION, asked).scalar_one()
    session.execute(ASSIGN_PORTALS, {"organisation": organisation_id, "portals": request.portals})
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, requested_by=asker, subject_id=organisation_id, job_id=job_id)
    owe_successor(session, job_id, CatchUpCertificates())
    return JobState.SUCCEEDED, {"id": str(organisation_id), "portals": sorted(known)}


def checked_colour(colour: str | None) -> str | Code | None:
    """A colour certificates may be printed in, or why not."""
    return None if colour is None else clean_colour(colour)


def checked_logo(session: Session, picture: str | None) -> str | Code | None:
    """Keeps a picture given in base64 as certificates show it; its hash, or why it cannot be one."""
    if picture is None:
        return None
    try:
        content = base64.b64decode(picture, validate=True)
    except ValueError:
        return Code.UNSUPPORTED_IMAGE
    from workers.documents.logo import clean_logo  # noqa: PLC0415 - 3 MB in every process, for a rare request

    cleaned = clean_logo(content)
    if isinstance(cleaned, Code):
        return cleaned
    digest = hashlib.sha256(cleaned).hexdigest()
    session.execute(INSERT_LOGO, {"sha256": digest, "content": cleaned})
    return digest
