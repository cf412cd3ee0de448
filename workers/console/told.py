"""Writes the words of rows that several pages show: why one waits, an error, the detail of an audit entry."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from markupsafe import Markup

from models.waiting import WaitingCode
from workers.console.access.visitor import Visitor
from workers.console.masking import hide_addresses
from workers.console.shown import shown_moment
from workers.console.texts import TEXTS
from workers.ops.why import MOMENTS, ExplainedWait

LONGEST: Final = 400
"""Characters of an error or a detail that are shown."""


def row_words(visitor: Visitor) -> dict[str, Any]:
    """Returns the functions that templates on rows use beside those of every page."""
    return {
        "wait_sentence": partial(wait_sentence, visitor.locale),
        "error_words": error_words,
        "detail_of": detail_of,
        "hide_addresses": hide_addresses,
    }


def wait_sentence(locale: str, wait: ExplainedWait | None) -> Markup:
    """Says why a job or a mail waits, in a language of the console."""
    if wait is None:
        return Markup("")
    words = dict(wait.words)
    moments = {name: word if isinstance(word, datetime) else None for name, word in words.items() if name in MOMENTS}
    words |= {name: shown_moment(at, locale, seconds=True) for name, at in moments.items()}
    if words.get("other"):
        words["other"] = Markup('<a class="mono" href="/ops/jobs/{0}">{0}</a>').format(words["other"])
    strong = {name: Markup("<strong>{}</strong>").format(words[name]) for name in moments}
    plain = {name: hide_addresses(word) if type(word) is str else word for name, word in words.items()}
    was = f"why.was.{words.get('state')}"
    key = was if wait.code == WaitingCode.ENDED and TEXTS.has(was) else f"why.{wait.code}"
    return TEXTS.text(locale, key, **(plain | strong))


def error_words(error: Mapping[str, Any] | None) -> str:
    """Returns an error on a line: its class, reason and message, or its code and what was wrong."""
    said = error or {}
    named = " ".join(str(said[name]) for name in ("code", "class", "reason") if said.get(name))
    message = str(said.get("message") or "")
    problems = "; ".join(str(one.get("message", "")) for one in said.get("problems", ()) if isinstance(one, dict))
    return hide_addresses(": ".join(part for part in (named, message or problems) if part))[:LONGEST]


def detail_of(detail: object) -> str:
    """Returns the detail of an audit entry on a line, without addresses."""
    return hide_addresses(json.dumps(detail, ensure_ascii=False))[:LONGEST]


__all__ = ["error_words", "row_words", "wait_sentence"]
