"""The site keeps a bounded number of forms, and of reports of imports that change no more."""

from uuid import UUID

import pytest

from scripts.portal import drafts, reports
from scripts.portal.drafts import Drafts
from scripts.portal.persons import NOBODY, TypedPerson
from scripts.portal.reports import EndedImports
from workers.portal_client import Job

LEA = TypedPerson("lea@example.com", "Léa", "Marchand")


def test_the_people_of_a_form_are_kept_until_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MOST_DRAFTS", 2)
    kept = Drafts()
    for number in range(3):
        kept.keep(UUID(int=number), "C-1", [LEA])
    assert [list(kept.read(UUID(int=number), 1)) for number in range(3)] == [[NOBODY], [LEA], [LEA]]
    assert list(kept.read(UUID(int=2), 2)) == [NOBODY, NOBODY]  # a job of other people than those that were typed


def test_long_forms_are_kept_for_a_shorter_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MOST_CHARACTERS", 250)
    kept, long = Drafts(), TypedPerson("a" * 100, "", "")
    for number in (0, 1, 1, 2):
        kept.keep(UUID(int=number), "C-1", [long])
    assert [list(kept.read(UUID(int=number), 1)) for number in range(3)] == [[NOBODY], [long], [long]]


class CountingPortal:
    """Stands for the client, and counts the reports that are asked for."""

    def __init__(self) -> None:
        self.asked: list[UUID] = []

    def roster(self, job: Job) -> Job:
        self.asked.append(job.id)
        return job


def test_an_ended_import_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MOST_REPORTS", 1)
    portal, ended = CountingPortal(), EndedImports()
    running, done, later = (Job(id=UUID(int=number), kind="import_roster", finished=number > 0) for number in range(3))
    for job in (running, running, done, done, later, done):
        assert ended.report(portal, job) == job  # type: ignore[arg-type]
    assert portal.asked == [running.id, running.id, done.id, later.id, done.id]
