"""A webhook is owed as a row: one event of a portal, told to one of the portal's endpoints."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, CheckConstraint, Identity, Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import HOT_TABLE, OwedWork, Record, instant, new_id
from models.job import RUNNING, WAITING, WAITING_IN_TIME, states
from models.words import WebhookState

HELD = text("state = 'held'")
GIVEN_UP = text("state = 'failed'")


class WebhookEndpoint(Record, table=True):
    """An address of a portal that is told of events; the secret that signs them is derived and not stored.

    A disabled endpoint is told nothing, and what it would be told is held for it.
    """

    __tablename__ = "webhook_endpoint"
    __table_args__ = (UniqueConstraint("portal_id", "reference"), HOT_TABLE)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    portal_id: UUID = Field(foreign_key="portal.id")
    reference: str
    url: str
    events: Any = Field(default=None, sa_type=JSON(none_as_null=True), nullable=True)  # ``WebhookEvent``s; None: all
    master_id: str  # the secret of ``PORTAL_KEYS`` that its own secret derives from
    secret_version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    previous_until: datetime | None = instant(nullable=True)  # until then the version before signs too
    disabled_at: datetime | None = instant(nullable=True)
    disabled_reason: str | None = None
    failing_since: datetime | None = instant(nullable=True)
    failures: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # in a row, up to now
    next_try_at: datetime | None = instant(nullable=True)  # it rests until then
    created_at: datetime = instant(default_now=True)
    updated_at: datetime = instant(default_now=True)


class Webhook(OwedWork, table=True):
    """One event that one endpoint is told. Its id is the ``webhook-id``, the same at each attempt.

    ``payload`` holds identifiers, references, codes and counters; never a name or an address.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        CheckConstraint(f"state IN ({states(WebhookState)})", name="state"),
        Index("ix_webhook_waiting", "endpoint_id", "lane", "sequence", postgresql_where=WAITING),
        Index("ix_webhook_due_of_endpoint", "endpoint_id", "due_at", postgresql_where=text(WAITING_IN_TIME)),
        Index("ix_webhook_due", "queue", "due_at", postgresql_where=WAITING),
        Index("ix_webhook_running", "endpoint_id", "lane", postgresql_where=RUNNING),
        Index("ix_webhook_held", "endpoint_id", "id", postgresql_where=HELD),
        Index("ix_webhook_failed", "endpoint_id", "finished_at", postgresql_where=GIVEN_UP),
        Index("ix_webhook_endpoint_id", "endpoint_id", "id"),
        HOT_TABLE,
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    endpoint_id: UUID  # no foreign key: what an endpoint was owed is deleted some time after it
    portal_id: UUID
    event: str
    resource: str  # what the event is about, such as `enrollment:<id>`; its events are told in order
    sequence: int = Field(sa_type=BigInteger)  # of the events of this resource, in the order of their commits
    payload: Any = Field(sa_type=JSON(none_as_null=True), nullable=False)
    state: str = WebhookState.OWED
    expires_at: datetime = instant()


class WebhookAttempt(Record, table=True):
    """One attempt at a webhook, and the answer of the receiver."""

    __tablename__ = "webhook_attempt"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    webhook_id: UUID = Field(index=True)
    at: datetime = instant(default_now=True)
    status: int | None = None  # of the answer; None: there was none
    milliseconds: int
    error: str | None = None  # why there was no answer, or why it was not accepted
    answer: str | None = None  # the first kilobyte of its body


class ResourceSequence(Record, table=True):
    """The number of the last event of a resource of a portal, raised in the transaction of each event."""

    __tablename__ = "resource_sequence"
    __table_args__ = (HOT_TABLE,)

    portal_id: UUID = Field(primary_key=True)
    resource: str = Field(primary_key=True)
    sequence: int = Field(sa_type=BigInteger)
