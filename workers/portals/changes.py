"""Creates portals; gives, renews and revokes their keys; each change is an entry of the audit trail."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import func, or_
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update

from models.address import normalise_email
from models.base import new_id
from models.label import clean_reference
from models.portal import LOCAL_PORTAL_ID, Portal, PortalKey
from models.portal_key import is_portal_name
from models.words import Code, Scope
from workers.audit import record
from workers.database import Session
from workers.engine.acceptance import find_portal
from workers.errors import InvalidRequest, Problem
from workers.portals.keys import add_key
from workers.portals.secrets import master_secrets, queue_secret
from workers.sql import change

MOST_REQUESTS_PER_MINUTE: Final = 1_000_000


class KeyRights(NamedTuple):
    """The rights of a key.

    Parameters:
      companies: references of the companies it may name, or None for all of its portal.
      signs: it may sign messages on the queue.
    """

    scopes: Collection[Scope]
    companies: Collection[str] | None = None
    signs: bool = False
    expires_at: datetime | None = None


class IssuedKey(NamedTuple):
    """A key that was just made; this is the only time it is shown.

    Parameters:
      text: the whole key.
      master_id: the secret of ``PORTAL_KEYS`` from which its queue secret derives, or None: it signs no messages.
      queue_secret: the secret with which it signs messages, or None.
    """

    portal: str
    key_id: str
    text: str
    master_id: str | None
    queue_secret: str | None


class EndedKey(NamedTuple):
    """A key that was revoked.

    Parameters:
      signed: it signed messages, so it has a user in Redis.
    """

    portal: str
    key_id: str
    signed: bool


def create_portal(
    session: Session, name: str, rights: KeyRights, *, contact: str | None = None, requested_by: str
) -> IssuedKey:
    """Records a portal that is not there yet, and gives it a key with these rights.

    Raises:
      InvalidRequest: the name, the contact or a reference cannot be used, or the portal is `local`.
      NotConfigured: the key is to sign messages and ``PORTAL_KEYS`` is missing.
    """
    _check_rights(name, rights)
    portal_id = _find(session, name)
    if portal_id is None:
        portal_id = _record_portal(session, name, requested_by)
    if contact is not None:
        session.execute(update(Portal).where(col(Portal.id) == portal_id).values(contact=_checked_contact(contact)))
    return _issue(session, portal_id, name, rights, requested_by)


def rotate_key(
    session: Session,
    named: str,
    *,
    expires_at: datetime | None = None,
    end_old_at: datetime | None = None,
    requested_by: str,
) -> IssuedKey | None:
    """Gives a portal a further key with the rights of one that lives; returns None when no key of it lives.

    Parameters:
      named: a portal: its newest key is renewed, and the others with the same rights count as old ones; or a key id.
      end_old_at: the end of the old keys, unless they end earlier; None: they go on.

    Raises: InvalidRequest with `unknown_portal` when there is neither such a portal nor such a key.
    """
    portal, keys = _find_named(session, named)
    living = [key for key in keys if key.key_id in _living(session, portal.id)]
    if not living:
        return None
    rights = _rights_of(living[-1])
    if end_old_at is not None:
        old = [key for key in living if _rights_of(key) == rights]
        _end_at(session, portal, old, end_old_at, requested_by)
    return _issue(session, portal.id, portal.name, rights._replace(expires_at=expires_at), requested_by)


def revoke_keys(session: Session, named: str, *, requested_by: str) -> list[EndedKey]:
    """Revokes a key, or all keys of a portal; returns those that were not revoked before.

    Raises: InvalidRequest with `unknown_portal` when there is neither such a portal nor such a key.
    """
    portal, keys = _find_named(session, named)
    ended = [key for key in keys if key.revoked_at is None]
    ids = [key.id for key in ended]
    revoked = update(PortalKey).where(col(PortalKey.id).in_(ids), col(PortalKey.revoked_at).is_(None))
    change(session, revoked.values(revoked_at=func.now()))
    for key in ended:
        _record_change(session, "revoke_portal_key", portal.id, requested_by, {"key_id": key.key_id})
    return [EndedKey(portal.name, key.key_id, key.master_id is not None) for key in ended]


def limit_portal(session: Session, name: str, requests_per_minute: int | None, *, requested_by: str) -> None:
    """Sets how many requests a portal may send over HTTP each minute; None: any number.

    Raises: InvalidRequest with `unknown_portal`.
    """
    portal_id = find_portal(session, name)
    limited = update(Portal).where(col(Portal.id) == portal_id)
    change(session, limited.values(requests_per_minute=requests_per_minute))
    detail = {"requests_per_minute": requests_per_minute}
    _record_change(session, "limit_portal", portal_id, requested_by, detail)


def set_contact(session: Session, name: str, contact: str | None, *, requested_by: str) -> None:
    """Sets the address of the people who run a portal, who are told when its webhooks fail; None: no mail is sent.

    The audit trail keeps who set it, without the address.

    Raises: InvalidRequest with `unknown_portal`, or when this is not exactly one mail address.
    """
    portal_id = find_portal(session, name)
    address = None if contact is None else _checked_contact(contact)
    change(session, update(Portal).where(col(Portal.id) == portal_id).values(contact=address))
    _record_change(session, "set_contact", portal_id, requested_by, {"contact": address is not None})


def _find(session: Session, name: str) -> UUID | None:
    return session.exec(select(Portal.id).where(Portal.name == name)).one_or_none()


def _record_portal(session: Session, name: str, requested_by: str) -> UUID:
    if not is_portal_name(name):
        raise _invalid("name", "1 to 32 small letters, digits and hyphens, not a hyphen first")
    added = insert(Portal).values(id=new_id(), name=name).on_conflict_do_nothing(index_elements=["name"])
    created = change(session, added)
    portal_id = find_portal(session, name)
    if created:
        _record_change(session, "create_portal", portal_id, requested_by, None)
    return portal_id


def _check_rights(name: str, rights: KeyRights) -> None:
    """Refuses rights that no key can have."""
    if rights.signs and not is_portal_name(name):
        raise _invalid("name", "no stream can have this name: a portal at the queue has small letters, digits, hyphens")
    for reference in rights.companies or ():
        if isinstance(clean_reference(reference), Code):
            raise _invalid("companies", "a reference is 1 to 100 printable characters without a space")


def _checked_contact(contact: str) -> str:
    address = normalise_email(contact)
    if isinstance(address, Code):
        raise _invalid("contact", "not exactly one mail address")
    return address


def _invalid(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(Problem(Code.INVALID_REQUEST, field, detail))


def _issue(session: Session, portal_id: UUID, portal: str, rights: KeyRights, requested_by: str) -> IssuedKey:
    """Makes a key; one that signs derives its secret from the newest secret of ``PORTAL_KEYS``.

    The portal `local` gets none: its requests come from a shell of this system, which needs no key.
    """
    if portal_id == LOCAL_PORTAL_ID:
        raise _invalid("name", "the portal of the shell has no key: name another one")
    scopes, companies, signs, expires_at = rights
    master_id = master_secrets().newest if signs else None
    made = add_key(session, portal_id, scopes=scopes, companies=companies, master_id=master_id, expires_at=expires_at)
    detail = {
        "key_id": made.key_id,
        "scopes": sorted(scopes),
        "companies": None if companies is None else sorted(companies),
        "queue": signs,
        "expires_at": expires_at and expires_at.isoformat(),
    }
    _record_change(session, "create_portal_key", portal_id, requested_by, detail)
    secret = None if master_id is None else queue_secret(master_id, made.key_id)
    return IssuedKey(portal, made.key_id, made.text, master_id, secret)


def _find_named(session: Session, named: str) -> tuple[Portal, Sequence[PortalKey]]:
    """Finds a portal with all its keys, oldest first, or a key with its portal; takes the lock of the portal."""
    by_name = select(Portal.id).where(Portal.name == named)
    by_key = select(PortalKey.portal_id).where(PortalKey.key_id == named)
    locked = select(Portal).where(or_(col(Portal.id).in_(by_name), col(Portal.id).in_(by_key)))
    found = session.exec(locked.with_for_update(key_share=True)).all()
    if not found:
        raise InvalidRequest(Problem(Code.UNKNOWN_PORTAL, "name", "neither a portal nor the id of a key"))
    portal = next((one for one in found if one.name == named), found[0])
    keys = session.exec(select(PortalKey).where(PortalKey.portal_id == portal.id).order_by(col(PortalKey.id))).all()
    return portal, keys if portal.name == named else [key for key in keys if key.key_id == named]


def _living(session: Session, portal_id: UUID) -> set[str]:
    """Returns the ids of the keys of a portal that live, by the clock of the database."""
    ends = col(PortalKey.expires_at)
    living = select(PortalKey.key_id).where(
        PortalKey.portal_id == portal_id, col(PortalKey.revoked_at).is_(None), or_(ends.is_(None), ends > func.now())
    )
    return set(session.exec(living))


def _rights_of(key: PortalKey) -> KeyRights:
    """Returns the rights of a key, without its end."""
    return KeyRights(key.scopes, key.companies, key.master_id is not None)


def _end_at(session: Session, portal: Portal, keys: Sequence[PortalKey], at: datetime, requested_by: str) -> None:
    """Ends keys at this moment, except those that end earlier."""
    ids = [key.id for key in keys]
    ended = update(PortalKey).where(col(PortalKey.id).in_(ids))
    change(session, ended.values(expires_at=func.least(col(PortalKey.expires_at), at)))
    for key in keys:
        detail = {"key_id": key.key_id, "expires_at": at.isoformat()}
        _record_change(session, "end_portal_key", portal.id, requested_by, detail)


def _record_change(
    session: Session, action: str, portal_id: UUID, requested_by: str, detail: dict[str, Any] | None
) -> None:
    record(session, action, portal_id=portal_id, subject_id=portal_id, requested_by=requested_by, detail=detail)
