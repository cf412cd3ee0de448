"""Reads where a person reaches their trainings, for the pages that tell them to sign in."""

from uuid import UUID

from sqlalchemy import text

from models.access_url import ReachableTraining, WayIn, ways_in
from models.contract import OVER
from models.enrollment import PARTICIPATING
from workers.database import Session
from workers.settings import get_settings
from workers.sql import fetch

# The latest trainings a person takes part in, each with the address it has, or that of its portal.
READ_TRAININGS = text(f"""
    SELECT tr.title, coalesce(tr.access_url, po.access_url) AS url
    FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN training tr ON tr.id = c.training_id
    JOIN portal po ON po.id = c.portal_id
    WHERE e.account_id = :account AND {PARTICIPATING} AND NOT {OVER}
    ORDER BY e.enrolled_at DESC, e.id DESC LIMIT 20""")


def read_ways_in(session: Session, account_id: UUID, *, titles: bool = True) -> list[WayIn]:
    """Returns the buttons that lead a person to their trainings.

    Parameters:
      titles: False leaves the titles out, where a reader who holds an old link may not be the person.
    """
    trainings = fetch(session, ReachableTraining, READ_TRAININGS, {"account": account_id})
    ways = ways_in(trainings, get_settings().lms_url)
    return ways if titles else [way._replace(title=None) for way in ways]
