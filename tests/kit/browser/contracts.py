"""Each browser test has a contract of its own in the shared system, made through the public API as portals do."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import httpx2

from tests.kit.browser.mailbox import ReceivedMail
from tests.kit.browser.system import BOCAGE, WholeSystem
from tests.kit.processes.support import wait_until
from workers.portal_client import Mail, Participant

PASSWORD: Final = "trois-pommes-et-un-panier"

INVITED: Final = "vous ouvre l’accès à la formation"
ATTACHED: Final = "vous ouvre l’accès à une nouvelle formation"
RESET: Final = "Réinitialisation de votre mot de passe"

ON_THE_WAY: Final = {"queued", "deferred"}
"""States of a mail that has not arrived yet."""

NUMBERS = count(1)


class Person(NamedTuple):
    """A person to enrol."""

    first_name: str
    last_name: str
    email: str

    @property
    def name(self) -> str:
        """The name that the pages show."""
        return f"{self.first_name} {self.last_name}"


class OwnContract:
    """A contract of one test, with a training and people of its own.

    Parameters:
      title: of the training, if it is not to be one that no other contract has.
    """

    def __init__(self, system: WholeSystem, seats: int, *, company: str = BOCAGE, title: str = "") -> None:
        self._system = system
        self.company = company
        self.number = next(NUMBERS)
        self.reference = f"CTR-{self.number}"
        self.title = title or f"Sécurité incendie {self.number}"
        training = f"formation-{self.number}"
        portal = system.portal
        system.done(portal.put_training(training, title=self.title, planned_minutes=420, modality="remote"))
        system.done(portal.put_contract(self.reference, company=company, training=training, planned_seats=seats))

    def person(self, first_name: str, last_name: str, mark: str = "") -> Person:
        """Returns a person whom no other test has.

        Parameters:
          mark: a part of the address that the mailbox knows, such as `+550` for one that it refuses.
        """
        name = f"{first_name}.{last_name}".casefold().replace(" ", "-")
        ascii_name = "".join(letter for letter in name if letter.isascii())
        return Person(first_name, last_name, f"{ascii_name}.{self.number}{mark}@exemple.test")

    def enroll(self, *people: Person, notify: bool = True) -> None:
        """Enrols people."""
        given = [one._asdict() for one in people]
        job = self._system.portal.enroll(self.reference, given, key=str(uuid4()), notify=notify)  # type: ignore[arg-type]
        self._system.done(job)

    def participants(self) -> list[Participant]:
        """Returns those who are enrolled, the latest first."""
        return list(self._system.portal.participants(self.reference))

    def participant(self, person: Person) -> Participant:
        """Returns a person as a participant."""
        return next(one for one in self.participants() if one.email == person.email)

    def report(self, person: Person, *steps: str) -> None:
        """Reports progress of a person, as an LMS does."""
        self.report_all([person], *steps)

    def report_all(self, people: Sequence[Person], *steps: str) -> None:
        """Reports the same progress of several people."""
        known = {one.email: one.enrollment_id for one in self.participants()}
        for step in steps:
            moment = datetime.now(UTC)
            events = [{"enrollment_id": known[one.email], "progress": step, "occurred_at": moment} for one in people]
            self._system.done(self._system.portal.record_progress(events, key=str(uuid4())))  # type: ignore[arg-type]

    def complete(self, *people: Person) -> None:
        """Reports that people have completed the training, and waits for their certificates."""
        self.report_all(people, "in_progress", "completed")
        known = {one.email: one.enrollment_id for one in self.participants()}
        for one in people:
            wait_until(lambda enrollment=known[one.email]: self._certified(enrollment), seconds=60)  # type: ignore[misc]

    def _certified(self, enrollment: UUID) -> bool:
        return bool(self._system.portal.progress(enrollment).certificates)

    def activate(self, *people: Person) -> None:
        """Chooses the password of people through the link in their invitation."""
        for one in people:
            mail = self.invitation(one)
            chosen = httpx2.post(mail.link, data={"password": PASSWORD, "again": PASSWORD}, timeout=60, trust_env=False)
            assert chosen.status_code in (200, 303), chosen.text

    def invitation(self, person: Person) -> ReceivedMail:
        """Waits for the invitation of a person."""
        return self._system.mailbox.wait_for(person.email, INVITED)

    def mails_are_out(self) -> None:
        """Waits until no mail of the contract is on its way."""
        wait_until(lambda: not self._on_the_way(), seconds=60, say=lambda: str(self._on_the_way()))

    def _on_the_way(self) -> list[Mail]:
        return [one.mail for one in self.participants() if one.mail is not None and one.mail.state in ON_THE_WAY]
