"""The SQL of pauses, which claims, the clock and the status share: what is paused now, by queue and lane."""

from typing import Final
from uuid import UUID

EVERY_LANE: Final = UUID(int=0)
"""The lane that stands for all lanes of a queue; no work has it."""

IN_FORCE: Final = "qp.until > now()"
"""The SQL condition of a pause ``qp`` that has not ended: it ends by itself."""

PAUSED_QUEUES: Final = f"ARRAY(SELECT qp.queue FROM queue_pause qp WHERE qp.lane IS NULL AND {IN_FORCE})"
"""The SQL array of the queues that are paused as a whole."""

PAUSED: Final = f"""paused AS MATERIALIZED (
              SELECT ARRAY(SELECT coalesce(qp.lane, '{EVERY_LANE}') FROM queue_pause qp
                WHERE qp.queue = :queue AND {IN_FORCE}) AS lanes)"""
"""The common table of the paused lanes of a queue, as ``PAUSED_LANES`` reads it.

``EVERY_LANE`` is in it while the whole queue is paused. A statement reads it once, from an index of few rows.
"""

PAUSED_LANES: Final = "CAST((SELECT lanes FROM paused) AS uuid[])"
"""The SQL array of the paused lanes, in a statement with the common table ``PAUSED``."""


def lanes_paused(queue: str) -> str:
    """Returns the SQL query for the lanes of a queue that are paused on their own."""
    return f"SELECT qp.lane FROM queue_pause qp WHERE qp.queue = {queue} AND qp.lane IS NOT NULL AND {IN_FORCE}"
