"""The pages, a file for each family; each file has a list ``ROUTES``."""

from typing import Final

from starlette.routing import Route

from scripts.portal.routes import jobs, participants, signing_in, webhooks

ROUTES: Final[list[Route]] = [
    *signing_in.ROUTES,
    *participants.ROUTES,
    *jobs.ROUTES,
    *webhooks.ROUTES,
]
