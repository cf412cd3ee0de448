"""The main job as a portal does it: it sends requests on the queue under a key, reads the ledger, and waits for the
mails.
"""

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from models.words import EmailState, JobState, Policy
from scripts.demonstration.expectation import ExpectedOutcome
from scripts.demonstration.progress import Say
from workers.database import transaction
from workers.engine.acceptance import find_accepted, find_portal
from workers.portal_client import PortalClient
from workers.reading.jobs import show_job
from workers.requests.base import Request, fingerprint
from workers.requests.catalog import PutCompany, PutContract, PutTraining
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.rosters.reader import ReadRoster, read_roster

ROSTER: Final = Path(__file__).parents[1] / "participants-demo.csv"
SEATS: Final = 25
MANAGER: Final = "claire.aubrac@atelier-bocage.exemple.test"
REGISTERED_BEFORE: Final = "marie.lefevre@exemple.test"
REGISTERED_NAMES: Final = ("Marie-Hélène", "Lefèvre-Garnier")

PREPARATION: Final[Mapping[str, Sequence[Request]]] = {
    "Two companies and a training": [
        PutCompany(reference="demo-atelier-bocage", name="Atelier du Bocage"),
        PutCompany(reference="demo-cabinet-ferrand", name="Cabinet Ferrand & Associés"),
        PutTraining(reference="demo-sst", title="Sauveteur secouriste du travail : formation initiale"),
    ],
    f"A contract of {SEATS} seats, and a small one of the other company": [
        PutContract(reference="demo-contrat", company="demo-atelier-bocage", training="demo-sst", planned_seats=SEATS),
        PutContract(reference="demo-ailleurs", company="demo-cabinet-ferrand", training="demo-sst", planned_seats=3),
    ],
    "One person of the file registered before, by the other company": [
        Enroll(
            contract="demo-ailleurs",
            people=[
                PersonToEnroll(email=REGISTERED_BEFORE, first_name=REGISTERED_NAMES[0], last_name=REGISTERED_NAMES[1])
            ],
            notify=False,
        ),
    ],
}
"""The requests to do first. Each group needs the group before it."""

LOOK_SECONDS: Final = 0.05
REPEAT_SECONDS: Final = 5.0
"""A request without an answer is sent again after this time, under the same key."""

NOT_SENT: Final = frozenset({EmailState.FAILED, EmailState.SUPPRESSED, EmailState.EXPIRED, EmailState.CANCELLED})

JOB_MAILS = text("SELECT kind, to_address, state, message_id FROM email WHERE job_id = :job ORDER BY kind, id")

CONTRACT = text("""
    SELECT planned_seats, enrolled_count, planned_seats - enrolled_count AS remaining FROM contract
    WHERE portal_id = :portal AND reference = :reference""")

NAMES = text("SELECT first_name, last_name FROM account WHERE email_norm = :email")


class WentWrong(Exception):
    """The demonstration cannot go on; the error names the reason."""


def enrollment(roster: ReadRoster) -> Enroll:
    """Returns the single request that enrolls all people of the file."""
    people = [
        PersonToEnroll(email=row.email, first_name=row.first_name, last_name=row.last_name) for row in roster.rows
    ]
    return Enroll(contract="demo-contrat", people=people, policy=Policy.UNTIL_FULL, report_to=MANAGER)


def read_file() -> ReadRoster:
    """Reads the file of the demonstration."""
    return read_roster(ROSTER.read_bytes())


def key_of(request: Request) -> str:
    """Derives a key from the content of the request, so that a second run of the demonstration asks for
    the same jobs.
    """
    return f"demo:{request.kind}:{fingerprint(request).hex()[:32]}"


def do(client: PortalClient, requests: Sequence[Request], say: Say) -> list[dict[str, Any]]:
    """Sends requests and follows each to its end through the ledger; returns their jobs."""
    for request in requests:
        client.send(request, key=key_of(request))
    return [_follow(client, request, say) for request in requests]


def _follow(client: PortalClient, request: Request, say: Say) -> dict[str, Any]:
    key, sent = key_of(request), time.monotonic()
    while True:
        job = _find(client.portal, key)
        if job is not None and job["finished"]:
            break
        say(f"{request.kind}: {job['state'] if job else 'not in the ledger yet'}")
        if job is None and time.monotonic() - sent > REPEAT_SECONDS:
            client.send(request, key=key)
            sent = time.monotonic()
        time.sleep(LOOK_SECONDS)
    if job["state"] != JobState.SUCCEEDED:
        raise WentWrong(f"{request.kind} ended as {job['state']}: {job['result']} {job['error'] or ''}")
    return job


def _find(portal: str, key: str) -> dict[str, Any] | None:
    with transaction() as session:
        job_id = find_accepted(session, find_portal(session, portal), key)
        return show_job(session, job_id) if job_id else None


def await_mails(job_id: str, mailbox_url: str, say: Say) -> None:
    """Waits until every mail of the job is sent and in the mailbox."""
    while True:
        mails = _mails(job_id)
        lost = [mail for mail in mails if mail["state"] in NOT_SENT]
        if lost:
            raise WentWrong(f"{len(lost)} of {len(mails)} mails will not be sent: {lost[0]['state']}")
        sent = sum(mail["state"] == EmailState.SENT for mail in mails)
        there = len(_deliveries(mails, mailbox_url)) if sent == len(mails) else 0
        say(f"{sent} of {len(mails)} sent, {there} in the mailbox")
        if sent == len(mails) <= there:
            return
        time.sleep(LOOK_SECONDS * 2)


def outcome(portal: str, job: dict[str, Any], mailbox_url: str) -> ExpectedOutcome:
    """Returns the results of the job, read from the ledger, the tables and the mailbox."""
    mails = _mails(job["id"])
    with transaction() as session:
        where = {"portal": find_portal(session, portal), "reference": "demo-contrat"}
        contract = dict(session.execute(CONTRACT, where).mappings().one())
        names = session.execute(NAMES, {"email": REGISTERED_BEFORE}).one()
    codes = tuple(person["code"] for person in job["result"]["people"])
    return ExpectedOutcome(codes, contract, mails, _deliveries(mails, mailbox_url), (names.first_name, names.last_name))


def _mails(job_id: str) -> list[dict[str, Any]]:
    with transaction() as session:
        return [dict(mail) for mail in session.execute(JOB_MAILS, {"job": job_id}).mappings()]


def _deliveries(mails: Sequence[dict[str, Any]], mailbox_url: str) -> Counter[tuple[str, str]]:
    """Counts how often each of these mails is in the mailbox, by recipient and Message-ID."""
    ours = {mail["message_id"] for mail in mails}
    with urllib.request.urlopen(f"{mailbox_url}/mails.json", timeout=10) as answer:
        found = json.load(answer)
    return Counter(
        (to, mail["message_id"]) for mail in found if mail["message_id"] in ours for to in mail["recipients"]
    )
