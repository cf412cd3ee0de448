"""A domain one keystroke away from a well-known one is a question; every domain that exists is what it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.domain_typo import PROVIDERS, REAL, did_you_mean, one_keystroke, similar_domain


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *(
            ("gmial.com", "gmail.com"),
            ("gmai.com", "gmail.com"),
            ("gmaill.com", "gmail.com"),
            ("gmail.con", "gmail.com"),
        ),
        *(("gmail.co", "gmail.com"), ("gmail.cm", "gmail.com"), ("gnail.com", "gmail.com"), ("gmailcom", "gmail.com")),
        *(
            ("ornage.fr", "orange.fr"),
            ("orange.ft", "orange.fr"),
            ("oragne.fr", "orange.fr"),
            ("orage.fr", "orange.fr"),
        ),
        *(("hotmial.fr", "hotmail.fr"), ("hotmal.com", "hotmail.com"), ("homtail.fr", "hotmail.fr")),
        *(("wandoo.fr", "wanadoo.fr"), ("laposte.ner", "laposte.net"), ("lapsote.net", "laposte.net")),
        *(
            ("yaho.fr", "yahoo.fr"),
            ("yahooo.com", "yahoo.com"),
            ("outlok.fr", "outlook.fr"),
            ("iclud.com", "icloud.com"),
        ),
        *(("freee.fr", "free.fr"), ("free.ft", "free.fr"), ("sffr.fr", "sfr.fr"), ("livee.fr", "live.fr")),
        *(("protonmai.com", "protonmail.com"), ("numericble.fr", "numericable.fr"), ("outlook.frr", "outlook.fr")),
    ],
)
def test_a_slip_is_asked_about(typed: str, meant: str) -> None:
    assert similar_domain(typed) == meant
    assert did_you_mean(f"zoe@{typed}") == meant


@pytest.mark.parametrize(
    "domain",
    [
        *("atelier.example", "example.com", "mairie.fr", "menuiserie-lefevre.fr", "ac-paris.fr", "gouv.fr", "edf.fr"),
        *(
            "fred.fr",
            "tree.fr",
            "fee.fr",
            "sfp.fr",
            "spr.fr",
            "gms.fr",
            "gm.fr",
            "five.fr",
            "live.it",
            "line.fr",
            "neuf.be",
        ),
        *(
            "gmx.be",
            "gmx.dk",
            "outlook.ee",
            "yahoo.gr",
            "yahoo.de",
            "hotmail.it",
            "hotmail.gr",
            "outlook.kr",
            "orange.re",
            "free.gr",
            "mail.com",
            "ymail.com",
        ),
        *("email.com", "cloud.com", "gmail.fr", "laposte.fr", "mail.gmail.com", "gmial.fr", "com", "", "."),
    ],
)
def test_another_domain_is_what_it_says(domain: str) -> None:
    assert similar_domain(domain) is None


def test_no_well_known_domain_is_taken_for_another() -> None:
    assert [domain for domain in (*PROVIDERS, *REAL) if similar_domain(domain)] == []


@given(st.sampled_from(sorted(PROVIDERS)), st.integers(0, 20), st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
def test_each_change_of_one_letter_is_one_keystroke(domain: str, place: int, letter: str) -> None:
    at = place % len(domain)
    exchanged = domain[:at] + domain[at : at + 2][::-1] + domain[at + 2 :]
    for changed in (domain[:at] + domain[at + 1 :], domain[:at] + letter + domain[at:],
                    domain[:at] + letter + domain[at + 1 :], exchanged):  # fmt: skip
        assert one_keystroke(changed, domain) == one_keystroke(domain, changed) == (changed != domain)
    assert not one_keystroke(f"x{domain}x", domain)
