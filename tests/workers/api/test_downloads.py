"""Files that are made for a call: the thread that makes them leaves others their time."""

import time
from collections.abc import Iterator

import pytest

from workers.api.downloads import WORK_SECONDS, collect, read_pieces


def test_a_file_that_takes_long_is_made_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now, rested = [0.0], list[float]()

    def lines() -> Iterator[bytes]:
        for number in range(1_000):
            now[0] += 0.001
            yield b"%d\n" % number

    def rest(seconds: float) -> None:
        rested.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", rest)
    content = b"".join(read_pieces(collect(lines())))
    assert content.splitlines()[::999] == [b"0", b"999"]
    assert sum(rested) == pytest.approx(1.0, rel=0.1)  # as long as the work took
    assert max(rested) == WORK_SECONDS
