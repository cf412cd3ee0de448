"""Each file of an inbox stands alone, with any name and of any kind."""

import json
import os
import socket
import threading
import unicodedata
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.kit.builders.inboxes import drop, folder, names, report, scan, scan_to_the_end, used, work
from tests.kit.processes.buckets import BUCKET, bucket
from tests.kit.processes.support import change, rows
from workers.database import transaction
from workers.imports import scanning
from workers.ops.problems import find_inboxes
from workers.rosters.folder import InboxFolder

__all__ = ["bucket", "folder"]

PEOPLE = "Nom;Prénom;E-mail\nDû;Zoé;{}@example.com\n"


def drop_bytes(place: Path, name: bytes, who: str) -> bytes:
    """Writes a file of one person under a name of any bytes."""
    path = os.path.join(os.fsencode(place), name)
    with open(path, "wb") as file:
        file.write(PEOPLE.format(who).encode())
    return path


def problems() -> list[dict[str, Any]]:
    with transaction() as session:
        return find_inboxes(session)


def reports(place: Path) -> list[dict[str, Any]]:
    return [json.loads(one.read_text("utf-8")) for one in sorted((place / "done").glob("*.report.json"))]


HOSTILE: dict[str, bytes] = {
    "Latin-1": "Zoé.csv".encode("latin-1"),
    "bytes that no encoding has": b"\xff\xfe\x80.csv",
    "a name like the one that replaces it": "\ufffd.csv".encode(),
    "255 bytes of one letter": b"a" * 251 + b".csv",
    "255 bytes that differ at their end": b"a" * 250 + b"b.csv",
    "255 bytes of letters of two bytes": "é".encode() * 125 + b"a.csv",
    "255 bytes of letters of four bytes": "😀".encode() * 62 + b"abc.csv",
    "255 bytes of accents": b"e" + "\u0301".encode() * 125 + b".csv",
    "255 bytes of suffix": b"a." + b"x" * 253,
    "255 bytes that are no text": b"\xff" * 251 + b".csv",
    "a line break": b"a\nb.csv",
    "control characters": b"a\x1b[31m\x07.csv",
    "marks of another direction": "\u202efdp.csv".encode(),
    "composed": unicodedata.normalize("NFC", "été.csv").encode(),
    "decomposed": unicodedata.normalize("NFD", "été.csv").encode(),
    "a dash in front": b"-rf.csv",
    "a pattern": b"[a-z]*?.csv",
    "a protocol": b"file:liste.csv",
    "a chain": b"zip:::x.csv",
    "a backslash": b"x\\..\\y.csv",
    "spaces": b"  .csv  ",
    "quotes": b"'\";--.csv",
    "an encoded word": b"=?utf-8?q?x?=.csv",
}


def test_a_file_of_any_name_is_imported_and_put_away(folder: Path) -> None:
    change("UPDATE contract SET planned_seats = 100")
    for number, name in enumerate(HOSTILE.values()):
        drop_bytes(folder, name, f"p{number}")
    drop(folder, "zzz.csv", "last")
    scan_to_the_end()
    assert rows("SELECT name FROM inbox_file WHERE job_id IS NULL") == []
    assert used() == len(HOSTILE) + 1
    assert [one for one in os.listdir(os.fsencode(folder)) if one not in (b"done", b"rejected")] == []
    put_away = os.listdir(os.fsencode(folder / "done"))
    assert len(put_away) == 2 * (len(HOSTILE) + 1)
    for name in put_away:
        shown = name.decode()  # it is text by now
        assert len(name) <= 255
        assert not set(shown) & {"\n", "\x1b", "\x07", "\u202e"}
    assert {one["state"] for one in reports(folder)} == {"succeeded"}
    assert problems() == []


def test_a_long_name_keeps_its_beginning_and_its_suffix(folder: Path) -> None:
    drop_bytes(folder, "Équipe ".encode() + "é".encode() * 120 + b".csv", "zoe")
    scan_to_the_end()
    [kept] = [one for one in names(folder) if one.endswith(".csv")]
    _, _, name = kept.split("-", 2)
    assert name.startswith("Équipe éé")
    assert name.endswith("é.csv")
    assert report(folder)["file"].startswith("Équipe")


def test_what_is_no_file_is_left_alone_and_holds_up_nothing(folder: Path) -> None:
    os.mkfifo(folder / "pipe.csv")
    (folder / "folder.csv").mkdir()
    (folder / "link.csv").symlink_to("/etc/hostname")
    (folder / "broken.csv").symlink_to(folder / "absent")
    (folder / "loop.csv").symlink_to(folder / "loop.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.csv"))
        drop(folder, "zzz.csv", "last")
        scan_to_the_end()
    assert used() == 1
    assert rows("SELECT name FROM inbox_file") == [("zzz.csv",)]
    assert problems() == []


@pytest.mark.parametrize("name", ["a.csv", "matricule.json"])
def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(folder: Path, name: str) -> None:
    drop(folder, "a.csv", "a")
    inbox = InboxFolder(f"file://{folder}")
    [dropped] = inbox.files()
    (folder / "a.csv").unlink()
    os.mkfifo(folder / name)
    failed = threading.Event()

    def read() -> None:
        try:
            inbox.contract()
            inbox.fetch(dropped)
        except OSError:
            failed.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=10)
    assert failed.is_set()


def test_a_link_that_takes_the_place_of_a_file_is_not_followed(folder: Path) -> None:
    drop(folder, "a.csv", "a")
    inbox = InboxFolder(f"file://{folder}")
    [dropped] = inbox.files()
    (folder / "a.csv").unlink()
    (folder / "a.csv").symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        inbox.fetch(dropped)


def fail_for(monkeypatch: pytest.MonkeyPatch, error: Exception, name: str = "a.csv") -> None:
    """Lets each fetch of one file fail; tests run as a user who may read everything."""
    real = InboxFolder.fetch

    def fetch(self: InboxFolder, dropped: Any) -> Any:
        if dropped.name == name:
            raise error
        return real(self, dropped)

    monkeypatch.setattr(InboxFolder, "fetch", fetch)


@pytest.mark.parametrize("error", [PermissionError(), ValueError("?"), RuntimeError("of some library")])
def test_one_file_in_trouble_is_told_alone_until_it_can_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    drop(folder, "a.csv", "a")
    drop(folder, "b.csv", "b")
    with monkeypatch.context() as broken:
        fail_for(broken, error)
        scan_to_the_end()
        told = {"code": "unreadable_inbox_file", "subject": "rh", "count": 1, "class": type(error).__name__}
        assert problems() == [told]
        assert rows("SELECT name, trouble FROM inbox_file ORDER BY name") == [
            ("a.csv", type(error).__name__),
            ("b.csv", None),
        ]
        assert used() == 1
    scan_to_the_end()
    assert (problems(), used()) == ([], 2)


def test_files_in_trouble_have_their_turn_last(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MOST_STEPS", 1)
    drop(folder, "a.csv", "a")
    drop(folder, "b.csv", "b")
    fail_for(monkeypatch, PermissionError())
    for _ in range(3):
        scan_to_the_end()
    assert used() == 1


def test_a_file_that_vanishes_while_it_is_taken_is_no_trouble(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(folder, "a.csv", "a")
    drop(folder, "b.csv", "b")
    fail_for(monkeypatch, FileNotFoundError())
    scan_to_the_end()
    assert (problems(), used()) == ([], 1)


def test_a_file_that_is_dropped_again_is_imported_again(folder: Path) -> None:
    """A person moves a rejected file back once the contract has seats: its size and time are those of before."""
    file = drop(folder, "liste.csv", *"abcdef")
    scan_to_the_end()
    assert used() == 5
    change("UPDATE contract SET planned_seats = 100")
    [kept] = [one for one in (folder / "done").iterdir() if one.name.endswith("-liste.csv")]
    kept.rename(file)
    scan_to_the_end()
    assert used() == 6
    assert names(folder)[0].startswith("done/")


def test_a_file_that_was_out_of_sight_for_a_moment_is_imported(folder: Path) -> None:
    file = drop(folder, "liste.csv", "a")
    scan()
    file.rename(folder / ".hidden")
    scan()
    (folder / ".hidden").rename(file)
    scan_to_the_end()
    assert used() == 1


def test_a_version_that_comes_during_the_import_is_not_put_away_with_it(folder: Path) -> None:
    file = drop(folder, "liste.csv", "a")
    scan()
    scan()
    drop(folder, "liste.csv", "a", "b")
    work()
    scan()
    assert file.exists()
    scan_to_the_end()
    assert used() == 2
    assert not file.exists()


def test_a_pattern_as_a_name_moves_no_other_file_of_a_bucket(bucket: str) -> None:
    client = boto3.client("s3")
    for name in ("liste[1].csv", "liste1.csv", "*.csv"):
        client.put_object(Bucket=BUCKET, Key=f"acme/{name}", Body=PEOPLE.format("zoe").encode())
    place = InboxFolder(bucket)
    for name in ("liste[1].csv", "*.csv"):
        place.put_away(name, "done", name)
    keys = {str(one["Key"]) for one in client.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert {"acme/done/*.csv", "acme/done/liste[1].csv", "acme/liste1.csv"} <= keys
    assert keys.isdisjoint({"acme/*.csv", "acme/liste[1].csv", "acme/done/liste1.csv"})
