"""Attestations: numbered duplicates for one person or for several, and their files."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import HOME
from scripts.portal.bulk import BulkAction
from scripts.portal.documents import send_document
from scripts.portal.forms import Form
from scripts.portal.outcomes import read_job
from scripts.portal.visitors import Visitor, signed_in
from workers.portal_client import Job

KIND: Final = "duplicate_certificates"
OWN_KIND: Final = "duplicate_own_certificate"

DOCUMENTS: Final = ("attestation", "realisation")


def duplicate(visitor: Visitor, ids: Sequence[str], form: Form) -> Job:
    """Asks for a duplicate of the certificate of each of these people."""
    wanted = form.text("document")
    document = wanted if wanted in DOCUMENTS else DOCUMENTS[0]
    return visitor.portal.duplicate_certificates(
        visitor.contract, ids, key=form.key, document=document, locale=visitor.language
    )


def document(request: Request) -> Response:
    """Sends what a job of duplicates made, also one that the learner asked for: a PDF, or a zip of several."""
    visitor = signed_in(request)
    job = read_job(visitor, str(request.path_params["job"]), KIND, OWN_KIND)
    return send_document(request, visitor.portal, job, back=HOME)


CERTIFICATES: Final = BulkAction(
    "duplicate", KIND, "/participants/attestations", "certificates", {"duplicated"}, duplicate
)

ROUTES: Final = [*CERTIFICATES.routes, Route("/attestations/{job:uuid}", document, methods=["GET"])]
