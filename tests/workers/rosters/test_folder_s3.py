"""A folder in S3, as moto answers for it: the same file seen, fetched, reported on and moved."""

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from workers.rosters.folder import Folder

BUCKET = "fichiers-rh"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket; credentials and address come from the environment, as in production."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-3",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    client.put_object(Bucket=BUCKET, Key="acme/liste.csv", Body=b"Nom;Pr\xc3\xa9nom;E-mail\r\n")
    client.put_object(Bucket=BUCKET, Key="acme/matricule.json", Body=b'{"contract": "C-1"}')
    client.put_object(Bucket=BUCKET, Key="acme/done/ancien.csv", Body=b"x")
    yield f"s3://{BUCKET}/acme"
    server.stop()


def test_a_folder_in_s3(bucket: str) -> None:
    folder = Folder(bucket)
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
