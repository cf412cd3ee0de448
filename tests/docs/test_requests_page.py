"""docs/requests.md lists what can be asked and answered, as the program has it."""

from collections.abc import Callable, Mapping

from models.words import Code
from tests.docs import requests_page
from workers.requests.registry import KINDS


def test_the_page_has_every_request_and_code(generated: Callable[[str, Mapping[str, str]], None]) -> None:
    kinds, codes = requests_page.kinds_part(), requests_page.codes_part()
    assert kinds.count("\n### ") + 1 == sum(not request.internal for request in KINDS.values())
    assert all(f"| `{code}` |" in codes for code in Code)
    parts = {"types": requests_page.types_part(), "kinds": kinds, "internal": requests_page.internal_part()}
    generated("requests.md", parts | {"codes": codes})
