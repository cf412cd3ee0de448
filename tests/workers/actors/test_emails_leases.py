"""The lease of a mail while it is being sent: slow relays, frozen mailers, mails rescued or given back."""

import os
import signal
import time
from dataclasses import replace

import pytest
from dramatiq.asyncio import EventLoopThread

from tests.kit.actors.mailers import (
    CONNECTIONS,
    QUEUES,
    attempts,
    claim,
    close_connections,
    each_came_once,
    mail,
    many_names,
    owe_invitations,
    states,
    wait_for_states,
)
from tests.kit.processes.support import (
    Processes,
    change,
    forget,
    rows,
    wait_until,
)
from tests.kit.relay.relay import HANG, Relay
from workers.mail.mailer import Mailer
from workers.mail.sending import PreparedMail

LEASE = "5"
"""In seconds: long enough for a busy machine to renew in time, short enough to wait for its end."""


def test_a_relay_slower_than_the_lease_gets_the_mail_once(relay: Relay, processes: Processes) -> None:
    relay.always = {"BODY": HANG}
    owe_invitations("anne", *many_names(11))
    processes.worker(*QUEUES, LEASE_SECONDS=LEASE)
    processes.clock(LEASE_SECONDS=LEASE)
    assert relay.hanging.wait(20), processes.logs()
    [(claimed_at,)] = rows("SELECT max(started_at) FROM email")
    over = f"SELECT 1 FROM clock WHERE now() > :claimed_at + interval '{LEASE} s' + interval '2 s'"
    wait_until(lambda: rows(over, claimed_at=claimed_at))
    assert rows("SELECT sum(rescues), max(claim) FROM email") == [(0, 1)]
    relay.go_on.set()
    wait_for_states(processes, sent=12)
    each_came_once(relay, 12)
    assert rows("SELECT sum(rescues), max(claim) FROM email") == [(0, 1)]


def test_a_mail_taken_back_before_data_is_not_sent_by_its_old_owner(relay: Relay, processes: Processes) -> None:
    relay.always = {"RCPT": HANG}
    owe_invitations("anne", "zoe", "luc")
    processes.worker(*QUEUES, LEASE_SECONDS=LEASE)
    processes.clock(LEASE_SECONDS=LEASE)
    assert relay.hanging.wait(20), processes.logs()
    wait_until(lambda: states() == {"sending": 3})
    change("UPDATE email SET claim = claim + 1, leased_until = now() + interval '1 h' WHERE to_address LIKE 'anne@%'")
    for _ in range(2):  # at the second renewal the mailer has acted on the first
        ends = mail("zoe")["leased_until"]
        wait_until(lambda: mail("zoe")["leased_until"] > ends)  # noqa: B023
    relay.go_on.set()
    wait_for_states(processes, sent=2, sending=1)
    assert relay.to("anne@example.com") == []
    assert (mail()["claim"], attempts()) == (2, [])


@pytest.mark.parametrize(("kept", "sent"), [(slice(0), 0), (slice(4), 4), (None, 0)])
def test_a_mailer_frozen_during_its_claim_sends_only_mails_it_still_holds(
    relay: Relay, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch, kept: slice | None, sent: int
) -> None:
    """The mailer asks which mails are still its own; when the database does not answer, it takes none for its own."""
    owe_invitations(*many_names(6))
    mailer, mine = Mailer(), claim()
    ours = None if kept is None else {row.id for row in mine[kept]}
    monkeypatch.setattr(mailer, "renew", lambda _: ours)
    mailer.do_batch([replace(row, asked_at=row.asked_at - mailer.lease) for row in mine])
    assert len(relay.mails) == states()["sent"] == sent
    assert states()["sending"] == 6 - sent
    close_connections(mailer)


def test_leases_are_moved_while_mails_are_made(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    owe_invitations(*many_names(6))
    mailer, mine = Mailer(), claim()
    change("UPDATE email SET leased_until = now() + interval '1 s'")
    made: list[PreparedMail] = []
    monkeypatch.setattr(mailer, "_send", made.extend)
    mailer.do_batch([replace(row, asked_at=row.asked_at - mailer.lease / 2) for row in mine])
    assert rows("SELECT count(*) FROM email WHERE leased_until > now() + interval '10 s'") == [(6,)]
    assert sum(one.good_until > time.monotonic() + mailer.lease / 2 for one in made) == 6


def test_a_renewal_the_database_does_not_answer_says_nothing_of_the_leases(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    owe_invitations("anne")
    mailer, mine = Mailer(), claim()
    assert mailer.renew(mine) == {row.id for row in mine}
    with monkeypatch.context() as away:
        away.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
        forget()
        assert mailer.renew(mine) is None
    forget()
    assert mailer.renew(mine) == {row.id for row in mine}


def test_a_stopped_mailer_records_its_sent_mails_and_gives_back_the_rest(relay: Relay, processes: Processes) -> None:
    relay.always = {"BODY": HANG}
    owe_invitations(*many_names(30))
    worker = processes.worker(*QUEUES)
    wait_until(lambda: relay.commands.count("DATA") == CONNECTIONS, say=processes.logs)
    os.killpg(worker.pid, signal.SIGTERM)
    wait_until(lambda: "Shutting down" in processes.logs(), say=processes.logs)
    relay.go_on.set()
    assert worker.wait(timeout=20) == 0, processes.logs()
    assert states() == {"sent": CONNECTIONS, "owed": 30 - CONNECTIONS}
    assert rows("SELECT 1 FROM email WHERE leased_until IS NOT NULL OR rescues > 0 OR failures > 0") == []
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=30)
    each_came_once(relay, 30)
