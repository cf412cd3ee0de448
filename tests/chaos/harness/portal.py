"""A portal sends a request under a key and repeats it until the ledger has its final answer."""

import random
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import redis

from models.words import JobState
from tests.chaos.harness.history import History, digest
from tests.chaos.harness.system import ChaosSystem, Row
from workers.requests.base import Request

FINAL: Final = (JobState.SUCCEEDED, JobState.REFUSED, JobState.DEAD, JobState.CANCELLED)

READ_ANSWER: Final = """
    SELECT j.id, j.state, j.result, coalesce(
        (SELECT json_agg(json_build_object('position', p.position, 'code', p.code, 'account_id', p.account_id,
           'enrollment_id', p.enrollment_id) ORDER BY p.position) FROM job_person p WHERE p.job_id = j.id),
        j.result -> 'people') AS people
    FROM idempotency i JOIN job j ON j.id = i.job_id WHERE i.key = %(key)s AND j.state = ANY(%(final)s)"""

LOOK_SECONDS: Final = 0.05

STREAM_SHARE: Final = 0.6
"""The part of the clients that send by the stream; the others send by the queue."""


@dataclass(frozen=True)
class PersonAnswer:
    """The answer about one person of a request."""

    code: str
    account_id: str | None = None
    enrollment_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """The final answer to a request, as its portal reads it."""

    job: str
    state: str
    code: str | None
    people: list[PersonAnswer] = field(default_factory=list)
    mark: str = ""

    @property
    def codes(self) -> list[str]:
        """The code of each person; the code of the whole request where it names no people."""
        return [person.code for person in self.people] or ([self.code] if self.code else [])


class NotAnsweredError(Exception):
    """The harness was told to give up before the request was answered."""


class Portal:
    """The door of one client thread.

    Parameters:
      chances: the generator of this client, which draws when it repeats.
      giving_up: set when no answer is waited for any more.
    """

    def __init__(
        self, system: ChaosSystem, history: History, chances: random.Random, giving_up: threading.Event, name: str
    ) -> None:
        self.system = system
        self.history = history
        self.chances = chances
        self.giving_up = giving_up
        self.name = name
        self._client = system.portal_client("stream" if chances.random() < STREAM_SHARE else "list")
        self._connection: psycopg.Connection[Row] | None = None
        self._asked = 0

    def ask(self, request: Request, *, expect: Collection[str], **facts: Any) -> Answer:
        """Sends a request until it is answered, and now and then once more.

        Parameters:
          expect: the codes that the answer may have, for each person or for the whole.
          facts: more facts for the history.

        Raises: NotAnsweredError.
        """
        self._asked += 1
        key = f"{self.name}-{self._asked}"
        body = request.model_dump(mode="json", exclude_unset=True)
        self.history.add("asked", key=key, kind=request.kind, request=body, expect=sorted(expect), **facts)
        patience = self.chances.uniform(0.5, 4.0)
        if self.chances.random() < 0.05:
            self._send(request, key)  # the same twice at one moment
        answer = None
        while answer is None:
            self._send(request, key)
            answer = self._wait(key, patience)
            patience = min(patience * 1.5, 10.0)
        self._note(key, answer)
        if self.chances.random() < 0.1:
            self._repeat_later(request, key)
        return answer

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()
        if self._connection is not None:
            self._connection.close()

    def _repeat_later(self, request: Request, key: str) -> None:
        """Sends an answered request again; its answer stays the same, which the checks compare at the end."""
        self._send(request, key)
        again = self.look(key)
        if again is not None:
            self._note(key, again)

    def _send(self, request: Request, key: str) -> None:
        try:
            self._client.send(request, key=key)
        except redis.RedisError as error:
            self.history.add("send_failed", key=key, error=type(error).__name__)
            self.giving_up.wait(self.chances.uniform(0.1, 1.0))

    def _wait(self, key: str, seconds: float) -> Answer | None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.look(key)
            if answer is not None:
                return answer
            if self.giving_up.wait(LOOK_SECONDS):
                raise NotAnsweredError(key)
        return None

    def _note(self, key: str, answer: Answer) -> None:
        self.history.add("answered", key=key, job=answer.job, state=answer.state, codes=answer.codes, mark=answer.mark)

    def look(self, key: str) -> Answer | None:
        """Reads the final answer of a key; None while there is none, or while the database does not answer."""
        try:
            if self._connection is None:
                self._connection = self.system.connect()
            found = self._connection.execute(READ_ANSWER, {"key": key, "final": [*FINAL]}).fetchone()
        except psycopg.Error:
            self._connection = None
            return None
        return as_answer(found) if found else None


def as_answer(row: Row) -> Answer:
    """Reads an answer out of a row of the ledger."""
    people = [PersonAnswer(one["code"], one.get("account_id"), one.get("enrollment_id")) for one in row["people"] or []]
    result = row["result"] or {}
    mark = digest({"job": str(row["id"]), "state": row["state"], "result": result, "people": row["people"]})
    return Answer(str(row["id"]), row["state"], result.get("code"), people, mark)
