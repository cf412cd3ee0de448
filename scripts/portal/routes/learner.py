"""The learner's side, as a small LMS has it: sign in, take the training, fetch one's own certificate."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import see_other, within
from scripts.portal.documents import send_document
from scripts.portal.forms import BadForm, read_form
from scripts.portal.languages import language_of
from scripts.portal.learners import Learner, learner_of
from scripts.portal.sessions import LEARNER
from scripts.portal.site import site_of
from scripts.portal.view import page
from workers.portal_client import (
    AccountEnrollment,
    InvalidRequest,
    Job,
    KeyUsedBefore,
    ParticipantProgress,
    ProgressFields,
    SignIn,
)

HOME: Final = "/apprenant"

UNPROCESSABLE: Final = 422

PROGRESS_KIND: Final = "record_progress"
DUPLICATE_KIND: Final = "duplicate_own_certificate"

REPORTED: Final = ("in_progress", "completed")
"""The words that the buttons of a training report."""

LOOK_AGAIN: Final = {"Refresh": "1"}
"""A page that waits for a job loads itself again."""

ISSUED_WITHIN: Final = timedelta(minutes=2)
"""For so long after the completion a page looks again for the certificate by itself."""


def home(request: Request) -> Response:
    """Shows the trainings of the learner."""
    learner = learner_of(request)
    return page(request, "learner_home.html", bare=True, trainings=learner.trainings())


def ask(request: Request) -> Response:
    """Shows the form to sign in."""
    query = request.query_params
    return _sign_in_page(request, after=query.get("suite", HOME), ended="fin" in query)


def sign_in(request: Request) -> Response:
    """Checks the address and the password with Matricule, and starts a session."""
    form, site = read_form(request), site_of(request)
    email, after = form.text("email"), form.text("after")
    given = form.raw("password")
    if not email or not given:
        return _sign_in_page(request, after=after, email=email, code="missing")
    checked = site.learners.sign_in(email, given)
    if checked.account_id is None:
        return _sign_in_page(
            request, after=after, email=email, code=checked.code or "wrong_credentials", until=checked.locked_until
        )
    answer = see_other(_own(after))
    site.sessions.start(answer, LEARNER, _session(checked))
    return answer


def _session(checked: SignIn) -> dict[str, str]:
    return {"account": str(checked.account_id), "version": str(checked.credential_version)}


def _sign_in_page(
    request: Request,
    *,
    after: str,
    ended: bool = False,
    email: str = "",
    code: str = "",
    until: datetime | None = None,
) -> Response:
    values: dict[str, Any] = {"after": _own(after), "ended": ended, "email": email, "code": code, "until": until}
    return page(request, "learner_sign_in.html", status=UNPROCESSABLE if code else 200, bare=True, **values)


def _own(url: str) -> str:
    """Returns an address of the learner's side."""
    return url if within(url) == url and (url == HOME or url.startswith(f"{HOME}/")) else HOME


def sign_out(request: Request) -> Response:
    """Ends the session."""
    read_form(request)
    answer = see_other(f"{HOME}/connexion")
    site_of(request).sessions.end(answer, LEARNER)
    return answer


def ask_password(request: Request) -> Response:
    """Shows the form of a forgotten password, which also serves who never chose one."""
    return page(request, "learner_forgotten.html", bare=True, email="", fault="", asked=False)


def forgot_password(request: Request) -> Response:
    """Asks for the mail; the page is the same whether or not an account has the address."""
    form, site = read_form(request), site_of(request)
    email = form.text("email")
    try:
        if not email:
            raise InvalidRequest
        site.learners.request_password_reset(email, key=form.key)
    except InvalidRequest:
        fault = "learner.forgotten.fault"
        return page(
            request, "learner_forgotten.html", status=UNPROCESSABLE, bare=True, email=email, fault=fault, asked=False
        )
    return see_other(f"{HOME}/mot-de-passe-oublie/envoye")


def password_asked(request: Request) -> Response:
    """Says what was done, without saying whether an account has the address."""
    return page(request, "learner_forgotten.html", bare=True, email="", fault="", asked=True)


def show(request: Request) -> Response:
    """Shows a training, what was just reported or asked for, and the certificate."""
    learner = learner_of(request)
    training = learner.training(request.path_params["enrollment"])
    reported = _asked(learner, request, "suivi", PROGRESS_KIND, training)
    made = _asked(learner, request, "attestation", DUPLICATE_KIND, training)
    progress = learner.portal.progress(training.enrollment_id)  # read last: a job may end meanwhile
    certificate = next((one for one in reversed(progress.certificates) if one.status == "valid"), None)
    waits = any(job is not None and not job.finished for job in (reported, made))
    expected = certificate is None and _just_completed(progress)
    values: dict[str, Any] = {"training": training, "progress": progress, "certificate": certificate}
    headers = LOOK_AGAIN if waits or expected else {}
    return page(
        request,
        "learner_training.html",
        bare=True,
        headers=headers,
        reported=reported,
        made=made,
        waits=waits,
        expected=expected,
        **values,
    )


def _asked(learner: Learner, request: Request, name: str, kind: str, training: AccountEnrollment) -> Job | None:
    """Returns the job that the address of the page names, if any."""
    job_id = request.query_params.get(name, "")
    return learner.job(job_id, kind, training.enrollment_id) if job_id else None


def _just_completed(progress: ParticipantProgress) -> bool:
    at = progress.completed_at
    return at is not None and not progress.certificate_held and datetime.now(UTC) - at < ISSUED_WITHIN


def report(request: Request) -> Response:
    """Reports the progress of the learner, as an LMS does."""
    learner = learner_of(request)
    form = read_form(request)
    enrollment: UUID = request.path_params["enrollment"]
    word = form.text("progress")
    if word not in REPORTED:
        raise BadForm("no progress")
    learner.training(enrollment)
    event: ProgressFields = {"enrollment_id": enrollment, "progress": word, "occurred_at": datetime.now(UTC)}
    here = f"{HOME}/formations/{enrollment}"
    try:
        job = learner.portal.record_progress([event], key=form.key)
    except KeyUsedBefore:  # a second click, a moment later: what the first one reported stands
        return see_other(here)
    return see_other(f"{here}?suivi={job.id}")


def fetch(request: Request) -> Response:
    """Asks for a duplicate of the learner's own certificate."""
    learner = learner_of(request)
    form = read_form(request)
    training = learner.training(request.path_params["enrollment"])
    job = learner.portal.duplicate_own_certificate(
        training.enrollment_id, account_id=learner.account_id, key=form.key, locale=language_of(request)
    )
    return see_other(f"{HOME}/formations/{training.enrollment_id}?attestation={job.id}")


def document(request: Request) -> Response:
    """Sends the document that a job made for this learner."""
    learner = learner_of(request)
    job = learner.job(str(request.path_params["job"]), DUPLICATE_KIND)
    return send_document(request, learner.portal, job, back=HOME, bare=True)


ROUTES: Final = [
    Route(HOME, home, methods=["GET"]),
    Route(f"{HOME}/connexion", ask, methods=["GET"]),
    Route(f"{HOME}/connexion", sign_in, methods=["POST"]),
    Route(f"{HOME}/deconnexion", sign_out, methods=["POST"]),
    Route(f"{HOME}/mot-de-passe-oublie", ask_password, methods=["GET"]),
    Route(f"{HOME}/mot-de-passe-oublie", forgot_password, methods=["POST"]),
    Route(f"{HOME}/mot-de-passe-oublie/envoye", password_asked, methods=["GET"]),
    Route(f"{HOME}/formations/{{enrollment:uuid}}", show, methods=["GET"]),
    Route(f"{HOME}/formations/{{enrollment:uuid}}", report, methods=["POST"]),
    Route(f"{HOME}/formations/{{enrollment:uuid}}/attestation", fetch, methods=["POST"]),
    Route(f"{HOME}/attestations/{{job:uuid}}", document, methods=["GET"]),
]
