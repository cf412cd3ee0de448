"""The page of a link and its process leak nothing: no token or address in headers or logs, and names are inert."""

import re
import socket

import httpx
import pytest

from models.link import PASSWORD_PURPOSES
from models.words import Purpose
from tests.kit.builders.accounts import PASSWORD
from tests.kit.pages.links import GOOD, make
from tests.kit.processes.support import Processes, change, wait_until
from workers.web import links
from workers.web.forms import MAX_BODY


def test_every_answer_keeps_the_address_to_itself(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    answers = [
        site.get(path),
        site.head(path),
        site.post(path, data={"password": "court"}),
        site.post(path, content=b"x" * (MAX_BODY + 1)),
        site.post(path, data=GOOD),
        site.get(path),
        site.get("/links/x"),
        site.get(f"{path}/"),
        site.get("/nothing"),
        site.get("/docs"),
        site.get("/openapi.json"),
        site.delete(path),
        site.options(path),
        site.request("FROB", path),
        site.request("TRACE", path),
        site.get("/livez"),
        site.get("/readyz"),
    ]
    monkeypatch.setattr(links, "look_at_link", None)
    answers.append(site.get(path))
    assert [answer.status_code for answer in answers] == [
        *(200, 200, 422, 413, 200, 410, 404, 404, 404, 404, 404, 405, 405, 405, 405, 200, 200, 500),
    ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; style-src 'sha256-" in policy
        assert "unsafe" not in policy
        assert policy.endswith("form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "noindex" in answer.headers["X-Robots-Tag"]
        assert not {"set-cookie", "location", "server"} & set(answer.headers)
        assert "<script" not in answer.text
        assert path not in answer.text
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)
    assert sorted(answers[11].headers["Allow"].split(", ")) == ["GET", "HEAD", "POST"]


@pytest.mark.parametrize(
    "first_name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}{0}"]
)
@pytest.mark.parametrize("purpose", PASSWORD_PURPOSES)
def test_a_name_is_inert(site: httpx.Client, first_name: str, purpose: Purpose) -> None:
    page = site.get(make(first_name=first_name, purpose=purpose)).text
    assert first_name not in page or "{{" in first_name
    assert "<script" not in page
    assert "<img" not in page
    assert "49" not in re.sub("<style>.*</style>", "", page, flags=re.DOTALL)


def test_a_name_that_runs_the_other_way_is_kept_apart(site: httpx.Client) -> None:
    assert "Bonjour <bdi>\u202eאלודי</bdi>," in site.get(make(first_name="\u202eאלודי")).text


def test_the_process_logs_no_token_and_no_address(processes: Processes) -> None:
    path = make()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.start("workers.cli", "serve", PORT=str(port), LOG_LEVEL="DEBUG")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def answers() -> bool:
            try:
                return client.get("/livez").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, say=processes.logs)
        assert client.get(path, params={"x": "\x00"}).status_code == 200
        assert client.post(path, data={"password": "court"}).status_code == 422
        assert client.post(path, data=GOOD).status_code == 200
        assert client.post(path, data=GOOD).status_code == 410
        change("ALTER TABLE link RENAME TO gone")
        assert client.get(path).status_code in {500, 503}
    processes.stop_all()
    logs = processes.logs()
    token = path.removeprefix("/links/")
    assert "request.failed" in logs
    assert "password.chosen" in logs
    for secret in (
        token,
        token[22:40],
        "elodie",
        PASSWORD,
        PASSWORD.replace(" ", "+"),
        "$argon2",
        "HTTP/1.1",
        "[token]",
    ):
        assert secret not in logs


def test_the_process_says_what_is_missing(processes: Processes) -> None:
    process = processes.start("workers.cli", "serve", LINK_KEYS="")
    assert process.wait(timeout=30) != 0
    assert "LINK_KEYS is empty: give it one key" in processes.logs()
