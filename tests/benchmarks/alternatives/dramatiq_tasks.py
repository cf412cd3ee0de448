"""dramatiq as its guide shows it: a message for each person, which sends another for the mail."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.benchmarks.alternatives import orm

broker = RedisBroker(url=os.environ["REDIS_URL"])  # type: ignore[no-untyped-call]
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="enroll")
def enroll_person(contract_id: int, email: str, first_name: str, last_name: str) -> None:
    """Enrolls a person and has the invitation sent."""
    enrollment = orm.enroll(contract_id, email, first_name, last_name)
    if enrollment is not None:
        send_invitation.send(enrollment)


@dramatiq.actor(queue_name="mails")
def send_invitation(enrollment_id: int) -> None:
    """Stands for the mail; no worker takes this queue here."""
