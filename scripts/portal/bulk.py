"""Actions on several people at once: a page that asks for a confirmation, the request, and a page with the results.

The three pages of an action differ in words alone, so each action is a value.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import HOME, follow, see_other
from scripts.portal.forms import Form, read_form
from scripts.portal.outcomes import read_job, read_outcome
from scripts.portal.selections import judge, read_selection, unpack
from scripts.portal.view import page
from scripts.portal.visitors import Visitor, signed_in
from workers.portal_client import Job

Ask = Callable[[Visitor, Sequence[str], Form], Job]
"""Asks for the action on these enrollments, under the key of the form."""


@dataclass(frozen=True)
class BulkAction:
    """An action on several people.

    Parameters:
      action: the word of `can` that is judged.
      kind: of its job.
      path: of its first page.
      texts: the prefix of its texts, and of its templates: `….html` confirms, `…_done.html` shows the results.
      done_codes: the results that mean that it was done.
    """

    action: str
    kind: str
    path: str
    texts: str
    done_codes: Collection[str]
    ask: Ask

    @property
    def routes(self) -> list[Route]:
        """The three addresses of the action."""
        return [
            Route(self.path, self.confirm, methods=["GET", "POST"]),
            Route(f"{self.path}/faire", self.do, methods=["POST"]),
            Route(f"{self.path}/fait", self.done, methods=["GET"]),
        ]

    def confirm(self, request: Request) -> Response:
        """Shows for whom it would be done and for whom not, and does nothing."""
        visitor = signed_in(request)
        selected = read_selection(request)
        if selected.ids == ():
            return page(request, "nothing_selected.html", bulk=self)
        judged = judge(visitor, self.action, selected)
        return page(request, f"{self.texts}.html", bulk=self, judged=judged)

    def do(self, request: Request) -> Response:
        """Asks for it, for exactly those whom the page of confirmation counted."""
        visitor = signed_in(request)
        form = read_form(request)
        ids = unpack(form.text("selection"))
        if not ids:
            return see_other(HOME)
        job = self.ask(visitor, ids, form)
        return follow(job, then=f"{self.path}/fait?demande={job.id}")

    def done(self, request: Request) -> Response:
        """Shows what was done, and for whom not and why."""
        visitor = signed_in(request)
        job = read_job(visitor, request.query_params.get("demande", ""), self.kind)
        if not job.finished:
            return follow(job, then=f"{self.path}/fait?demande={job.id}")
        outcome = read_outcome(visitor, self.action, job, self.done_codes)
        return page(request, f"{self.texts}_done.html", bulk=self, outcome=outcome, job=job)
