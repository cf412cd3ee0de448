"""The tests of events use these: portals with endpoints and contracts, their jobs, and the webhooks that are owed."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.base import new_id
from models.portal import Portal
from models.webhook import WebhookEndpoint
from tests.kit.builders.events_page import check_documented
from tests.kit.processes.support import rows
from workers.actors.registry import do_jobs
from workers.catalog.records import put_company, put_contract, put_training
from workers.database import transaction
from workers.engine import ledger
from workers.engine.acceptance import accept
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.reading.jobs import show_job
from workers.requests.base import Request
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.queues import Queue

QUEUES = (Queue.ENROLLMENTS, Queue.ROSTERS, Queue.MAINTENANCE, Queue.CERTIFICATES)

OWED = """
    SELECT p.name, w.reference, h.event, h.resource, h.sequence, h.state, h.payload
    FROM webhook h JOIN webhook_endpoint w ON w.id = h.endpoint_id JOIN portal p ON p.id = h.portal_id
    ORDER BY p.name, w.reference, h.resource, h.sequence"""


class OwedWebhook(NamedTuple):
    """A webhook as its table holds it, with the names of its portal and its endpoint."""

    portal: str
    endpoint: str
    event: str
    resource: str
    sequence: int
    state: str
    payload: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """The facts of its resource."""
        found: dict[str, Any] = self.payload["data"]
        return found


def add_portal(name: str = "alpha", seats: int = 10, *contracts: str) -> UUID:
    """Records a portal with a company, a training and contracts of so many seats; commits."""
    portal = Portal(id=new_id(), name=name)
    with transaction() as session:
        session.add(portal)
        session.flush()
        put_company(session, portal.id, new_id(), PutCompany(reference="acme", name="Acmé"))
        put_training(session, portal.id, new_id(), PutTraining(reference="T-1", title="Sécurité"))
        for reference in contracts or ("C-1",):
            put_contract(session, portal.id, new_id(), contract(reference, seats))
    return portal.id


def contract(reference: str = "C-1", seats: int = 10) -> PutContract:
    """Returns the request that records a contract with so many seats."""
    return PutContract(reference=reference, company="acme", training="T-1", planned_seats=seats)


def add_endpoint(portal_id: UUID, reference: str = "main", *events: str, disabled: bool = False) -> UUID:
    """Records an endpoint that is told of these events, or of all; commits."""
    endpoint = WebhookEndpoint(
        id=new_id(),
        portal_id=portal_id,
        reference=reference,
        url="https://portal.example/hook",
        events=list(events) or None,
        master_id="test",
    )
    with transaction() as session:
        session.add(endpoint)
        session.flush()
        if disabled:
            session.execute(text("UPDATE webhook_endpoint SET disabled_at = now() WHERE id = :id"), {"id": endpoint.id})
    return endpoint.id


def ask(portal_id: UUID, *requests: Request) -> list[UUID]:
    """Records requests as jobs of a portal, in one transaction; returns the jobs."""
    with transaction() as session:
        return [
            accept(
                session, portal_id, request, request.model_dump_json(exclude_unset=True), key=f"key-{new_id()}"
            ).job_id
            for request in requests
        ]


def work(queues: Sequence[Queue] = QUEUES) -> None:
    """Does the jobs that are due, a transaction for each queue."""
    for queue in queues:
        with transaction() as session:
            claimed = ledger.claim(session, JOBS, queue, size=200, lease=30, worker=new_id())
        assert not claimed or BatchRun(JOBS, do_jobs).run(claimed)


def done(portal_id: UUID, *requests: Request) -> list[dict[str, Any]]:
    """Asks for work, does it, and returns the jobs as their portal sees them."""
    jobs = ask(portal_id, *requests)
    work()
    with transaction() as session:
        return [show_job(session, job) or {} for job in jobs]


def enrolled(portal_id: UUID, request: Request) -> list[UUID]:
    """Enrols people, and returns their enrollments."""
    [job] = done(portal_id, request)
    return [UUID(person["enrollment_id"]) for person in job["result"]["people"]]


def owed(*events: str) -> list[OwedWebhook]:
    """Returns the webhooks of these events, or all, by portal, endpoint, resource and number."""
    found = [OwedWebhook._make(row) for row in rows(OWED)]
    return [one for one in found if not events or one.event in events]


def forget_webhooks() -> None:
    """Deletes the webhooks that are owed, but not the numbers that were given."""
    check_documented()
    with transaction() as session:
        session.execute(text("DELETE FROM webhook"))
