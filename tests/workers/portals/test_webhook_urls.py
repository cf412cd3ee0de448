"""The host of an endpoint is one that can be sent to, where it is recorded and at each try."""

import httpx2
import pytest

from models.webhook_url import WrongUrl
from workers.portals.webhook_urls import read_webhook_url

HOSTS = (
    "portal.example",
    "portal.example.",
    "xn--bcher-kva.example",
    "bücher.example",
    "_hook.portal.example",
    "10.0.0.1",
)
ODD = (
    *(
        "portal..example",
        ".portal.example",
        "-portal.example",
        "portal-.example",
        "por%74al.example",
        "por%20tal.example",
    ),
    *(
        "portal,example",
        "portal.example;x",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "*.example",
        "[fe80::1%25eth0]",
    ),
    *("[::1]x", "xn--\u00fc.example", "\u2024.example", "portal\u00ad\u200b.\u3002example", "%5B::1%5D"),
)


@pytest.mark.parametrize("host", [*HOSTS, "[2001:db8::1]", "0x7f.1"])
def test_a_host_that_can_be_sent_to(host: str) -> None:
    assert isinstance(read_webhook_url(f"https://{host}/hook", private=False), httpx2.URL)


@pytest.mark.parametrize("host", ODD)
def test_a_host_that_no_name_can_have_is_refused_at_once(host: str) -> None:
    for private in (False, True):
        assert read_webhook_url(f"https://{host}/hook", private=private) is WrongUrl.BAD_URL
