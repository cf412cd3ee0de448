"""Writes the CSS of templates into their tags once, when they are loaded, so that no mail takes time for it.

The inliner parses HTML; it must never see text that people typed. It gets each template file alone, with a mark in
place of every Jinja tag. It must give back the same tags in the same order, and every mark: both are checked.
"""

import re
from collections.abc import Callable
from pathlib import Path

from css_inline import CSSInliner
from jinja2 import BaseLoader, Environment, TemplateNotFound

_JINJA = re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL)
_OPAQUE = re.compile(r"(<title>.*?</title>|<style>.*?</style>|<[^>]*>)", re.DOTALL)  # a comment is no comment in these
_MARK = re.compile(r"<!--jinja(\d+)x-->|jinja(\d+)x")
_BARE_MARK = re.compile(r"jinja\d+x")
_TAG = re.compile(r"</?([a-z][a-z0-9]*)", re.IGNORECASE)


class InliningLoader(BaseLoader):
    """Reads templates below a folder; ``.html`` ones get the rules of ``_base/style.css`` inline."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._css = (folder / "_base" / "style.css").read_text(encoding="utf-8")

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:  # noqa: ARG002
        """Returns the source that Jinja compiles, its path, and that it is never read again in this process."""
        path = self.folder / template
        try:
            source = path.read_text(encoding="utf-8")
        except FileNotFoundError as missing:
            raise TemplateNotFound(template) from missing
        if template.endswith(".html"):
            source = inline_template(source, self._css)
        return source, str(path), lambda: True


def inline_template(source: str, css: str) -> str:
    """Writes the rules into the tags of a template and leaves every Jinja tag as it was.

    Raises:
      ValueError: the HTML parser would have moved, added or dropped a tag. Write the tags it implies (``tbody``), and
        keep Jinja tags out of places where HTML allows no comment.
    """
    hidden: list[str] = []

    def hide(found: re.Match[str]) -> str:
        hidden.append(found[0])
        return f"jinja{len(hidden) - 1}x"

    marked = _JINJA.sub(hide, source)
    marked = "".join(
        part if _OPAQUE.fullmatch(part) else _BARE_MARK.sub(r"<!--\g<0>-->", part) for part in _OPAQUE.split(marked)
    )
    inlined = _inline(marked, css)
    if _tags(inlined) != _tags(marked):
        raise ValueError("the HTML parser changed the tags of this template")
    marks = [int(comment or bare) for comment, bare in _MARK.findall(inlined)]
    if marks != list(range(len(hidden))):
        raise ValueError("the HTML parser moved or dropped a Jinja tag of this template")
    return _MARK.sub(lambda found: hidden[int(found[1] or found[2])], inlined)


def _inline(html: str, css: str) -> str:
    if "<html" in html:
        inliner = CSSInliner(keep_style_tags=True, load_remote_stylesheets=False, extra_css=css)
        return inliner.inline(html)
    return CSSInliner(load_remote_stylesheets=False).inline_fragment(html, css)


def _tags(html: str) -> list[str]:
    return [found[0].lower() for found in _TAG.finditer(html)]
