"""The page of the past: curves of a day, a week and three months, and what waited and ran at a moment."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.paris import PARIS
from workers.console.access.visitor import Reader
from workers.console.filters import read_at
from workers.console.view import in_transaction, page, table
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS
from workers.ops.past import MOST_ROWS, SPANS, LedgerCurve, SeenRelease, read_curves, read_releases, read_then

LONGEST_AGO: Final = timedelta(days=90)

CURVE_COLUMNS: Final = ("from", "jobs_ended", "jobs_gave_up", "mails_ended", "mails_gave_up")
THEN_COLUMNS: Final = ("ledger", "queue", "not_begun", "begun", "oldest", "at_least")

router = APIRouter()


@router.api_route("/ops/history", methods=["GET", "HEAD"], response_model=None)
async def show_history(request: Request, visitor: Reader) -> Response:
    """Shows the curves of a span, and what there was at the moment of ``?at=``."""
    asked, span = request.query_params.get("at", ""), request.query_params.get("span", "24h")
    span = span if span in SPANS else "24h"
    now = datetime.now(UTC)
    at = read_at(asked)
    wrong = bool(asked) and (at is None or not now - LONGEST_AGO <= at <= now)
    curves, releases, then = await in_transaction(_read, span, None if wrong else at)
    points = curve_points(curves, span, now)
    counts = [tuple(one) for one in then["counts"]] if then else []
    told = table(request, visitor, "curve", CURVE_COLUMNS, points)
    told = told or table(request, visitor, "then", THEN_COLUMNS, counts)
    length = SPANS[span].points * SPANS[span].each
    return told or await page(
        request,
        visitor,
        "history.html",
        status=400 if wrong else 200,
        span=span,
        spans=tuple(SPANS),
        points=points,
        curves={"jobs": curves[JOBS.table], "mails": curves[EMAILS.table]},
        releases=releases,
        marks=[1 - (now - one.first_seen_at) / length for one in releases],
        at=at,
        typed=at.astimezone(PARIS).strftime("%Y-%m-%dT%H:%M") if at else "",
        wrong=wrong,
        then=then,
        most_rows=MOST_ROWS,
    )


def curve_points(curves: dict[str, LedgerCurve], span: str, now: datetime) -> list[tuple[Any, ...]]:
    """Returns the points of the curves as the rows of a table, the oldest first."""
    jobs, mails = curves[JOBS.table], curves[EMAILS.table]
    number, each = SPANS[span].points, SPANS[span].each
    begins = [now - each * (number - place) for place in range(number)]
    return list(zip(begins, jobs.ended, jobs.gave_up, mails.ended, mails.gave_up, strict=True))


def _read(
    session: Session, span: str, at: datetime | None
) -> tuple[dict[str, LedgerCurve], list[SeenRelease], dict[str, Any] | None]:
    then = None if at is None else read_then(session, at)
    return read_curves(session, span), read_releases(session, span), then
