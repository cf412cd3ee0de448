"""The population of the benchmarks: companies, contracts with enough seats, and people without an account."""

import random
from collections.abc import Sequence
from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid5

from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from workers.database import transaction
from workers.requests.base import fingerprint, lane_id
from workers.requests.enrollment import Enroll, PersonToEnroll

SEATS: Final = 1_000_000
FIRST_NAMES: Final = ("Anne-Sophie", "Stéphane", "Zoé", "Karim", "Inès", "Jean", "Maëlys", "Théo", "Fatou", "Loïc")
LAST_NAMES: Final = ("Lefèvre", "Nguyen", "Müller", "Benali", "Martin", "O'Brien", "Le Goff", "D'Almeida", "Petit")

ADD_CATALOG = text("""
    WITH made_company AS (
      INSERT INTO company (id, portal_id, reference, name) VALUES (:company, :portal, 'societe', 'Société Exemple')),
    made_training AS (
      INSERT INTO training (id, portal_id, reference, title)
      VALUES (:training, :portal, 'formation', 'Prévention des risques électriques'))
    INSERT INTO contract (id, portal_id, reference, company_id, training_id, planned_seats)
    SELECT id, :portal, reference, :company, :training, :seats
    FROM unnest(CAST(:ids AS uuid[]), CAST(:references AS text[])) t (id, reference)""")

# These are the columns that ``workers.engine.acceptance`` writes.
ADD_JOBS = text("""
    WITH new_keys AS (
      INSERT INTO idempotency (portal_id, key, request_hash, job_id)
      SELECT :portal, key, hash, id FROM unnest(CAST(:keys AS text[]), CAST(:hashes AS bytea[]), CAST(:ids AS uuid[]))
        t (key, hash, id))
    INSERT INTO job (id, portal_id, kind, queue, lane, state, request, requested_by, due_at)
    SELECT id, :portal, 'enroll', queue, lane, 'queued', CAST(request AS json), '', now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:queues AS text[]), CAST(:lanes AS uuid[]), CAST(:requests AS text[]))
      t (id, queue, lane, request)""")


def contract(number: int) -> str:
    """Returns the reference of a contract."""
    return f"C-{number:04d}"


def add_catalog(contracts: int, *, portal: UUID = LOCAL_PORTAL_ID) -> None:
    """Creates one company, one training and the contracts of a portal, with the same identifiers every time."""
    references = [contract(number) for number in range(contracts)]
    values = {
        "portal": portal,
        "company": known_id("company"),
        "training": known_id("training"),
        "seats": SEATS,
        "ids": [known_id(reference) for reference in references],
        "references": references,
    }
    with transaction() as session:
        session.execute(ADD_CATALOG, values)


def people(count: int) -> list[PersonToEnroll]:
    """Returns people in a mixed order that is always the same."""
    numbers = list(range(count))
    random.Random(count).shuffle(numbers)
    return [person(number) for number in numbers]


def person(number: int) -> PersonToEnroll:
    """Returns a person with their own address."""
    return PersonToEnroll(
        email=f"salarie.{number}@societe.example",
        first_name=FIRST_NAMES[number % len(FIRST_NAMES)],
        last_name=LAST_NAMES[number % len(LAST_NAMES)],
        external_id=f"{number:06d}",
    )


def single(number: int, contracts: int) -> Enroll:
    """Returns a request for one person, on each contract in turn."""
    return Enroll(contract=contract(number % contracts), people=[person(number)])


def add_jobs(requests: Sequence[Enroll], *, portal: UUID = LOCAL_PORTAL_ID) -> None:
    """Inserts requests as waiting jobs, all at once, and updates PostgreSQL's statistics."""
    values = {
        "portal": portal,
        "ids": [new_id() for _ in requests],
        "keys": [f"bench-{number}" for number in range(len(requests))],
        "hashes": [fingerprint(request) for request in requests],
        "queues": [request.queue for request in requests],
        "lanes": [lane_id(portal, request.lane) for request in requests],
        "requests": [request.model_dump_json() for request in requests],
    }
    with transaction() as session:
        session.execute(ADD_JOBS, values)
        session.execute(text("ANALYZE"))


def known_id(name: str) -> UUID:
    """Returns an identifier that is the same in every run."""
    return uuid5(NAMESPACE_OID, f"matricule benchmark {name}")
