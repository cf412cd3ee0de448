"""Writes the parts of docs/requests.md that come from the request classes and from the catalogue of codes."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final, get_args, get_origin

from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from models.address import MAX_ADDRESS
from models.label import MAX_LABEL, MAX_REFERENCE
from models.words import LOCALES
from tests.kit.processes.support import PROJECT
from workers.requests import base
from workers.requests.registry import KINDS

CATALOGUE: Final = PROJECT / "email_templates" / "locales" / "codes.en.toml"

NAMED_TYPES: Final = {
    base.Reference: ("reference", f"your own identifier: 1 to {MAX_REFERENCE} printable ASCII characters, no space"),
    base.Label: ("label", f"one line of 1 to {MAX_LABEL} characters"),
    base.Reason: ("reason", f"one line of 1 to {MAX_LABEL} characters that holds no mail address"),
    base.Address: ("address", f"a mail address of at most {MAX_ADDRESS} characters, in any case"),
    base.Language: ("language", " or ".join(f"`{locale}`" for locale in LOCALES)),
}
"""The types of ``workers/requests/base.py`` that the page names, each with its name and what it takes."""

ASKED_BY: Final = "requested_by"
"""Every request has this field; the page says so once."""

PLAIN_TYPES: Final = {"str": "text", "bool": "boolean", "int": "integer", "float": "number", "AwareDatetime": "instant"}


def types_part() -> str:
    """The table of the types that several fields share."""
    return _table(("type", "takes"), NAMED_TYPES.values())


def kinds_part() -> str:
    """A section for each kind a portal may send, with its fields."""
    return "\n\n".join(_section(kind, request) for kind, request in KINDS.items() if not request.internal)


def internal_part() -> str:
    """The kinds that Matricule and its ops alone ask for."""
    rows = [(f"`{kind}`", _paragraphs(request)[0]) for kind, request in KINDS.items() if request.internal]
    return _table(("kind", "does"), rows)


def codes_part() -> str:
    """Each code with its English sentence, below the headings of the catalogue."""
    parts: list[str] = []
    lines = CATALOGUE.read_text(encoding="utf-8")
    for heading, entries in re.findall(r"^# (.+)\n+((?:\w+ = .*\n)+)", lines, re.MULTILINE):
        codes = [(f"`{code}`", sentence) for code, sentence in tomllib.loads(entries).items()]
        parts += [f"### {heading.rstrip('.')}", _table(("code", "what people read"), codes)]
    return "\n\n".join(parts)


def _section(kind: str, request: type[base.Request]) -> str:
    fields = _table(("field", "type", "default", "what it is"), _fields(request))
    return "\n\n".join([f"### {kind}", *_paragraphs(request), fields])


def _paragraphs(request: type[base.Request]) -> list[str]:
    """The paragraphs of the class's docstring, each on one line."""
    paragraphs = (request.__doc__ or "").strip().split("\n\n")
    return [" ".join(paragraph.replace("``", "`").split()) for paragraph in paragraphs]


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    for name, field in model.model_fields.items():
        if name == ASKED_BY:
            continue
        takes = _takes(field.annotation, field.metadata)
        yield f"`{prefix}{name}`", takes, _default(field), field.description or ""
        for nested in map(_bare, get_args(field.annotation)):
            if _is_a(nested, BaseModel):
                yield from _fields(nested, f"{prefix}{name}[].")


def _bare(annotation: Any) -> Any:
    """Returns the type without what its annotation says beside it."""
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _takes(annotation: Any, rules: Iterable[Any] = ()) -> str:
    """Says what a field of this type takes; its annotation says the ``rules`` beside the type."""
    rules = list(rules)
    if hasattr(annotation, "__metadata__"):
        return _takes(get_args(annotation)[0], [*rules, *annotation.__metadata__])
    if get_origin(annotation) is list:
        return _takes_list(get_args(annotation)[0], rules)
    if inside := [option for option in get_args(annotation) if option is not type(None)]:
        return f"{_takes(inside[0], rules)}, or null"
    if name := _name(rules):
        return name
    if _is_a(annotation, StrEnum):
        return " or ".join(f"`{choice}`" for choice in annotation)
    name = str(getattr(annotation, "__name__", annotation))
    return PLAIN_TYPES.get(name, name) + _between(rules)


def _takes_list(item: Any, rules: list[Any]) -> str:
    least, most = _limit(rules, "min_length") or 0, _limit(rules, "max_length")
    many = f"{least:,} to {most:,}" if most else "any number of"
    return f"list of {many}, each an object" if _is_a(_bare(item), BaseModel) else f"list of {many}: {_takes(item)}"


def _name(rules: Iterable[Any]) -> str | None:
    validators = [rule for rule in rules if isinstance(rule, AfterValidator)]
    return next((name for named, (name, _) in NAMED_TYPES.items() if get_args(named)[1] in validators), None)


def _between(rules: Iterable[Any]) -> str:
    least, most, longest = (_limit(rules, limit) for limit in ("ge", "le", "max_length"))
    if longest is not None:
        return f", at most {longest:,} characters"
    return f", {least:,} to {most:,}" if isinstance(most, int | float) else ""


def _limit(rules: Iterable[Any], name: str) -> Any:
    """The limit that the rules of a field set under this name; those of a nested annotation are inside a FieldInfo."""
    flat = [inner for rule in rules for inner in (rule.metadata if isinstance(rule, FieldInfo) else [rule])]
    return next((getattr(rule, name) for rule in flat if hasattr(rule, name)), None)


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else f"`{json.dumps(field.default, ensure_ascii=False)}`"


def _is_a(annotation: Any, kind: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, kind)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
