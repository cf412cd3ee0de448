"""The pages, a file for each family; each file has a list ``ROUTES``."""

from typing import Final

from starlette.routing import Route

from scripts.portal.routes import (
    certificates,
    jobs,
    learner,
    mails,
    participants,
    people,
    progression,
    signing_in,
    webhooks,
    withdrawal,
)

ROUTES: Final[list[Route]] = [
    *signing_in.ROUTES,
    *participants.ROUTES,
    *people.ROUTES,
    *withdrawal.ROUTES,
    *mails.ROUTES,
    *certificates.ROUTES,
    *progression.ROUTES,
    *learner.ROUTES,
    *jobs.ROUTES,
    *webhooks.ROUTES,
]
