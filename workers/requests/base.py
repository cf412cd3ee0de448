"""The base of every request: its base class, the types of its fields, its reading from JSON, and its key.

Types are strict and unknown fields are forbidden: a misspelt field is an error that names it, and never ignored.
"""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from models.access_url import clean_access_url
from models.address import normalise_email
from models.label import SURROGATES, clean_label, clean_reason, clean_reference
from models.person import clean_name
from models.words import LOCALES, Code, Scope
from workers.errors import InvalidRequest, Problem
from workers.requests.alone import ElementRule, RefusedId, as_sent, read_others
from workers.requests.personal import Personal
from workers.requests.queues import ROSTER_SIZE, Queue
from workers.requests.subjects import ALL_COMPANIES, NamedSubjects

REQUESTS_QUEUE: Final = "requests"
"""The queue portals send to. Its messages are requests; those of every other queue are wake-ups."""

ACCEPT_ACTOR: Final = "accept"
"""The actor that records a request in the ledger."""

MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_KEY: Final = 200
MAX_ENROLLMENTS: Final = 10_000
FOLLOW_UP_KEY: Final = "follow-up:"
"""The prefix of the key of a follow-up job; the identifier of the job that owes it comes next."""

RESERVED_KEYS: Final = ("schedule:", "refused-message:", "certificate:", "release:", "ops:", "inbox:", FOLLOW_UP_KEY)

_CODES: Final = frozenset(Code)  # before Python 3.12 ``text in Code`` raises an error
_HALF_PAIR: Final = re.compile(f"[{SURROGATES}]")


UNSAFE_TEXT: Final = (
    "a line break or another control character, a character that turns the direction of writing, U+FFFD, half of a"
    " surrogate pair, or an encoded word of mail headers (=?utf-8?…?=)"
)
"""The words that ``unsafe_value`` has for a text of one line."""

UNSAFE_NAME: Final = f"{UNSAFE_TEXT}; or signs of damage: a question mark between letters, text that was encoded twice"
UNSAFE_REASON: Final = f"{UNSAFE_TEXT}; or an address, because the audit trail keeps the reason for years"
UNSAFE_REFERENCE: Final = "a space, or a character that is not printable ASCII"


def checked(rule: Callable[[str], str | Code], unsafe: str = UNSAFE_TEXT) -> AfterValidator:
    """Makes a field validator of a rule in ``models``: the field gets the rule's value, or an error with its code.

    Parameters:
      unsafe: what the rule finds unsafe, for the developer of the portal.
    """

    def check(value: str) -> str:
        cleaned = rule(value)
        if cleaned is Code.UNSAFE_VALUE:
            raise PydanticCustomError(cleaned.value, "it has {unsafe}", {"unsafe": unsafe})
        if isinstance(cleaned, Code):
            raise PydanticCustomError(cleaned.value, "refused: {code}", {"code": cleaned.value})
        return cleaned

    return AfterValidator(check)


def _asker(value: str) -> str | Code:
    return clean_label(value) if value else ""


def _language(value: str) -> str | Code:
    return value if value in LOCALES else Code.INVALID_LOCALE


ModelType = TypeVar("ModelType", bound=BaseModel)

PlainText = Annotated[str, Personal.NOTHING]
Number = Annotated[int, Personal.NOTHING]
Score = Annotated[float, Personal.NOTHING]
Day = Annotated[date, Personal.NOTHING]
"""A text that names no person and is kept as it was sent."""

Label = Annotated[str, checked(clean_label), Personal.NOTHING]
Reference = Annotated[str, checked(clean_reference, UNSAFE_REFERENCE), Personal.NOTHING]
Address = Annotated[str, checked(normalise_email)]
Asker = Annotated[str, checked(_asker), Personal.NOTHING]
Reason = Annotated[str, checked(clean_reason, UNSAFE_REASON), Personal.NOTHING]
"""The reason that ops or a portal give, without an address: the audit trail keeps it for years."""

Language = Annotated[str, checked(_language), Personal.NOTHING]

AccessUrl = Annotated[str, checked(clean_access_url), Personal.NOTHING]
"""A web address where people reach a training."""

PersonAddress = Annotated[Address, Personal.ADDRESS]
PersonName = Annotated[Label, Personal.NAME]
AccountName = Annotated[str, checked(clean_name, UNSAFE_NAME), Personal.NAME]
"""A first or last name, by the rule of people who are enrolled."""

ContactAddress = Annotated[Address, Personal.CONTACT]
"""The address of a company, a manager or the requester."""

EnrollmentId = Annotated[UUID, Personal.ENROLLMENT]
AccountId = Annotated[UUID, Personal.ACCOUNT]
OtherId = Annotated[UUID, Personal.NOTHING]
"""The identifier of a job or a contract."""

Moment = Annotated[
    AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC)), Personal.NOTHING
]
"""An instant with its offset, in a range of years that both PostgreSQL and Python support."""


class Request(BaseModel):
    """The base class of all requests.

    ``kind`` and ``version`` are sent beside the body; a change that breaks old senders gets a new version.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    internal: ClassVar[bool] = False  # Matricule makes it itself; no portal may send it
    scope: ClassVar[Scope | None] = None  # what a key must be allowed to send it; None for internal requests
    routine: ClassVar[bool] = False  # the clock makes thousands a day: the job is kept for days, not years
    beyond_database: ClassVar[bool] = False  # needs more than one transaction: the actor of its queue does it alone
    refused_alone: ClassVar[Mapping[str, ElementRule]] = {}  # lists: a wrong element of one harms no other
    unchanged_if_left_out: ClassVar[frozenset[str]] = frozenset()  # fields that then keep the value that is recorded

    requested_by: Asker = Field(
        default="", description="who asks, in the portal's own words (an identifier, not a name)"
    )

    @property
    def queue(self) -> Queue:
        """The queue the job waits on."""
        return Queue.ENROLLMENTS

    @property
    def lane(self) -> str:
        """The subject of the job; jobs with the same lane are done one after the other."""
        return ""

    @property
    def subjects(self) -> NamedSubjects:
        """The records that the request names: a key for some companies may send it if all belong to these."""
        return ALL_COMPANIES

    def limited_to(self, companies: Collection[str]) -> Self:  # noqa: ARG002 - for requests that a company limits
        """Returns the request as a key sends it that may name these companies alone; most requests name theirs."""
        return self


class MaintenanceRequest(Request):
    """The base class of background requests, made by Matricule or its ops: no person waits for the answer."""

    internal: ClassVar[bool] = True

    @property
    def queue(self) -> Queue:
        """Maintenance has a queue of its own, so that it delays no request of a portal."""
        return Queue.MAINTENANCE


class BulkEnrollmentRequest(Request):
    """The base class of requests about enrollments that a manager selected on one contract."""

    refused_alone: ClassVar[Mapping[str, ElementRule]] = {
        "enrollment_ids": ElementRule(stand_in=str(UUID(int=0)), refuse=RefusedId.of)
    }

    contract: Reference
    enrollment_ids: Annotated[list[UUID], Personal.SEVERAL] = Field(
        min_length=1, max_length=MAX_ENROLLMENTS, description="the enrollments, by their identifiers from enroll"
    )

    @property
    def queue(self) -> Queue:
        """Large requests have a queue of their own, so that a small one never waits behind them."""
        return Queue.ROSTERS if len(self.enrollment_ids) > ROSTER_SIZE else Queue.ENROLLMENTS

    @property
    def lane(self) -> str:
        """The contract, so that the request comes after an enrollment sent just before it."""
        return f"contract:{self.contract}"

    @property
    def subjects(self) -> NamedSubjects:
        """The contract; an enrollment of another one is answered with `not_found`."""
        return NamedSubjects(contracts=(self.contract,))


def read(shape: type[ModelType], body: str | bytes) -> ModelType:
    """Reads JSON into this model.

    Raises: InvalidRequest, which names each wrong field with a code.
    """
    try:
        return _read(shape, body)
    except ValidationError as error:
        raise InvalidRequest(*problems_of(error)) from None


def problems_of(error: ValidationError) -> list[Problem]:
    """Returns what is wrong with a request, field by field, without the values themselves."""
    return [_problem(dict(item)) for item in error.errors(include_url=False, include_input=False)]


def _read(shape: type[ModelType], body: str | bytes) -> ModelType:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        unreadable = error.error_count() == 1 and error.errors()[0]["type"] == "json_invalid"
        mended = _without_half_pairs(body) if unreadable else None
        if mended is None:
            return read_others(shape, body, error, getattr(shape, "refused_alone", {}))
    return _read(shape, mended)


def _without_half_pairs(body: str | bytes) -> str | None:
    """Replaces each half of a surrogate pair by U+0000; returns None when the JSON is unreadable for another reason.

    A portal that cuts a name inside an emoji sends half a pair. JSON allows it, but pydantic then reads nothing of the
    request. Every rule refuses U+0000 as it refuses half a pair, so only that row is refused and the others are done.
    """
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    mended = _HALF_PAIR.sub(r"\\u0000", text)
    return None if mended == text else mended


def storable_body(body: str) -> str:
    """Returns the JSON as PostgreSQL can keep it: NaN and Infinity, which are no JSON, become texts.

    A request can hold them only in an element that is refused alone, and a text is refused there as well.
    """
    if "NaN" not in body and "Infinity" not in body:
        return body
    seen: list[str] = []

    def as_text(name: str) -> str:
        seen.append(name)
        return name

    parsed = json.loads(body, parse_constant=as_text)
    return json.dumps(parsed) if seen else body


def _problem(error: dict[str, Any]) -> Problem:
    code = Code(error["type"]) if error["type"] in _CODES else Code.INVALID_REQUEST
    return Problem(code, ".".join(map(str, error["loc"])), error["msg"])


def names_one(request: Any) -> Any:
    """Checks that a correction of a name has a first or a last name; a validator of the whole request."""
    if request.first_name is None and request.last_name is None:
        raise PydanticCustomError(Code.INVALID_REQUEST.value, "neither a first nor a last name: nothing to correct")
    return request


def check_key(key: str) -> None:
    """Checks the idempotency key of a portal.

    Raises: InvalidRequest when it is empty, too long, has a character that cannot be printed, or begins with a prefix
    that Matricule reserves for its own keys.
    """
    if key.startswith(RESERVED_KEYS):
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "key", f"reserved: {', '.join(RESERVED_KEYS)}"))
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "key", f"1 to {MAX_KEY} printable characters"))


def fingerprint(request: Request) -> bytes:
    """Returns the SHA-256 of a request, independent of the order of its fields; a repeat under its key has the same.

    Fields with their default value are left out, so that a repeat is still recognised after its class got a new field.
    Where a field left out means "unchanged", those that were sent with their default are named besides.
    """
    sent = request.model_fields_set & request.unchanged_if_left_out
    spoken = sorted(name for name in sent if getattr(request, name) == type(request).model_fields[name].default)
    named = f"\nsent: {' '.join(spoken)}" if spoken else ""
    return hashlib.sha256(f"{_canonical(request)}{named}".encode()).digest()


def earlier_fingerprint(request: Request) -> bytes:
    """Returns the SHA-256 as releases up to 0.2.0 made it; their keys are kept for 90 days.

    It does not tell a field that was sent with its default from one that was left out.
    """
    return hashlib.sha256(_canonical(request).encode()).digest()


_write_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
"""Writes JSON with sorted names and no spaces. ``json.dumps`` would make an encoder at each call."""


def _canonical(request: Request) -> str:
    written = request.model_dump(mode="json", exclude_defaults=True)
    written |= {field: as_sent(getattr(request, field), written[field]) for field in request.refused_alone}
    return f"{request.kind}\n{request.version}\n{_write_canonical(written)}"


@lru_cache(maxsize=10_000)
def lane_id(portal_id: UUID, lane: str) -> UUID:
    """Returns the lane as the ledger stores it: a number derived from the portal and the lane's text."""
    return UUID(bytes=hashlib.blake2b(portal_id.bytes + lane.encode(), digest_size=16).digest())
