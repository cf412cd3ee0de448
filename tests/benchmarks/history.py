"""The history of a platform that has run for years: finished jobs, enrolled people, sent mails, made by the database.

It has what made statements slow: very many finished rows beside few waiting ones, dead jobs with their attempts, one
contract with very many people, and very many contracts, each a lane.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from tests.benchmarks.population import SEATS, known_id, person
from workers.database import Session, get_engine, transaction
from workers.requests.base import lane_id
from workers.requests.enrollment import Enroll


@dataclass(frozen=True, slots=True)
class HistorySize:
    """The numbers of rows of a history.

    Parameters:
      jobs: jobs, each for one person with an account, an enrollment, a link and a sent mail.
      dead: of these, the jobs that ended as dead, with two attempts each; another way enrolled their people.
      on_one_contract: people who are all enrolled on the first contract; the others are spread evenly.
      contracts: contracts, and so lanes.
    """

    jobs: int = 1_000_000
    dead: int = 200_000
    on_one_contract: int = 100_000
    contracts: int = 10_000


SMALL: Final = HistorySize(jobs=2_000, dead=400, on_one_contract=500, contracts=100)
"""A history for a short run."""

# The filling takes minutes, and its rows point at each other by construction: triggers of foreign keys are left out.
BEGIN_FILLING = text("SET LOCAL statement_timeout = 0; SET LOCAL session_replication_role = replica")

# Adds the company, the training and the contracts.
ADD_CONTRACTS = text("""
    WITH made_company AS (
      INSERT INTO company (id, portal_id, reference, name) VALUES (:company, :portal, 'histoire', 'Société Ancienne')),
    made_training AS (
      INSERT INTO training (id, portal_id, reference, title) VALUES (:training, :portal, 'histoire', 'Secours'))
    INSERT INTO contract (id, portal_id, reference, company_id, training_id, planned_seats)
    SELECT id, :portal, reference, :company, :training, :seats
    FROM unnest(CAST(:ids AS uuid[]), CAST(:references AS text[])) t (id, reference)""")

# One row for each piece of history: its place, times and the identifiers that its rows share. They are older than
# every identifier made now, and in the order of time, as those of real rows are.
MAKE_PIECES = text("""
    CREATE TEMPORARY TABLE piece ON COMMIT DROP AS
    SELECT n, (n % CAST(:every AS int)) = 0 AND n / CAST(:every AS int) <= :dead AS dead,
      CAST('018f000000007000a000' || lpad(to_hex(n), 12, '0') AS uuid) AS id,
      now() - interval '1 day' - interval '80 days' * (1.0 - n::float8 / :jobs) AS at,
      'ancien.' || n || '@histoire.example' AS address, l.id AS contract_id, l.lane, l.reference
    FROM generate_series(1, CAST(:jobs AS int)) n
    JOIN unnest(CAST(:ids AS uuid[]), CAST(:lanes AS uuid[]), CAST(:references AS text[]))
      WITH ORDINALITY l (id, lane, reference, place)
      ON l.place = CASE WHEN n <= :on_one_contract THEN 1 ELSE 1 + n % CAST(:contracts AS int) END
    ORDER BY n""")

# Adds the finished jobs, with requests, results and errors of the usual size.
ADD_JOBS = text("""
    INSERT INTO job (id, portal_id, kind, queue, lane, state, claim, failures, request, result, error, created_at,
      started_at, finished_at)
    SELECT id, :portal, 'enroll', 'enrollments', lane, CASE WHEN dead THEN 'dead' ELSE 'succeeded' END,
      CASE WHEN dead THEN 8 ELSE 1 END, CASE WHEN dead THEN 8 ELSE 0 END,
      json_build_object('contract', reference, 'people', json_build_array(json_build_object('email', address,
        'first_name', 'Anne-Sophie', 'last_name', 'Lefèvre', 'external_id', lpad(CAST(n AS text), 7, '0')))),
      CASE WHEN NOT dead THEN json_build_object('counts', json_build_object('enrolled', 1), 'seats', 1,
        'carried_out', true, 'dry_run', false, 'people', json_build_array(json_build_object('position', 0,
        'code', 'enrolled', 'field', NULL, 'account_id', id, 'enrollment_id', id, 'detail', NULL))) END,
      CASE WHEN dead THEN json_build_object('class', 'ProgrammingError', 'message', repeat('the statement failed ', 20),
        'reason', NULL) END,
      at, at, at + interval '1 second'
    FROM piece""")

# Adds the idempotency key of each job.
ADD_KEYS = text("""
    INSERT INTO idempotency (portal_id, key, request_hash, job_id, created_at)
    SELECT :portal, 'history-' || n, sha256(uuid_send(id)), id, at FROM piece""")

# Adds the token of the address that was typed in each request; what stands for the key does not matter.
ADD_TOKENS = text("INSERT INTO job_address (token, job_id) SELECT CAST(md5(address) AS uuid), id FROM piece")

# Adds the last two attempts of each dead job.
ADD_ATTEMPTS = text("""
    INSERT INTO job_attempt (ledger, row_id, claim, outcome, error, created_at)
    SELECT 'job', id, claim, CASE claim WHEN 8 THEN 'dead' ELSE 'retry' END, json_build_object('class',
      'ProgrammingError', 'message', repeat('the statement failed ', 20), 'reason', NULL), at
    FROM piece, generate_series(7, 8) claim WHERE dead""")

# Adds a result per person and job.
ADD_RESULTS = text("""
    INSERT INTO job_person (job_id, position, code, account_id, enrollment_id)
    SELECT id, 0, 'enrolled', id, id FROM piece""")

# Adds the accounts, all activated.
ADD_ACCOUNTS = text("""
    INSERT INTO account (id, email_norm, first_name, last_name, locale, activated_at, created_at)
    SELECT id, address, 'Anne-Sophie', 'Lefèvre', 'fr', at + interval '1 hour', at FROM piece""")

# Adds the enrollments; those of dead jobs came from elsewhere.
ADD_ENROLLMENTS = text("""
    INSERT INTO enrollment (id, contract_id, account_id, external_id, job_id, enrolled_at)
    SELECT id, contract_id, id, lpad(CAST(n AS text), 7, '0'), CASE WHEN NOT dead THEN id END, at FROM piece""")

# Adds the seat history.
ADD_MOVEMENTS = text("""
    INSERT INTO seat_movement (contract_id, enrollment_id, change, job_id, created_at)
    SELECT contract_id, id, 1, CASE WHEN NOT dead THEN id END, at FROM piece""")

# Sets the counters to what the enrollments say.
COUNT_SEATS = text("""
    UPDATE contract c SET enrolled_count = p.taken
    FROM (SELECT contract_id, count(*) AS taken FROM piece GROUP BY contract_id) p WHERE c.id = p.contract_id""")

# Adds the used activation links.
ADD_LINKS = text("""
    INSERT INTO link (id, purpose, account_id, key_id, expires_at, consumed_at, created_at)
    SELECT id, 'activation', id, 'bench', at + interval '30 days', at + interval '1 hour', at FROM piece""")

# Adds the sent invitations.
ADD_MAILS = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state, claim,
      account_id, enrollment_id, contract_id, job_id, result, created_at, started_at, finished_at)
    SELECT id, 'invitation', 'emails_bulk', :company, 'invitation:' || id, address, 'fr',
      '<' || id || '.invitation@histoire.example>', at, at + interval '5 days', 'sent', 1,
      id, id, contract_id, CASE WHEN NOT dead THEN id END, json_build_object('reply', '250 2.0.0 Ok: queued'),
      at, at + interval '1 second', at + interval '2 seconds'
    FROM piece""")

STEPS: Final = (
    ADD_JOBS,
    ADD_KEYS,
    ADD_TOKENS,
    ADD_ATTEMPTS,
    ADD_RESULTS,
    ADD_ACCOUNTS,
    ADD_ENROLLMENTS,
    ADD_MOVEMENTS,
    COUNT_SEATS,
    ADD_LINKS,
    ADD_MAILS,
)


def reference(number: int) -> str:
    """Returns the reference of a contract of the history, from 0."""
    return f"H-{number:05d}"


def add_history(size: HistorySize | None = None) -> None:
    """Fills the database of this trial with history, and leaves it vacuumed and analysed."""
    with transaction() as session:
        _fill(session, size or HistorySize())
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM (ANALYZE)"))
        connection.execute(text("RESET statement_timeout"))


def _fill(session: Session, size: HistorySize) -> None:
    references = [reference(number) for number in range(size.contracts)]
    values = {
        "portal": LOCAL_PORTAL_ID,
        "company": known_id("history company"),
        "training": known_id("history training"),
        "seats": SEATS,
        "ids": [known_id(one) for one in references],
        "references": references,
        "lanes": [lane_id(LOCAL_PORTAL_ID, Enroll(contract=one, people=[person(0)]).lane) for one in references],
        "jobs": size.jobs,
        "dead": size.dead,
        "every": max(size.jobs // max(size.dead, 1), 1),
        "on_one_contract": size.on_one_contract,
        "contracts": size.contracts,
    }
    for statement in (BEGIN_FILLING, ADD_CONTRACTS, MAKE_PIECES, *STEPS):
        session.execute(statement, {name: values[name] for name in statement.compile().params})
