"""Pages from templates, with all that each of them shows: counters, language, the fields of its forms."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from scripts.portal import moments
from scripts.portal.forms import VISIT, csrf_token, new_key, new_visit
from scripts.portal.languages import CHOICES, choice_url, chosen, keep_choices, language_of
from scripts.portal.seats import seat_strip
from scripts.portal.site import Site, site_of
from scripts.portal.texts import shown_number
from scripts.portal.visitors import Visitor

FOLDER: Final = Path(__file__).parent


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        auto_reload=False,
    )
    made.globals["seat_strip"] = seat_strip
    return made


TEMPLATES: Final = _environment()


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    bare: bool = False,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """Renders a page; the counters of the contract are read now, so that they are always fresh.

    Parameters:
      bare: without the manager's frame: no counters are read, so that it can be shown when Matricule is away.
      headers: further ones of the answer.
      values: of the template. It has these as well: ``t(key, …)``, ``sentence(code)``, ``form_fields()`` (the hidden
        fields of a form), ``visitor``, ``contract`` (its counters), ``lang``, and the filters of days and hours.

    Raises: PortalError when the counters cannot be read.
    """
    site, language = site_of(request), language_of(request)
    visitor: Visitor | None = None if bare else getattr(request.state, "visitor", None)
    visit = request.cookies.get(VISIT) or new_visit()
    contract = visitor.counters() if visitor is not None and visitor.contract else None
    context = {
        **_words(site, language),
        "path": request.url.path,
        "visitor": visitor,
        "contract": contract,
        "now": moments.now(),
        "form_fields": _form_fields(site, visit, visitor),
        "choice_url": lambda name, value: choice_url(request, name, value),
        "choices": {name: chosen(request, name) for name in CHOICES},
        "settings": site.settings,
        "freshness": site.freshness.version(visitor.contract) if visitor is not None else "",
        "held_fields": lambda held: hidden([("csrf", csrf_token(site.settings.secret, visit)), *held.fields]),
    }
    html = TEMPLATES.get_template(template).render(context | values)
    answer = HTMLResponse(html, status, {"Cache-Control": "no-store", **(headers or {})})
    keep_choices(request, answer)
    if VISIT not in request.cookies:
        answer.set_cookie(VISIT, visit, httponly=True, samesite="lax", path="/")
    return answer


def _words(site: Site, language: str) -> dict[str, Any]:
    """Returns the functions that write words and moments in the language of the page."""
    return {
        "lang": language,
        "t": lambda key, /, **values: site.texts.text(language, key, **values),
        "sentence": lambda code: site.texts.sentence(language, code),
        "short_day": lambda moment: moments.short_day(moment, language),
        "long_day": lambda moment: moments.long_day(moment, language),
        "hour": lambda moment: moments.hour(moment, language),
        "day_and_hour": lambda moment: moments.day_and_hour(moment, language),
        "number": lambda value: shown_number(value, language),
    }


def _form_fields(site: Site, visit: str, visitor: Visitor | None) -> Callable[..., Markup]:
    """Returns a function that writes the hidden fields of a form.

    Each call makes another key; a form that is shown again after no answer keeps the one it was sent with.
    """
    token = csrf_token(site.settings.secret, visit)

    def fields(key: str | None = None) -> Markup:
        shown = [("csrf", token), ("key", key or new_key())]
        if visitor is not None:
            shown.append(("contract", visitor.contract))
        return hidden(shown)

    return fields


def hidden(fields: list[tuple[str, str]]) -> Markup:
    """Writes hidden fields."""
    line = Markup('<input type="hidden" name="{}" value="{}">')
    return Markup("").join(line.format(name, value) for name, value in fields)
