"""Reports of imports that have ended: a list of the latest ones asks for each only once."""

import threading
from collections import OrderedDict
from typing import Final
from uuid import UUID

from workers.portal_client import Job, Portal

MOST_REPORTS: Final = 500


class EndedImports:
    """The reports of imports that have ended, which change no more; threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[UUID, Job] = OrderedDict()

    def report(self, portal: Portal, job: Job) -> Job:
        """Returns the report of an import that the key of this client has just listed: it may see it."""
        with self._lock:
            kept = self._kept.get(job.id)
        if kept is not None:
            return kept
        report = portal.roster(job)
        if report.finished:
            with self._lock:
                self._kept[job.id] = report
                while len(self._kept) > MOST_REPORTS:
                    self._kept.popitem(last=False)
        return report
