"""Duplicates by mail: a small file is attached, a large one linked; an unreadable document delays no other mail."""

import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from dramatiq.asyncio import EventLoopThread

from models.base import new_id
from models.words import EmailState
from tests.kit.actors.committed_jobs import claimed
from tests.kit.actors.mailers import close_connections
from tests.kit.builders.certificates import (
    certified,
    content,
    did,
    duplicated,
    job,
)
from tests.kit.builders.contracts import (
    accepted,
    asking,
    enrol,
    everything,
    someone,
)
from tests.kit.processes.support import change, rows
from tests.kit.relay.relay import Mail, Relay
from tests.workers.web.conftest import site
from workers.actors import certificates
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.mail.letters import duplicate as duplicate_letters
from workers.mail.mailer import Mailer
from workers.requests.certificates import CorrectCertificate, DuplicateOwnCertificate, RevokeCertificate
from workers.requests.queues import Queue
from workers.settings import get_settings

__all__ = ["site"]

MANAGER = "rh@acme.test"
STATE = "SELECT state, failures, due_at > now() FROM email WHERE kind = 'duplicate'"


@pytest.fixture
def mailer(relay: Relay, loop: EventLoopThread) -> Iterator[Mailer]:
    made = Mailer()
    yield made
    close_connections(made)


def graduate(*people: Any) -> list[UUID]:
    """Creates people with a certificate and no other owed mail."""
    made = certified(*people)
    change("UPDATE email SET state = 'cancelled', due_at = NULL")
    return made


def send(mailer: Mailer) -> None:
    """Sends all owed mails as one batch."""
    change("UPDATE email SET due_at = now(), queue = 'emails_bulk' WHERE due_at IS NOT NULL")
    with transaction() as session:
        mine = ledger.claim(session, EMAILS, Queue.EMAILS_BULK, size=50, lease=30, worker=new_id())
    mailer.do_batch(mine)


def attached(mail: Mail) -> list[tuple[str | None, str, bytes]]:
    parts = mail.message.iter_attachments()
    return [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) for part in parts]  # type: ignore[misc]


def link(mail: Mail) -> str:
    found = re.search(r"http://127\.0\.0\.1:8020(/files/\S+)", mail.text)
    assert found
    return found[1]


def path_of(done: dict[str, Any]) -> str:
    return str(done["result"]["file"]["link"]).removeprefix("http://127.0.0.1:8020")


@pytest.mark.parametrize(("count", "kind"), [(1, "application/pdf"), (2, "application/zip")])
def test_a_small_file_is_attached_and_is_behind_a_link_too(
    relay: Relay, mailer: Mailer, site: httpx.Client, count: int, kind: str
) -> None:
    people = graduate(*(someone(f"p{number}", "Zoé", "Le Dû") for number in range(count)))
    done = duplicated(*people, deliver_to=MANAGER)
    send(mailer)
    [mail] = relay.mails
    assert mail.recipients == (MANAGER,)
    assert ("Il est joint" if count == 1 else "Ils sont joints") in mail.text
    assert attached(mail) == [(done["result"]["file"]["name"], kind, content(done))]
    assert site.get(link(mail)).content == content(done)
    assert "Le Dû" not in str(mail.message["Subject"])
    send(mailer)
    assert len(relay.mails) == 1


def test_a_zip_that_holds_one_document_is_spoken_of_as_one(relay: Relay, mailer: Mailer) -> None:
    duplicated(*graduate("zoe"), new_id(), deliver_to=MANAGER)
    send(mailer)
    [mail] = relay.mails
    assert [part[1] for part in attached(mail)] == ["application/zip"]
    assert "Voici le duplicata demandé. Il est joint à ce message." in " ".join(mail.text.split())


@pytest.mark.parametrize(("over", "attachments"), [(0, 1), (1, 0)])
def test_a_large_one_is_behind_its_link_alone(
    relay: Relay, mailer: Mailer, site: httpx.Client, monkeypatch: pytest.MonkeyPatch, over: int, attachments: int
) -> None:
    done = duplicated(*graduate("zoe"), deliver_to=MANAGER)
    assert duplicate_letters.MOST_ATTACHED == 5_000_000
    monkeypatch.setattr(duplicate_letters, "MOST_ATTACHED", done["result"]["file"]["size"] - over)
    send(mailer)
    [mail] = relay.mails
    assert len(attached(mail)) == attachments
    assert site.get(link(mail)).content == content(done)
    change("UPDATE certificate_file SET expires_at = now()")
    assert site.get(link(mail)).status_code == 410


def test_the_learner_is_sent_their_own_to_the_address_of_the_account(relay: Relay, mailer: Mailer) -> None:
    [zoe] = graduate("zoe")
    [(account,)] = rows("SELECT account_id FROM enrollment")
    request = DuplicateOwnCertificate(enrollment_id=zoe, account_id=UUID(str(account)), deliver=True, locale="en")
    with transaction() as session:
        job_id = accepted(session, request)
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    send(mailer)
    [mail] = relay.mails
    assert mail.recipients == ("zoe@example.com",)
    assert [part[2] for part in attached(mail)] == [content(job(job_id))]


@pytest.mark.parametrize("until", ["NULL", "now() + interval '1 day'"])
def test_where_no_mail_is_sent_any_more_the_result_says_so_and_since_when(mailer: Mailer, until: str) -> None:
    [zoe] = graduate("zoe")
    change(f"INSERT INTO suppression (email_norm, reason, created_at, until) VALUES ('{MANAGER}', 'hard_bounce',"
           f" '2026-03-05T12:00Z', {until})")  # fmt: skip
    done = duplicated(zoe, deliver_to=MANAGER)
    told = done["result"]["mail"]
    assert (done["state"], told["code"]) == ("succeeded", "suppressed_address")
    assert datetime.fromisoformat(told["since"]) == datetime(2026, 3, 5, 12, tzinfo=UTC)
    assert rows("SELECT count(*) FROM email WHERE kind = 'duplicate'") == [(0,)]
    change("UPDATE suppression SET until = now()")
    assert "mail" not in duplicated(zoe, deliver_to=MANAGER)["result"]
    assert rows("SELECT count(*) FROM email WHERE kind = 'duplicate'") == [(1,)]


def test_the_result_names_the_file_and_no_link_is_stored(mailer: Mailer, site: httpx.Client) -> None:
    done = duplicated(*graduate("zoe", "eve"))
    file = done["result"]["file"]
    assert site.get(path_of(done)).content == content(done)
    assert datetime.fromisoformat(file["expires_at"]) > datetime.now(UTC) + timedelta(days=6)
    with transaction() as session:
        assert "/files/" not in str(everything(session))
    assert set(
        json.loads(str(rows("SELECT CAST(result -> 'file' AS text) FROM job WHERE result ->> 'file' > ''")[0][0]))
    ) == {
        *("id", "kind", "sha256", "size"),
    }
    change("UPDATE certificate_file SET expires_at = now()")
    assert job(UUID(done["id"]))["result"]["file"]["link"] is None


@pytest.mark.parametrize("corrected", [False, True])
def test_a_document_of_a_revoked_certificate_is_not_fetched_but_a_zip_is(
    relay: Relay, mailer: Mailer, site: httpx.Client, corrected: bool
) -> None:
    zoe, eve = graduate("zoe", "eve")
    both, single, other = duplicated(zoe, eve), duplicated(zoe, deliver_to=MANAGER), duplicated(eve)
    with transaction() as session:
        if corrected:
            did(session, CorrectCertificate(enrollment_id=zoe, last_name="Autre", reason="faute"))
        did(session, RevokeCertificate(enrollment_id=zoe, reason="fraude"))
    answers = [site.get(path_of(one), params={"lang": "en"}) for one in (both, other, single)]
    assert [answer.status_code for answer in answers] == [200, 200, 410]
    assert "This certificate was revoked" in answers[2].text
    assert site.head(path_of(single)).status_code == 410
    send(mailer)
    assert relay.mails == []
    assert [state for state, *_ in rows(STATE)] == [EmailState.CANCELLED]
    assert job(UUID(single["id"]))["result"]["file"]["link"] is None


def test_no_one_gets_a_mail_who_was_not_named(mailer: Mailer) -> None:
    duplicated(*graduate("zoe"))
    assert rows("SELECT count(*) FROM email WHERE kind = 'duplicate'") == [(0,)]


@pytest.mark.parametrize("trouble", ["away", "not configured"])
def test_while_the_place_of_documents_is_away_its_mails_wait_and_no_others(
    relay: Relay, mailer: Mailer, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    done = [duplicated(one, deliver_to=MANAGER) for one in graduate("zoe", "eve")]
    with transaction() as session:
        enrol(session, asking("anne"))
    root = Path(os.environ["CERTIFICATE_STORE"])
    with monkeypatch.context() as broken:
        root.rename(root.with_suffix(".away"))
        if trouble == "away":
            root.write_bytes(b"no folder")
        else:
            broken.setenv("CERTIFICATE_STORE", "nowhere-we-know://x")
        get_settings.cache_clear()
        for _ in range(4):  # more often than a mail is tried
            send(mailer)
            assert rows(STATE) == [(EmailState.OWED, 0, True)] * 2
    assert [mail.recipients for mail in relay.mails] == [("anne@example.com",)]
    assert {outcome for (outcome,) in rows("SELECT outcome FROM job_attempt WHERE ledger = 'email'")} == {"postponed"}
    root.unlink(missing_ok=True)
    root.with_suffix(".away").rename(root)
    get_settings.cache_clear()
    send(mailer)
    assert [state for state, *_ in rows(STATE)] == [EmailState.SENT] * 2
    assert {attached(mail)[0][2] for mail in relay.mails[1:]} == {content(one) for one in done}


def test_a_document_that_cannot_be_made_again_is_left_to_its_link(
    relay: Relay, mailer: Mailer, site: httpx.Client
) -> None:
    done = duplicated(*graduate("zoe"), deliver_to=MANAGER)
    change("UPDATE certificate SET snapshot = NULL")
    DocumentMaker.of_this_thread().store.delete(done["result"]["file"]["sha256"])
    send(mailer)
    [mail] = relay.mails
    assert attached(mail) == []
    assert site.get(link(mail)).status_code == 410


def test_a_mail_whose_link_has_expired_is_not_sent(relay: Relay, mailer: Mailer) -> None:
    duplicated(*graduate("zoe"), deliver_to=MANAGER)
    change("UPDATE certificate_file SET expires_at = now()")
    send(mailer)
    assert relay.mails == []
    assert [state for state, *_ in rows(STATE)] == [EmailState.EXPIRED]
