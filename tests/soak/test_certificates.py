"""Runs the soak in a short form and checks that it detects faults; `scripts/soak certificates` is the long form."""

import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.kit.processes.support import PROJECT
from tests.soak import certificates as soak_certificates
from tests.soak.certificates import MOST_MEGABYTES, Report, one_line, soak
from workers.documents.renderer import RenderFolder

FEW = 200


def test_the_command_finds_nothing_in_many_documents() -> None:
    command = [str(PROJECT / "scripts" / "soak"), "certificates", "1500", "--warm", "500"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith("1,500 documents by 2 threads")
    assert ran.stdout.endswith("no panic, no error of a thread, no leak\n")


@pytest.fixture
def room() -> Iterator[RenderFolder]:
    with one_line() as opened:
        yield opened


def test_a_leak_is_found(room: RenderFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    leaked = []
    rendered = room.compile

    def compile_and_keep(document: str, data: Mapping[str, Any], timestamp: datetime) -> bytes:
        leaked.append(bytes(int(2e6 * MOST_MEGABYTES / FEW)))
        return rendered(document, data, timestamp)

    monkeypatch.setattr(room, "compile", compile_and_keep)
    [found] = soak(room, FEW, warm=50).findings(FEW)
    assert found.startswith("memory grew by")


def test_a_compiler_that_threads_share_is_found(room: RenderFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = room._compiler(soak_certificates.NAME), room._compiler("blank")
    monkeypatch.setattr(room, "_compiler", lambda document: shared[document == "blank"])
    report = soak(room, FEW, warm=0)  # without a warm-up, memory may grow too: it is not judged here
    assert any("Already borrowed" in trouble for trouble in report.troubles)
    assert report.made < FEW


def test_a_thread_that_ends_is_found(room: RenderFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicError(BaseException):
        pass

    def panic(*_: object) -> bytes:
        raise PanicError("out of file ids")

    monkeypatch.setattr(room, "compile", panic)
    assert soak(room, FEW, warm=0).troubles == Counter({"PanicError: out of file ids": soak_certificates.THREADS})


@pytest.mark.parametrize(
    ("report", "findings"),
    [
        (Report(made=10, megabytes=[100.0, 150.0, 110.0]), 0),
        (Report(made=10, megabytes=[100.0, 110.1]), 1),
        (Report(made=9, megabytes=[100.0, 90.0]), 1),
        (Report(made=10, troubles=Counter(panic=2), megabytes=[100.0, 100.0]), 1),
    ],
)
def test_the_faults_the_soak_detects(report: Report, findings: int) -> None:
    assert len(report.findings(10)) == findings
