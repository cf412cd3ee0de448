"""The demonstration from start to end."""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.text import Text

from scripts.demonstration import main_job as work
from scripts.demonstration import manager_page
from scripts.demonstration.expectation import ExpectedOutcome, differences, expect
from scripts.demonstration.main_job import WentWrong
from scripts.demonstration.progress import ProgressLine, Say
from scripts.embedded.run import LocalSystem
from workers.database import transaction
from workers.ops.status import read_status
from workers.ops.unrecorded import count_unrecorded
from workers.portal_client import PortalClient
from workers.rosters.reader import ReadRoster
from workers.settings import get_settings

LOOK_SECONDS = 0.2


class TimeUp(Exception):
    """The demonstration took longer than its time limit."""


@dataclass(frozen=True)
class Story:
    """The results of the demonstration.

    Parameters:
      differences: each difference between the results and the file.
      mailbox: the address of the mailbox page.
      links: the address to which the links in the mails lead.
      site: the address of the example portal.
    """

    roster: ReadRoster
    outcome: ExpectedOutcome
    differences: list[str]
    mailbox: str
    links: str
    site: str


def tell(system: LocalSystem, progress: ProgressLine) -> Story:
    """Starts the system, does the main job, and waits until its mails are delivered.

    Raises: WentWrong, and the errors of ``LocalSystem.start``.
    """
    with progress.step("PostgreSQL, Valkey, mailbox, tables, processes: starting"):
        system.start()
    os.environ.update(system.environment)
    get_settings.cache_clear()
    site = system.environment["MANAGER_URL"]
    mailbox, web = system.environment["MAILBOX_URL"], f"http://127.0.0.1:{system.environment['PORT']}"
    with progress.step("Every process says it is alive") as say:
        await_processes(web, say)
        while not _answers(site):
            say("waiting for the example portal")
            time.sleep(LOOK_SECONDS)
    progress.tell(Text.assemble(("Gestion entreprise : ", "bold"), site))
    place = system.parts.var / "environment"
    progress.tell(
        Text.assemble(
            ("Console: ", "bold"), f"{system.environment['OPS_URL']}/ops (OPS_USER and OPS_PASSWORD are in {place})"
        )
    )
    roster = work.read_file()
    with _client() as client:
        for what, requests in work.PREPARATION.items():
            with progress.step(what) as say:
                work.do(client, requests, say)
        with progress.step(f"One request on the queue: enrol the {len(roster.rows)} lines of the file") as say:
            job = work.do(client, [work.enrollment(roster)], say)[0]
    with progress.step("Every mail of it sent, and in the mailbox") as say:
        work.await_mails(job["id"], mailbox, say)
    with progress.step("For the example portal: a second training, people in every state") as say:
        manager_page.prepare(mailbox, say)
    found = work.outcome(client.portal, job, mailbox)
    return Story(roster, found, _differences(roster, found), mailbox, system.environment["LINK_BASE_URL"], site)


def await_processes(web: str, say: Say) -> None:
    """Waits until every queue is served, a clock leads and the web page answers."""
    while True:
        unrecorded = count_unrecorded()
        with transaction() as session:
            status = read_status(session, unrecorded)
        absent = [*status["missing"], *([] if status["clock"] else ["a leader of the clocks"])]
        if not _answers(web):
            absent.append("web")
        if not absent:
            return
        say(f"waiting for {', '.join(absent)}")
        time.sleep(LOOK_SECONDS)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:  # an error status is an answer too
        return True
    except OSError:
        return False
    return True


@contextmanager
def _client() -> Iterator[PortalClient]:
    """Opens the client of the portal `demo`, which the system made when it started."""
    settings = get_settings()
    client = PortalClient(
        settings.redis_url,
        portal=os.environ["PORTAL_NAME"],
        key_id=os.environ["PORTAL_KEY_ID"],
        secret=os.environ["PORTAL_QUEUE_SECRET"],
        namespace=settings.redis_namespace,
    )
    try:
        yield client
    finally:
        client.close()


def _differences(roster: ReadRoster, found: ExpectedOutcome) -> list[str]:
    expected = expect(roster.rows, seats=work.SEATS, known={work.REGISTERED_BEFORE})
    return differences(
        expected,
        found,
        rows=roster.rows,
        seats=work.SEATS,
        report_to=work.MANAGER,
        names=work.REGISTERED_NAMES,
    )


__all__ = ["Story", "TimeUp", "WentWrong", "tell"]
