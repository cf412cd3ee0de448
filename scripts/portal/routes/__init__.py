"""The pages, a file for each family; each file has a list ``ROUTES``."""

from typing import Final

from starlette.routing import Route

from scripts.portal.routes import (
    adding,
    certificates,
    importing,
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
    *adding.ROUTES,
    *importing.ROUTES,
    *people.ROUTES,
    *withdrawal.ROUTES,
    *mails.ROUTES,
    *certificates.ROUTES,
    *progression.ROUTES,
    *learner.ROUTES,
    *jobs.ROUTES,
    *webhooks.ROUTES,
]
