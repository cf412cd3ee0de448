"""Answers that lead on: to a page, or to the page of a job until it is done."""

import re
from typing import Final
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from workers.portal_client import Job

HOME: Final = "/participants"

WITHIN: Final = re.compile(r"/(?![/\\])[\x21-\x7e]*")
"""An address within this site: one slash first, and visible ASCII characters alone."""


def see_other(url: str) -> Response:
    """Leads to a page after a form (303): to load it again does not send the form again."""
    return RedirectResponse(within(url), 303, {"Cache-Control": "no-store"})


def follow(job: Job, then: str) -> Response:
    """Leads to the page of a job, which goes on to `then` as soon as the job is done."""
    return see_other(f"/demandes/{job.id}?{urlencode({'suite': within(then)})}")


def within(url: str) -> str:
    """Returns an address within this site, or the list of participants for any other."""
    return url if WITHIN.fullmatch(url) and "\\" not in url else HOME
