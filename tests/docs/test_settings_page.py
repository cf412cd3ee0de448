"""docs/settings.md has every setting with its default, and no other."""

import re

from pydantic_core import PydanticUndefined

from tests.kit.processes.support import PROJECT
from workers.settings import Settings


def documented() -> dict[str, str]:
    """Reads the default of each setting on the page; settings that share a row share its cells in order."""
    page = (PROJECT / "docs" / "settings.md").read_text(encoding="utf-8")
    told: dict[str, str] = {}
    for names, defaults in re.findall(r"^\| (`[A-Z][^|]*) \| ([^|]*) \|", page, re.MULTILINE):
        shared = names.split(", ")
        values = defaults.split(", ") if len(defaults.split(", ")) == len(shared) else [defaults] * len(shared)
        told |= {name.strip("`"): value.strip("`") for name, value in zip(shared, values, strict=True)}
    return told


def test_every_setting_is_told_with_its_default() -> None:
    told = documented()
    assert set(told) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if field.default not in (PydanticUndefined, ""):
            shown = told[name.upper()]
            assert shown == (f"{field.default:g}" if isinstance(field.default, float) else str(field.default)), name
