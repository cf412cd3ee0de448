"""Tells whether the templates of a mail do nothing with values but place them.

The proof is read from the source: every construct of a template is one that places a value or asks whether there is
one. A loop, a filter that changes text, an attribute or a calculation is none of these, and such a mail is rendered
whole each time. A template that is changed is judged anew, so a new one can never make a wrong mail.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

from jinja2 import Environment, nodes

from models.words import EmailKind
from workers.i18n.catalogues import TEMPLATES
from workers.mail.marks import FORMATS

PARTS: Final = ("subject.txt", "body.txt", "body.html")
"""The templates of a mail."""

_HARMLESS: Final = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Keyword, nodes.List),
    *(nodes.If, nodes.CondExpr, nodes.Not, nodes.And, nodes.Or),
    *(nodes.Block, nodes.Extends, nodes.FromImport, nodes.Include, nodes.Macro),
)
"""Constructs that show a value, choose by whether there is one, or put templates together."""

_SENTENCE: Final = re.compile(r"(?:[^%]|%\(\w+\)s)*")  # its values are neither cut nor padded


@cache
def places_only(kind: EmailKind) -> bool:
    """Tells whether all templates of this kind only place values."""
    found = [node for part in PARTS for tree in _trees(f"{kind}/{part}") for node in (tree, *tree.find_all(nodes.Node))]
    macros = {node.name for node in found if isinstance(node, nodes.Macro)}
    return all(_is_placing(node, macros) for node in found)


@cache
def _parsed(file: str) -> nodes.Template:
    return Environment(autoescape=True).parse((TEMPLATES / file).read_text(encoding="utf-8"))


def _trees(file: str) -> Iterator[nodes.Node]:
    """Yields the template, those it extends or includes, and the macros it imports."""
    yield _parsed(file)
    for node in _parsed(file).find_all(nodes.Node):
        match node:
            case nodes.Extends(template=nodes.Const(value=other)) | nodes.Include(template=nodes.Const(value=other)):
                yield from _trees(other)
            case nodes.FromImport(template=nodes.Const(value=other), names=names):
                yield from _imported(other, [name for name in names if isinstance(name, str)])


def _imported(file: str, names: Iterable[str]) -> Iterator[nodes.Node]:
    """Yields macros of a file, and those of the same file that they call."""
    macros = {macro.name: macro for macro in _parsed(file).find_all(nodes.Macro)}
    wanted = [name for name in names if name in macros]
    for name in wanted:  # it grows meanwhile
        yield macros[name]
        called = {call.node.name for call in macros[name].find_all(nodes.Call) if isinstance(call.node, nodes.Name)}
        wanted += sorted(called & macros.keys() - set(wanted))


def _is_placing(node: nodes.Node, macros: set[str]) -> bool:  # noqa: PLR0911 - one line for each construct
    match node:
        case nodes.Extends() | nodes.FromImport() | nodes.Include():
            return isinstance(node.template, nodes.Const)
        case nodes.Macro():  # a value that a macro compares may be made of several
            return node.find(nodes.Compare) is None
        case nodes.Call():
            return isinstance(node.node, nodes.Name) and node.node.name in macros
        case nodes.Test():
            return node.name == "none"
        case nodes.Compare():
            return isinstance(node.expr, nodes.Name)
        case nodes.Operand():
            return node.op in {"eq", "ne"} and isinstance(node.expr, nodes.Const)
        case nodes.Filter():
            return _is_placing_filter(node)
    return isinstance(node, _HARMLESS)


def _is_placing_filter(node: nodes.Filter) -> bool:
    """Tells whether a filter fills a sentence, names a moment or a number, or joins the values that are not empty."""
    if (node.kwargs and node.name != "t") or node.dyn_args or node.dyn_kwargs:
        return False
    match node.name:
        case "t":
            return isinstance(node.node, nodes.Const) and bool(_SENTENCE.fullmatch(node.node.value)) and not node.args
        case "join":
            return len(node.args) == 1 and isinstance(node.args[0], nodes.Const)
    return node.name in {"select", *FORMATS} and not node.args
