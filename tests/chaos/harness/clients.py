"""Clients act for managers and for the LMS; each draws what it asks from a generator of its own, made from the seed.

A client alone speaks for its people, one request at a time, so it knows which answers are right. Seats, the contested
people and the organisation's numbers are shared with all the others.
"""

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from models.words import Code, Policy, Progress
from tests.chaos.harness.portal import Answer, NotAnsweredError, Portal
from workers.requests.accounts import CorrectEmail, RequestPasswordReset, ResendInvitations, ResetPasswords
from workers.requests.catalog import PutContract
from workers.requests.certificates import CorrectCertificate, DuplicateCertificates
from workers.requests.enrollment import Enroll, PersonToEnroll, ProgressEvent, RecordProgress, Withdraw

JOINED: Final = {Code.ENROLLED, Code.ATTACHED}
FULL: Final = {Code.NO_SEAT_LEFT, Code.NOT_CARRIED_OUT}
CONTESTED: Final = 40
"""People that every client tries to enroll."""

STUDY_BEGAN: Final = timedelta(hours=6)
"""Trainings are reported as begun this long ago, so that the time spent on them is plausible."""

FIRST_NAMES: Final = ("Perle", "Zoë", "Loïc", "Noémie", "Jean-Luc", "Anaïs")
LAST_NAMES: Final = ("Lorval", "D’Estaing", "Müller", "Lefèvre", "Ñuñez", "O'Brien")


@dataclass
class Enrolled:
    """One enrollment of a client's person, as the client knows it."""

    id: UUID
    contract: str
    address: str
    seconds: int = 0
    progress: Progress = Progress.NOT_STARTED
    corrections: int = 0
    resends: int = 0
    printed: int = 0


@dataclass
class World:
    """The names that all clients share: contracts with room, and contracts that fill up."""

    contracts: Sequence[str]
    tight: Sequence[str]
    seats: dict[str, int] = field(default_factory=dict)


class Client:
    """One client thread."""

    def __init__(self, number: int, portal: Portal, world: World, chances: random.Random, ending: threading.Event):
        self.number = number
        self.portal = portal
        self.world = world
        self.chances = chances
        self.ending = ending
        self.live: list[Enrolled] = []
        self.gone: list[Enrolled] = []
        self._people = 0

    def run(self) -> None:
        """Asks until the storm is over; the last request is still answered."""
        acts, weights = zip(*ACTS, strict=True)
        try:
            while not self.ending.wait(self.chances.expovariate(4.0)):
                self.chances.choices(acts, weights)[0](self)
        except NotAnsweredError as left:
            self.portal.history.add("unanswered", key=str(left))
        finally:
            self.portal.close()

    def new_people(self, count: int) -> list[PersonToEnroll]:
        """Makes people who were never enrolled."""
        self._people += count
        return [self._person(f"c{self.number}.p{self._people - place}") for place in range(count)]

    def contract(self) -> str:
        """Chooses a contract, one in five times one that fills up."""
        return self.chances.choice(self.world.tight if self.chances.random() < 0.2 else self.world.contracts)

    def some(self, most: int, *progress: Progress) -> list[Enrolled]:
        """Chooses up to this many enrollments of one contract with such a progress."""
        contract = self.contract()
        found = [one for one in self.live if one.contract == contract and one.progress in progress]
        return self.chances.sample(found, min(len(found), self.chances.randint(1, most)))

    def enroll(self, contract: str, people: Sequence[PersonToEnroll], expect: set[Code], **options: object) -> Answer:
        """Enrolls people and remembers who joined."""
        request = Enroll(contract=contract, people=list(people), **options)  # type: ignore[arg-type]
        answer = self.portal.ask(request, expect=expect)
        for person, told in zip(people, answer.people, strict=False):
            if told.code in JOINED and told.enrollment_id:
                self.live.append(Enrolled(UUID(told.enrollment_id), contract, person.email))
        return answer

    def _person(self, name: str, address: str = "") -> PersonToEnroll:
        return PersonToEnroll(
            email=address or f"{name}@example.com",
            first_name=self.chances.choice(FIRST_NAMES),
            last_name=self.chances.choice(LAST_NAMES),
        )


def enroll_one(client: Client) -> None:
    client.enroll(client.contract(), client.new_people(1), {Code.ENROLLED, *FULL})


def enroll_several(client: Client) -> None:
    policy = client.chances.choice((Policy.UNTIL_FULL, Policy.ALL_OR_NOTHING, Policy.VALID_ROWS))
    people = client.new_people(client.chances.randint(2, 40))
    client.enroll(client.contract(), people, {Code.ENROLLED, *FULL}, policy=policy)


def enroll_roster(client: Client) -> None:
    """A roster is done in chunks; its people are never spoken of again."""
    people = client.new_people(client.chances.randint(1_001, 1_400))
    contract = client.chances.choice(client.world.contracts)
    request = Enroll(contract=contract, people=people, policy=Policy.UNTIL_FULL, notify=False)
    client.portal.ask(request, expect={Code.ENROLLED, *FULL})


def enroll_again(client: Client) -> None:
    if client.live:
        known = client.chances.choice(client.live)
        client.enroll(known.contract, [client._person("", known.address)], {Code.ALREADY_ENROLLED})


def attach(client: Client) -> None:
    """A person with an account joins another contract, or the same again after a withdrawal."""
    known = [*client.live, *client.gone]
    if not known:
        return
    person, contract = client.chances.choice(known), client.contract()
    here = any(one.contract == contract and one.address == person.address for one in client.live)
    expect = {Code.ALREADY_ENROLLED} if here else {Code.ATTACHED, *FULL}
    client.enroll(contract, [client._person("", person.address)], expect)


def enroll_contested(client: Client) -> None:
    """Every client asks for the same people at the same time; no client withdraws them."""
    place = client.chances.randrange(CONTESTED)
    request = Enroll(contract=client.contract(), people=[client._person(f"contested{place}")])
    client.portal.ask(request, expect={*JOINED, Code.ALREADY_ENROLLED, *FULL})


def withdraw(client: Client) -> None:
    _withdraw(client, client.some(3, Progress.NOT_STARTED))


def _withdraw(client: Client, chosen: Sequence[Enrolled]) -> None:
    if not chosen:
        return
    request = Withdraw(contract=chosen[0].contract, enrollment_ids=[one.id for one in chosen])
    client.portal.ask(request, expect={Code.WITHDRAWN})
    client.live = [one for one in client.live if one not in chosen]
    client.gone = [*client.gone, *chosen][-200:]


def withdraw_again(client: Client) -> None:
    if client.gone:
        one = client.chances.choice(client.gone)
        request = Withdraw(contract=one.contract, enrollment_ids=[one.id])
        client.portal.ask(request, expect={Code.ALREADY_WITHDRAWN})


def withdraw_begun(client: Client) -> None:
    for one in client.some(1, Progress.IN_PROGRESS, Progress.COMPLETED):
        request = Withdraw(contract=one.contract, enrollment_ids=[one.id])
        client.portal.ask(request, expect={Code.ALREADY_STARTED})


def replace(client: Client) -> None:
    """A person leaves, another takes the seat."""
    for one in client.some(1, Progress.NOT_STARTED):
        _withdraw(client, [one])
        client.enroll(one.contract, client.new_people(1), {Code.ENROLLED, *FULL})


def study(client: Client) -> None:
    _report(client, client.some(5, Progress.NOT_STARTED, Progress.IN_PROGRESS), Progress.IN_PROGRESS)


def complete(client: Client) -> None:
    _report(client, client.some(3, Progress.NOT_STARTED, Progress.IN_PROGRESS), Progress.COMPLETED)


def _report(client: Client, chosen: Sequence[Enrolled], progress: Progress) -> None:
    if not chosen:
        return
    events = [_event(client, one, progress) for one in chosen]
    client.portal.ask(RecordProgress(events=events), expect={Code.RECORDED})


def _event(client: Client, one: Enrolled, progress: Progress) -> ProgressEvent:
    """Makes the next event of a person; it is later than the one before, and the time spent has grown."""
    begins = one.progress is Progress.NOT_STARTED
    one.progress = progress
    one.seconds += 0 if begins else client.chances.randint(1, 60)
    ended = progress is Progress.COMPLETED
    return ProgressEvent(
        enrollment_id=one.id,
        progress=progress,
        occurred_at=datetime.now(UTC) - (STUDY_BEGAN if begins and not ended else timedelta()),
        time_spent_seconds=one.seconds,
        score=client.chances.randint(0, 100) if ended else None,
    )


def correct_address(client: Client) -> None:
    alone = [one for one in client.live if one.corrections < 2 and one.progress is Progress.NOT_STARTED]
    known = {one.address for one in client.gone}
    alone = [one for one in alone if one.address not in known and _is_alone(client, one)]
    if alone:
        one = client.chances.choice(alone)
        one.corrections += 1
        address = f"right{one.corrections}.{one.address}"
        client.portal.ask(CorrectEmail(enrollment_id=one.id, email=address), expect={Code.CORRECTED})
        one.address = address


def _is_alone(client: Client, one: Enrolled) -> bool:
    return sum(other.address == one.address for other in client.live) == 1


def resend(client: Client) -> None:
    chosen = [one for one in client.some(3, *Progress) if one.resends < 1 and _is_alone(client, one)]
    if chosen:
        for one in chosen:
            one.resends += 1
        ids = [one.id for one in chosen]
        if client.chances.random() < 0.5:
            request: ResetPasswords | ResendInvitations = ResetPasswords(
                contract=chosen[0].contract, enrollment_ids=ids
            )
        else:
            request = ResendInvitations(contract=chosen[0].contract, enrollment_ids=ids)
        client.portal.ask(request, expect={Code.SENT, Code.ACTIVATION_SENT_INSTEAD, Code.THROTTLED})


def forget_password(client: Client) -> None:
    if client.live:
        address = client.chances.choice(client.live).address
        client.portal.ask(RequestPasswordReset(email=address), expect={Code.REQUESTED})


def duplicate(client: Client) -> None:
    chosen = client.some(12, Progress.COMPLETED)
    if chosen:
        request = DuplicateCertificates(contract=chosen[0].contract, enrollment_ids=[one.id for one in chosen])
        client.portal.ask(request, expect={Code.DUPLICATED, Code.NOT_ISSUED})


def correct_certificate(client: Client) -> None:
    for one in client.some(1, Progress.COMPLETED):
        one.printed += 1
        request = CorrectCertificate(enrollment_id=one.id, last_name=f"Lorval{one.printed}", reason="typo")
        client.portal.ask(request, expect={Code.REISSUED, Code.NOT_ISSUED})


def change_seats(client: Client) -> None:
    """Seats of a contract that fills up grow and shrink; too few are refused."""
    contract = client.chances.choice(client.world.tight)
    request = PutContract(
        reference=contract, company="C", training="T", planned_seats=client.chances.randint(20, 200), reminders=False
    )
    client.portal.ask(request, expect={Code.SEATS_BELOW_ENROLLED})


Act = Callable[[Client], None]
ACTS: Final[tuple[tuple[Act, float], ...]] = (
    (enroll_one, 24),
    (enroll_several, 8),
    (enroll_roster, 0.3),
    (enroll_again, 4),
    (attach, 6),
    (enroll_contested, 8),
    (withdraw, 8),
    (withdraw_again, 2),
    (withdraw_begun, 2),
    (replace, 4),
    (study, 14),
    (complete, 8),
    (correct_address, 5),
    (resend, 4),
    (forget_password, 2),
    (duplicate, 4),
    (correct_certificate, 2),
    (change_seats, 3),
)
"""Everything that clients do, and how often."""
