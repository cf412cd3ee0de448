"""The pages of the console, a module for each family; ``ROUTERS`` are all of them."""

from typing import Final

from fastapi import APIRouter

from workers.console.routes import (
    actions,
    contacts,
    errors,
    files,
    history,
    jobs,
    mails,
    now,
    people,
    queues,
    sign_in,
    system,
)

ROUTERS: Final[tuple[APIRouter, ...]] = tuple(
    module.router
    for module in (sign_in, now, queues, errors, jobs, mails, contacts, people, files, actions, system, history)
)
