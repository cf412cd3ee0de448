"""A folder in S3, served by moto: the same file is seen, fetched, reported on and moved."""

import boto3
import pytest

from tests.kit.processes.buckets import BUCKET, bucket
from workers.rosters.folder import InboxFolder

__all__ = ["bucket"]


def test_a_folder_in_s3(bucket: str) -> None:
    folder = InboxFolder(bucket)
    assert folder.contract() == "C-1"
    [dropped] = folder.files()
    assert (dropped.name, dropped.size) == ("liste.csv", 20)
    assert folder.version_of("liste.csv") == dropped.version
    with folder.fetch(dropped) as file:
        file.seek(0)
        assert file.read() == "Nom;Prénom;E-mail\r\n".encode()
    folder.put("done", "liste.csv.report.json", [b"{", b"}"])
    folder.put_away("liste.csv", "done", "liste.csv")
    assert folder.files() == []
    assert folder.version_of("liste.csv") is None
    keys = boto3.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
    assert sorted(key["Key"] for key in keys) == [
        "acme/done/ancien.csv",
        "acme/done/liste.csv",
        "acme/done/liste.csv.report.json",
        "acme/matricule.json",
    ]
    with pytest.raises(FileNotFoundError):
        folder.put_away("liste.csv", "done", "liste.csv")
