"""Every operation of the API."""

from typing import Final

from workers.api.operation import Operation
from workers.api.routes import (
    certificates,
    description,
    jobs,
    participants,
    people,
    rosters,
    selections,
    webhooks,
    writes,
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    *writes.OPERATIONS,
    *participants.OPERATIONS,
    *selections.OPERATIONS,
    *jobs.OPERATIONS,
    *rosters.OPERATIONS,
    *certificates.OPERATIONS,
    *people.OPERATIONS,
    *webhooks.OPERATIONS,
    *description.OPERATIONS,
)
