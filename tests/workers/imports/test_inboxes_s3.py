"""An inbox in S3: from the dropped file to the reports beside it, by the same scans as for a folder."""

import boto3

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.contracts import add_contract, seats
from tests.kit.processes.buckets import BUCKET, bucket
from tests.kit.processes.support import change
from workers.actors import maintenance, rosters
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.imports.inboxes import put_inbox
from workers.requests.internal import PutInbox, ScanInboxes
from workers.requests.queues import Queue

__all__ = ["bucket"]


def scan(number: int) -> None:
    change("UPDATE inbox_file SET seen_at = seen_at - interval '2 minutes' WHERE job_id IS NULL")
    with transaction() as session:
        accept_internal(session, LOCAL_PORTAL_ID, ScanInboxes(), "{}", key=f"schedule:inboxes:{number}")
    maintenance.maintain(claimed(Queue.MAINTENANCE))


def test_a_file_dropped_in_a_bucket(fresh_database: str, bucket: str) -> None:
    client = boto3.client("s3")
    client.put_object(
        Bucket=BUCKET, Key="acme/liste.csv", Body="Nom;Prénom;E-mail\nDû;Zoé;a@b.fr\nDû;Ève;x@\n".encode()
    )
    with transaction() as session:
        add_contract(session, "C-1", 5)
        put_inbox(session, LOCAL_PORTAL_ID, None, PutInbox(portal="local", reference="rh", contract="C-1", url=bucket))
    for number in range(2):
        scan(number)
    rosters.do_batch(claimed(Queue.ROSTERS))
    scan(3)
    scan(4)
    with transaction() as session:
        assert seats(session) == 1
    keys = sorted(str(one["Key"]) for one in client.list_objects_v2(Bucket=BUCKET)["Contents"])
    assert [key.split("-", 2)[-1] for key in keys if "liste" in key] == [
        "liste.csv",
        "liste.csv.errors.csv",
        "liste.csv.report.json",
    ]
    assert all(key.startswith("acme/done/") for key in keys if "liste" in key)
