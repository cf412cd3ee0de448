"""The public page that verifies a certificate: every printed field, its status, its duplicates, and a compared file."""

import os
import re
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from models.certificate import group_code, new_verification_code
from models.throttle import LIMITS, ThrottleScope
from models.words import Purpose
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.certificates import certificate, did, graduates
from tests.kit.builders.contracts import accepted, someone
from tests.kit.processes.support import change, rows
from workers.actors import certificates
from workers.certificates.duplicates.fetching import read_file
from workers.certificates.duplicates.files import file_address, find_file
from workers.database import transaction
from workers.reading.jobs import show_job
from workers.requests.certificates import CorrectCertificate, DuplicateCertificates, RevokeCertificate
from workers.requests.queues import Queue
from workers.security.keys import signing_keys
from workers.security.tokens import SigningKeys, make_file_token, make_token
from workers.web.rendering import POLICY

HOSTILE = [
    ("<script>alert(1)</script>", "</p></main><form action='https://evil.example'>"),
    ('"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}{% raw %}"),
    ("{number} {0} %s", "#panic()"),
    ("محمد", "בן־דוד"),
]


def certified(first_name: str = "Zoé", last_name: str = "Le Dû") -> tuple[UUID, str, str]:
    """Creates a certificate; returns its enrollment, number and grouped code."""
    with transaction() as session:
        [zoe] = graduates(session, someone("zoe", first_name, last_name))
        _, number, code, *_ = certificate(session, zoe)
    return zoe, number, group_code(code)


def duplicated(enrollment: UUID, **more: Any) -> dict[str, Any]:
    with transaction() as session:
        request = DuplicateCertificates(contract="C-1", enrollment_ids=[enrollment], **more)
        job_id = accepted(session, request, f"key-{enrollment}-{more}")
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    with transaction() as session:
        return show_job(session, job_id) or {}


def address(shown: dict[str, Any]) -> str:
    with transaction() as session:
        file = find_file(session, UUID(shown["result"]["file"]["id"]))
        assert file is not None
        return file_address(signing_keys(), file).removeprefix("http://127.0.0.1:8020")


def words(answer: httpx.Response) -> str:
    return " ".join(unescape(re.sub("<[^>]*>", " ", answer.text.partition("<main>")[2])).split())


def test_everything_that_is_printed_is_shown(site: httpx.Client) -> None:
    zoe, number, code = certified()
    duplicated(zoe)
    answer = site.get(f"/certificates/{code}")
    said = words(answer)
    assert answer.status_code == 200
    for expected in (
        *(number, code, "Zoé Le Dû", "Acmé", "Sécurité incendie", "Reconnaître un risque", "Donner l’alerte"),
        *("2 mars 2026", "9 mars 2026", "7 h", "6 h 40", "87,5 %", "À distance", "Action de formation"),
        *("Formation Pro SAS, 12 rue des Écoles, 75005 Paris", "73282932000074", "11755555575", "Claire Martin"),
        *("Cette attestation est valable", f"{number}-D1", "Attestation de fin de formation"),
    ):
        assert expected in said, expected
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    assert "<script" not in answer.text


@pytest.mark.parametrize("typed", ["{code}", "{lower}", "{plain}"])
def test_a_code_is_read_as_people_type_it(site: httpx.Client, typed: str) -> None:
    _, _, code = certified()
    path = typed.format(code=code, lower=code.lower(), plain=code.replace("-", ""))
    assert site.get(f"/certificates/{path}").status_code == 200
    moved = site.get("/certificates", params={"code": f" {path} ", "lang": "en"})
    assert (moved.status_code, moved.headers["location"]) == (303, f"certificates/{code}?lang=en")
    assert "This certificate is valid" in words(site.get(f"/{moved.headers['location']}"))


def test_programs_are_answered_in_json(site: httpx.Client) -> None:
    zoe, number, code = certified()
    duplicated(zoe)
    answer = site.get(f"/certificates/{code}.json")
    assert answer.json() == site.get(f"/certificates/{code}", headers={"Accept": "application/json"}).json()
    told = answer.json()
    assert (told["number"], told["code"], told["status"]) == (number, code, "valid")
    assert told["certificate"]["last_name"] == "Le Dû"
    assert told["certificate"]["issuer"]["siret"] == "73282932000074"
    assert [one["number"] for one in told["duplicates"]] == [f"{number}-D1"]
    unknown = site.get(f"/certificates/{group_code(new_verification_code())}.json")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


def test_an_invalid_code_and_an_unknown_code_are_told_apart(site: httpx.Client) -> None:
    _, _, code = certified()
    mistyped = code[:-1] + ("0" if code[-1] != "0" else "1")
    wrong, unknown = (
        site.get(f"/certificates/{mistyped}"),
        site.get(f"/certificates/{group_code(new_verification_code())}"),
    )
    assert (wrong.status_code, unknown.status_code) == (404, 404)
    assert "comporte une erreur" in words(wrong)
    assert "Aucune attestation ne porte ce code" in words(unknown)


def test_a_corrected_one_says_by_which_it_is_replaced(site: httpx.Client) -> None:
    zoe, number, code = certified("Zoe", "Ledu")
    with transaction() as session:
        did(session, CorrectCertificate(enrollment_id=zoe, last_name="Le Dû", reason="faute"))
        _, later, later_code, *_ = certificate(session, zoe)
    old, new = site.get(f"/certificates/{code}"), site.get(f"/certificates/{group_code(later_code)}")
    assert "a été remplacée" in words(old)
    assert later in words(old)
    assert f'href="/certificates/{group_code(later_code)}"' in old.text
    assert "Zoe Ledu" in words(old)
    assert f"Remplace l’attestation n° {number}" in words(new)
    told = site.get(f"/certificates/{code}.json").json()
    assert (told["replaced_by"], told["replaced_by_code"]) == (later, group_code(later_code))
    assert site.get(f"/certificates/{told['replaced_by_code']}.json").json()["replaced_by_code"] is None


def test_a_revoked_one_says_so(site: httpx.Client) -> None:
    zoe, _, code = certified()
    with transaction() as session:
        did(session, RevokeCertificate(enrollment_id=zoe, reason="double emploi"))
    said = words(site.get(f"/certificates/{code}"))
    assert "a été révoquée" in said
    assert "double emploi" in said
    assert "valable depuis" in said
    assert "est valable" not in said


def test_a_file_is_compared_byte_by_byte(site: httpx.Client) -> None:
    zoe, number, code = certified()
    shown = duplicated(zoe)
    content = read_file(UUID(shown["result"]["file"]["id"])) or b""
    before = rows("SELECT CAST(c AS text) FROM certificate c")
    same = site.post(f"/certificates/{code}", files={"file": ("a.pdf", content)})
    other = site.post(f"/certificates/{code}", files={"file": ("a.pdf", content[:-1] + b"x")})
    assert f"exactement le duplicata n° {number}-D1" in words(same)
    assert "n’est pas un document délivré" in words(other)
    assert rows("SELECT CAST(c AS text) FROM certificate c") == before


@pytest.mark.parametrize(("ending", "headers"), [(".json", {}), ("", {"Accept": "application/json"})])
def test_programs_compare_files_too(site: httpx.Client, ending: str, headers: dict[str, str]) -> None:
    zoe, _, code = certified()
    content = read_file(UUID(duplicated(zoe)["result"]["file"]["id"])) or b""
    path = f"/certificates/{code}{ending}"
    plain = site.get(path, headers=headers).json()
    same = site.post(path, headers=headers, files={"file": ("a.pdf", content)})
    other = site.post(path, headers=headers, files={"file": ("a.pdf", content[:-1] + b"x")})
    assert (same.status_code, same.json()) == (200, plain | {"compared": plain["duplicates"][0]})
    assert (other.status_code, other.json()) == (200, plain | {"compared": None})
    assert "compared" not in plain
    empty = site.post(path, headers=headers, files={"file": ("a.pdf", b"")})
    large = site.post(path, headers=headers, files={"file": ("a.pdf", b"x" * 10_100_000)})
    assert (empty.status_code, empty.json()["code"]) == (400, "invalid_request")
    assert (large.status_code, large.json()["code"]) == (413, "request_too_large")


def test_the_document_of_another_certificate_is_not_this_one(site: httpx.Client) -> None:
    with transaction() as session:
        a, b = graduates(session, *"ab")
        code = group_code(certificate(session, b)[2])
    content = read_file(UUID(duplicated(a)["result"]["file"]["id"])) or b""
    assert "n’est pas un document délivré" in words(
        site.post(f"/certificates/{code}", files={"file": ("a.pdf", content)})
    )


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content": b"code=1", "headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 400),
        ({"content": b"\x00", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400),
        ({"files": {"other": ("a.pdf", b"x")}}, 400),
        ({"files": {"file": ("a.pdf", b"")}}, 400),
        ({"files": {"file": ("a.pdf", b"x" * 10_100_000)}}, 413),
    ],
)
def test_a_form_without_a_file_is_refused_with_the_next_step(
    site: httpx.Client, sent: dict[str, Any], status: int
) -> None:
    _, _, code = certified()
    answer = site.post(f"/certificates/{code}", **sent)
    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_a_network_that_looks_too_often_waits(site: httpx.Client) -> None:
    _, _, code = certified()
    most = LIMITS[ThrottleScope.VERIFICATION_ADDRESS][0].times
    answers = [site.get(f"/certificates/{group_code(new_verification_code())}").status_code for _ in range(most)]
    assert set(answers) == {404}
    late = site.get(f"/certificates/{code}")
    assert late.status_code == 429
    assert 0 < int(late.headers["retry-after"]) <= 60
    assert "Zoé" not in late.text
    assert site.get(f"/certificates/{code}.json").status_code == 429
    [(kept,)] = rows("SELECT count(*) FROM throttle WHERE CAST(throttle AS text) LIKE '%127.0.0.1%'")
    assert kept == 0


@pytest.mark.parametrize("names", HOSTILE)
def test_hostile_names_are_inert(site: httpx.Client, names: tuple[str, str]) -> None:
    _, _, code = certified(*names)
    answer = site.get(f"/certificates/{code}")
    assert answer.status_code == 200
    assert " ".join(names) in words(answer) or all(part in words(answer) for part in " ".join(names).split())
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert answer.text.count("<form") == 1


def test_a_certificate_kept_no_longer_is_reported_as_such(site: httpx.Client) -> None:
    _, number, code = certified()
    change("UPDATE certificate SET snapshot = NULL")
    answer = site.get(f"/certificates/{code}")
    assert number in words(answer)
    assert "n’est plus conservé" in words(answer)


# The links of files


def test_a_file_is_fetched_by_its_link_as_often_as_one_likes(site: httpx.Client) -> None:
    zoe, number, _ = certified()
    shown = duplicated(zoe)
    path = address(shown)
    head, first, again = site.head(path), site.get(path), site.get(path)
    assert first.content == again.content == read_file(UUID(shown["result"]["file"]["id"]))
    assert first.headers["content-type"] == head.headers["content-type"] == "application/pdf"
    assert first.headers["content-disposition"] == f'attachment; filename="attestation-Le-Du-Zoe-{number}-D1.pdf"'
    for answer in (head, first, again):
        assert int(answer.headers["content-length"]) == len(first.content)
    assert first.headers["cache-control"] == "no-store"


def test_a_link_that_is_over_or_was_changed_leads_nowhere(site: httpx.Client) -> None:
    zoe, _, _ = certified()
    path = address(duplicated(zoe))
    flipped = path[:-1] + ("A" if path[-1] != "A" else "B")
    assert site.get(flipped).status_code == 404
    assert site.get("/files/nonsense").status_code == 404
    change("UPDATE certificate_file SET expires_at = now()")
    over = site.get(path)
    assert over.status_code == 410
    assert "a expiré" in words(over)


def test_a_token_of_another_purpose_or_another_key_leads_nowhere(site: httpx.Client) -> None:
    zoe, _, _ = certified()
    file_id = UUID(duplicated(zoe)["result"]["file"]["id"])
    keys, stranger = signing_keys(), SigningKeys.parse("test:" + "6b" * 32)
    activation = make_token(
        keys, key_id="test", link_id=file_id, purpose=Purpose.ACTIVATION, version=1, account_id=file_id
    )
    for token in (activation, make_file_token(stranger, key_id="test", file_id=file_id)):
        assert site.get(f"/files/{token}").status_code == 404
    assert site.get(f"/files/{make_file_token(keys, key_id='test', file_id=file_id)}").status_code == 200


def test_a_file_that_can_no_longer_be_made_says_so(site: httpx.Client) -> None:
    zoe, _, _ = certified()
    path = address(duplicated(zoe))
    change("UPDATE certificate SET snapshot = NULL")
    assert site.get(path).status_code == 410


def test_while_the_place_of_documents_is_away_people_are_told_to_come_back(site: httpx.Client) -> None:
    zoe, _, _ = certified()
    path = address(duplicated(zoe))
    root = Path(os.environ["CERTIFICATE_STORE"])
    root.rename(root.with_suffix(".away"))
    root.write_bytes(b"no folder")
    away = site.get(path)
    assert (away.status_code, away.headers["retry-after"]) == (503, "60")
    root.unlink()
    root.with_suffix(".away").rename(root)
    assert site.get(path).status_code == 200
