"""What every request is made of: its root, the types of its fields, how it is read from JSON, and its key.

``extra="forbid"`` and strict types: a misspelt field is an error that names it, never a value silently ignored.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from models.address import normalise_email
from models.label import SURROGATES, clean_label, clean_reason, clean_reference
from models.words import LOCALES, Code
from workers.errors import InvalidRequest, Problem
from workers.requests.personal import Personal
from workers.requests.queues import ROSTER_SIZE, Queue

REQUESTS_QUEUE: Final = "requests"
"""The queue portals send to. Its messages are requests; those of every other queue are wake-ups."""

ACCEPT_ACTOR: Final = "accept"
"""The actor that records a request in the ledger."""

MAX_MESSAGE_BYTES: Final = 256 * 1024
MAX_KEY: Final = 200
MAX_ENROLLMENTS: Final = 10_000
FOLLOW_UP_KEY: Final = "follow-up:"
"""How the key of a job begins that another job owes: then comes the identifier of that one."""

RESERVED_KEYS: Final = ("schedule:", "refused-message:", "certificate:", "release:", "ops:", "inbox:", FOLLOW_UP_KEY)

_CODES: Final = frozenset(Code)  # before Python 3.12 an enumeration cannot be asked whether it holds a text
_HALF_PAIR: Final = re.compile(f"[{SURROGATES}]")


def checked(rule: Callable[[str], str | Code]) -> AfterValidator:
    """A rule of ``models`` as the check of a field: its value is what the rule gives, its error the rule's code."""

    def check(value: str) -> str:
        cleaned = rule(value)
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
"""A text that names no person and is kept as it came."""

Label = Annotated[str, checked(clean_label), Personal.NOTHING]
Reference = Annotated[str, checked(clean_reference), Personal.NOTHING]
Address = Annotated[str, checked(normalise_email)]
Asker = Annotated[str, checked(_asker), Personal.NOTHING]
Reason = Annotated[str, checked(clean_reason), Personal.NOTHING]
"""Why ops or a portal ask, as the audit trail keeps it for years: no address."""

Language = Annotated[str, checked(_language), Personal.NOTHING]

PersonAddress = Annotated[Address, Personal.ADDRESS]
PersonName = Annotated[Label, Personal.NAME]
ContactAddress = Annotated[Address, Personal.CONTACT]
"""Where a company, or whoever asks, is written to."""

EnrollmentId = Annotated[UUID, Personal.ENROLLMENT]
AccountId = Annotated[UUID, Personal.ACCOUNT]
OtherId = Annotated[UUID, Personal.NOTHING]
"""The identifier of a job or a contract."""

Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2100, 1, 1, tzinfo=UTC))]
"""An instant with its offset, in years both PostgreSQL and Python can count."""


class Request(BaseModel):
    """Root of the requests.

    ``kind`` and ``version`` travel beside the body; a change that old senders would not survive gets a new version.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: ClassVar[str]
    version: ClassVar[int] = 1
    internal: ClassVar[bool] = False  # made by Matricule itself; no portal may send it
    routine: ClassVar[bool] = False  # made by the clock, thousands a day: its job is kept for days, not years
    beyond_database: ClassVar[bool] = False  # needs more than one transaction: its queue's actor does it by itself

    requested_by: Asker = Field(
        default="", description="who asks, in the portal's own words (an identifier, not a name)"
    )

    @property
    def queue(self) -> Queue:
        """The queue the job waits on."""
        return Queue.ENROLLMENTS

    @property
    def lane(self) -> str:
        """What the job is about: jobs of one lane are done one after the other."""
        return ""


class MaintenanceRequest(Request):
    """What Matricule or its ops ask for and nobody waits for in person."""

    internal: ClassVar[bool] = True

    @property
    def queue(self) -> Queue:
        """Maintenance waits for nobody and nobody waits for it."""
        return Queue.MAINTENANCE


class BulkEnrollmentRequest(Request):
    """What speaks of rows a manager ticked on one contract."""

    contract: Reference
    enrollment_ids: Annotated[list[UUID], Personal.SEVERAL] = Field(
        min_length=1, max_length=MAX_ENROLLMENTS, description="the rows ticked, as the answer to enroll named them"
    )

    @property
    def queue(self) -> Queue:
        """Large requests have a queue of their own, so that nobody waits behind one."""
        return Queue.ROSTERS if len(self.enrollment_ids) > ROSTER_SIZE else Queue.ENROLLMENTS

    @property
    def lane(self) -> str:
        """The contract, so that somebody enrolled a moment ago is there."""
        return f"contract:{self.contract}"


def read(shape: type[ModelType], body: str | bytes) -> ModelType:
    """Reads JSON of this shape.

    Raises: InvalidRequest, naming every field that is wrong, with a code each.
    """
    try:
        return _read(shape, body)
    except ValidationError as error:
        raise InvalidRequest(
            *(_problem(dict(item)) for item in error.errors(include_url=False, include_input=False))
        ) from None


def _read(shape: type[ModelType], body: str | bytes) -> ModelType:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        unreadable = error.error_count() == 1 and error.errors()[0]["type"] == "json_invalid"
        mended = _without_half_pairs(body) if unreadable else None
        if mended is None:
            raise
    return shape.model_validate_json(mended)


def _without_half_pairs(body: str | bytes) -> str | None:
    """The same JSON with U+0000 for each half of a surrogate pair, or None if that is not what makes it unreadable.

    A portal that cuts a name inside an emoji sends one; JSON allows it and pydantic reads none of the request. Every
    rule refuses U+0000 as it does half a pair, so the one row is refused and the others are done.
    """
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    mended = _HALF_PAIR.sub(r"\\u0000", text)
    return None if mended == text else mended


def _problem(error: dict[str, Any]) -> Problem:
    code = Code(error["type"]) if error["type"] in _CODES else Code.INVALID_REQUEST
    return Problem(code, ".".join(map(str, error["loc"])), error["msg"])


def check_key(key: str) -> None:
    """Whether this can be a portal's idempotency key.

    Raises: InvalidRequest when it is empty, too long, holds a character that cannot be printed, or begins as the keys
    Matricule makes for itself.
    """
    if key.startswith(RESERVED_KEYS):
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "key", f"reserved: {', '.join(RESERVED_KEYS)}"))
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise InvalidRequest(Problem(Code.INVALID_REQUEST, "key", f"1 to {MAX_KEY} printable characters"))


def fingerprint(request: Request) -> bytes:
    """SHA-256 of what is asked, whatever the order of its fields: two requests under one key must have the same.

    What has its default counts as not said, so that a repeat is still one after a field was added to its class.
    """
    body = json.dumps(request.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{request.kind}\n{request.version}\n{body}".encode()).digest()


def lane_id(portal_id: UUID, lane: str) -> UUID:
    """The lane as the ledger stores it: a number derived from the portal and what the job is about."""
    return UUID(bytes=hashlib.blake2b(portal_id.bytes + lane.encode(), digest_size=16).digest())
