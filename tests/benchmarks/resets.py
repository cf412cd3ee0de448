"""Measures a password reset for ten thousand people at once, beside plain inserts of the same rows. No mail is sent."""

from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid5

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.population import add_catalog, contract, person
from tests.benchmarks.roster import PlainTable, large_job, plain_inserts
from tests.benchmarks.system import System
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.requests.accounts import ResetPasswords
from workers.requests.base import MAX_ENROLLMENTS

TABLES: Final = ("link", "email", "job_person", "throttle")

ADD_PEOPLE = text("""
    WITH person AS (
      SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:enrollments AS uuid[]), CAST(:emails AS text[]))
        t (account_id, enrollment_id, email)),
    made AS (
      INSERT INTO account (id, email_norm, first_name, last_name, locale, password_hash, activated_at)
      SELECT account_id, email, 'Anne', 'Lefèvre', 'fr', 'x', now() FROM person RETURNING id)
    INSERT INTO enrollment (id, contract_id, account_id)
    SELECT enrollment_id, (SELECT id FROM contract WHERE reference = :contract), account_id
    FROM person JOIN made ON made.id = person.account_id""")


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures both, after an uncounted first run that makes the rows for the limit."""
    count = 1_500 if short else MAX_ENROLLMENTS
    written: list[PlainTable] = []
    resets(system, count, keep=written)
    series = alternate(
        lambda: plain_inserts(system, written, prepare=lambda: add_people(count)),
        lambda: resets(system, count),
        rounds=1 if short else ROUNDS,
    )
    return [ratio_figure("resets", series, unit="rows", goal=0.40, short=short)]


def add_people(count: int) -> list[UUID]:
    """Creates people with a password on one contract, the same every time; returns their enrollments."""
    enrollments = [uuid5(NAMESPACE_OID, f"matricule benchmark enrollment {number}") for number in range(count)]
    values = {
        "accounts": [uuid5(NAMESPACE_OID, f"matricule benchmark account {number}") for number in range(count)],
        "enrollments": enrollments,
        "emails": [person(number).email for number in range(count)],
        "contract": contract(0),
    }
    add_catalog(1)
    with transaction() as session:
        session.execute(ADD_PEOPLE, values)
    with transaction() as session:
        session.execute(text("ANALYZE"))
    return enrollments


def resets(system: System, count: int, keep: list[PlainTable] | None = None) -> Run:
    """Measures one request to reset the passwords of this many people."""

    def prepare() -> None:
        request = ResetPasswords(contract=contract(0), enrollment_ids=add_people(count))
        with transaction() as session:
            accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="resets")

    return large_job(system, count, prepare, TABLES, keep)
