"""The tests of events compare what is told with docs/events.md: each type, its resource and its fields."""

import re
from typing import NamedTuple

from models.words import WebhookEvent
from tests.kit.processes.support import PROJECT, rows

ROW = re.compile(r"^\| `([a-z_.]+)` \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
SHARED = re.compile(r"^\*(participant|contract)\*: (.*?)\.$", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"`([a-z_]+)`")
KIND = re.compile(r"`([a-z]+):<id>`")


class DocumentedEvent(NamedTuple):
    """The row of an event: the kinds of its resource, and the fields of its data."""

    resources: set[str]
    fields: set[str]


def documented_events() -> dict[str, DocumentedEvent]:
    """Reads the table of the page."""
    page = (PROJECT / "docs" / "events.md").read_text(encoding="utf-8")
    shared = {name: set(WORD.findall(listed)) for name, listed in SHARED.findall(page)}
    found: dict[str, DocumentedEvent] = {}
    for event, _, resource, data in ROW.findall(page):
        fields = {"sequence", "portal", *WORD.findall(data)}
        for name, listed in shared.items():
            fields |= listed if f"*{name}*" in data else set()
        if "as `job.finished`" in data:
            fields |= found["job.finished"].fields
        found[event] = DocumentedEvent(set(KIND.findall(resource)), fields)
    assert found.keys() == set(WebhookEvent)
    return found


def check_documented() -> None:
    """Checks that every webhook of this test's database has a resource and fields that the page names."""
    documented = documented_events()
    for event, resource, payload in rows("SELECT event, resource, payload FROM webhook"):
        assert isinstance(payload, dict)
        row = documented[str(event)]
        assert str(resource).partition(":")[0] in row.resources, (event, resource)
        assert payload["data"].keys() <= row.fields, (event, payload["data"].keys() - row.fields)
