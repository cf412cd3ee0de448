"""Messages of portals: who sent one is known by its signature, and nothing is believed before it was verified.

A message that is not signed by a key of the portal it names (unsigned, forged, of a revoked key, stale, malformed) says
nothing about that portal: it may take none of the portal's keys, and no answer is given under one. So every error
before the signature is an ``UnverifiedMessage``. Errors after it, such as a kind that the key may not send, are answers
to the portal.

Being stale is judged by when a message arrived. The identifier of a stream's entry is the time of Redis, so however
long the entry waited, it was sent at that time or is a copy. A message on the list carries no such time: it is stale
after days (``QUEUE_MESSAGE_DAYS``), in which a copy does no harm, because keys are remembered for longer.
"""

import re
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from workers.database import autocommit
from workers.engine.acceptance import MessageOwner, SubmittedRequest
from workers.errors import InvalidRequest, NotConfigured, Problem
from workers.logs import get_logger
from workers.portals.keys import QUEUE_KEYS, KnownKey
from workers.portals.rights import as_sent_by, has_scope, refusal
from workers.portals.secrets import queue_secret
from workers.portals.use import USE
from workers.requests.base import check_key
from workers.requests.registry import KINDS, parse
from workers.requests.signing import SignedFields
from workers.settings import get_settings

log = get_logger()

MOST_SECONDS_APART: Final = 300
"""The most seconds between the clock of a portal and that of Redis or Matricule."""

DAY_SECONDS: Final = 86_400

_KEY_ID: Final = re.compile(r"[A-Za-z0-9]{8}")
_DECIMAL: Final = re.compile(r"[1-9][0-9]{0,9}")


class UnverifiedMessage(InvalidRequest):
    """Nothing proves that the portal that a message names has sent it."""


class VerifiedMessage(NamedTuple):
    """A message that its portal has sent."""

    signer: KnownKey
    fields: SignedFields

    @property
    def owner(self) -> MessageOwner | None:
        """The portal and the key under which the portal finds the answer; None when the key cannot be one."""
        try:
            check_key(self.fields.key)
        except InvalidRequest:
            return None
        return MessageOwner(self.signer.portal_id, self.fields.key)

    @property
    def content(self) -> bytes:
        """The part of the message that is the same when it is signed and sent again."""
        _, _, kind, version, key, _, body = self.fields
        return f"{kind}\n{version}\n{key}\n{body}".encode()


def verify(fields: Mapping[str, Any], arrived: float | None = None) -> VerifiedMessage:
    """Verifies the fields of a message: portal, kind, version, key, key_id, sent_at, signature and body.

    Parameters:
      arrived: when it came by the clock of Redis, in seconds since 1970; None when that is not known.

    Raises:
      UnverifiedMessage: with `invalid_request` for a field that is no text, with `unauthorized` otherwise.
      sqlalchemy.exc.DBAPIError: the key cannot be looked up now.
    """
    signed = _signed_fields(fields)
    signer = _signer(signed)
    if not signed.is_signed_by(_secret(signer), _text(fields, "signature")):
        raise _unauthorized("signature", "not made with the queue secret of this key over these fields")
    _check_time(int(signed.sent_at), arrived)
    USE.note(signer.key_id)
    return VerifiedMessage(signer, signed)


def read_message(fields: Mapping[str, Any], arrived: float | None = None) -> SubmittedRequest:
    """Verifies a message and reads its request.

    Raises:
      UnverifiedMessage: as ``verify`` does.
      InvalidRequest: the portal sent what cannot be done, or what its key may not send (`insufficient_scope`).
    """
    signer, signed = verify(fields, arrived)
    kind = KINDS.get(signed.kind)
    if kind is not None and signed.version != str(kind.version):
        detail = f"{signed.kind} is spoken in version {kind.version}"
        raise InvalidRequest(Problem(Code.UNKNOWN_KIND, "version", detail))
    check_key(signed.key)
    request, body = as_sent_by(signer, parse(signed.kind, signed.body), signed.body)
    submitted = SubmittedRequest(signer.portal_id, request, body, signed.key)
    _check_rights(signer, submitted)
    return submitted


def find_sender(fields: Mapping[str, Any], arrived: float | None = None) -> VerifiedMessage | None:
    """Returns the message if it was sent by the portal it names, or None; for a message that is refused.

    Raises: sqlalchemy.exc.DBAPIError.
    """
    try:
        return verify(fields, arrived)
    except UnverifiedMessage:
        return None


def _check_rights(signer: KnownKey, submitted: SubmittedRequest) -> None:
    """Asks the database only about a key that is limited to some companies."""
    code = None if has_scope(signer, submitted.request) else Code.INSUFFICIENT_SCOPE
    if code is None and signer.companies is not None:
        with autocommit() as session:
            code = refusal(session, signer, submitted.request)
    if code is not None:
        raise InvalidRequest(Problem(code, "key_id", "this key may not send this request"))


def _signed_fields(fields: Mapping[str, Any]) -> SignedFields:
    """Reads the fields that the signature covers."""
    if not any(fields.get(name) for name in ("signature", "key_id", "sent_at")):
        raise _unauthorized("signature", "not signed: docs/portals.md says how")
    version = fields.get("version")
    if isinstance(version, int) and not isinstance(version, bool):
        version = str(version)
    read = SignedFields(
        portal=_text(fields, "portal"),
        key_id=_text(fields, "key_id"),
        kind=_text(fields, "kind"),
        version=_text({"version": version}, "version"),
        key=_text(fields, "key"),
        sent_at=_text(fields, "sent_at"),
        body=_text(fields, "body"),
    )
    if not _DECIMAL.fullmatch(read.sent_at):
        raise _malformed("sent_at", "whole seconds since 1970, as a text of digits, are required")
    return read


def _signer(signed: SignedFields) -> KnownKey:
    """Finds the key by which a message says that it is signed."""
    found = QUEUE_KEYS.get(signed.key_id) if _KEY_ID.fullmatch(signed.key_id) else None
    if found is None or found.master_id is None:
        raise _unauthorized("key_id", "unknown, ended, or of a key that signs no messages")
    if found.portal != signed.portal or found.portal_id == LOCAL_PORTAL_ID:
        raise _unauthorized("portal", "not the portal of this key")
    return found


def _secret(signer: KnownKey) -> str:
    try:
        return queue_secret(signer.master_id or "", signer.key_id)
    except NotConfigured as error:
        log.critical("message.not_verifiable", key_id=signer.key_id, exc_info=error)
        raise _unauthorized("key_id", "its secret is not in PORTAL_KEYS") from None


def _check_time(sent_at: int, arrived: float | None) -> None:
    """Refuses a message that is no longer new, or that is signed for later."""
    came = time.time() if arrived is None else arrived
    oldest = MOST_SECONDS_APART if arrived is not None else get_settings().queue_message_days * DAY_SECONDS
    if came - sent_at > oldest:
        raise _unauthorized("sent_at", f"over {oldest} seconds before it came: sign it anew")
    if sent_at - came > MOST_SECONDS_APART:
        raise _unauthorized("sent_at", f"over {MOST_SECONDS_APART} seconds ahead: is the clock of the portal right?")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or "\x00" in value:
        raise _malformed(name, "a text is required")
    if value.isascii():  # most are, and it costs nothing to see
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _malformed(name, "half of a surrogate pair") from None
    return value


def _malformed(field: str, detail: str) -> UnverifiedMessage:
    return UnverifiedMessage(Problem(Code.INVALID_REQUEST, field, detail))


def _unauthorized(field: str, detail: str) -> UnverifiedMessage:
    return UnverifiedMessage(Problem(Code.UNAUTHORIZED, field, detail))
