"""Logos and colours of companies and organisations are checked on arrival and frozen when a certificate is issued."""

import base64
import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from models.document import MOST_LOGO_BYTES
from models.words import LOCALES, Code
from tests.kit.builders.certificates import (
    certificate,
    complete,
    did,
    graduates,
    organisation,
)
from tests.kit.builders.contracts import add_contract, enrolled, query
from workers.database import Session
from workers.documents.logo import clean_logo
from workers.i18n.catalogues import code_sentence
from workers.requests.base import Request
from workers.requests.catalog import PutCompany
from workers.requests.certificates import PutOrganisation

COMPANY = "SELECT colour, logo FROM company"


def picture(colour: str = "#1b3a5f", size: tuple[int, int] = (90, 30)) -> str:
    written = io.BytesIO()
    Image.new("RGB", size, colour).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def picture_of_bytes(size: int) -> bytes:
    """Returns a picture followed by extra bytes, which are not kept."""
    return base64.b64decode(picture()).ljust(size, b"\0")


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
def test_a_logo_that_cannot_be_printed_is_refused_and_changes_nothing(
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


def test_an_option_left_out_later_stays_and_null_removes_it(session: Session) -> None:
    put(session, logo=picture(), colour="#1b3a5f")
    [kept] = query(session, COMPANY)
    put(session)
    assert query(session, COMPANY) == [kept]
    put(session, logo=None)
    assert query(session, COMPANY) == [("#1b3a5f", None)]
    put(session, colour=None)
    assert query(session, COMPANY) == [(None, None)]


@pytest.mark.parametrize("logo", ["data:image/png;base64,AAAA", "AA AA", "é", "AAAA\n"])
def test_invalid_base64_never_becomes_a_job(logo: str) -> None:
    with pytest.raises(ValidationError):
        company(logo=logo)


@pytest.mark.parametrize("whose", [company, organisation])
@pytest.mark.parametrize("over", [0, 1, 2, 3, 60_000, 900_000])
def test_a_picture_of_too_many_bytes_is_refused_wherever_it_is_counted(
    session: Session, whose: Callable[..., Request], over: int
) -> None:
    content = picture_of_bytes(MOST_LOGO_BYTES + over)
    assert over or clean_logo(content) is not Code.IMAGE_TOO_LARGE
    try:
        [job] = did(session, whose(logo=base64.b64encode(content).decode()))
        told = job["result"].get("code")
    except ValidationError as refused:
        [error] = refused.errors()
        told = error["type"]
    assert told == ("image_too_large" if over else None)


@pytest.mark.parametrize("locale", LOCALES)
def test_the_limit_of_pictures_is_said_wherever_they_are_asked_for(locale: str) -> None:
    said = f"{MOST_LOGO_BYTES // 1000} k{'o' if locale == 'fr' else 'B'}"
    assert said in " ".join(code_sentence(Code.IMAGE_TOO_LARGE, locale).split())
    for shape in (PutCompany, PutOrganisation):
        assert "at most 130 kB" in (shape.model_fields["logo"].description or "")


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
