"""Celery as its guide shows it: a task for each person, which is acknowledged late and calls another for the mail."""

import os

from celery import Celery

from tests.benchmarks.alternatives import orm

app = Celery("alternatives", broker=os.environ["REDIS_URL"].replace("unix://", "redis+socket://"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_routes={"enroll_person": {"queue": "enroll"}, "send_invitation": {"queue": "mails"}},
    broker_connection_retry_on_startup=True,
)


@app.task(name="enroll_person")  # type: ignore[untyped-decorator]
def enroll_person(contract_id: int, email: str, first_name: str, last_name: str) -> None:
    """Enrolls a person and has the invitation sent."""
    enrollment = orm.enroll(contract_id, email, first_name, last_name)
    if enrollment is not None:
        send_invitation.delay(enrollment)


@app.task(name="send_invitation")  # type: ignore[untyped-decorator]
def send_invitation(enrollment_id: int) -> None:
    """Stands for the mail; no worker takes this queue here."""
