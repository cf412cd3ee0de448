"""A file dropped in an inbox is imported once and put away with its report, even after interruptions."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from tests.kit.builders.inboxes import (
    drop,
    folder,
    names,
    put,
    report,
    scan,
    scan_to_the_end,
    used,
    without_times,
    work,
)
from tests.kit.processes.support import change, rows
from workers.database import transaction
from workers.errors import InvalidRequest, NotConfigured
from workers.imports import importing as roster_imports
from workers.imports import scanning as inboxes
from workers.imports.inboxes import put_inbox, read_inboxes, see_files
from workers.ops.problems import find_inboxes
from workers.requests.internal import PutInbox
from workers.requests.registry import parse
from workers.rosters.folder import InboxFolder

__all__ = ["folder"]


def troubles() -> list[tuple[object, ...]]:
    """Returns the problems that `status` tells of inboxes."""
    with transaction() as session:
        return [tuple(one.values()) for one in find_inboxes(session)]


def test_a_file_is_imported_once_and_put_away_with_its_report(folder: Path) -> None:
    drop(folder, "liste.csv", "a", "b", "a")
    scan()
    assert rows("SELECT count(*) FROM job WHERE kind = 'import_roster'") == [(0,)]
    scan(settle=False)  # the file may still be written
    assert rows("SELECT count(*) FROM job WHERE kind = 'import_roster'") == [(0,)]
    scan()
    scan()
    assert rows("SELECT count(*) FROM job WHERE kind = 'import_roster'") == [(1,)]
    assert names(folder) == ["liste.csv"]
    work()
    assert used() == 2
    scan()
    assert without_times(names(folder)) == [
        "done/liste.csv",
        "done/liste.csv.errors.csv",
        "done/liste.csv.report.json",
    ]
    assert report(folder)["result"]["counts"] == {"enrolled": 2, "duplicate_in_file": 1}
    before = names(folder)
    scan()
    work()
    assert (names(folder), used()) == (before, 2)


def test_a_file_that_grows_is_left_alone_until_it_stays_as_it_is(folder: Path) -> None:
    file = drop(folder, "liste.csv", "a")
    scan()
    file.write_bytes(file.read_bytes() + "Dû;Zoé;b@example.com\r\n".encode())
    scan()
    assert rows("SELECT count(*) FROM job WHERE kind = 'import_roster'") == [(0,)]
    scan_to_the_end()
    assert used() == 2


def test_the_same_name_dropped_again_is_another_file(folder: Path) -> None:
    drop(folder, "liste.csv", "a")
    scan_to_the_end()
    file = drop(folder, "liste.csv", "c")
    os.utime(file, (time.time() + 5, time.time() + 5))
    scan_to_the_end()
    assert used() == 2
    assert len([name for name in names(folder) if name.endswith("liste.csv")]) == 2


@pytest.mark.parametrize("name", [".cache.csv", "liste.csv.part", "~$liste.xlsx", "liste.tmp", "matricule.json"])
def test_other_files_are_left_alone(folder: Path, name: str) -> None:
    drop(folder, name, data=b'{"contract": "C-1"}' if name == "matricule.json" else None)
    (folder / "dossier").mkdir()
    (folder / "lien.csv").symlink_to("/etc/hostname")
    scan_to_the_end()
    assert rows("SELECT count(*) FROM inbox_file") == [(0,)]
    assert (folder / name).exists()


def test_an_unreadable_file_is_put_among_the_rejected(folder: Path) -> None:
    drop(folder, "liste.csv", data=b"%PDF-1.7")
    scan_to_the_end()
    assert without_times(names(folder)) == ["rejected/liste.csv", "rejected/liste.csv.report.json"]
    said = report(folder, "rejected")
    assert (said["state"], said["code"]) == ("refused", "unsupported_format")
    assert said["reason"].startswith("Ce format de fichier")


def test_a_folder_that_says_it_is_for_another_contract(folder: Path) -> None:
    drop(folder, "matricule.json", data=b'{"contract": "C-2"}')
    drop(folder)
    scan_to_the_end()
    assert report(folder, "rejected")["code"] == "wrong_folder"
    assert used() == 0
    (folder / "matricule.json").write_text('{"contract": "C-1"}')
    drop(folder)
    scan_to_the_end()
    assert used() == 2


@pytest.mark.parametrize(("percent", "where", "expected"), [(50, "rejected", 2), (100, "done", 4)])
def test_a_file_that_would_change_too_much_is_refused_after_a_dry_run(
    folder: Path, percent: int, where: str, expected: int
) -> None:
    put(folder, most_changed_percent=percent)
    drop(folder, "premier.csv", "a", "b")
    scan_to_the_end()
    assert used() == 2  # the first file may do so
    drop(folder, "second.csv", "a", "b", "c", "d")
    scan_to_the_end()
    assert used() == expected
    assert [name.split("-", 2)[2] for name in names(folder / where) if name.endswith("second.csv")] == ["second.csv"]
    if where == "rejected":
        assert report(folder, "rejected")["code"] == "too_many_changes"


def test_full_sync_reports_missing_people_and_changes_no_one(folder: Path) -> None:
    put(folder, full_sync=True)
    drop(folder, "premier.csv", "a", "b", "c")
    scan_to_the_end()
    drop(folder, "second.csv", "b", "c")
    scan_to_the_end()
    assert used() == 3
    [missing] = list((folder / "done").glob("*second.csv.missing.csv"))
    assert missing.read_text("utf-8-sig").splitlines() == ['"E-mail";"Prénom";"Nom"', '"a@example.com";"Zoé";"Dû"']


def test_two_scanners_at_once_import_once(folder: Path) -> None:
    drop(folder)
    scan()
    change("UPDATE inbox_file SET seen_at = seen_at - interval '2 minutes'")
    with transaction() as session:
        [inbox] = read_inboxes(session)
        seen = see_files(session, inbox, [])
    for _ in range(2):
        inboxes._take(inbox, InboxFolder(inbox.url), seen[0], None)
    assert rows("SELECT count(*) FROM job WHERE kind = 'import_roster'") == [(1,)]
    work()
    for _ in range(2):
        with transaction() as session:
            seen = see_files(session, inbox, [])
        for one in seen:
            inboxes._put_away(inbox, InboxFolder(inbox.url), one)
    assert used() == 2
    assert len(names(folder)) == 2


@pytest.mark.parametrize("step", ["put", "put_away"])
def test_a_scanner_that_dies_between_report_and_move_leaves_it_to_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    drop(folder)
    for _ in range(2):
        scan()
    work()

    def fail(*_: object) -> None:
        raise OSError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(InboxFolder, step, fail)
        assert scan()["unreadable"] == 1
    assert (folder / "liste.csv").exists()
    scan()
    assert without_times(names(folder)) == ["done/liste.csv", "done/liste.csv.report.json"]
    assert used() == 2


def test_a_folder_that_cannot_be_read_keeps_no_other_waiting(folder: Path, tmp_path: Path) -> None:
    other = PutInbox(portal="local", reference="a", contract="C-1", url=f"file://{tmp_path}/absent")
    with transaction() as session:
        put_inbox(session, LOCAL_PORTAL_ID, None, other)
        session.execute(text("UPDATE inbox SET id = '00000000-0000-7000-8000-000000000000' WHERE reference = 'a'"))
    drop(folder)
    scan()
    assert scan() == {"inboxes": 2, "unreadable": 1}
    assert rows("SELECT reference, trouble, scanned_at IS NOT NULL FROM inbox ORDER BY 1") == [
        ("a", "FileNotFoundError", True),
        ("rh", None, True),
    ]
    with transaction() as session:
        assert find_inboxes(session) == [
            {"code": "unreadable_inbox", "subject": "a", "count": 1, "class": "FileNotFoundError"}
        ]
    work()
    assert used() == 2


def test_a_large_file_is_taken_in_chunks_like_any_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster_imports, "CHUNK", 2)
    drop(folder, "liste.csv", *"abcdefg")
    scan_to_the_end()
    assert report(folder)["result"]["counts"] == {"enrolled": 5, "no_seat_left": 2}


@pytest.mark.parametrize("kind", ["put_inbox", "scan_inboxes"])
def test_no_portal_sets_up_an_inbox(kind: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(kind, "{}")
    assert refused.value.code is Code.UNKNOWN_KIND


@pytest.mark.parametrize("url", ["sftp://user:secret@host/x", "nowhere://x"])
def test_an_address_that_holds_a_password_or_leads_nowhere_is_refused(url: str) -> None:
    with pytest.raises(NotConfigured) as refused:
        InboxFolder(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["a\nb.csv", "\u202efdp.csv", "é" * 80 + ".csv", "=?utf-8?q?x?=.csv", "  .csv", "'; DROP.csv"]
)
def test_a_hostile_file_name_stops_no_other_file(folder: Path, name: str) -> None:
    drop(folder, name, "a")
    drop(folder, "zzz.csv", "b")
    scan_to_the_end()
    assert used() == 2
    assert len([one for one in names(folder) if one.endswith(".report.json")]) == 2


def test_a_file_that_cannot_be_read_keeps_no_other_waiting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(folder, "a.csv", "a")
    drop(folder, "b.csv", "b")
    real = InboxFolder.fetch

    def deny(self: InboxFolder, dropped: Any) -> Any:
        if dropped.name == "a.csv":
            raise PermissionError
        return real(self, dropped)

    monkeypatch.setattr(InboxFolder, "fetch", deny)
    scan_to_the_end()
    assert used() == 1
    assert rows("SELECT trouble FROM inbox") == [(None,)]
    assert troubles() == [("unreadable_inbox_file", "rh", 1, "PermissionError")]
