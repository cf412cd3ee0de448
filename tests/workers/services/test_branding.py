"""Logos and colours of companies and organisations: checked when handed over, frozen when a certificate is issued."""

import base64
import hashlib
import io
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from models.words import Code
from tests.certificates import certificate, complete, did, graduates, organisation
from tests.contracts import add_contract, enrolled, query
from workers.certificate_requests import MOST_LOGO
from workers.database import Session
from workers.requests import PutCompany

COMPANY = "SELECT colour, logo FROM company"


def picture(colour: str = "#1b3a5f", size: tuple[int, int] = (90, 30)) -> str:
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def company(**more: Any) -> PutCompany:
    return PutCompany(reference="acme", name="Acmé", **more)


def put(session: Session, **more: Any) -> dict[str, Any]:
    [job] = did(session, company(**more))
    return job


def test_a_logo_is_kept_once_by_its_hash_and_as_it_was_cleaned(session: Session) -> None:
    put(session, logo=picture(), colour=" #1B3A5F ")
    put(session, logo=picture())
    [(digest, content)] = query(session, "SELECT sha256, content FROM logo")
    assert query(session, COMPANY) == [("#1b3a5f", digest)]
    assert hashlib.sha256(content).hexdigest() == digest


@pytest.mark.parametrize(
    ("more", "code", "field"),
    [
        ({"logo": base64.b64encode(b"<svg><script/></svg>").decode()}, "unsupported_image", "logo"),
        ({"logo": "AAAA="}, "unsupported_image", "logo"),
        ({"logo": ""}, "unsupported_image", "logo"),
        ({"colour": "#ffff00"}, "low_contrast", "colour"),
        ({"colour": "red"}, "invalid_colour", "colour"),
        ({"colour": "#000000", "logo": "AAAA"}, "unsupported_image", "logo"),
    ],
)
@pytest.mark.parametrize("whose", [company, organisation])
def test_what_cannot_be_printed_is_refused_and_changes_nothing(
    session: Session, whose: Any, more: dict[str, str], code: str, field: str
) -> None:
    kept = {"logo": picture(), "colour": "#1b3a5f"}
    first = company(**kept) if whose is company else organisation(**kept)
    did(session, first)
    state = "SELECT name, colour, logo FROM company", "SELECT legal_name, colour, logo FROM organisation"
    before = [query(session, one) for one in state]
    changed = {"name": "Autre"} if whose is company else {"legal_name": "Autre"}
    asked = PutCompany(reference="acme", **(changed | more)) if whose is company else organisation(**(changed | more))
    [job] = did(session, asked)
    assert (job["state"], job["result"]["code"], job["result"]["field"]) == ("refused", code, field)
    assert [query(session, one) for one in state] == before


def test_what_a_later_request_leaves_out_stays_and_null_takes_it_away(session: Session) -> None:
    put(session, logo=picture(), colour="#1b3a5f")
    [kept] = query(session, COMPANY)
    put(session)
    assert query(session, COMPANY) == [kept]
    put(session, logo=None)
    assert query(session, COMPANY) == [("#1b3a5f", None)]
    put(session, colour=None)
    assert query(session, COMPANY) == [(None, None)]


@pytest.mark.parametrize("logo", ["A" * (MOST_LOGO + 4), "data:image/png;base64,AAAA", "AA AA", "é", "AAAA\n"])
def test_what_is_no_base64_or_too_long_never_becomes_a_job(logo: str) -> None:
    with pytest.raises(ValidationError):
        company(logo=logo)


def test_a_picture_that_is_too_large_is_told_so() -> None:
    with pytest.raises(ValidationError) as refused:
        company(logo="A" * (MOST_LOGO + 4))
    assert [error["type"] for error in refused.value.errors()] == [Code.IMAGE_TOO_LARGE.value]
    assert company(logo="A" * MOST_LOGO).logo


def test_a_certificate_keeps_the_logos_and_colours_of_its_day(session: Session) -> None:
    add_contract(session)
    put(session, logo=picture("#111111"), colour="#1b3a5f")
    did(session, organisation(logo=picture("#222222"), colour="#333333"))
    [zoe] = enrolled(session, "zoe")
    complete(session, zoe)
    before = certificate(session, zoe)[3]
    assert (before["colour"], before["issuer"]["colour"]) == ("#1b3a5f", "#333333")
    assert before["logo"] != before["issuer"]["logo"]
    put(session, logo=picture("#444444"), colour=None)
    did(session, organisation(logo=None, colour="#000000"))
    assert certificate(session, zoe)[3] == before
    kept = {digest for (digest,) in query(session, "SELECT sha256 FROM logo")}
    assert {before["logo"], before["issuer"]["logo"]} <= kept


def test_without_either_a_certificate_is_issued_all_the_same(session: Session) -> None:
    [zoe] = graduates(session, "zoe")
    assert "logo" not in certificate(session, zoe)[3]
