"""Reports of many servers: what each means, and that no message however made stops the reader."""

import random
import tracemalloc

import pytest

from models.bounce import BounceKind, judge_report
from tests.workers.bounces.samples import LINK, SAMPLES, fields, report
from workers.bounces.parsing import MOST_BYTES, MOST_RECIPIENTS, read_report


@pytest.mark.parametrize("name", SAMPLES)
def test_a_report_is_understood(name: str) -> None:
    sample = SAMPLES[name]
    verdict = judge_report(read_report(sample.text.encode()))
    assert (verdict.kind, verdict.recipient) == (sample.kind, sample.recipient)
    assert not sample.status or verdict.status == sample.status


def test_there_are_samples_of_every_kind() -> None:
    assert {sample.kind for sample in SAMPLES.values()} == {kind.value for kind in BounceKind}
    assert len(SAMPLES) >= 40


@pytest.mark.parametrize("name", SAMPLES)
def test_line_ends_and_the_case_of_names_change_nothing(name: str) -> None:
    text = SAMPLES[name].text
    crlf = text.replace("\n", "\r\n")
    upper = text.replace("Content-Type:", "CONTENT-TYPE:").replace("Final-Recipient", "FINAL-RECIPIENT")
    assert {read_report(one.encode()) for one in (crlf, upper)} == {read_report(text.encode())}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_report_keeps_neither_links_nor_addresses_in_its_words(name: str) -> None:
    for one in read_report(SAMPLES[name].text.encode()).recipients:
        assert "://" not in one.words
        assert "@" not in one.words
        assert len(one.words) <= 300


def test_the_link_that_a_server_quotes_is_not_kept() -> None:
    quoted = read_report(report("", fields(f"smtp; 550 5.1.1 unknown user, see {LINK}")).encode())
    assert "SECRET" not in str(quoted)
    assert judge_report(quoted).kind is BounceKind.HARD


def test_a_report_about_another_recipient_proves_nothing_about_ours() -> None:
    other = read_report(SAMPLES["forwarded_elsewhere"].text.encode())
    assert judge_report(other, "anne@client.fr").kind is BounceKind.SOFT
    assert judge_report(other, "anne.privee@ailleurs.fr").kind is BounceKind.HARD


def test_of_several_recipients_ours_counts() -> None:
    two = (
        fields("smtp; 552 5.2.2 mailbox is full", "5.2.2")
        + "\n\n"
        + fields("smtp; 550 5.1.1 unknown user", recipient="paul@client.fr").partition("\n\n")[2]
    )
    both = read_report(report("", two).encode())
    assert judge_report(both, "anne@client.fr").kind is BounceKind.SOFT
    assert judge_report(both, "paul@client.fr").kind is BounceKind.HARD


@pytest.mark.parametrize("name", ["postfix_user_unknown", "qmail", "complaint", "exim_plain", "gmail_smtputf8"])
def test_a_damaged_report_stops_nothing(name: str) -> None:
    draw, raw = random.Random(name), SAMPLES[name].text.encode()
    for _ in range(300):
        damaged = bytearray(raw)
        for _ in range(draw.randrange(1, 12)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        cut = bytes(damaged[draw.randrange(40) : draw.randrange(len(damaged))])
        assert judge_report(read_report(cut)).kind in BounceKind


HOSTILE = {
    "nested": b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(5_000)),
    "reports in reports": b"Content-Type: message/rfc822\n\n" * 9_000,
    "many parts": b"Content-Type: multipart/report; boundary=b\n\n"
    + b"--b\nContent-Type: message/delivery-status\n\n\n" * 6_000,
    "many recipients": report(
        "",
        fields("smtp; 550 5.1.1 x")
        + "".join(f"\n\nFinal-Recipient: rfc822; u{n}@client.fr\nAction: failed\nStatus: 5.1.1" for n in range(3_000)),
    ).encode(),
    "a long header": b"Subject: " + b"=?utf-8?q?" + b"=C3=A9" * 60_000 + b"?=\nReturn-Path: <>\n\n",
    "an unknown character set": b"Subject: =?klingon?b?w6k=?=\nReturn-Path: <>\n"
    b"Content-Type: text/plain; charset=klingon\n\nx",
    "no line end": b"a" * (2 * MOST_BYTES),
    "zeros": b"Return-Path: <>\nSubject: failure notice\n\n" + b"\0" * MOST_BYTES,
    "addresses": b"Return-Path: <>\nSubject: failure notice\n\n" + b"<a@b.fr>:\n" * 20_000,
    "at signs": b"Return-Path: <>\nSubject: failure notice\n\n" + b"@" * MOST_BYTES,
    "spaces": b"Return-Path: <>\nSubject: failure notice\n\n" + b" " * MOST_BYTES,
    "base64": b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\nSubject: failure notice\n\n!!!" * 100,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_message_is_read_in_bounded_memory(name: str) -> None:
    tracemalloc.start()
    found = read_report(HOSTILE[name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.recipients) <= MOST_RECIPIENTS
    assert peak < 64 * MOST_BYTES
