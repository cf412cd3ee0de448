"""The checks compare the history of a run with the database and the relay; each fault found is a violation.

The model is small: a person on a contract is enrolled as often as an answer said so and not withdrawn, progress is what
was said last, every promise has one answer, every owed mail left, and what the relay has twice is counted.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

from models.words import Code, EmailKind, EmailState, JobState, Progress, WebhookEvent, WebhookState
from tests.chaos.harness.evidence import Evidence, HeldEnrollment, LedgerJob
from workers.settings import Settings

LOST, DOUBLED, OVERSOLD, MAILS_DOUBLED, SILENT, WRONG = (
    "lost",
    "doubled",
    "oversold",
    "mails_doubled",
    "silent",
    "wrong",
)

SMTP_CONNECTIONS: Final[int] = Settings.model_fields["smtp_connections"].default
"""Connections of one mailer process; its SIGKILL repeats at most one mail on each."""

UNCERTAIN_REPEATS: Final = 1
"""Copies that a body allows which the relay took without an answer: it is sent once more each time."""

LATEST_ANSWER_SECONDS: Final = 150.0
"""A request may wait this long in a storm: for kills while a process starts (dramatiq waits for 30 s), for leases."""

JOINED: Final = (Code.ENROLLED, Code.ATTACHED)
INVITING: Final = (EmailKind.INVITATION, EmailKind.ATTACHMENT)
CAUSES: Final = {
    "enroll": (WebhookEvent.PARTICIPANT_ENROLLED.value, JOINED),
    "withdraw": (WebhookEvent.PARTICIPANT_WITHDRAWN.value, (Code.WITHDRAWN,)),
}
"""The event that each person of a request causes who is answered with one of these codes."""

HEARD: Final = (Code.RECORDED, Code.UNCHANGED)
RANK: Final = {word.value: rank for rank, word in enumerate(Progress)}


class Violation(NamedTuple):
    """A broken promise: how the verdict counts it, what broke, and where."""

    counts_as: str
    check: str
    subject: str
    detail: str


class Mailbag(NamedTuple):
    """The mails that the relay got: copies of each message, bodies without an answer, and repeats that are allowed."""

    copies: Counter[str]
    dropped: int
    bound: int

    @property
    def doubled(self) -> int:
        """The copies beyond the first of each mail."""
        return sum(self.copies.values()) - len(self.copies)


class Findings:
    """The history and the evidence of a run, arranged for the checks.

    Parameters:
      events: the history.
      evidence: what the database holds at the end.
    """

    def __init__(self, events: Sequence[Mapping[str, Any]], evidence: Evidence) -> None:
        self.evidence = evidence
        self.events: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for event in events:
            self.events[str(event["event"])].append(event)

    @cached_property
    def asked(self) -> dict[str, Mapping[str, Any]]:
        """Every request of a client, by its key."""
        return {event["key"]: event for event in self.events["asked"]}

    @cached_property
    def done(self) -> list[tuple[Mapping[str, Any], LedgerJob]]:
        """Every request of a client with its finished job."""
        jobs = self.evidence.by_key
        found = [(event, jobs.get(key)) for key, event in self.asked.items()]
        return [(event, job) for event, job in found if job is not None and job.finished]

    @cached_property
    def enrollments(self) -> dict[str, HeldEnrollment]:
        """The enrollments by their identifier."""
        return {one.id: one for one in self.evidence.enrollments}

    @cached_property
    def mailbag(self) -> Mailbag:
        """The mails that the relay took."""
        taken = [mail for mail in self.events["mail"] if mail["taken"]]
        dropped = sum(bool(mail["dropped"]) for mail in taken)
        kills = sum("mailer" in str(f.get("killed", "")) for f in self.events["fault"])
        freezes = sum("mailer" in str(f.get("frozen", "")) and bool(f["past_lease"]) for f in self.events["fault"])
        bound = (kills + freezes) * SMTP_CONNECTIONS + dropped * UNCERTAIN_REPEATS
        return Mailbag(Counter(mail["id"] for mail in taken), dropped, bound)


Check = Callable[[Findings], Iterator[Violation]]


def each_key_has_one_final_answer(found: Findings) -> Iterator[Violation]:
    jobs = found.evidence.by_key
    for key, event in found.asked.items():
        job = jobs.get(key)
        if job is None:
            yield Violation(LOST, "key", key, f"{event['kind']} is not in the ledger")
        elif not job.finished:
            yield Violation(LOST, "key", key, f"{event['kind']} is {job.answer.state} for ever")
        elif job.answer.state == JobState.DEAD:
            yield Violation(LOST, "key", key, f"{event['kind']} is dead: {job.error}")
    for job in found.evidence.jobs:
        if job.external and job.key is None:
            yield Violation(DOUBLED, "key", job.id, f"{job.kind} was accepted and has no key")


def answers_stay_the_same(found: Findings) -> Iterator[Violation]:
    jobs = found.evidence.by_key
    for event in found.events["answered"]:
        job = jobs.get(event["key"])
        if job is None:
            yield Violation(LOST, "answer", event["key"], "was answered, and its key is gone")
        elif job.answer.mark != event["mark"]:
            now = f"{job.answer.state} {Counter(job.answer.codes)}"
            yield Violation(DOUBLED, "answer", event["key"], f"was {event['state']} {event['codes'][:3]}, is {now}")


def answers_come_in_time(found: Findings) -> Iterator[Violation]:
    """A promise that is kept much later than any fault lasted was kept by luck: something stood still."""
    first: dict[str, float] = {}
    for event in found.events["answered"]:
        first.setdefault(event["key"], event["at"])
    for key, at in first.items():
        waited = at - found.asked[key]["at"] if key in found.asked else 0.0
        if waited > LATEST_ANSWER_SECONDS:
            yield Violation(SILENT, "answer", key, f"{found.asked[key]['kind']} was answered after {waited:.0f} s")


def answers_are_right(found: Findings) -> Iterator[Violation]:
    for event, job in found.done:
        strange = set(job.answer.codes) - set(event["expect"])
        if strange and job.answer.state != JobState.DEAD:
            allowed = ", ".join(event["expect"])
            detail = f"{event['kind']} answered {', '.join(sorted(strange))}, expected {allowed}"
            yield Violation(WRONG, "answer", event["key"], detail)


def seats_add_up(found: Findings) -> Iterator[Violation]:
    for seats in found.evidence.seats:
        if seats.fault:
            yield Violation(OVERSOLD, "seats", seats.reference, seats.fault)
    for sample in found.events["oversold"]:
        yield Violation(OVERSOLD, "seats", sample["contract"], f"{sample['fault']} after {sample['at']} s")


def people_are_enrolled_once(found: Findings) -> Iterator[Violation]:
    """Every enrollment has exactly one answer that made it, and every such answer its enrollment."""
    live = Counter((one.contract, one.account_id) for one in found.evidence.enrollments if not one.withdrawn)
    for (contract, account), times in live.items():
        if times > 1:
            yield Violation(DOUBLED, "enrollment", account, f"enrolled {times} times on {contract}")
    accounts: dict[str, set[str]] = defaultdict(set)
    for one in found.evidence.enrollments:
        accounts[one.address].add(one.account_id)
    for address, several in accounts.items():
        if len(several) > 1:
            yield Violation(DOUBLED, "account", address, f"{len(several)} accounts")
    yield from _made_by_answers(found)


def _made_by_answers(found: Findings) -> Iterator[Violation]:
    told = Counter(
        person.enrollment_id
        for job in found.evidence.jobs
        if job.finished
        for person in job.answer.people
        if person.code in JOINED and person.enrollment_id
    )
    for enrollment, times in told.items():
        if enrollment not in found.enrollments:
            yield Violation(LOST, "enrollment", str(enrollment), "was answered and does not exist")
        elif times > 1:
            yield Violation(DOUBLED, "enrollment", str(enrollment), f"{times} answers say that they made it")
    for one in found.evidence.enrollments:
        if one.id not in told:
            yield Violation(DOUBLED, "enrollment", one.id, f"exists on {one.contract}, and no answer made it")


def withdrawn_people_are_withdrawn(found: Findings) -> Iterator[Violation]:
    told = Counter(
        person.enrollment_id
        for _, job in found.done
        if job.kind == "withdraw"
        for person in job.answer.people
        if person.code == Code.WITHDRAWN
    )
    for one in found.evidence.enrollments:
        times = told[one.id]
        if times and not one.withdrawn:
            yield Violation(LOST, "withdrawal", one.id, "was withdrawn and is enrolled")
        elif one.withdrawn and not times:
            yield Violation(DOUBLED, "withdrawal", one.id, "is withdrawn, and no answer said so")
        elif times > 1:
            yield Violation(DOUBLED, "withdrawal", one.id, f"was withdrawn {times} times")


def progress_is_what_was_said(found: Findings) -> Iterator[Violation]:
    said: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event, job in found.done:
        if job.kind == "record_progress":
            for told, person in zip(event["request"]["events"], job.answer.people, strict=False):
                if person.code in HEARD:
                    said[told["enrollment_id"]].append(told)
    for enrollment, events in said.items():
        known = found.enrollments.get(enrollment)
        if known is None:
            yield Violation(LOST, "progress", enrollment, "was recorded, and the enrollment is gone")
            continue
        furthest = max((event["progress"] for event in events), key=RANK.__getitem__)
        latest = max(events, key=lambda event: str(event["occurred_at"]))
        scores = [event["score"] for event in events if event.get("score") is not None]
        expected = (furthest, latest["time_spent_seconds"], scores[-1] if scores else None)
        if (known.progress, known.seconds, known.score) != expected:
            yield Violation(LOST, "progress", enrollment, f"{known.progress} {known.seconds}, expected {expected}")
    for one in found.evidence.enrollments:
        if one.progress != Progress.NOT_STARTED and one.id not in said:
            yield Violation(WRONG, "progress", one.id, f"{one.progress}, and no event said so")


def addresses_are_corrected(found: Findings) -> Iterator[Violation]:
    right: dict[str, str] = {}
    for event, job in found.done:
        if job.kind == "correct_email" and Code.CORRECTED in job.answer.codes:
            right[event["request"]["enrollment_id"]] = event["request"]["email"]
    for enrollment, address in right.items():
        held = found.enrollments.get(enrollment)
        if held is None or held.address != address:
            has = held.address if held else "nothing"
            yield Violation(LOST, "correction", enrollment, f"was corrected to {address} and has {has}")


def certificates_are_numbered(found: Findings) -> Iterator[Violation]:
    """One certificate in force for each completed training; numbers without a gap, each once."""
    in_force = Counter(one.enrollment_id for one in found.evidence.certificates if one.in_force)
    for one in found.evidence.enrollments:
        wanted = int(one.progress == Progress.COMPLETED)
        if in_force[one.id] != wanted:
            counts_as = LOST if in_force[one.id] < wanted else DOUBLED
            yield Violation(counts_as, "certificate", one.id, f"{in_force[one.id]} in force for {one.progress}")
    for counter in found.evidence.counters:
        given = [one.number for one in found.evidence.certificates if one.organisation == counter.organisation]
        given = [number for number in given if number.startswith(f"{counter.year}-")]
        right = [f"{counter.year}-{place:06}" for place in range(1, counter.last + 1)]
        for number in Counter(right) - Counter(given):
            yield Violation(LOST, "number", number, "is missing in the sequence")
        for number in Counter(given) - Counter(right):
            yield Violation(DOUBLED, "number", number, "was given twice, or is beyond the counter")


def duplicates_are_numbered(found: Findings) -> Iterator[Violation]:
    ordinals: dict[str, list[int]] = defaultdict(list)
    for one in found.evidence.duplicates:
        ordinals[one.certificate].append(one.ordinal)
    for certificate, given in ordinals.items():
        if sorted(given) != list(range(1, len(given) + 1)):
            yield Violation(LOST, "duplicate", certificate, f"numbered {sorted(given)}")
    made = Counter(one.job for one in found.evidence.duplicates)
    for event, job in found.done:
        if job.kind == "duplicate_certificates":
            told = sum(code == Code.DUPLICATED for code in job.answer.codes)
            if told != made[job.id]:
                counts_as = LOST if made[job.id] < told else DOUBLED
                yield Violation(counts_as, "duplicate", event["key"], f"{told} answered, {made[job.id]} registered")


def files_are_imported(found: Findings) -> Iterator[Violation]:
    there = {(one.contract, one.address) for one in found.evidence.enrollments}
    for file in found.events["dropped"]:
        absent = [address for address in file["addresses"] if (file["contract"], address) not in there]
        if absent:
            yield Violation(LOST, "file", file["name"], f"{len(absent)} of its people are not enrolled")
    for left in found.events["file_left"]:
        yield Violation(LOST, "file", left["name"], left["why"])


def owed_mails_were_sent(found: Findings) -> Iterator[Violation]:
    got = found.mailbag.copies
    for mail in found.evidence.mails:
        if mail.state == EmailState.SENT and not got[mail.message_id]:
            yield Violation(LOST, "mail", mail.id, f"{mail.kind} is sent, and the relay has not got it")
        elif mail.state not in (EmailState.SENT, EmailState.CANCELLED):
            yield Violation(LOST, "mail", mail.id, f"{mail.kind} is {mail.state}: {mail.error} {mail.reason or ''}")
    known = {mail.message_id for mail in found.evidence.mails}
    for message_id in got.keys() - known:
        yield Violation(DOUBLED, "mail", message_id, "was sent and is not owed")
    yield from _owed_by_answers(found)


def _owed_by_answers(found: Findings) -> Iterator[Violation]:
    """Every enrollment owed one invitation or attachment, unless no mail was wanted; every withdrawal one mail."""
    owed = Counter((mail.enrollment, mail.job) for mail in found.evidence.mails if mail.kind in INVITING)
    left = Counter(mail.enrollment for mail in found.evidence.mails if mail.kind == EmailKind.WITHDRAWAL)
    for event, job in found.done:
        notify = event["request"].get("notify", True)
        for person in job.answer.people:
            if job.kind == "enroll" and notify and person.code in JOINED and person.enrollment_id:
                times = owed[person.enrollment_id, job.id]
                if times != 1:
                    counts_as = DOUBLED if times else LOST
                    yield Violation(counts_as, "mail", str(person.enrollment_id), f"{times} invitations are owed")
            if job.kind == "withdraw" and person.code == Code.WITHDRAWN and left[person.enrollment_id] != 1:
                times = left[person.enrollment_id]
                yield Violation(DOUBLED if times else LOST, "mail", str(person.enrollment_id), f"{times} withdrawals")


def mails_are_doubled_within_the_bound(found: Findings) -> Iterator[Violation]:
    bag = found.mailbag
    if bag.doubled > bag.bound:
        several = ", ".join(f"{one} × {times}" for one, times in bag.copies.items() if times > 1)
        yield Violation(MAILS_DOUBLED, "mail", f"{bag.doubled} copies", f"at most {bag.bound} are allowed: {several}")


def owed_webhooks_arrived(found: Findings) -> Iterator[Violation]:
    """Each owed event arrived, those of one resource in their order at first; a copy of an earlier one may follow."""
    first: dict[str, int] = {}
    for place, event in enumerate(found.events["webhook"]):
        first.setdefault(event["id"], place)
    before: dict[str, int] = {}
    for hook in found.evidence.webhooks:
        arrived = first.get(hook.id)
        if hook.state != WebhookState.DELIVERED or arrived is None:
            yield Violation(LOST, "webhook", hook.id, f"{hook.event} is {hook.state}, arrived: {arrived is not None}")
        elif arrived < before.get(hook.resource, -1):
            yield Violation(WRONG, "webhook", hook.id, f"{hook.event} of {hook.resource} overtook an earlier one")
        else:
            before[hook.resource] = arrived
    for stranger in first.keys() - {hook.id for hook in found.evidence.webhooks}:
        yield Violation(DOUBLED, "webhook", stranger, "arrived and is not owed")


def causes_are_told(found: Findings) -> Iterator[Violation]:
    """Each job of the portal has ended once, and each person was enrolled and withdrawn as often as is told."""
    told = Counter((hook.event, hook.resource) for hook in found.evidence.webhooks)
    happened = Counter((WebhookEvent.JOB_FINISHED.value, f"job:{job.id}") for _, job in found.done)
    for _, job in found.done:
        for person in job.answer.people if job.kind in CAUSES else ():
            event, codes = CAUSES[job.kind]
            if person.enrollment_id and person.code in codes:  # a dry run enrols none
                happened[event, f"enrollment:{person.enrollment_id}"] += 1
    for cause, times in happened.items():
        if told[cause] != times:
            counts_as = LOST if told[cause] < times else DOUBLED
            yield Violation(counts_as, "event", cause[1], f"{cause[0]} happened {times} times, owed {told[cause]}")
    numbers: dict[str, list[int]] = defaultdict(list)
    for hook in found.evidence.webhooks:
        numbers[hook.resource].append(hook.sequence)
    for resource, given in numbers.items():
        if given != list(range(1, len(given) + 1)):
            yield Violation(LOST, "event", resource, f"numbered {given}")


def nothing_is_left_running(found: Findings) -> Iterator[Violation]:
    for row in found.evidence.unfinished:
        due = "leased" if row.due_in is None else f"due in {row.due_in:.0f} s"
        detail = f"{row.kind} on {row.queue} is {row.state}, {due}, {row.error or 'no error'}"
        yield Violation(SILENT, row.ledger, row.id, detail)


def no_process_is_silent(found: Findings) -> Iterator[Violation]:
    for silent in found.events["silent"]:
        yield Violation(SILENT, "process", silent["subject"], silent["why"])


def the_storm_was_made(found: Findings) -> Iterator[Violation]:
    """A fault that could not be made proves nothing."""
    for fault in found.events["fault"]:
        if "broken" in fault:
            yield Violation(WRONG, "harness", fault["name"], fault["broken"])


CHECKS: Final[tuple[Check, ...]] = (
    each_key_has_one_final_answer,
    answers_stay_the_same,
    answers_come_in_time,
    answers_are_right,
    seats_add_up,
    people_are_enrolled_once,
    withdrawn_people_are_withdrawn,
    progress_is_what_was_said,
    addresses_are_corrected,
    certificates_are_numbered,
    duplicates_are_numbered,
    files_are_imported,
    owed_mails_were_sent,
    mails_are_doubled_within_the_bound,
    owed_webhooks_arrived,
    causes_are_told,
    nothing_is_left_running,
    no_process_is_silent,
    the_storm_was_made,
)


def find_violations(found: Findings) -> list[Violation]:
    """Runs every check."""
    return [violation for check in CHECKS for violation in check(found)]
