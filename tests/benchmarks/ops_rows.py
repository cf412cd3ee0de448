"""The rows that a search of operators finds among a history: jobs of one person, and refused ones of a typing error."""

from typing import Final
from uuid import UUID

from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from workers.database import array, transaction
from workers.security.address_tokens import tokens_of

SOUGHT: Final = "ancien.5@histoire.example"
"""The address of the fifth person of the history; their job died, in a short run as in a long one."""

TYPED: Final = "anne@histoire,example"
"""An address that is none; it was typed in requests that were refused."""

REFUSED: Final = 500

# Adds refused jobs, in which nothing but the typed text is about the person.
ADD_REFUSED = text("""
    INSERT INTO job (id, portal_id, kind, queue, lane, state, claim, request, result, created_at, finished_at)
    SELECT CAST('019e000000007000a000' || lpad(to_hex(n), 12, '0') AS uuid), :portal, 'enroll', 'enrollments',
      gen_random_uuid(), 'refused', 1, json_build_object('contract', 'H-00000', 'people', json_build_array(
        json_build_object('email', CAST(:typed AS text), 'first_name', 'Anne', 'last_name', 'Lefèvre'))),
      '{"code": "not_carried_out"}', now() - interval '2 days', now() - interval '2 days'
    FROM generate_series(1, CAST(:count AS int)) n""")

ADD_TOKENS_OF_REFUSED = text("""
    INSERT INTO job_address (token, job_id)
    SELECT t.token, CAST('019e000000007000a000' || lpad(to_hex(n), 12, '0') AS uuid)
    FROM unnest(CAST(:tokens AS uuid[])) t (token), generate_series(1, CAST(:count AS int)) n""")

# Gives the sought person a token at some succeeded and some dead jobs of others, as if they had been typed there, too.
ADD_TOKENS_OF_OTHERS = text("""
    INSERT INTO job_address (token, job_id)
    SELECT t.token, j.id FROM unnest(CAST(:tokens AS uuid[])) t (token), (
      (SELECT id FROM job WHERE state = 'dead' ORDER BY id LIMIT 50)
      UNION ALL (SELECT id FROM job WHERE state = 'succeeded' ORDER BY id LIMIT 50)) j""")


def add_sought(*, portal: UUID = LOCAL_PORTAL_ID) -> None:
    """Adds the jobs of these two to the history."""
    with transaction() as session:
        typed = {"tokens": array(tokens_of([TYPED])), "count": REFUSED}
        session.execute(ADD_REFUSED, {"portal": portal, "typed": TYPED, "count": REFUSED})
        session.execute(ADD_TOKENS_OF_REFUSED, typed)
        session.execute(ADD_TOKENS_OF_OTHERS, {"tokens": array(tokens_of([SOUGHT]))})
