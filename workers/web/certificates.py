"""The page ``/certificates/{code}``, on which people and programs compare a certificate with the register."""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import quote

from anyio import fail_after, to_thread
from fastapi import APIRouter
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from models.certificate import group_code, read_verification_code
from models.document import CertificateSnapshot
from models.label import WHITE_SPACE
from models.person import full_name
from models.words import Code
from workers.certificates.verification import (
    RegisteredDuplicate,
    VerifiedCertificate,
    as_json,
    closed_until,
    document_as_json,
    find_document,
    verify,
)
from workers.database import transaction
from workers.i18n.moments import shown_day
from workers.i18n.values import shown_date, shown_duration, shown_percent
from workers.web import forms
from workers.web.answers import STATUS, hang_up
from workers.web.rendering import asked_locale, note, page

router = APIRouter()

MOST_UPLOADED: Final = 10_000_000
"""The most bytes of a file that is compared."""

UNREAD: Final = {
    Code.INVALID_REQUEST: ("invalid_request_document", "no file came as the field `file` of multipart/form-data"),
    Code.REQUEST_TOO_LARGE: (
        "too_large_document",
        f"more than {MOST_UPLOADED} bytes: none of our documents is so large",
    ),
    Code.TOO_SLOW: ("too_slow", f"did not arrive within {forms.READ_SECONDS:g} s"),
}
"""The note for people and the detail for programs, for each reason why a file was not compared."""

JSON: Final = ".json"


@router.api_route("/certificates", methods=["GET", "HEAD"], response_model=None)
async def ask_code(request: Request) -> Response:
    """Shows the form for a code; a request with a valid code is redirected to the page of its certificate."""
    typed = request.query_params.get("code", "").strip(WHITE_SPACE)[:100]
    code = read_verification_code(typed)
    if code is not None:
        return RedirectResponse(f"certificates/{group_code(code)}{_language(request)}", 303)
    values = {"typed": typed, "wrong": bool(typed), "unknown": False}
    return page("verify", asked_locale(request), values, status=404 if typed else 200)


@router.api_route("/certificates/{typed}", methods=["GET", "HEAD", "POST"], response_model=None)
async def show_certificate(request: Request, typed: str) -> Response:
    """Shows every printed field of a certificate and its status, and compares a posted file by its hash.

    It changes nothing but the rate limit of the network.
    """
    wants_json = typed.endswith(JSON) or _prefers_json(request)
    code = read_verification_code(typed.removesuffix(JSON))
    found = await to_thread.run_sync(_look, _network(request), code)
    if isinstance(found, datetime):
        return _too_often(request, found, json=wants_json)
    if found is None:
        return _unknown(request, typed, json=wants_json, mistyped=code is None)
    posted = request.method == "POST"
    compared = await _compare(request, found) if posted else None
    if isinstance(compared, Code):
        return _unread(request, compared, json=wants_json)
    if wants_json:
        told = {"compared": compared and document_as_json(compared)} if posted else {}
        return JSONResponse(as_json(found) | told)
    locale = asked_locale(request)
    return page("certificate", locale, _values(found, compared, locale, posted=posted))


def _look(network: str, code: str | None) -> VerifiedCertificate | datetime | None:
    """Finds the certificate, or the moment until which this network must wait; each request counts, found or not."""
    with transaction() as session:
        until = closed_until(session, network)
        if until is not None:
            return until
        return None if code is None else verify(session, code)


def _network(request: Request) -> str:
    """Returns the subject of the rate limit: an IPv4 address, or the first 64 bits of an IPv6 one (one household)."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
    return str(address)


def _prefers_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def _language(request: Request) -> str:
    asked = request.query_params.get("lang", "")
    return f"?lang={quote(asked)}" if asked in ("fr", "en") else ""


def _too_often(request: Request, until: datetime, *, json: bool) -> Response:
    seconds = max(1, round((until - datetime.now(UTC)).total_seconds()))
    answer: Response
    if json:
        answer = JSONResponse({"code": Code.THROTTLED, "detail": "too many looks from this network"}, 429)
    else:
        answer = note("throttled", asked_locale(request), status=429)
    answer.headers["Retry-After"] = str(seconds)
    return answer


def _unknown(request: Request, typed: str, *, json: bool, mistyped: bool) -> Response:
    if json:
        detail = "cannot be a code: a character is wrong" if mistyped else "no certificate has this code"
        return JSONResponse({"code": Code.NOT_FOUND, "detail": detail}, 404)
    locale = asked_locale(request)
    return page("verify", locale, {"typed": typed[:100], "wrong": mistyped, "unknown": not mistyped}, status=404)


def _unread(request: Request, code: Code, *, json: bool) -> Response:
    name, detail = UNREAD[code]
    if json:
        return hang_up(JSONResponse({"code": code, "detail": detail}, STATUS[code]), code)
    return hang_up(note(name, asked_locale(request), status=STATUS[code]), code)


async def _compare(request: Request, found: VerifiedCertificate) -> RegisteredDuplicate | Code | None:
    """Finds the document of this certificate with the same bytes as the file.

    Returns: None when no document is equal, or a code when the file could not be read.
    """
    digest = await _digest(request)
    if isinstance(digest, Code):
        return digest
    return await to_thread.run_sync(_find, found, digest)


def _find(found: VerifiedCertificate, digest: str) -> RegisteredDuplicate | None:
    with transaction() as session:
        return find_document(session, found.certificate_id, digest)


async def _digest(request: Request) -> str | Code:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return Code.INVALID_REQUEST
    parser = _Parser(request.headers, _bounded(request), max_files=1, max_fields=1)
    try:
        with fail_after(forms.READ_SECONDS):
            form = await parser.parse()
        return await _hash(form.get("file"))
    except MultiPartException:
        return Code.INVALID_REQUEST
    except _TooLargeError:
        return Code.REQUEST_TOO_LARGE
    except TimeoutError:
        return Code.TOO_SLOW
    finally:
        parser.close()


async def _hash(file: UploadFile | str | None) -> str | Code:
    if file is None or isinstance(file, str) or not file.size:
        return Code.INVALID_REQUEST
    hashed = hashlib.sha256()
    while piece := await file.read(1 << 20):
        hashed.update(piece)
    return hashed.hexdigest()


class _Parser(MultiPartParser):
    """Closes the files it opened, also the file of an incomplete part, which is not in the form."""

    def close(self) -> None:
        for file in self._files_to_close_on_error:
            file.close()


class _TooLargeError(Exception):
    """The body is longer than the limit."""


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    seen = 0
    async for piece in request.stream():
        seen += len(piece)
        if seen > MOST_UPLOADED:
            raise _TooLargeError
        yield piece


def _values(
    found: VerifiedCertificate, compared: RegisteredDuplicate | None, locale: str, *, posted: bool
) -> dict[str, Any]:
    replaced = found.replaced_by
    return {
        "number": found.number,
        "code": found.code,
        "issued_on": shown_date(found.issued_on, locale),
        "status": found.status.word,
        "since": shown_day(found.status.since, locale) if found.status.since else "",
        "reason": found.reason,
        "replaced_by": replaced[0] if replaced else "",
        "replaced_by_code": replaced[1] if replaced else "",
        "fields": list(_fields(found.snapshot, locale)) if found.snapshot else [],
        "objectives": found.snapshot.objectives if found.snapshot else (),
        "duplicates": [_shown(one, locale) for one in found.duplicates],
        "replaces": found.replaces,
        "posted": posted,
        "compared": _shown(compared, locale) if compared else None,
    }


def _shown(one: RegisteredDuplicate, locale: str) -> dict[str, str]:
    return {"number": one.number, "document": one.document, "issued_on": shown_date(one.issued_on, locale)}


def _fields(snapshot: CertificateSnapshot, locale: str) -> Iterator[tuple[str, str, bool]]:
    """Yields the printed fields: the key of the label, the value, and whether the value is a key of the texts too."""
    issuer = snapshot.issuer
    yield "learner", full_name(snapshot.first_name, snapshot.last_name), False
    yield "employer", snapshot.employer, False
    yield "training", snapshot.title, False
    yield "nature", snapshot.nature.value, True
    if snapshot.modality:
        yield "modality", snapshot.modality.value, True
    yield "starts_on", shown_date(snapshot.starts_on, locale), False
    yield "ends_on", shown_date(snapshot.ends_on, locale), False
    if snapshot.planned_minutes:
        yield "planned", shown_duration(snapshot.planned_minutes), False
    if snapshot.done_minutes:
        yield "done", shown_duration(snapshot.done_minutes), False
    if snapshot.score is not None:
        yield "score", shown_percent(snapshot.score, locale), False
    yield "organisation", ", ".join([issuer.legal_name, *issuer.address]), False
    if issuer.siret:
        yield "siret", issuer.siret, False
    if issuer.activity_number:
        yield "activity_number", ", ".join(filter(None, (issuer.activity_number, issuer.activity_region))), False
    yield "signatory", f"{issuer.signatory_name}, {issuer.signatory_quality}", False
    yield "place", issuer.place, False
