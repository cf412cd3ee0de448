"""Every operation of the API."""

from typing import Final

from workers.api.operation import Operation
from workers.api.routes import jobs, writes

OPERATIONS: Final[tuple[Operation, ...]] = (*writes.OPERATIONS, *jobs.OPERATIONS)
