"""The table of addresses behind buttons: what is taken, how it is written, and what could mislead a person."""

import pytest

from models.access_url import MAX_ACCESS_URL, clean_access_url, host_of
from models.words import Code

TAKEN = [
    ("https://lms.example.fr", "https://lms.example.fr"),
    ("https://LMS.Example.fr/cours?id=7&l=fr#debut", "https://lms.example.fr/cours?id=7&l=fr#debut"),
    (" https://lms.example.fr/ ", "https://lms.example.fr/"),
    ("http://intranet:8080/a", "http://intranet:8080/a"),
    ("HTTPS://lms.example.fr/", "https://lms.example.fr/"),
    ("https://10.0.0.7/cours", "https://10.0.0.7/cours"),
    ("https://académie.fr/é", "https://xn--acadmie-eya.fr/%C3%A9"),
    ("https://аррӏе.com/", "https://xn--80ak6aa92e.com/"),  # Cyrillic: shown as DNS knows it
    ("https://lms.example.fr/a%20b", "https://lms.example.fr/a%20b"),
    ("https://lms.example.fr./", "https://lms.example.fr/"),
]

REFUSED = [
    "", "lms.example.fr", "//lms.example.fr", "/cours", "javascript:alert(1)", "JaVaScript://x/%0aalert(1)",
    "data:text/html,x", "ftp://lms.example.fr", "file:///etc/passwd", "https://", "https:///cours", "https:lms.example",
    "https://user@lms.example.fr", "https://lms.example.fr:pass@evil.example", "https://lms.example.fr@evil.example",
    "https://@evil.example", "https://lms.example.fr\\@evil.example", "https://evil.example\\.lms.example.fr",
    "https://lms.example.fr:99999", "https://lms.example.fr:x", "https://lms example.fr", "https://lms.example.fr/a b",
    "https://lms.example.fr/\r\nBcc: x@y.fr", "https://lms.example.fr/\u202egnp", "https://lms.example.fr/\u200b",
    'https://lms.example.fr/"onclick="x', "https://lms.example.fr/<script>", "https://lms.example.fr/'x", "https://-x.fr",
    "https://x..fr", "https://[::1]/", "https://[::1", "https://a_b.fr", "https://%6cms.fr", "https://\ud800.fr",
    "\x00https://lms.example.fr", "https://lms.example.fr/`x`", "https://" + "a" * 64 + ".fr",
]  # fmt: skip


@pytest.mark.parametrize(("given", "kept"), TAKEN)
def test_an_address_is_kept_as_dns_and_browsers_know_it(given: str, kept: str) -> None:
    assert clean_access_url(given) == kept
    assert clean_access_url(kept) == kept


@pytest.mark.parametrize("given", REFUSED)
def test_an_address_that_could_mislead_is_refused(given: str) -> None:
    assert clean_access_url(given) is Code.INVALID_URL


def test_an_address_has_a_bounded_length() -> None:
    base = "https://lms.example.fr/"
    assert isinstance(clean_access_url(base + "a" * (MAX_ACCESS_URL - len(base))), str)
    assert clean_access_url(base + "a" * MAX_ACCESS_URL) is Code.VALUE_TOO_LONG
    assert clean_access_url(base + "é" * (MAX_ACCESS_URL - len(base))) is Code.VALUE_TOO_LONG
    assert clean_access_url(base) is not Code.VALUE_TOO_LONG


def test_the_host_is_what_people_are_shown() -> None:
    assert host_of("https://lms.example.fr:8443/cours") == "lms.example.fr"
