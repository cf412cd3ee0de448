"""Pages from templates, with what each of them shows: the menu, the age of the figures, texts in both languages."""

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from models.words import LOCALES
from workers.console.access.forms import token_field
from workers.console.access.visitor import LANGUAGE_COOKIE, Visitor, locale_of
from workers.console.assets import asset_url
from workers.console.charts import curve, spark
from workers.console.shown import mask, shown_bytes, shown_command, shown_duration, shown_moment, shown_number, visible
from workers.console.tables import table
from workers.console.texts import TEXTS
from workers.database import transaction

ResultT = TypeVar("ResultT")

FOLDER: Final = Path(__file__).parent / "templates"

MENU: Final = (
    ("now", "/ops"),
    ("queues", "/ops/queues"),
    ("errors", "/ops/errors"),
    ("jobs", "/ops/jobs"),
    ("mails", "/ops/mails"),
    ("people", "/ops/people"),
    ("files", "/ops/files"),
    ("actions", "/ops/actions"),
    ("system", "/ops/system"),
    ("history", "/ops/history"),
)
"""The pages of the menu: their names and addresses."""


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=visible,
    )
    made.filters["shell_word"] = shlex.quote
    made.globals |= {
        "masked": mask,
        "command": shown_command,
        "spark": spark,
        "curve": curve,
        "asset": asset_url,
        "menu": MENU,
    }
    return made


TEMPLATES: Final = _environment()


async def page(
    request: Request, visitor: Visitor | None, template: str, *, status: int = 200, **values: Any
) -> Response:
    """Renders a page, around the latest snapshot of the status.

    Parameters:
      visitor: the user who is signed in; None for a page without the menu (``bare.html``).
      values: of the template. It has these as well: ``t(key, …)``, ``moment(at)``, ``duration(seconds)``,
        ``number(n)``, ``masked(value)``, ``command(words)``, ``spark(points, words)``, ``form_token()``, ``visitor``,
        ``locale``, ``snapshot`` (the status), ``with_query(name=value)`` (this address with other parameters). The
        answer to a form gives `path`, the address of the page that the form stands on; it is the first page otherwise.
    """
    locale = visitor.locale if visitor is not None else locale_of(request)
    reads = request.method in ("GET", "HEAD")
    here = values.get("path") or (request.url.path if reads else "/ops")  # the address of a form is no page
    if visitor is not None and "snapshot" not in values:
        values["snapshot"] = await request.app.state.asker.ask()
    context = _words(locale) | {
        "visitor": visitor,
        "path": here,
        "live": reads,
        "counts": menu_counts(values.get("snapshot")),
        "form_token": partial(token_field, visitor),
        "with_query": partial(with_query, request, path=here),
    }
    html = TEMPLATES.get_template(template).render(context | values)
    answer = HTMLResponse(html.encode("utf-8", "replace"), status)
    _keep_language(request, answer)
    return answer


def menu_counts(snapshot: Mapping[str, Any] | None) -> dict[str, int]:
    """Returns the numbers beside the pages of the menu: problems, errors that are told apart, troubled inboxes."""
    problems = snapshot["problems"] if snapshot else ()
    gave_up = [one for one in problems if one["code"] in ("dead", "expired", "uncertain")]
    inboxes = [one for one in problems if one["code"] in ("unreadable_inbox", "unreadable_inbox_file", "file_missing")]
    errors = sum(max(len(one.get("groups", ())), 1) for one in gave_up)
    return {"now": len(problems), "errors": errors, "files": len(inboxes)}


async def in_transaction(work: Callable[..., ResultT], *args: Any, **named: Any) -> ResultT:
    """Runs a function in a thread, in a transaction of its own: it is given the session, then these arguments."""

    def run() -> ResultT:
        with transaction() as session:
            return work(session, *args, **named)

    return await run_in_threadpool(run)


def with_query(request: Request, *, path: str = "", **changed: object) -> str:
    """Returns the address of this page with some parameters changed, or left out where they are None.

    Parameters:
      path: of the page; that of the request when left out. The answer to a form stands at the address of the form.
    """
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in changed]
    query = urlencode([*kept, *((name, str(value)) for name, value in changed.items() if value is not None)])
    at = path or request.url.path
    return f"{at}?{query}" if query else at


def _words(locale: str) -> dict[str, Any]:
    """Returns the functions that write words, numbers and moments in a language."""
    return {
        "locale": locale,
        "other_locale": next(one for one in LOCALES if one != locale),
        "t": partial(TEXTS.text, locale),
        "has_text": TEXTS.has,
        "moment": lambda at, **how: shown_moment(at, locale, **how),
        "duration": lambda seconds: shown_duration(seconds, locale),
        "bytes": lambda value: shown_bytes(value, locale),
        "number": lambda value, **how: shown_number(value, locale, **how),
    }


def _keep_language(request: Request, answer: Response) -> None:
    """Keeps the language that the address asks for in a cookie."""
    asked = request.query_params.get("lang", "")
    if asked in LOCALES and request.cookies.get(LANGUAGE_COOKIE) != asked:
        secure = request.url.scheme == "https"
        answer.set_cookie(
            LANGUAGE_COOKIE, asked, max_age=31_536_000, path="/ops", secure=secure, httponly=True, samesite="strict"
        )


__all__ = ["in_transaction", "page", "table", "with_query"]
