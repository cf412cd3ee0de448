"""Sign in as the manager of a company, choose one of its trainings, sign out."""

from itertools import islice
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scripts.portal.answers import HOME, see_other, within
from scripts.portal.companies import Company
from scripts.portal.forms import read_form
from scripts.portal.held import HeldForm
from scripts.portal.sessions import MANAGER
from scripts.portal.site import site_of
from scripts.portal.view import page
from scripts.portal.visitors import signed_in
from workers.portal_client import NotFound

MOST_CONTRACTS: Final = 200
"""The contracts among which a manager chooses."""


def home(_request: Request) -> Response:
    return see_other(HOME)


def ask(request: Request) -> Response:
    """Shows who may sign in."""
    query = request.query_params
    after, ended = within(query.get("suite", HOME)), "fin" in query
    return page(request, "sign_in.html", bare=True, after=after, ended=ended, held=None)


def sign_in(request: Request) -> Response:
    """Signs in as the manager of a company, and leads to where they wanted to go.

    A form that was kept meanwhile is shown, to be sent with one click.
    """
    form, site = read_form(request), site_of(request)
    company = site.companies.get(form.text("company"))
    if company is None:
        raise HTTPException(404)
    held = HeldForm.of_text(form.text("held")) if form.text("held") else None
    contract = _contract(company, held.value("contract") if held else "")
    if held is None:
        answer = see_other(form.text("after") or HOME)
    else:
        answer = page(request, "resume.html", bare=True, held=held)
    site.sessions.start(answer, MANAGER, {"company": company.reference, "contract": contract})
    return answer


def _contract(company: Company, wanted: str) -> str:
    """Returns the wanted contract if it is the company's, or the first one with a seat left, or the first one."""
    if wanted:
        try:
            return company.portal.contract(wanted).reference
        except NotFound:
            pass
    found = list(islice(company.portal.contracts(), MOST_CONTRACTS))
    fitting = (one.reference for one in found if one.remaining > 0)
    return next(fitting, found[0].reference if found else "")


def sign_out(request: Request) -> Response:
    """Ends the session."""
    read_form(request)
    answer = see_other("/connexion")
    site_of(request).sessions.end(answer, MANAGER)
    return answer


def trainings(request: Request) -> Response:
    """Shows the contracts of the company, to choose the one that is shown."""
    visitor = signed_in(request)
    found = list(islice(visitor.portal.contracts(), MOST_CONTRACTS))
    return page(request, "trainings.html", found=found)


def choose_training(request: Request) -> Response:
    """Shows another contract of the company from now on."""
    visitor = signed_in(request)
    form = read_form(request)
    chosen = visitor.portal.contract(form.text("reference"))
    answer = see_other(HOME)
    values = {"company": visitor.company.reference, "contract": chosen.reference}
    site_of(request).sessions.start(answer, MANAGER, values)
    return answer


ROUTES: Final = [
    Route("/", home),
    Route("/connexion", ask, methods=["GET"]),
    Route("/connexion", sign_in, methods=["POST"]),
    Route("/deconnexion", sign_out, methods=["POST"]),
    Route("/formations", trainings, methods=["GET"]),
    Route("/formations", choose_training, methods=["POST"]),
]
