"""The tests of inboxes in S3 use a bucket served by moto."""

from collections.abc import Iterator

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

BUCKET = "fichiers-rh"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Creates a bucket of three files; credentials and address come from the environment, as in production."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    httpx.post(f"{endpoint}/moto-api/reset").raise_for_status()  # moto keeps its buckets until the process ends
    S3FileSystem.clear_instance_cache()  # cached clients use the address of an earlier test
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
