"""A contract with very many participants, made by the database: names, words they are found by, progress, mails."""

from typing import Final

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.search_words import plain_letters, words_of
from tests.benchmarks.history import BEGIN_FILLING
from tests.benchmarks.population import FIRST_NAMES, LAST_NAMES, add_catalog, contract, known_id
from workers.database import get_engine, text_array, transaction

RARE: Final = "Zwyssig"
"""A name that one participant has, the first one."""

# One row for each participant, in the order of identifiers and of time.
MAKE_PEOPLE = text("""
    CREATE TEMPORARY TABLE someone ON COMMIT DROP AS
    SELECT n, CAST('018f000000007000a000' || lpad(to_hex(n), 12, '0') AS uuid) AS id,
      'salarie.' || n || '@societe.example' AS address, lpad(CAST(n AS text), 7, '0') AS number,
      f.name AS first_name, CASE n WHEN 1 THEN :rare ELSE l.name END AS last_name,
      CASE n % 10 WHEN 0 THEN 'completed' WHEN 1 THEN 'in_progress' ELSE 'not_started' END AS progress,
      now() - interval '80 days' * (1.0 - n::float8 / :count) AS at,
      (CASE n WHEN 1 THEN :rare_word ELSE l.words END) || ' ' || f.words AS names
    FROM generate_series(1, CAST(:count AS int)) n
    JOIN unnest(CAST(:first_names AS text[]), CAST(:first_words AS text[])) WITH ORDINALITY f (name, words, place)
      ON f.place = 1 + n % 10
    JOIN unnest(CAST(:last_names AS text[]), CAST(:last_words AS text[])) WITH ORDINALITY l (name, words, place)
      ON l.place = 1 + n / 10 % 9""")

# Adds their accounts.
ADD_ACCOUNTS = text("""
    INSERT INTO account (id, email_norm, first_name, last_name, locale, created_at)
    SELECT id, address, first_name, last_name, 'fr', at FROM someone""")

# Adds their enrollments.
ADD_ENROLLMENTS = text("""
    INSERT INTO enrollment (id, contract_id, account_id, external_id, enrolled_at, progress, started_at, completed_at,
      words)
    SELECT id, :contract, id, number, at, progress, CASE WHEN progress <> 'not_started' THEN at END,
      CASE WHEN progress = 'completed' THEN at END, names || ' ' || number || ' ' || address
    FROM someone""")

# Adds the words they are found by.
ADD_WORDS = text("""
    INSERT INTO participant_word (contract_id, word, enrollment_id)
    SELECT DISTINCT :contract, word, id
    FROM someone CROSS JOIN LATERAL unnest(string_to_array(names || ' ' || number || ' ' || address, ' ')) word""")

# Adds their invitations, one of a hundred of which could not be delivered.
ADD_MAILS = text("""
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state, claim,
      account_id, enrollment_id, contract_id, created_at, started_at, finished_at)
    SELECT id, 'invitation', 'emails_bulk', :company, 'invitation:' || id, address, 'fr',
      '<' || id || '.invitation@societe.example>', at, at + interval '5 days',
      CASE n % 100 WHEN 7 THEN 'failed' ELSE 'sent' END, 1, id, id, :contract, at, at, at
    FROM someone""")

# Sets the counter to what the enrollments say.
COUNT_SEATS = text("UPDATE contract SET enrolled_count = :count WHERE id = :contract")


def add_crowd(count: int) -> None:
    """Fills the first contract with participants, and leaves the database vacuumed and analysed."""
    add_catalog(1)
    values = {
        "portal": LOCAL_PORTAL_ID,
        "company": known_id("company"),
        "contract": known_id(contract(0)),
        "count": count,
        "rare": RARE,
        "rare_word": plain_letters(RARE),
        "first_names": text_array(FIRST_NAMES),
        "first_words": text_array(_words(name) for name in FIRST_NAMES),
        "last_names": text_array(LAST_NAMES),
        "last_words": text_array(_words(name) for name in LAST_NAMES),
    }
    with transaction() as session:
        for step in (BEGIN_FILLING, MAKE_PEOPLE, ADD_ACCOUNTS, ADD_ENROLLMENTS, ADD_WORDS, ADD_MAILS, COUNT_SEATS):
            session.execute(step, {name: values[name] for name in step.compile().params})
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM (ANALYZE)"))
        connection.execute(text("RESET statement_timeout"))


def _words(name: str) -> str:
    """Returns the words of a name, as the application writes them."""
    return words_of(name, "", "", None).strip()
