"""docs/events.md lists every event; tests of events compare what is told with this page."""

import json
import re

from tests.kit.builders.events_page import documented_events
from tests.kit.processes.support import PROJECT

EXAMPLE = re.compile(r"```json\n(.*?)```", re.DOTALL)


def test_the_page_lists_every_event_with_a_resource_and_its_data() -> None:
    for event, row in documented_events().items():
        assert row.resources, event
        assert len(row.fields) > 2, event


def test_the_example_has_the_fields_that_the_page_names() -> None:
    page = (PROJECT / "docs" / "events.md").read_text(encoding="utf-8")
    example = json.loads(EXAMPLE.findall(page)[0])
    assert list(example) == ["type", "timestamp", "data"]
    assert example["data"].keys() <= documented_events()[example["type"]].fields
