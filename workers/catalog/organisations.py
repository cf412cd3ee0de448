"""Records the organisations that sign certificates, and the logos and colours on certificates."""

import base64
import hashlib
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update

from models.base import new_id
from models.document import clean_colour
from models.portal import Logo, Organisation, Portal
from models.words import Code, JobState
from workers.audit import record
from workers.database import Session
from workers.engine.acceptance import owe_successor
from workers.requests.certificates import CatchUpCertificates, PutOrganisation
from workers.sql import change, given_values, upsert


def put_organisation(
    session: Session, portal_id: UUID, job_id: UUID, request: PutOrganisation
) -> tuple[JobState, dict[str, Any]]:
    """Does a `put_organisation` job, and owes the certificates that had no organisation to sign them until now.

    It refuses an unknown portal, and a colour or picture that cannot be printed; then nothing is changed.
    """
    colour = checked_colour(request.colour)
    if isinstance(colour, Code):
        return JobState.REFUSED, {"code": colour, "field": "colour"}
    logo = checked_logo(session, request.logo)
    if isinstance(logo, Code):
        return JobState.REFUSED, {"code": logo, "field": "logo"}
    named = col(Portal.name).in_(request.portals)
    known = set(session.exec(select(Portal.name).where(named).order_by(Portal.name).with_for_update(key_share=True)))
    if unknown := set(request.portals) - known:
        return JobState.REFUSED, {"code": Code.UNKNOWN_PORTAL, "field": "portals", "unknown": sorted(unknown)}
    said = request.model_fields_set - {"reference", "portals", "requested_by"}
    organisation_id = upsert(session, _organisation(request, colour, logo), key=("reference",), changing=said)
    change(session, update(Portal).where(named).values(organisation_id=organisation_id))
    asker = request.requested_by
    record(session, request.kind, portal_id=portal_id, requested_by=asker, subject_id=organisation_id, job_id=job_id)
    owe_successor(session, job_id, CatchUpCertificates())
    return JobState.SUCCEEDED, {"id": str(organisation_id), "portals": sorted(known)}


def _organisation(request: PutOrganisation, colour: str | None, logo: str | None) -> Organisation:
    return Organisation(
        id=new_id(),
        reference=request.reference,
        legal_name=request.legal_name,
        address=request.address,
        siret=request.siret,
        activity_number=request.activity_number,
        activity_region=request.activity_region,
        signatory_name=request.signatory_name,
        signatory_quality=request.signatory_quality,
        place=request.place,
        colour=colour,
        logo=logo,
    )


def checked_colour(colour: str | None) -> str | Code | None:
    """Returns a colour that certificates can be printed in, or the code of a refusal."""
    return None if colour is None else clean_colour(colour)


def checked_logo(session: Session, picture: str | None) -> str | Code | None:
    """Stores a logo given in base64, in the form certificates print; returns its hash, or the code of a refusal."""
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
    kept = insert(Logo).values(given_values(Logo(sha256=digest, content=cleaned)))
    session.execute(kept.on_conflict_do_nothing(index_elements=["sha256"]))
    return digest
