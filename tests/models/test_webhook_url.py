"""The URL of a webhook endpoint: https and a host, on a usual port, unless private networks may be reached."""

import pytest

from models.webhook_url import LONGEST_WEBHOOK_URL, check_webhook_url

LONG = "https://portal.example/" + "x" * (LONGEST_WEBHOOK_URL - 23)

ROWS = [
    # URL, why it is refused, and why where private networks are allowed
    ("https://portal.example/hook?key=1", None, None),
    ("https://portal.example:8443", None, None),
    ("https://portal.example:443/", None, None),
    ("https://[2001:db8::1]/hook", None, None),
    ("https://127.0.0.1/hook", None, None),  # the address is judged at each attempt
    (LONG, None, None),
    (LONG + "x", "bad_url", "bad_url"),
    ("http://portal.example/hook", "https_required", None),
    ("https://portal.example:8000/hook", "port_refused", None),
    ("http://127.0.0.1:8000", "https_required", None),
    ("ftp://portal.example/hook", "https_required", "https_required"),
    ("javascript:alert(1)", "https_required", "https_required"),
    ("https://user:secret@portal.example/", "bad_url", "bad_url"),
    ("https://user@portal.example/", "bad_url", "bad_url"),
    ("https://@portal.example/", "bad_url", "bad_url"),
    ("https://portal.example/#part", "bad_url", "bad_url"),
    ("https://portal.example/a b", "bad_url", "bad_url"),
    ("https://portal.example/\r\nHost: x", "bad_url", "bad_url"),
    ("https://portal.example\\@other.example/", "bad_url", "bad_url"),
    ("https://portal.example:0/", "bad_url", "bad_url"),
    ("https://portal.example:99999/", "bad_url", "bad_url"),
    ("https://portal.example:x/", "bad_url", "bad_url"),
    ("https://[::1/", "bad_url", "bad_url"),
    ("https:///hook", "bad_url", "bad_url"),
    ("portal.example/hook", "bad_url", "bad_url"),
    ("", "bad_url", "bad_url"),
]


@pytest.mark.parametrize(("url", "refused", "privately"), ROWS)
def test_urls_that_an_endpoint_may_have(url: str, refused: str | None, privately: str | None) -> None:
    assert (check_webhook_url(url, private=False), check_webhook_url(url, private=True)) == (refused, privately)
