"""A portal made by the command sends through a Redis in which it has no right but its own, until its key is revoked."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.processes.support import Processes, forget, rows, wait_until
from tests.kit.processes.valkey import OwnValkey
from tests.workers.cli.conftest import Call, call
from workers.portal_client import PortalClient
from workers.requests.catalog import PutCompany, PutTraining

__all__ = ["call"]

JOBS = "SELECT p.name, j.kind FROM job j JOIN portal p ON p.id = j.portal_id WHERE p.name = 'acme' ORDER BY j.id"


@pytest.fixture
def server(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnValkey]:
    """Starts a Valkey that asks for a password, for portals and for Matricule."""
    started = OwnValkey(tmp_path / "valkey", "--requirepass", "ours", password="ours").start()
    monkeypatch.setenv("REDIS_URL", f"redis://:ours@127.0.0.1:{started.port}/0")
    forget()
    yield started
    started.kill()


def company(number: int) -> PutCompany:
    return PutCompany(reference=f"C-{number}", name="Acmé")


def client_of(server: OwnValkey, user: dict[str, str], signer: dict[str, str]) -> PortalClient:
    """Opens a client that reaches Redis as the user of one key and signs with another."""
    return PortalClient(
        f"redis://{user['redis_user']}:{user['redis_password']}@127.0.0.1:{server.port}/0",
        portal="acme",
        key_id=signer["key_id"],
        secret=signer["queue_secret"],
        namespace=os.environ["REDIS_NAMESPACE"],
    )


def create(call: Call, *more: str) -> dict[str, str]:
    return dict(call("portal", "create", "acme", *more, "--queue", "--apply", "--json").json)


def answers(portal: PortalClient, count: int, processes: Processes) -> list[tuple[str, str, str]]:
    """Waits for so many answers; returns key, outcome and code of each."""
    wait_until(lambda: len(portal.read_answers(seconds=1.0)) >= count, say=processes.logs)
    return [(one.key, one.outcome, one.code) for one in portal.read_answers()]


def test_it_sends_as_its_own_user_and_learns_what_was_accepted(
    server: OwnValkey, call: Call, processes: Processes
) -> None:
    made, narrow = create(call), create(call, "--scopes", "read")
    processes.worker("requests", processes=1, threads=2)
    with closing(client_of(server, made, made)) as portal, closing(client_of(server, made, narrow)) as other:
        portal.send(company(1), key="one")
        portal.send_many([(company(2), "two"), (PutTraining(reference="T", title="Sécurité"), "three")])
        other.send(company(3), key="four")
        assert answers(portal, 4, processes) == [
            *((key, "accepted", "") for key in ("one", "two", "three")),
            ("four", "refused", "insufficient_scope"),
        ]
    assert rows(JOBS)[:3] == [("acme", kind) for kind in ("put_company", "put_company", "put_training")]


def test_a_rotated_key_signs_and_a_revoked_one_no_longer_does(
    server: OwnValkey, call: Call, processes: Processes
) -> None:
    old = create(call)
    processes.worker("requests", processes=1, threads=2)
    new = call("portal", "rotate", "acme", "--apply", "--json").json
    with closing(client_of(server, new, old)) as before, closing(client_of(server, new, new)) as after:
        before.send(company(1), key="one")
        after.send(company(2), key="two")
        assert answers(after, 2, processes) == [("one", "accepted", ""), ("two", "accepted", "")]
        assert call("portal", "revoke", old["key_id"], "--apply").code == 0
        wait_until(lambda: before.send(company(1), key="one") and after.read_answers()[-1].code == "unauthorized")
        after.send(company(1), key="one")
        wait_until(lambda: after.read_answers()[-1].outcome == "repeated", say=processes.logs)
        assert {one.outcome for one in after.read_answers()} == {"accepted", "repeated", "refused"}
