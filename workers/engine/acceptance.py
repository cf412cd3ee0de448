"""Accepts requests: from the commit on, the job is owed; before the commit, nothing is."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.job import Idempotency
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, JobState
from workers.database import Session, array
from workers.engine.job_events import tell_refused
from workers.engine.ledger import wake_after_commit
from workers.errors import IdempotencyConflict, InvalidRequest, Problem
from workers.requests.base import (
    FOLLOW_UP_KEY,
    Request,
    check_key,
    earlier_fingerprint,
    fingerprint,
    lane_id,
    storable_body,
)
from workers.requests.queues import Queue
from workers.requests.typed_addresses import addresses_in, typed_addresses
from workers.security.address_tokens import new_tokens
from workers.sql import Unnest, fetch, fetch_value

MOST_LANES: Final = 256
"""The most lanes that one statement locks. PostgreSQL has room for some thousands of locks, for all sessions together.

Only Matricule itself owes more at once, such as the certificates of a thousand people, each in a lane of its own.
"""

# Jobs are numbered as they are recorded. Until its transaction ends, no other numbers jobs of the same lanes: so the
# order of the numbers in a lane is the order of the commits. Lock order: lanes, then keys.
LOCK_LANES = text("SELECT pg_advisory_xact_lock(lane) FROM unnest(CAST(:lanes AS bigint[])) lane")

# Records each request with a new key as a job that is due, with the tokens of the addresses that were typed in it, and
# returns these jobs. Of two with one key the first one is recorded.
INSERT_JOBS = text("""
    WITH given AS (
      SELECT * FROM json_to_recordset(CAST(:asks AS json)) t (portal_id uuid, key text, hash text, job_id uuid,
        kind text, version int, queue text, lane uuid, body text, asker text, place int)),
    new_key AS (
      INSERT INTO idempotency (portal_id, key, request_hash, exact, job_id)
      SELECT portal_id, key, decode(hash, 'hex'), true, job_id FROM given ORDER BY portal_id, key, place
      ON CONFLICT DO NOTHING RETURNING job_id),
    typed AS (
      INSERT INTO job_address (token, job_id)
      SELECT t.token, t.job_id FROM unnest(CAST(:tokens AS uuid[]), CAST(:token_jobs AS uuid[])) t (token, job_id)
      JOIN new_key USING (job_id))
    INSERT INTO job (id, portal_id, kind, version, queue, lane, state, request, requested_by, due_at)
    SELECT job_id, portal_id, kind, version, queue, lane, 'queued', CAST(body AS json), asker, now()
    FROM given JOIN new_key USING (job_id) ORDER BY place RETURNING id, created_at""")


class _RecordedJob(NamedTuple):
    id: UUID
    created_at: datetime


class _GivenKey(NamedTuple):
    portal_id: UUID
    key: str


class _EarlierKey(NamedTuple):
    portal_id: UUID
    key: str
    request_hash: bytes
    exact: bool
    job_id: UUID


_KEYS: Final = Unnest(_GivenKey, Idempotency, alias="given")

# The jobs that keys already stand for.
READ_EARLIER_KEYS = text(f"""
    SELECT i.portal_id, i.key, i.request_hash, i.exact, i.job_id
    FROM idempotency i JOIN {_KEYS} USING (portal_id, key)""")

# Records a message that is no valid request as a job that has ended, unless its key was used before.
INSERT_REFUSED_JOB = text("""
    WITH new_key AS (
      INSERT INTO idempotency (portal_id, key, request_hash, job_id) VALUES (:portal, :key, :hash, :job)
      ON CONFLICT DO NOTHING RETURNING job_id)
    INSERT INTO job (id, portal_id, kind, queue, lane, state, message, error, finished_at)
    SELECT job_id, :portal, :kind, :queue, :lane, :state, :message, CAST(:error AS json), now()
    FROM new_key RETURNING id""")

# Keeps the tokens of addresses in a message that was refused.
INSERT_TOKENS = text("""
    INSERT INTO job_address (token, job_id)
    SELECT t.token, :job FROM unnest(CAST(:tokens AS uuid[])) t (token) ON CONFLICT DO NOTHING""")

# Records the key of a job that Matricule makes itself.
INSERT_KEY = text("""
    INSERT INTO idempotency (portal_id, key, request_hash, exact, job_id) VALUES (:portal, :key, :hash, true, :job)""")

# Finds the job a portal asked for under a key.
FIND_JOB_BY_KEY = text("SELECT job_id FROM idempotency WHERE portal_id = :portal AND key = :key")

# Finds the id of a portal by its name.
FIND_PORTAL = text("SELECT id FROM portal WHERE name = :name")


class SubmittedRequest(NamedTuple):
    """A request that is to be recorded in the ledger.

    Parameters:
      request: the request read from `body`.
      body: the JSON as it was sent; it is stored unchanged.
      key: the portal's idempotency key.
    """

    portal_id: UUID
    request: Request
    body: str
    key: str


class AcceptedJob(NamedTuple):
    """A request that is in the ledger.

    Parameters:
      job_id: the identifier of its job.
      queue: the queue to wake once this is committed.
      repeated: the same request was accepted before, under the same key; nothing new is owed.
      created_at: when it was recorded; None for a repeat.
    """

    job_id: UUID
    queue: Queue
    repeated: bool
    created_at: datetime | None = None


def find_portal(session: Session, name: str) -> UUID:
    """Finds the portal with this name.

    Raises: InvalidRequest with `unknown_portal`.
    """
    portal_id = fetch_value(session, UUID, FIND_PORTAL, {"name": name})
    if portal_id is None:
        raise InvalidRequest(Problem(Code.UNKNOWN_PORTAL, "portal", "no such portal"))
    return portal_id


def find_accepted(session: Session, portal_id: UUID, key: str) -> UUID | None:
    """Finds the job of a key, or None while no request was accepted under it. Portals that sent a message use it."""
    return fetch_value(session, UUID, FIND_JOB_BY_KEY, {"portal": portal_id, "key": key})


def accept(session: Session, portal_id: UUID, request: Request, body: str, *, key: str) -> AcceptedJob:
    """Records a portal's request as a job, once per key. The caller wakes its queue after the commit.

    Raises:
      InvalidRequest: the key is not valid (``check_key``).
      IdempotencyConflict: the key belongs to another request.
    """
    check_key(key)
    return accept_internal(session, portal_id, request, body, key=key)


def accept_internal(session: Session, portal_id: UUID, request: Request, body: str, *, key: str) -> AcceptedJob:
    """Records a request that Matricule makes itself, under a key no portal can use.

    Raises: IdempotencyConflict when the key belongs to another request.
    """
    accepted = accept_all(session, [SubmittedRequest(portal_id, request, body, key)])[0]
    if isinstance(accepted, IdempotencyConflict):
        raise accepted
    return accepted


class OwedJob(NamedTuple):
    """A job that a transaction owes because of what it did.

    Parameters:
      request: the request that the job will do.
      key: its idempotency key; one that no portal can use (``RESERVED_KEYS``).
      portal_id: the portal of its lane.
    """

    request: Request
    key: str
    portal_id: UUID = LOCAL_PORTAL_ID


def owe_jobs(session: Session, jobs: Sequence[OwedJob]) -> None:
    """Owes jobs in the transaction that causes them, each once per key; their queues are woken after the commit."""
    if not jobs:
        return
    for queue in {job.request.queue for job in jobs}:
        wake_after_commit(session, queue)
    accept_all(
        session, [SubmittedRequest(job.portal_id, job.request, job.request.model_dump_json(), job.key) for job in jobs]
    )


def owe_successor(
    session: Session, job_id: UUID, request: Request, *, portal_id: UUID = LOCAL_PORTAL_ID, part: object = ""
) -> None:
    """Owes the job that continues or follows another job; it is owed once, even if the first job is done twice.

    Parameters:
      job_id: the job that owes it.
      part: distinguishes several successors of one job.
    """
    owe_jobs(session, [OwedJob(request, successor_key(job_id, part), portal_id)])


def successor_key(job_id: UUID, part: object = "") -> str:
    """Returns the idempotency key of the job that another job owes."""
    return f"{FOLLOW_UP_KEY}{job_id}:{part}" if part else f"{FOLLOW_UP_KEY}{job_id}"


def add_key(session: Session, portal_id: UUID, key: str, request_hash: bytes, job_id: UUID) -> None:
    """Adds a key to a job that was accepted under another key."""
    session.execute(INSERT_KEY, {"portal": portal_id, "key": key, "hash": request_hash, "job": job_id})


def accept_all(session: Session, asks: Sequence[SubmittedRequest]) -> list[AcceptedJob | IdempotencyConflict]:
    """Records several requests in one statement; returns an answer for each, in order. The caller checks the keys."""
    jobs = [new_id() for _ in asks]
    hashes = [fingerprint(ask.request) for ask in asks]
    lanes = [lane_id(ask.portal_id, ask.request.lane) for ask in asks]
    rows = [_row(place, *of_one) for place, of_one in enumerate(zip(asks, jobs, hashes, lanes, strict=True))]
    _lock_lanes(session, set(lanes))
    given = {"asks": json.dumps(rows)} | _tokens(zip(jobs, asks, strict=True))
    recorded = {row.id: row.created_at for row in fetch(session, _RecordedJob, INSERT_JOBS, given)}
    # It takes a new statement: the one that met the conflict cannot see a key that was committed while it waited.
    earlier = _earlier(session, [ask for ask, job in zip(asks, jobs, strict=True) if job not in recorded])
    return [
        AcceptedJob(job, ask.request.queue, repeated=False, created_at=recorded[job])
        if job in recorded
        else _repeated(ask, hashed, earlier)
        for ask, job, hashed in zip(asks, jobs, hashes, strict=True)
    ]


def _tokens(asked: Iterable[tuple[UUID, SubmittedRequest]]) -> dict[str, str]:
    """Returns the tokens of the addresses that were typed in each request, and its job for each of them."""
    typed = {job: typed_addresses(ask.request) for job, ask in asked}
    known = new_tokens({address for addresses in typed.values() for address in addresses})
    pairs = {(known[one], job) for job, addresses in typed.items() for one in addresses if one in known}
    return {"tokens": array(token for token, _ in pairs), "token_jobs": array(job for _, job in pairs)}


def _lock_lanes(session: Session, lanes: Collection[UUID]) -> None:
    """Lets no other transaction number jobs of these lanes until this one ends, always in the same order.

    More lanes than ``MOST_LANES`` are not locked: their jobs are in the order in which they were inserted.
    """
    if len(lanes) <= MOST_LANES:
        session.execute(LOCK_LANES, {"lanes": sorted(_lock_number(lane) for lane in lanes)})


def _lock_number(lane: UUID) -> int:
    """Returns the number of a lane's lock: half of the lane, which is a hash itself."""
    return int.from_bytes(lane.bytes[:8], signed=True)


def _row(place: int, ask: SubmittedRequest, job_id: UUID, hashed: bytes, lane: UUID) -> dict[str, Any]:
    return {
        "place": place,
        "portal_id": str(ask.portal_id),
        "key": ask.key,
        "hash": hashed.hex(),
        "job_id": str(job_id),
        "kind": ask.request.kind,
        "version": ask.request.version,
        "queue": ask.request.queue,
        "lane": str(lane),
        "body": storable_body(ask.body),
        "asker": ask.request.requested_by,
    }


def _earlier(session: Session, asks: Sequence[SubmittedRequest]) -> dict[tuple[UUID, str], _EarlierKey]:
    if not asks:
        return {}
    given = _KEYS.parameters([_GivenKey(ask.portal_id, ask.key) for ask in asks])
    found = fetch(session, _EarlierKey, READ_EARLIER_KEYS, given)
    return {(row.portal_id, row.key): row for row in found}


def _repeated(
    ask: SubmittedRequest, hashed: bytes, earlier: Mapping[tuple[UUID, str], _EarlierKey]
) -> AcceptedJob | IdempotencyConflict:
    known = earlier[ask.portal_id, ask.key]
    same = known.request_hash == (hashed if known.exact else earlier_fingerprint(ask.request))
    return AcceptedJob(known.job_id, ask.request.queue, repeated=True) if same else IdempotencyConflict()


NO_SIZE: Final[Mapping[str, object]] = {}


class MessageOwner(NamedTuple):
    """The portal and the key of a refused message; the portal finds the refusal by its key."""

    portal_id: UUID
    key: str


def record_refusal(
    session: Session,
    message: bytes,
    problem: InvalidRequest,
    *,
    content: bytes,
    owner: MessageOwner | None,
    kind: str,
    size: Mapping[str, object] = NO_SIZE,
) -> UUID | None:
    """Records a message that cannot be done as a refused job, with its bytes and the reason, so that it is not lost.

    Parameters:
      message: the bytes as they arrived, or the first of them.
      content: the request without the parts that differ each time it is sent; equal content is recorded once.
      owner: the portal and key, if they could be read. Without them, or when the key belongs to another request, the
        job is kept under the portal `local`.
      size: the length and SHA-256 of the message, when only its first bytes are kept.

    Returns: the job, or None for a repeat.
    """
    digest = hashlib.sha256(content).digest()
    error = json.dumps(problem.as_json() | dict(size))
    if owner is not None:
        refused = _insert_refusal(session, _refusal(message, error, owner, digest, kind))
        if refused is not None:
            tell_refused(session, owner.portal_id, refused)
            return refused
        [earlier] = fetch(session, _EarlierKey, READ_EARLIER_KEYS, _KEYS.parameters([_GivenKey(*owner)]))
        if earlier.request_hash == digest:
            return None
    local = MessageOwner(LOCAL_PORTAL_ID, f"refused-message:{digest.hex()}")
    return _insert_refusal(session, _refusal(message, error, local, digest, kind))


def _insert_refusal(session: Session, refusal: dict[str, object]) -> UUID | None:
    """Records a refused message, with the tokens of the addresses in it; returns None for a repeat."""
    job = fetch_value(session, UUID, INSERT_REFUSED_JOB, refusal)
    tokens = set(new_tokens(addresses_in(cast("bytes", refusal["message"]))).values()) if job else None
    if tokens:
        session.execute(INSERT_TOKENS, {"job": job, "tokens": array(tokens)})
    return job


def _refusal(message: bytes, error: str, owner: MessageOwner, digest: bytes, kind: str) -> dict[str, object]:
    return {
        "portal": owner.portal_id,
        "key": owner.key,
        "hash": digest,
        "job": new_id(),
        "kind": kind,
        "queue": Queue.ENROLLMENTS,
        "lane": lane_id(owner.portal_id, "refused"),
        "state": JobState.REFUSED,
        "message": message,
        "error": error,
    }
