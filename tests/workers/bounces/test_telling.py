"""A bounce is told: to the portal by an event, to managers by the state of the participant and the next step."""

import pytest

from models.bounce import BounceKind, BounceReport, RecipientReport
from tests.kit.builders.bounces import all_sent
from tests.kit.builders.contracts import asking
from tests.kit.builders.events_page import check_documented
from tests.kit.builders.portal_events import add_endpoint, add_portal, enrolled, owed
from tests.kit.processes.support import rows
from workers.bounces.recording import record_reports
from workers.database import transaction
from workers.reading.participants import show_participant

pytestmark = pytest.mark.usefixtures("fresh_database")

ANNE = ("anne@example.com",)
HARD = BounceReport(BounceKind.SOFT, (RecipientReport(ANNE, "failed", 550, "5.1.1", "user unknown"),))
FULL = BounceReport(BounceKind.SOFT, (RecipientReport(ANNE, "failed", 552, "5.2.2", "mailbox is full"),))
COMPLAINT = BounceReport(BounceKind.COMPLAINT, (RecipientReport(ANNE),))


def told(report: BounceReport) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Records a report twice about an invitation; returns the mail of the participant, and the events."""
    portal = add_portal()
    add_endpoint(portal)
    [enrollment] = enrolled(portal, asking("anne"))
    [(mail_id, _)] = all_sent()
    for _ in range(2):
        with transaction() as session:
            record_reports(session, [(mail_id, report)])
    with transaction() as session:
        shown = show_participant(session, portal, enrollment)
    assert shown is not None
    return shown["mail"], [one.data for one in owed("email.undeliverable")]


def test_a_hard_bounce_is_undeliverable_and_told_once() -> None:
    mail, [event] = told(HARD)
    [(returned_at,)] = rows("SELECT returned_at FROM email WHERE kind = 'invitation'")
    assert (mail["state"], mail["code"], mail["next"]) == ("undeliverable", "address_rejected", "correct")
    assert str(mail["at"])[:19] == str(returned_at).replace(" ", "T")[:19]
    assert (event["mail"], event["code"], event["reason"]) == ("invitation", "bounced", "address_rejected")
    assert "anne" not in str(event)
    check_documented()


def test_a_complaint_is_told_and_leaves_the_manager_nothing_to_do() -> None:
    mail, [event] = told(COMPLAINT)
    assert (mail["state"], mail["code"], mail["next"]) == ("complained", "complained", None)
    assert event["code"] == "complained"


def test_a_soft_bounce_is_told_to_nobody() -> None:
    mail, events = told(FULL)
    assert (mail["state"], mail["code"], events) == ("sent", None, [])
