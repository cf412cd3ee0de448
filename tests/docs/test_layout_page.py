"""The layers of docs/decisions/0001-folders-by-capability.md are those that scripts/check enforces."""

import re
import tomllib

from tests.kit.processes.support import PROJECT

PAGE = PROJECT / "docs" / "decisions" / "0001-folders-by-capability.md"


def test_the_page_has_the_layers_of_the_contract() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [one for one in project["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = [set(re.findall(r"`([\w.]+)`", row)) for row in rows]
    assert told == [set(layer.split(" | ")) for layer in contract["layers"]]
