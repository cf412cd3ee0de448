"""Participants of a contract: page by page, searched, filtered; and one of them."""

import base64
import binascii
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from models.certificate import no_duplicate_because
from models.correction import LASTS as EMAIL_LASTS
from models.name_correction import NAME_LASTS
from models.participant import (
    STATES_OF,
    MailStatus,
    ParticipantStanding,
    Permission,
    PermittedAction,
    StoredMail,
    invitation_status,
    mail_status,
    needs_step,
    permission,
    permissions,
)
from models.search_words import first_found, is_found, searched_words
from models.throttle import COUNTS_FOR, LIMITS, Allowance, ThrottleScope, measure_allowance
from models.words import Code, DeliveryState, Progress
from workers.database import Session, array, text_array
from workers.reading import participant_rows as sql
from workers.reading.participant_rows import JudgedRow, ParticipantRow, ShownContract
from workers.reading.participant_steps import look_for_steps
from workers.security.throttles import address_subjects
from workers.sql import fetch, fetch_one, fetch_value, fetch_values

LOOKED_AT: Final = 500
"""Words that one look of a search takes; a page of 50 needs one look or two."""

MOST_LOOKS: Final = 4
"""The most looks of one page: then the page is shorter than it might be, and the next one goes on."""

COUNTED: Final = 2_000
"""Up to this many participants with a word are counted, to begin with the rarest word of a search."""

PAGES_LOOKED_AT: Final = 4
"""How many times the length of a page is looked at, at most, for a state of the mail."""

IDS_AT_ONCE: Final = 200
"""Participants that one look for identifiers reads, when their mail or their names decide."""

MOST_PAGES_LISTED: Final = 100
"""The most such looks for one list: where few of many fit, it ends before all were looked at."""

LAST_CHARACTER: Final = chr(0x10FFFF)

PERSON_SCOPES: Final = (
    ThrottleScope.RESET_ACCOUNT,
    ThrottleScope.RESET_ADDRESS,
    ThrottleScope.INVITATION_ACCOUNT,
    ThrottleScope.CORRECTION_ENROLLMENT,
    ThrottleScope.CORRECTION_ACCOUNT,
)
"""The limits of one person; those of a company or a portal are so wide that a page does not show them."""

LONGEST: Final[timedelta] = max(COUNTS_FOR[scope] for scope in PERSON_SCOPES)


RowT = TypeVar("RowT", ParticipantRow, JudgedRow)
DecisionT = TypeVar("DecisionT")


class Filter(NamedTuple):
    """The participants that are asked for; None and an empty text ask for all.

    Parameters:
      to_do: only those for whom a manager has something to do.
    """

    search: str = ""
    progress: Progress | None = None
    mail: DeliveryState | None = None
    to_do: bool = False


class Position(NamedTuple):
    """The place of a page: behind this participant, and in a search behind this word of theirs."""

    after: UUID
    word: str | None = None

    def as_cursor(self) -> str:
        """Returns it as the text that a caller sends back."""
        given = json.dumps([self.after.hex, self.word] if self.word is not None else [self.after.hex])
        return base64.urlsafe_b64encode(given.encode()).rstrip(b"=").decode()

    @classmethod
    def of_cursor(cls, cursor: str) -> "Position | None":
        """Reads a cursor; returns None for a text that is none."""
        try:
            read = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
            after, *word = read
            valid = isinstance(after, str) and len(word) <= 1 and all(isinstance(one, str) for one in word)
            return cls(UUID(after), word[0] if word else None) if valid and "\0" not in "".join(word) else None
        except (ValueError, TypeError, binascii.Error, RecursionError):
            return None


class PageAsked(NamedTuple):
    """A page that is asked for.

    Parameters:
      position: behind which it begins; None for the first one.
      size: the most participants on it.
    """

    wanted: Filter
    position: Position | None = None
    size: int = 50


class Page(NamedTuple):
    """Participants in their order, and the position of the next page; None after the last."""

    items: Sequence[dict[str, Any]]
    next: Position | None


def find_contract(
    session: Session, portal_id: UUID, reference: str, companies: Sequence[str] | None = None
) -> ShownContract | None:
    """Finds a contract of a portal.

    Parameters:
      companies: the references of the companies it must belong to one of; None for any.
    """
    asked = {"portal": portal_id, "reference": reference, "companies": _texts(companies)}
    return fetch_one(session, ShownContract, sql.FIND_CONTRACT, asked)


def list_participants(session: Session, contract_id: UUID, asked: PageAsked) -> Page:
    """Lists participants: the latest first, and by the word that was found in a search.

    A page may be shorter than `size` although there is a next one, because a look at a contract is bounded.
    """
    if asked.wanted.search and not searched_words(asked.wanted.search):
        return Page((), None)
    found, following = _find(session, contract_id, asked)
    return Page([_shown(*judged) for judged in _judged(session, found, _permitted)], following)


def _find(session: Session, contract_id: UUID, asked: PageAsked) -> tuple[list[ParticipantRow], Position | None]:
    """Finds the participants of a page."""
    words = searched_words(asked.wanted.search)
    if words:
        return _search(session, contract_id, asked, words)
    walk = _walk_to_do if asked.wanted.to_do else _walk
    return walk(session, contract_id, asked)


class ListedIds(NamedTuple):
    """Identifiers in the order of their pages; `complete` is False when there may be more."""

    ids: list[UUID]
    complete: bool


def list_ids(session: Session, contract_id: UUID, wanted: Filter, most: int) -> ListedIds:
    """Lists the identifiers of participants, up to a number of them and of pages that are looked at for them."""
    if not (wanted.search or wanted.mail or wanted.to_do):
        pages = sql.PAGES_BY_PROGRESS[wanted.progress] if wanted.progress else sql.PAGE
        asked = {"contract": contract_id, "before": sql.LAST_ID, "size": most + 1}
        ids = fetch_values(session, UUID, pages, asked)
        return ListedIds(ids[:most], len(ids) <= most)
    if wanted.search and not searched_words(wanted.search):
        return ListedIds([], complete=True)
    found: list[UUID] = []
    position: Position | None = None
    for _ in range(MOST_PAGES_LISTED):
        page = PageAsked(wanted, position, min(IDS_AT_ONCE, most + 1 - len(found)))
        rows, position = _find(session, contract_id, page)
        found += [row.id for row in rows]
        if position is None or len(found) > most:
            break
    return ListedIds(found[:most], position is None and len(found) <= most)


def read_of_contract(session: Session, contract_id: UUID, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """Shows participants of a contract in this order, also those who left; what is none of it is left out."""
    asked = {"ids": array(ids), "contract": contract_id}
    rows = {row.id: row for row in fetch(session, ParticipantRow, sql.READ_OF_CONTRACT, asked)} if ids else {}
    found = [rows[one] for one in ids if one in rows]
    return [_shown(*judged) for judged in _judged(session, found, _permitted)]


def judge(session: Session, contract_id: UUID, ids: Sequence[UUID], action: PermittedAction) -> dict[UUID, Permission]:
    """Says of participants of a contract, also of those who left, whether an action may be taken."""
    asked = {"ids": array(ids), "contract": contract_id}
    rows = fetch(session, JudgedRow, sql.READ_JUDGED, asked) if ids else []
    return {row.id: decision for row, decision in _judged(session, rows, partial(permission, action))}


def show_participant(
    session: Session, portal_id: UUID, enrollment_id: UUID, companies: Sequence[str] | None = None
) -> dict[str, Any] | None:
    """Shows one participant of a portal, also one who left; returns None when it has none with this identifier."""
    asked = {"enrollment": enrollment_id, "portal": portal_id, "companies": _texts(companies)}
    row = fetch_one(session, ParticipantRow, sql.READ_PARTICIPANT, asked)
    if row is None:
        return None
    [judged] = _judged(session, [row], _permitted)
    return _shown(*judged) | {"contract": row.contract, "company": row.company}


def show_participants(session: Session, enrollment_ids: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    """Shows those of these participants who did not leave, by their enrollments; the caller may see them."""
    found = _read(session, [*enrollment_ids])
    return {row.id: _shown(row, permitted) for row, permitted in _judged(session, found, _permitted)}


def _texts(values: Sequence[str] | None) -> str | None:
    return None if values is None else text_array(values)


def _walk(session: Session, contract_id: UUID, asked: PageAsked) -> tuple[list[ParticipantRow], Position | None]:
    """Finds the next participants by their identifiers, a page at a time: mostly all fit, so one look does."""
    wanted, position, size = asked
    before = position.after if position else sql.LAST_ID
    found: list[ParticipantRow] = []
    for _ in range(PAGES_LOOKED_AT):
        ids = _next_ids(session, contract_id, wanted, before, size + 1)
        read = _read(session, ids[:size])
        found += [row for row in read if _wanted(row, wanted, contract_id)]
        if len(found) > size:
            return found[:size], Position(found[size - 1].id)
        if len(ids) <= size:
            return found, None
        before = ids[size - 1]
        if len(found) == size:
            break
    return found, Position(before)


def _next_ids(session: Session, contract_id: UUID, wanted: Filter, before: UUID, size: int) -> list[UUID]:
    """Finds the next participants who may be wanted: a later mail of theirs may have another state."""
    given = {"contract": contract_id, "before": before, "size": size}
    if wanted.mail is not None and wanted.mail is not DeliveryState.SENT:
        states = text_array([state.value for state in STATES_OF[wanted.mail]])
        return fetch_values(session, UUID, sql.PAGE_BY_MAIL, given | {"states": states})
    statement = sql.PAGES_BY_PROGRESS[wanted.progress] if wanted.progress else sql.PAGE
    return fetch_values(session, UUID, statement, given)


def _wanted(row: ParticipantRow, wanted: Filter, contract_id: UUID) -> bool:
    if row.contract_id != contract_id:
        return False
    if wanted.progress is not None and row.progress != wanted.progress:
        return False
    if wanted.mail is None and not wanted.to_do:
        return True
    mail = _mail(row)
    if wanted.to_do and not needs_step(mail):
        return False
    return wanted.mail is None or (mail is not None and mail.state is wanted.mail)


def _walk_to_do(session: Session, contract_id: UUID, asked: PageAsked) -> tuple[list[ParticipantRow], Position | None]:
    """Finds the next participants for whom a manager has something to do."""
    wanted, position, size = asked
    before = position.after if position else sql.LAST_ID
    found: list[ParticipantRow] = []
    for _ in range(MOST_LOOKS):
        look = look_for_steps(session, contract_id, before, LOOKED_AT)
        found += _read_wanted(session, contract_id, look.ids, wanted, size + 1 - len(found))
        if len(found) > size:
            return found[:size], Position(found[size - 1].id)
        if look.next is None:
            return found, None
        before = look.next
    return found, Position(before)


def _search(
    session: Session, contract_id: UUID, asked: PageAsked, words: Sequence[str]
) -> tuple[list[ParticipantRow], Position | None]:
    """Finds the next participants by a word of theirs; a participant is found at their first word that fits."""
    wanted, position, size = asked
    rarest = _rarest(session, contract_id, words)
    word, after = _first_looked_at(position, rarest)
    found: list[tuple[ParticipantRow, str]] = []
    for _ in range(MOST_LOOKS):
        given = {"contract": contract_id, "last": rarest + LAST_CHARACTER}
        given |= {"word": word, "after": after, "size": LOOKED_AT}
        looked_at = fetch(session, sql.FoundWord, sql.NEXT_WORDS, given)
        fit = {one.enrollment_id: one.word for one in looked_at if _fits(one, wanted, rarest, words)}
        read = _read_wanted(session, contract_id, list(fit), wanted, size + 1 - len(found))
        found += [(row, fit[row.id]) for row in read]
        if len(found) > size:
            last, its_word = found[size - 1]
            return [row for row, _ in found[:size]], Position(last.id, its_word)
        if len(looked_at) < LOOKED_AT:
            return [row for row, _ in found], None
        word, after = looked_at[-1].word, looked_at[-1].enrollment_id
    return [row for row, _ in found], Position(after, word)


def _first_looked_at(position: Position | None, rarest: str) -> tuple[str, UUID]:
    """Returns the word and participant behind which a search goes on, never before the first word."""
    if position is None or position.word is None or position.word < rarest:
        return rarest, UUID(int=0)
    return position.word, position.after


def _read_wanted(
    session: Session, contract_id: UUID, ids: Sequence[UUID], wanted: Filter, most: int
) -> list[ParticipantRow]:
    """Reads the wanted ones of these participants in their order, a part at a time, until there are enough."""
    if wanted.mail and ids:
        states = text_array([state.value for state in STATES_OF[wanted.mail]])
        mailed = set(fetch_values(session, UUID, sql.FIND_MAILED, {"ids": array(ids), "states": states}))
        ids = [one for one in ids if one in mailed]
    found: list[ParticipantRow] = []
    for start in range(0, len(ids), most):
        found += [row for row in _read(session, ids[start : start + most]) if _wanted(row, wanted, contract_id)]
        if len(found) >= most:
            break
    return found


def _rarest(session: Session, contract_id: UUID, words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    counted = [
        (fetch_value(session, int, sql.COUNT_WORD, {**_range(contract_id, word), "most": COUNTED}) or 0, word)
        for word in words
    ]
    return min(counted)[1]


def _range(contract_id: UUID, word: str) -> dict[str, Any]:
    return {"contract": contract_id, "first": word, "last": word + LAST_CHARACTER}


def _fits(one: sql.FoundWord, wanted: Filter, rarest: str, words: Sequence[str]) -> bool:
    own = one.words.split(" ")
    if wanted.progress is not None and one.progress != wanted.progress:
        return False
    return first_found(own, rarest) == one.word and is_found(own, words)


def _read(session: Session, ids: Sequence[UUID]) -> list[ParticipantRow]:
    """Reads participants in this order; those who left meanwhile are missing."""
    if not ids:
        return []
    found = {row.id: row for row in fetch(session, ParticipantRow, sql.READ_PARTICIPANTS, {"ids": array(ids)})}
    return [found[one] for one in ids if one in found]


def _judged(
    session: Session, rows: Sequence[RowT], decide: Callable[[ParticipantStanding, datetime], DecisionT]
) -> Iterable[tuple[RowT, DecisionT]]:
    """Yields each row with the decision about the participant.

    Most people of a page have asked for nothing and are in one of few situations, which are decided once.
    """
    if not rows:
        return
    hashes = address_subjects({row.email for row in rows})
    subjects = {one for row in rows for one in (row.account_id, row.id, hashes[row.email])}
    asked = {"scopes": text_array(PERSON_SCOPES), "subjects": array(subjects), "longest": LONGEST}
    counted: dict[tuple[str, UUID], list[tuple[datetime, int]]] = {}
    now = datetime.now(UTC)
    for one in fetch(session, sql.CountedRequest, sql.READ_THROTTLES, asked):
        counted.setdefault((one.scope, one.subject), []).append((one.at, one.times))
        now = one.now
    asking = {subject for _, subject in counted}
    allowance = partial(
        _allowance, counted, {scope: measure_allowance(LIMITS[scope], (), now) for scope in PERSON_SCOPES}
    )
    decided: dict[object, DecisionT] = {}
    for row in rows:
        address = hashes[row.email]
        resent = row.link_resent if row.link_ends_at is not None and row.link_ends_at > now else None
        has_asked = row.account_id in asking or row.id in asking or address in asking
        situation = row.id if has_asked else _situation(row, resent)
        if situation not in decided:
            decided[situation] = decide(_standing(row, resent, address, allowance), now)
        yield row, decided[situation]


def _situation(row: ParticipantRow | JudgedRow, resent: int | None) -> tuple[object, ...]:
    """Returns all that the permissions of a person depend on who has asked for nothing yet.

    Of a moment it matters whether there is one: it is told in no permission, only in the answer to a request.
    """
    return (
        row.progress,
        row.withdrawn_at is None,
        row.detached_at is None,
        row.activated_at is None,
        row.shared,
        row.suppressed is None,
        resent,
        row.certificate_id is None,
        row.certificate_revoked_at is None,
        row.certificate_kept,
        row.certificate_held,
        row.has_organisation,
    )


def _allowance(
    counted: Mapping[tuple[str, UUID], Sequence[tuple[datetime, int]]],
    untouched: Mapping[ThrottleScope, Allowance],
    scope: ThrottleScope,
    subject: UUID,
) -> Allowance:
    """Returns what a person may still ask for; most have asked for nothing, and share what that allows."""
    whole = untouched[scope]
    asked = counted.get((scope, subject))
    return whole if asked is None else measure_allowance(LIMITS[scope], asked, whole.now)


def _standing(
    row: ParticipantRow | JudgedRow,
    resent: int | None,
    address: UUID,
    allowance: Callable[[ThrottleScope, UUID], Allowance],
) -> ParticipantStanding:
    return ParticipantStanding(
        enrollment_id=row.id,
        progress=Progress(row.progress),
        since=row.completed_at if row.progress == Progress.COMPLETED else row.started_at,
        withdrawn_at=row.withdrawn_at,
        detached_at=row.detached_at,
        activated=row.activated_at is not None,
        shared=row.shared,
        suppressed=row.suppressed,
        resent=resent or 0,
        link_ends_at=None if resent is None else row.link_ends_at,
        resets=(
            allowance(ThrottleScope.RESET_ACCOUNT, row.account_id),
            allowance(ThrottleScope.RESET_ADDRESS, address),
        ),
        invitations=(allowance(ThrottleScope.INVITATION_ACCOUNT, row.account_id),),
        corrections=(
            allowance(ThrottleScope.CORRECTION_ENROLLMENT, row.id),
            allowance(ThrottleScope.CORRECTION_ACCOUNT, row.account_id),
        ),
        certificate=_certificate(row),
    )


def _certificate(row: ParticipantRow | JudgedRow) -> Code:
    """Returns why no duplicate is made, or `issued`: a certificate that is missing yet is issued for its duplicate."""
    refused = no_duplicate_because(
        Progress(row.progress),
        detached=row.detached_at is not None,
        revoked=row.certificate_revoked_at is not None,
        kept=row.certificate_id is None or bool(row.certificate_kept),
    )
    if refused is not None or row.certificate_id is not None:
        return refused or Code.ISSUED
    if row.certificate_held:
        return Code(row.certificate_held)
    return Code.ISSUED if row.has_organisation else Code.UNKNOWN_ORGANISATION


def _mail(row: ParticipantRow) -> MailStatus | None:
    if row.mail_state is None:
        return None
    status = mail_status(
        StoredMail(
            row.mail_kind or "",
            row.mail_state,
            row.mail_failures or 0,
            row.mail_due_at,
            row.mail_finished_at,
            row.mail_created_at,
            row.mail_error,
        )
    )
    if row.activated_at is not None or row.progress != Progress.NOT_STARTED:
        return status
    return invitation_status(status, row.link_ends_at, datetime.now(UTC))


def _permitted(standing: ParticipantStanding, now: datetime) -> dict[str, dict[str, Any]]:
    """Returns what may be done with a participant, as JSON, in plain texts.

    A member of an enumeration takes the writer of JSON eight times as long, and a page has six for each participant.
    """
    return {
        name: {"allowed": allowed.allowed, "code": str(allowed.code)}
        for name, allowed in permissions(standing, now).items()
    }


def _shown(row: ParticipantRow, permitted: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a participant as JSON."""
    enrolled_at = _iso(row.enrolled_at)
    begun = {Progress.IN_PROGRESS.value: row.started_at, Progress.COMPLETED.value: row.completed_at}
    return {
        "enrollment_id": str(row.id),
        "account_id": str(row.account_id),
        "email": row.email,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "external_id": row.external_id,
        "progress": row.progress,
        "since": _iso(begun.get(row.progress)) or enrolled_at,
        "enrolled_at": enrolled_at,
        "activated_at": _iso(row.activated_at),
        "withdrawn_at": _iso(row.withdrawn_at),
        "detached_at": _iso(row.detached_at),
        "mail": _shown_mail(_mail(row)),
        "can": permitted,
        "email_pending_until": _iso(row.email_asked_at and row.email_asked_at + EMAIL_LASTS),
        "name_pending_until": _iso(row.name_asked_at and row.name_asked_at + NAME_LASTS),
        "invitation_ends_at": None if row.activated_at else _iso(row.link_ends_at),
    }


def _shown_mail(mail: MailStatus | None) -> dict[str, Any] | None:
    if mail is None:
        return None
    return {
        "kind": mail.kind,
        "state": str(mail.state),
        "at": _iso(mail.at),
        "code": mail.code,
        "next": None if mail.next is None else str(mail.next),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
