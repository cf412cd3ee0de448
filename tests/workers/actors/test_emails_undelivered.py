"""Owed mails that the relay refuses or loses, or that find no relay: real mailer processes and a scripted relay."""

import re

import pytest

from tests.kit.actors.mailers import (
    CONNECTIONS,
    QUEUES,
    attempts,
    due_now,
    each_came_once,
    has_accepted,
    mail,
    many_names,
    owe_invitations,
    states,
    wait_for_states,
)
from tests.kit.builders.contracts import someone
from tests.kit.processes.support import Processes, rows, wait_until
from tests.kit.relay.relay import DROP, Relay
from workers.mail.mailer import MOST_UNCERTAIN

# Mails that the relay refuses


@pytest.mark.parametrize(
    ("step", "answer", "reason"),
    [
        ("RCPT", "451 4.7.1 greylisted", "deferred"),
        ("BODY", "452 4.3.1 no room", "deferred"),
        ("BODY", "421 4.3.2 closing", "relay_busy"),
        ("RCPT", "552 5.2.2 mailbox full", "mailbox_full"),
    ],
)
def test_a_refusal_for_now_is_tried_again_when_due(
    relay: Relay, processes: Processes, step: str, answer: str, reason: str
) -> None:
    relay.script = {f"{step} anne@example.com": [answer]}
    owe_invitations("anne", *many_names(6))
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=6, owed=1)
    found = mail()
    assert (found["failures"], found["leased_until"], found["error"]["reason"]) == (1, None, reason)
    assert 60 <= found["pause"] <= 72
    assert attempts() == ["retry"]
    due_now()
    wait_for_states(processes, sent=7)
    assert len([one for one in relay.to("anne@example.com") if one.answer.startswith("250")]) == 1
    assert mail()["claim"] == 2


def test_an_address_that_does_not_exist_is_never_tried_again(relay: Relay, processes: Processes) -> None:
    has_accepted(relay)
    relay.always = {"RCPT anne@example.com": "550 5.1.1 <anne@example.com>: unknown"}
    owe_invitations("anne", *many_names(6))
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=6, failed=1)
    found = mail()
    assert (found["due_at"], found["failures"], attempts()) == (None, 1, ["dead"])
    assert (found["error"]["class"], found["error"]["reason"]) == ("failed", "address_rejected")
    assert "550" in found["error"]["message"]
    assert "anne@" not in found["error"]["message"]
    owe_invitations("zoe")
    due_now()
    wait_for_states(processes, sent=7, failed=1)
    assert relay.commands.count("RCPT TO:<anne@example.com>") == 1


@pytest.mark.parametrize(
    ("answer", "reason", "first", "second"),
    [
        ("421 4.7.0 try again in 2 minutes", "relay_busy", 120, 300),
        ("450 4.1.1 unverified: its server said: throttled, come back in 60 minutes", "throttled", 3600, 3600),
        ("554 5.7.1 Relay access denied", "relaying_denied", 60, 300),
        ("530 5.7.0 Authentication required", "auth_refused", 60, 300),
        (DROP, "connection_lost", 60, 300),
    ],
)
def test_one_recipient_cannot_stop_the_others(
    relay: Relay, processes: Processes, answer: str, reason: str, first: int, second: int
) -> None:
    relay.always = {"RCPT anne@example.com": answer}
    owe_invitations("anne", *many_names(6))
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=6, owed=1)
    assert first <= mail()["pause"] <= 1.2 * first
    due_now()
    wait_until(lambda: mail()["failures"] == 2, say=processes.logs)
    assert second <= mail()["pause"] <= 1.2 * second
    assert (mail()["error"]["reason"], attempts()) == (reason, ["retry", "retry"])
    owe_invitations("zoe")
    due_now()
    wait_until(lambda: relay.to("zoe@example.com"), say=processes.logs)
    assert "relay.circuit_open" not in processes.logs()


def test_the_circuit_opens_when_one_recipient_after_the_other_is_refused(relay: Relay, processes: Processes) -> None:
    relay.always = {"RCPT": "454 Throttling failure: Maximum sending rate exceeded, wait 60 minutes"}
    owe_invitations(*(someone(f"anne@c{number}.example") for number in range(30)))
    processes.worker(*QUEUES)
    wait_until(lambda: "relay.circuit_open" in processes.logs(), say=processes.logs)
    wait_until(lambda: states() == {"owed": 30})
    assert '"seconds": 1' in re.findall(r".*relay\.circuit_open.*", processes.logs())[0]
    [(tried, waiting)] = rows(
        "SELECT count(*) FILTER (WHERE failures = 1), count(*) FILTER (WHERE failures = 0 AND due_at <= now())"
        " FROM email"
    )
    assert tried in range(2, 2 + CONNECTIONS)  # two show the fault of the relay; other connections may be trying too
    assert waiting == 30 - int(str(tried))


# Mails that may have arrived


def test_a_mail_lost_inside_data_is_sent_again_later_as_the_same(relay: Relay, processes: Processes) -> None:
    relay.script = {"BODY anne@example.com": [DROP]}
    owe_invitations("anne", *many_names(6))
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=6, uncertain=1)
    found = mail()
    assert 900 <= found["pause"] <= 1800
    assert (found["failures"], found["finished_at"], attempts()) == (1, None, ["uncertain"])
    due_now()
    wait_for_states(processes, sent=7)
    first, second = relay.to("anne@example.com")
    assert first.message.as_bytes() == second.message.as_bytes()


def test_a_mail_lost_too_often_is_left_uncertain(relay: Relay, processes: Processes) -> None:
    relay.always = {"BODY": DROP}
    owe_invitations("anne")
    processes.worker(*QUEUES)
    for losses in range(1, MOST_UNCERTAIN + 1):
        wait_until(lambda: mail()["failures"] == losses, say=processes.logs)  # noqa: B023
        due_now()
    found = mail()
    assert (found["state"], found["due_at"]) == ("uncertain", None)
    assert found["finished_at"] is not None
    assert relay.got() == {found["message_id"]: MOST_UNCERTAIN}


def test_refusals_before_do_not_count_as_losses(relay: Relay, processes: Processes) -> None:
    relay.script = {"RCPT": ["451 later"] * MOST_UNCERTAIN, "BODY": [DROP]}
    owe_invitations("anne")
    processes.worker(*QUEUES)
    for failures in range(1, MOST_UNCERTAIN + 2):
        wait_until(lambda: mail()["failures"] == failures, say=processes.logs)  # noqa: B023
        assert mail()["due_at"] is not None
        due_now()
    wait_for_states(processes, sent=1)
    assert attempts() == ["retry"] * MOST_UNCERTAIN + ["uncertain"]


# A relay that is away


def test_while_the_relay_is_away_mails_wait_and_no_attempt_is_burnt(relay: Relay, processes: Processes) -> None:
    relay.stop()
    owe_invitations(*many_names(30))
    processes.worker(*QUEUES)
    processes.clock()
    wait_until(lambda: "relay.circuit_open" in processes.logs(), say=processes.logs)
    wait_until(lambda: states() == {"owed": 30})
    postponed = rows(
        "SELECT extract(epoch FROM e.due_at - a.created_at) FROM job_attempt a JOIN email e ON e.id = row_id"
    )
    assert 1 <= len(postponed) <= 4
    assert all(5 < float(str(pause)) <= 12 for (pause,) in postponed)
    assert rows("SELECT DISTINCT outcome, error->>'reason' FROM job_attempt") == [("postponed", "connection_lost")]
    assert rows("SELECT count(*) FROM email WHERE failures = 0 AND rescues = 0") == [(30,)]
    assert rows("SELECT count(*) FROM email WHERE due_at <= now()") == [(30 - len(postponed),)]
    relay.start()
    wait_for_states(processes, sent=30)
    each_came_once(relay, 30)
    assert rows("SELECT count(*) FROM email WHERE failures = 0 AND rescues = 0") == [(30,)]


def test_a_relay_without_the_tls_we_require_gets_nothing(relay: Relay, processes: Processes) -> None:
    owe_invitations("anne")
    processes.worker(*QUEUES, SMTP_URL=relay.url.replace("?tls=off", ""))
    wait_until(lambda: attempts() == ["postponed"], say=processes.logs)
    found = mail()
    assert (found["state"], found["failures"]) == ("owed", 0)
    assert (found["error"]["class"], found["error"]["reason"]) == ("configuration", "not_offered")
    assert 300 <= found["pause"] <= 360
    assert {command[:4] for command in relay.commands} == {"EHLO"}
