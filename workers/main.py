"""``dramatiq workers.main`` loads this module: the broker, and one actor for each queue.

Actors have no dramatiq retries, delays or time limits: the due times and leases of the ledger replace them, and every
statement and every SMTP command has its own timeout. An asynchronous interrupt could hit between the delivery of a mail
and its record.
"""

import sys
from typing import Final

import dramatiq
from dramatiq.middleware import AsyncIO, CurrentMessage
from pydantic import ValidationError

from workers.actors.certificates import certificates, certificates_bulk
from workers.actors.emails import emails, emails_bulk
from workers.actors.enrollments import enrollments
from workers.actors.maintenance import maintenance
from workers.actors.requests import accept_bundle, record_bundle, set_aside
from workers.actors.rosters import rosters
from workers.engine.broker import WakeBroker, make_broker, worker_client
from workers.engine.consumer import SET_ASIDE
from workers.engine.processes import ProcessMiddleware
from workers.errors import NotConfigured
from workers.logs import configure_logs
from workers.mail.message import SenderIdentity
from workers.mail.relay import parse_smtp_url
from workers.mail.return_address import ReturnAddresses
from workers.requests.base import ACCEPT_ACTOR, REQUESTS_QUEUE
from workers.requests.queues import wake_actor
from workers.security.tokens import SigningKeys
from workers.settings import Settings, explain, get_settings

CLAIMERS: Final = (enrollments, rosters, emails, emails_bulk, certificates, certificates_bulk, maintenance)


def check_settings(settings: Settings) -> None:
    """Stops a process at its start if its settings would make its first mail fail.

    Raises: NotConfigured naming the setting.
    """
    SigningKeys.parse(settings.link_keys)
    parse_smtp_url(settings.smtp_url)
    SenderIdentity.from_settings(settings)
    ReturnAddresses.from_settings(settings)
    if not settings.link_base_url:
        raise NotConfigured("LINK_BASE_URL is empty: give it the address people reach the web process at")


def build_broker() -> WakeBroker:
    """Builds the broker and declares every actor on it.

    Raises: SystemExit with a sentence when a setting is missing or wrong.
    """
    try:
        settings = get_settings()
    except ValidationError as error:
        sys.exit(explain(error))
    configure_logs(settings.log_level)
    check_settings(settings)
    # The first one is told last that the worker has stopped: it may end this process with an exit code.
    broker = make_broker(
        worker_client(settings.redis_url), [ProcessMiddleware(record_bundle), AsyncIO(), CurrentMessage()]
    )
    dramatiq.set_broker(broker)
    for make_claimer in CLAIMERS:
        claimer = make_claimer()
        dramatiq.actor(broker=broker, queue_name=claimer.queue, actor_name=wake_actor(claimer.queue))(claimer.answer)
    dramatiq.actor(broker=broker, queue_name=REQUESTS_QUEUE, actor_name=ACCEPT_ACTOR)(accept_bundle)
    dramatiq.actor(broker=broker, queue_name=REQUESTS_QUEUE, actor_name=SET_ASIDE)(set_aside)
    return broker


broker = build_broker()
