"""The words by which participants are found, written anew after a name or an address has changed.

Who is enrolled gets their words in the statement that enrolls them (``workers/enrollment/rows.py``). The caller holds
the accounts; enrollments are locked by id, as in every transaction.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE, Enrollment
from models.search_words import words_of
from models.words import JobState
from workers.database import Session, array
from workers.engine.acceptance import owe_successor
from workers.requests.internal import FindWords
from workers.sql import Unnest, fetch

PART: Final = 2_000
"""Participants that one transaction gives words, of those that an older release enrolled."""

SHOWN_NAMES: Final = """coalesce(e.first_name, a.first_name) AS first_name,
      coalesce(e.last_name, a.last_name) AS last_name"""
"""The names that the company of an enrollment is shown, in SQL: those it typed where another portal was first."""

_NAMED: Final = f"""
    SELECT e.id, {SHOWN_NAMES}, a.email_norm AS email, e.external_id
    FROM enrollment e JOIN account a ON a.id = e.account_id"""

# The live enrollments of accounts with a new name or address, which the caller holds.
HOLD_OF_ACCOUNTS = text(f"""{_NAMED}
    WHERE e.account_id = ANY(CAST(:accounts AS uuid[])) AND {LIVE} AND a.erased_at IS NULL
    ORDER BY e.id FOR NO KEY UPDATE OF e""")

# Live enrollments without words; one that is held is left for the next time. A share lock keeps name and address.
HOLD_WITHOUT = text(f"""{_NAMED}
    WHERE e.words IS NULL AND {LIVE} ORDER BY e.id LIMIT :size
    FOR NO KEY UPDATE OF e SKIP LOCKED FOR SHARE OF a SKIP LOCKED""")


class _NamedEnrollment(NamedTuple):
    id: UUID
    first_name: str
    last_name: str
    email: str
    external_id: str | None


class _FoundBy(NamedTuple):
    id: UUID
    words: str


_FOUND_BY: Final = Unnest(_FoundBy, Enrollment, alias="given")

# Words that stay are neither deleted nor inserted.
WRITE_WORDS = text(f"""
    WITH held AS (
      SELECT e.id, e.contract_id, string_to_array(coalesce(e.words, ''), ' ') AS before,
        string_to_array(given.words, ' ') AS after, given.words
      FROM {_FOUND_BY} JOIN enrollment e ON e.id = given.id),
    forgotten AS (
      DELETE FROM participant_word w USING held CROSS JOIN LATERAL unnest(held.before) old
      WHERE w.contract_id = held.contract_id AND w.word = old AND w.enrollment_id = held.id
        AND old <> ALL(held.after)),
    searched AS (
      INSERT INTO participant_word (contract_id, word, enrollment_id)
      SELECT held.contract_id, word, held.id FROM held CROSS JOIN LATERAL unnest(held.after) word
      ON CONFLICT DO NOTHING)
    UPDATE enrollment e SET words = held.words FROM held WHERE e.id = held.id""")


def renew_words(session: Session, accounts: Collection[UUID]) -> None:
    """Writes the words of these accounts' participants anew; the caller holds the accounts as a whole."""
    _write(session, fetch(session, _NamedEnrollment, HOLD_OF_ACCOUNTS, {"accounts": array(accounts)}))


def find_words(session: Session, portal_id: UUID, job_id: UUID, _: FindWords) -> tuple[JobState, dict[str, Any]]:
    """Does one part of a `find_words` job; after a full part the job owes the next."""
    without = fetch(session, _NamedEnrollment, HOLD_WITHOUT, {"size": PART})
    _write(session, without)
    if len(without) == PART:
        owe_successor(session, job_id, FindWords(), portal_id=portal_id)
    return JobState.SUCCEEDED, {"participants": len(without)}


def _write(session: Session, named: Sequence[_NamedEnrollment]) -> None:
    if named:
        found = [_FoundBy(one.id, words_of(one.first_name, one.last_name, one.email, one.external_id)) for one in named]
        session.execute(WRITE_WORDS, _FOUND_BY.parameters(found))
