"""The progress of a participant, certificates, and the files of duplicates."""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import Response

from models.words import Code, Scope
from workers.api import schemas
from workers.api.calls import Call, json_answer
from workers.api.downloads import streamed_answer, threaded
from workers.api.operation import Operation
from workers.api.problems import ApiProblem
from workers.certificates.duplicates.fetching import pieces
from workers.reading.certificates import find_duplicates, show_certificate, show_progress

TAG: Final = "Certificates"

TYPES: Final = {"pdf": "application/pdf", "zip": "application/zip"}


async def progress(call: Call) -> Response:
    """Shows the progress of a participant with every version of their certificate, also of one who left."""
    found = await call.read(show_progress, call.key, call.identifier("enrollment"))
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(found)


async def certificate(call: Call) -> Response:
    """Shows a certificate: its status, what it says (null once that is kept no longer), and its duplicates."""
    found = await call.read(show_certificate, call.key, call.identifier("certificate"))
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(found)


def sender(kind: str) -> Callable[[Call], Awaitable[Response]]:
    """Makes the handler that gives files of a kind."""

    async def send(call: Call) -> Response:
        """Gives the file that a job of duplicates made, for as long as its link works.

        One document is a PDF, several are a zip; the job names the file.
        """
        file = await call.read(find_duplicates, call.key, call.identifier("job"), kind)
        if isinstance(file, Code):
            raise ApiProblem(file)
        content = await call.make(lambda: pieces(file))
        if content is None:
            raise ApiProblem(Code.NOT_KEPT, "the document cannot be made again")
        return streamed_answer(threaded(call, content.pieces), file.name, TYPES[kind], content.size)

    return send


OPERATIONS: Final = (
    Operation(
        "GET",
        "/enrollments/{enrollment}/progress",
        "show_progress",
        progress,
        Scope.READ,
        "Show the progress of a participant",
        TAG,
        answers={200: schemas.ParticipantProgress},
    ),
    Operation(
        "GET",
        "/certificates/{certificate}",
        "show_certificate",
        certificate,
        Scope.READ,
        "Show a certificate",
        TAG,
        answers={200: schemas.Certificate},
    ),
    *(
        Operation(
            "GET",
            f"/certificate-duplicates/{{job}}.{kind}",
            f"get_duplicates_{kind}",
            sender(kind),
            Scope.CERTIFICATES,
            f"Get the file of duplicates of certificates, a {kind}",
            TAG,
            answers={200: TYPES[kind]},
            problems=(Code.EXPIRED_LINK, Code.CERTIFICATE_REVOKED, Code.NOT_KEPT),
            compressed=False,
        )
        for kind in TYPES
    ),
)
