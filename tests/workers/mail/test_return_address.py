"""Return addresses: one for each mail, that only we can make and that survives what servers do to addresses."""

import uuid
from typing import Any

import pytest

from models.base import new_id
from tests.kit.relay.relay import Relay
from tests.workers.mail.test_sending import sealed, send
from workers.errors import NotConfigured
from workers.mail.return_address import MOST_MARKS, ReturnAddresses
from workers.mail.values import SENDABLE_ADDRESS
from workers.settings import Settings

KEY, OTHER = "11" * 32, "22" * 32


def addresses(template: str = "rebonds+*@example.fr", keys: str = f"k1:{KEY}") -> ReturnAddresses:
    given: dict[str, Any] = {"database_url": "postgresql://x/x", "redis_url": "redis://x"}
    made = ReturnAddresses.from_settings(Settings(**given, mail_return_address=template, link_keys=keys))
    assert made is not None
    return made


@pytest.mark.parametrize("template", ["rebonds+*@example.fr", "*@rebonds.example.fr", "r0*0@é.fr", "a*-b@x.fr"])
def test_a_mail_is_found_by_its_return_address(template: str) -> None:
    ours, mail = addresses(template), new_id()
    address = ours.of(mail)
    assert SENDABLE_ADDRESS.fullmatch(address)
    assert ours.of(mail) == address
    for written in (address, address.upper(), f"To: <{address}>\r\n", f"rfc822;{address}"):
        assert ours.find(written.encode()) == mail


def test_the_mark_of_a_mail_can_not_be_made_for_another() -> None:
    ours, mail = addresses(), new_id()
    mark = ours.of(mail)[8:50]
    other = ours.of(new_id())[8:50]
    forged = mark[:26] + other[26:]
    assert ours.find(f"rebonds+{forged}@example.fr".encode()) is None
    assert ours.find(addresses(keys=f"k1:{OTHER}").of(mail).encode()) is None
    assert ours.find(f"rebonds+{mark[:-1]}@example.fr".encode()) is None
    assert ours.find(f"rebonds+{mark}@example.com".encode()) is None


def test_a_forged_mark_does_not_hide_the_true_one() -> None:
    ours, mail = addresses(), new_id()
    forged = addresses(keys=f"k1:{OTHER}").of(mail)
    assert ours.find(f"To: {forged}, {ours.of(mail)}".encode()) == mail


def test_a_flood_of_forged_marks_is_not_searched_to_its_end() -> None:
    ours, theirs = addresses(), addresses(keys=f"k1:{OTHER}")
    flood = " ".join(theirs.of(uuid.UUID(int=n)) for n in range(MOST_MARKS))
    assert ours.find(f"{flood} {ours.of(new_id())}".encode()) is None


def test_a_report_is_believed_after_the_keys_were_changed() -> None:
    mail = new_id()
    before = addresses(keys=f"k1:{KEY}").of(mail)
    assert addresses(keys=f"k2:{OTHER},k1:{KEY}").find(before.encode()) == mail
    assert addresses(keys=f"k2:{OTHER}").find(before.encode()) is None


@pytest.mark.parametrize("keys", ["", "k1:nohex"])
def test_return_addresses_need_the_keys_of_links(keys: str) -> None:
    with pytest.raises(NotConfigured, match="LINK_KEYS"):
        addresses(keys=keys)


def test_without_the_setting_all_mails_have_one_return_address() -> None:
    given: dict[str, Any] = {"database_url": "postgresql://x/x", "redis_url": "redis://x"}
    assert ReturnAddresses.from_settings(Settings(**given)) is None


def test_each_mail_leaves_with_its_own_return_address() -> None:
    ours, mails, recorded = addresses(), [sealed(), sealed()], list[uuid.UUID]()
    with Relay() as relay:
        send(relay, recorded, *mails, returns=ours)
    assert sorted(recorded) == sorted(mail.row.id for mail in mails)
    senders = [one for one in relay.commands if one.startswith("MAIL")]
    assert senders == [f"MAIL FROM:<{ours.of(mail.row.id)}>" for mail in mails]


def test_a_relay_is_asked_to_return_headers_alone() -> None:
    with Relay(always={"EHLO": "250-relay.test\r\n250-DSN\r\n250 PIPELINING"}) as relay:
        send(relay, [], sealed())
    assert [one for one in relay.commands if one.startswith("MAIL")] == ["MAIL FROM:<bounce@app.example> RET=HDRS"]
