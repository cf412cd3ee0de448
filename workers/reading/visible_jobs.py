"""Finds the jobs that a key may see: those of its portal, but for those that Matricule makes itself.

A key with the scope `read` sees all kinds. Any other key sees the kinds that it may send, so that a portal can follow
what it has asked for with the key that asked: also what another key with this scope sent, because a key that is renewed
goes on where the former one ended.

A key for some companies sees a job when its request names these alone, so that the key could have sent it. The request
is read for that; when it is kept no longer, such a key does not see the job any more.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.words import Scope
from workers.database import Session, text_array
from workers.errors import InvalidRequest
from workers.portals.keys import KnownKey
from workers.portals.rights import AskedRequest, refusals
from workers.requests.base import Request
from workers.requests.registry import KINDS, parse, scope_of
from workers.sql import fetch_one

INTERNAL: Final = text_array(sorted(kind for kind, request in KINDS.items() if request.internal))
"""The kinds of jobs that Matricule makes itself."""

# Finds a job of a portal; its request is read as text, because a name in it may hold U+0000.
FIND_JOB = text("""
    SELECT j.id, j.kind, CASE WHEN :whole THEN CAST(j.request AS text) END AS request
    FROM job j WHERE j.id = :job AND j.portal_id = :portal AND NOT j.kind = ANY(CAST(:internal AS text[]))""")


SEEN_SECONDS: Final = 60.0
"""Seconds for which it is remembered that a key for some companies may see a job: it may be looked at each second."""

MOST_SEEN: Final = 10_000


class SeenJobs:
    """Remembers which jobs keys for some companies may see, so that a large request is not read at each look."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[UUID, tuple[str, ...], UUID], float] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, key: KnownKey, job_id: UUID) -> bool:
        """Tells whether this key may see a job, if that was found out a short while ago."""
        with self._lock:
            return time.monotonic() < self._until.get(_named(key, job_id), 0.0)

    def add(self, key: KnownKey, job_id: UUID) -> None:
        """Remembers that this key may see a job."""
        with self._lock:
            self._until[_named(key, job_id)] = time.monotonic() + SEEN_SECONDS
            if len(self._until) > MOST_SEEN:
                self._until.popitem(last=False)


def _named(key: KnownKey, job_id: UUID) -> tuple[UUID, tuple[str, ...], UUID]:
    return key.id, tuple(key.companies or ()), job_id


SEEN: Final = SeenJobs()
"""The jobs that keys for some companies have seen in this process."""


class VisibleJob(NamedTuple):
    """A job that a key may see.

    Parameters:
      request: its JSON, where it was needed.
    """

    id: UUID
    kind: str
    request: str | None


def find_visible_job(session: Session, key: KnownKey, job_id: UUID, *, whole: bool = False) -> VisibleJob | None:
    """Finds a job that this key may see; returns None when there is none with this identifier.

    Parameters:
      whole: its request is read too.
    """
    seen = key.companies is None or SEEN.knows(key, job_id)
    read = whole or not seen
    asked: dict[str, Any] = {"job": job_id, "portal": key.portal_id, "whole": read, "internal": INTERNAL}
    found = fetch_one(session, VisibleJob, FIND_JOB, asked)
    if found is None or not _may_see_kind(key, found.kind):
        return None
    if not seen:
        if not may_see(session, key, [(found.kind, found.request)])[0]:
            return None
        SEEN.add(key, job_id)
    return found


def may_see(session: Session, key: KnownKey, jobs: Sequence[tuple[str, str | None]]) -> list[bool]:
    """Tells of each job, given by its kind and the JSON of its request, whether a key of its portal may see it."""
    seen = _of_its_companies(session, key, jobs)
    return [own and _may_see_kind(key, kind) for own, (kind, _) in zip(seen, jobs, strict=True)]


def readable_kinds(key: KnownKey) -> frozenset[str] | None:
    """Returns the kinds of jobs that a key may see; None for all."""
    return None if key.may(Scope.READ) else frozenset(kind for kind in KINDS if _may_send(key, kind))


def _may_see_kind(key: KnownKey, kind: str) -> bool:
    return key.may(Scope.READ) or _may_send(key, kind)


def _may_send(key: KnownKey, kind: str) -> bool:
    scope = scope_of(kind)
    return scope is not None and key.may(scope)


def _of_its_companies(session: Session, key: KnownKey, jobs: Sequence[tuple[str, str | None]]) -> list[bool]:
    """Tells of each job whether its request names companies alone that this key may name."""
    if key.companies is None:
        return [True] * len(jobs)
    # What the key may do besides does not count here, only the companies that it may name.
    reader = key._replace(scopes=tuple(Scope))
    read = {place: request for place, job in enumerate(jobs) if (request := _request(*job)) is not None}
    codes = refusals(session, [AskedRequest(reader, request) for request in read.values()])
    seen = {place for place, code in zip(read, codes, strict=True) if code is None}
    return [place in seen for place in range(len(jobs))]


def _request(kind: str, body: str | None) -> Request | None:
    """Reads the request of a job; returns None when it is kept no longer, or never was a request."""
    try:
        return None if body is None else parse(kind, body)
    except InvalidRequest:
        return None
