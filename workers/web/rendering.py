"""Renders pages from the templates and texts of ``workers/web/pages``, without scripts, cookies or other files."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from models.access_url import WayIn
from models.password import MAX_PASSWORD, MIN_PASSWORD
from models.words import LOCALES
from workers.i18n.values import read_texts
from workers.settings import get_settings

PAGES: Final = Path(__file__).parent / "pages"
STYLE: Final = (PAGES / "style.css").read_text(encoding="utf-8")
STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: it allows our one style sheet, by its hash, and forms that post to this site."""

templates: Final = Environment(
    loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def page(name: str, locale: str, values: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """Renders a page in one of ``LOCALES``. Values may be hostile: they are escaped, and isolated by ``<bdi>``."""
    settings = get_settings()
    shared = {
        "platform": settings.platform_name,
        "support": settings.support_address,
        "shortest": MIN_PASSWORD,
        "longest": MAX_PASSWORD,
    }
    known = {**shared, **values}
    say = partial(_say, locale, known)
    html = templates.get_template(f"{name}.html").render(**known, locale=locale, say=say, style=Markup(STYLE))  # noqa: S704
    return HTMLResponse(html, status)


def note(
    name: str, locale: str, *, status: int = 200, ways: Sequence[WayIn] | None = None, **values: Any
) -> HTMLResponse:
    """Renders a page that only informs; `name` is its table in ``texts.toml``.

    A note that refers people to the support has another text for platforms without one (``next_without_support``).

    Parameters:
      ways: the buttons of a note that tells a person to sign in; an empty list says whom to ask, None says nothing.
    """
    alone = not get_settings().support_address and "next_without_support" in TEXTS[locale]["notes"][name]
    known = {**values, "note": name, "next": "next_without_support" if alone else "next", "ways": ways}
    return page("note", locale, known, status=status)


def asked_locale(request: Request, default: str | None = None) -> str:
    """Returns the language of an answer: ``?lang=``, else the account's, else the browser's first, else French."""
    asked = request.query_params.get("lang", "")
    preferred = request.headers.get("accept-language", "")[:2].lower()
    return next((one for one in (asked, default, preferred) if one in LOCALES), LOCALES[0])


def _say(locale: str, known: Mapping[str, Any], key: str, **values: Any) -> Markup:
    sentence: Any = TEXTS[locale]
    for part in key.split("."):
        sentence = sentence[part]
    isolated = {name: _isolate(value) for name, value in {**known, **values}.items()}
    return escape(sentence).format(**isolated)


def _isolate(value: object) -> object:
    """Escapes and isolates a text, so that HTML or right-to-left letters in it cannot change its sentence."""
    return Markup("<bdi>{}</bdi>").format(value) if isinstance(value, str) else value


TEXTS: Final = read_texts(PAGES / "texts.toml")
