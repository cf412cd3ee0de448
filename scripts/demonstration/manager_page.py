"""The training that the example portal shows first: seats that are left, and participants in every state."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from models.words import JobState, Progress
from scripts.demonstration.learners import activate
from scripts.demonstration.main_job import MANAGER, WentWrong
from scripts.demonstration.progress import Say
from workers.cli.asking import ask_as_ops
from workers.portal_client import Job, KeyUsedBefore, Portal
from workers.requests.certificates import PutOrganisation

CONTRACT: Final = "demo-incendie"
TRAINING: Final = "Sécurité incendie : équipier de première intervention"
SEATS: Final = 30

ORGANISATION: Final = PutOrganisation(
    reference="demo",
    legal_name="Horizon Formation SAS",
    address=["12 rue des Tanneurs", "37000 Tours"],
    signatory_name="Hélène Castaing",
    signatory_quality="Directrice de la formation",
    place="Tours",
    portals=["demo"],
)

PEOPLE: Final[Sequence[tuple[str, str, str]]] = (
    ("Amandine", "Béranger", "amandine.beranger@exemple.test"),
    ("Bruno", "Castelli", "bruno.castelli@exemple.test"),
    ("Chloé", "Nguyen-Perrin", "chloe.nguyen-perrin@exemple.test"),
    ("Didier", "L’Hœuvre", "didier.lhoeuvre@exemple.test"),
    ("Émilie", "Rousseau", "emilie.rousseau@exemple.test"),
    ("Fatoumata", "Diarra", "fatoumata.diarra@exemple.test"),
    ("Inès", "Ould-Ahmed", "ines.ould-ahmed+550@exemple.test"),
    ("Mickaël", "Dos Santos", "mickael.dos-santos+451@exemple.test"),
    ("Omar", "Haddad", "omar.haddad@exemple.test"),
    ("Zoë", "Müller", "zoe.muller@exemple.test"),
)
"""The local mailbox refuses an address with +550 for good, and one with +451 for now."""

LOOK_SECONDS: Final = 0.2

REPORTED: Final[Mapping[str, Sequence[Progress]]] = {
    "amandine.beranger@exemple.test": (Progress.IN_PROGRESS, Progress.COMPLETED),
    "bruno.castelli@exemple.test": (Progress.IN_PROGRESS,),
    "chloe.nguyen-perrin@exemple.test": (Progress.IN_PROGRESS, Progress.COMPLETED),
    "emilie.rousseau@exemple.test": (Progress.IN_PROGRESS,),
}
"""The progress that an LMS would report."""


def prepare(mailbox: str, say: Say) -> None:
    """Records the training and who signs its certificates, enrols people, who choose passwords and make progress.

    It asks as any portal does, over HTTP; under the same keys, so that a later start asks for the same.

    Raises: WentWrong, and PortalError.
    """
    asked = ask_as_ops(ORGANISATION, ORGANISATION.model_dump_json(exclude_unset=True), wait=60.0)
    if asked.job["state"] != JobState.SUCCEEDED:
        raise WentWrong(f"put_organisation ended as {asked.job['state']}: {asked.job['result']}")
    with Portal(os.environ["PORTAL_URL"], key=os.environ["PORTAL_KEY"]) as portal:
        say("the contract")
        _record(portal)
        say("the participants")
        enrolled = _done(portal, portal.enroll(CONTRACT, _people(), key="demo:incendie:people"))
        say("their mails")
        while portal.participants_page(CONTRACT, mail="queued").items:
            time.sleep(LOOK_SECONDS)
        say("their passwords and their progress")
        for person in portal.participants_page(CONTRACT).items:
            if person.email in REPORTED and person.activated_at is None:
                activate(mailbox, person.email)
        ids = [str(one.enrollment_id) for one in enrolled.result.people]
        events = _events({email: one for (_, _, email), one in zip(PEOPLE, ids, strict=True)})
        with suppress(KeyUsedBefore):  # an earlier start has reported it
            _done(portal, portal.record_progress(events, key="demo:incendie:progress"))


def _record(portal: Portal) -> None:
    _done(portal, portal.put_training("demo-incendie", title=TRAINING, planned_minutes=420, modality="remote"))
    _done(
        portal,
        portal.put_contract(
            CONTRACT,
            company="demo-atelier-bocage",
            training="demo-incendie",
            planned_seats=SEATS,
            manager_email=MANAGER,
        ),
    )


def _people() -> list[Any]:
    return [{"first_name": first, "last_name": last, "email": email} for first, last, email in PEOPLE]


def _events(enrollments: Mapping[str, str]) -> list[Any]:
    now = datetime.now(UTC)
    return [
        {"enrollment_id": enrollments[email], "progress": progress.value, "occurred_at": now - timedelta(seconds=ago)}
        for email, steps in REPORTED.items()
        for ago, progress in enumerate(reversed(steps))
    ]


def _done(portal: Portal, job: Job) -> Job:
    """Waits for a job.

    Raises: WentWrong when it was refused, or does not end.
    """
    done = portal.wait_for(job)
    if done.state != JobState.SUCCEEDED:
        raise WentWrong(f"{done.kind} ended as {done.state}: {done.result.code}")
    return done
