"""The two senders beside which `mails` stands send the same bytes; the best one records each mail."""

import pickle
from pathlib import Path

import pytest

from tests.benchmarks.people import ADD_PEOPLE
from tests.benchmarks.plain_mails import Mail, read_mails
from tests.benchmarks.population import add_catalog, contract, known_id
from tests.kit.processes.support import Processes, rows, wait_until
from workers.database import transaction

COUNT = 25
CONNECTIONS = 3


def mail(number: int) -> Mail:
    content = f"Subject: {number}\r\n\r\n.a dot\r\n..two\r\n.\r\nthe end\r\n"
    return "from@example.org", f"to{number}@example.org", content.encode()


def owe() -> None:
    """Creates as many owed mails as there are bytes to send."""
    add_catalog(1)
    with transaction() as session:
        ids = [known_id(f"person {number}") for number in range(COUNT)]
        session.execute(ADD_PEOPLE, {"ids": ids, "contract": known_id(contract(0))})


@pytest.mark.parametrize(("module", "recorded"), [("plain_mails", 0), ("fast_mails", COUNT)])
def test_each_mail_arrives_once_with_its_bytes(
    processes: Processes, tmp_path: Path, module: str, recorded: int
) -> None:
    owe()
    mails = [mail(number) for number in range(COUNT)]
    (tmp_path / "mails").write_bytes(b"".join(map(pickle.dumps, mails)))
    processes.start("tests.benchmarks.sink", str(tmp_path / "port"), str(tmp_path / "kept"))
    wait_until((tmp_path / "port").exists)
    go = tmp_path / "go"
    senders = [
        processes.start(
            f"tests.benchmarks.{module}",
            (tmp_path / "port").read_text(),
            str(tmp_path / "mails"),
            *map(str, (share, 2, CONNECTIONS, go)),
        )
        for share in range(2)
    ]
    go.touch()
    assert [sender.wait(60) for sender in senders] == [0, 0]
    arrived = sorted(
        (sender, to, content.replace(b"\r\n.", b"\r\n")) for sender, to, content in read_mails(tmp_path / "kept")
    )
    assert arrived == sorted(mails)
    assert rows("SELECT count(*) FROM email WHERE state = 'sent' AND finished_at IS NOT NULL") == [(recorded,)]
