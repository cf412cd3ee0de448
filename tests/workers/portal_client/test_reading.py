"""The client of portals goes through pages, waits for jobs, and sends and fetches files, a piece at a time."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tests.kit.processes.support import Processes, rows
from tests.kit.webhooks.receiver import Received, Receiver, answer
from workers.portal_client import Portal, PortalError, reading

PEOPLE: Any = [{"email": f"p{n}@example.com", "first_name": "Zoë", "last_name": f"Le Dû {n}"} for n in range(7)]
MEGABYTE = 1 << 20


@pytest.fixture
def portal(by_http: Portal, workers: Processes) -> Portal:
    """A portal with a contract of twenty seats, and workers that also read files."""
    workers.worker("rosters")
    by_http.wait_for(by_http.put_company("DUBOIS", name="Atelier Dubois"))
    by_http.wait_for(by_http.put_training("SEC-1", title="Sécurité au travail"))
    by_http.wait_for(by_http.put_contract("C-1", company="DUBOIS", training="SEC-1", planned_seats=20))
    return by_http


def test_lists_go_on_page_by_page(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PAGE", 3)
    job = portal.wait_for(portal.enroll("C-1", PEOPLE, key="order-1"))
    assert [one.email for one in portal.participants("C-1")] == [one["email"] for one in reversed(PEOPLE)]
    assert [one.last_name for one in portal.participants("C-1", q="p3@")] == ["Le Dû 3"]
    first = portal.participants_page("C-1", limit=5)
    rest = portal.participants_page("C-1", cursor=first.next, limit=5)
    assert (len(first.items), len(rest.items), rest.next) == (5, 2, None)
    assert portal.participants_page("C-1", q="p3@", to_do=True).items == ()
    counts = portal.participant_counts("C-1")
    assert (counts.not_started.number, counts.not_started.more, counts.to_do.number) == (7, False, 0)
    assert [one.position for one in portal.people(job)] == list(range(7))
    assert list(portal.people(job, code="no_seat_left")) == []
    assert [one.kind for one in portal.jobs()] == ["enroll", "put_contract", "put_training", "put_company"]
    assert [one.reference for one in portal.contracts()] == ["C-1"]
    shown = portal.participant(next(portal.participants("C-1")).enrollment_id)
    assert (shown.contract, shown.company, shown.can.withdraw.allowed) == ("C-1", "DUBOIS", True)


def test_a_file_is_uploaded_with_its_progress_and_corrected(portal: Portal, tmp_path: Path) -> None:
    model = io.BytesIO()
    portal.save_roster_model(model)
    header = model.getvalue().decode("utf-8-sig").splitlines()[0]
    file = tmp_path / "équipe.csv"
    file.write_text(f"{header}\nMüller,Zoë,zoe@example.com,fr,1\nDupont,Jean,no address,fr,2\n", encoding="utf-8")
    told: list[tuple[int, int | None]] = []
    job = portal.upload_roster("C-1", file, key="file-1", progress=lambda *one: told.append(one))
    done = portal.wait_for(job)
    assert told[-1] == (file.stat().st_size, file.stat().st_size)
    assert done.state == "succeeded", done.result
    assert [one.code for one in done.result.people] == ["enrolled", "invalid_email"]
    wrong, known = io.BytesIO(), io.BytesIO()
    portal.save_roster_errors(job, wrong)
    assert b"no address" in wrong.getvalue()
    portal.save_participants("C-1", known)
    assert "Müller" in known.getvalue().decode()
    with file.open("rb") as opened:
        assert portal.upload_roster("C-1", opened, key="file-1").repeated
    assert rows("SELECT count(*) FROM enrollment") == [(1,)]
    assert portal.wait_for(portal.undo_import(job, key="undo-1")).finished


def test_a_file_is_tried_and_then_imported_without_sending_it_again(portal: Portal) -> None:
    lines = "Nom;Prénom;E-mail\nMüller;Zoë;zoe@example.com\nDupont;Jean;no address\n"
    tried = portal.upload_roster("C-1", io.BytesIO(lines.encode()), key="file-1", dry_run=True, policy="until_full")
    assert portal.wait_for(tried).result.counts == {"enrolled": 1, "invalid_email": 1}
    job = portal.import_kept_roster(tried, key="import-1", policy="valid_rows", notify=False)
    assert portal.wait_for(job).state == "succeeded"
    assert portal.import_kept_roster(tried, key="import-1", policy="valid_rows", notify=False).repeated
    done, wrong = portal.roster_rows(job)
    assert done.participant is not None
    assert (done.participant.last_name, wrong.email, wrong.line, wrong.participant) == ("Müller", "no address", 3, None)
    page = portal.roster_page(job, limit=1)
    assert [one.line for one in portal.roster_page(job, cursor=page.next).items] == [3]
    assert [one.line for one in portal.roster_rows(job, only="refused")] == [3]
    outlook = portal.roster_undo(job)
    assert (outlook.counts, outlook.keeping) == ({"withdrawn": 1}, ())


class OneWay(io.RawIOBase):
    """A file that can be read once, as what comes from a network."""

    def __init__(self, size: int) -> None:
        self.left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        given = min(size, self.left)
        self.left -= given
        return b"x" * given


class Takes(Receiver):
    """A server that reads a body as it comes, of any length, and counts its bytes."""

    taken = 0

    async def _talk(self, reader: Any, writer: Any) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        self.received.append(Received(head, {}, b""))
        while not (piece := await reader.read(MEGABYTE)).endswith(b"0\r\n\r\n"):
            self.taken += len(piece)
        writer.write(answer(503, b""))
        await writer.drain()
        return True


def test_a_file_that_can_be_read_once_is_sent_once_in_pieces(by_http: Portal) -> None:
    key = by_http._http._client.headers["authorization"].removeprefix("Bearer ")
    with Takes() as server, Portal(f"http://127.0.0.1:{server.port}/v1", key=key) as portal:
        tracemalloc.start()
        with pytest.raises(PortalError) as refused:
            portal.upload_roster("C-1", OneWay(64 * MEGABYTE), key="file-1")  # type: ignore[arg-type]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (refused.value.status, len(server.received)) == (503, 1)
    assert server.taken >= 63 * MEGABYTE  # the last piece is not counted
    assert most < 16 * MEGABYTE


def test_a_job_that_goes_on_is_returned_as_it_is(by_http: Portal) -> None:
    job = by_http.put_company("DUBOIS", name="Atelier Dubois")
    assert by_http.wait_for(job, 0.2).finished is False
