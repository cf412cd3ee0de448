"""`matricule serve`, `clock` and `webhooks` as processes report a missing setting or a taken port in one line."""

import socket

import pytest

from tests.kit.processes.support import Processes


def test_a_port_that_is_taken_ends_it_with_why(processes: Processes) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = processes.start("workers.cli", "serve", PORT=str(taken.getsockname()[1]))
        assert process.wait(timeout=60) == 1
    assert "address already in use" in processes.logs()
    assert "crashed" not in processes.logs()


@pytest.mark.parametrize("name", ["serve", "clock", "webhooks"])
def test_a_setting_that_lacks_is_named(processes: Processes, name: str) -> None:
    process = processes.start("workers.cli", name, DATABASE_URL="")
    assert process.wait(timeout=60) == 69
    assert "DATABASE_URL" in processes.logs()
    assert len(processes.logs().splitlines()) == 1


def test_keys_that_lack_are_named(processes: Processes) -> None:
    process = processes.start("workers.cli", "serve", LINK_KEYS="")
    assert process.wait(timeout=60) == 69
    assert processes.logs().startswith("LINK_KEYS is empty")
