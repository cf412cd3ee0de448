"""An account has one spelling of its address, and no part of an address is guessed."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.address import Mailbox, normalise_email, normalise_unusual_email, parse_mailbox, unicode_email
from models.words import Code

LOCAL_64 = "l" * 64
LABEL_63 = "d" * 63
# 64 + 1 + 189 characters: 254, the longest address that is allowed.
LONGEST = f"{LOCAL_64}@{LABEL_63}.{LABEL_63}.{'e' * 61}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("marie.lefevre@exemple.test", "marie.lefevre@exemple.test"),
        ("Marie.LEFEVRE@Exemple.TEST", "marie.lefevre@exemple.test"),
        ("plus+formation@example.com", "plus+formation@example.com"),
        ("O'Malley_X-1@example.com", "o'malley_x-1@example.com"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
        (" \t\r\na@example.com\xa0\u202f\u3000", "a@example.com"),
        ("\u200ba@exam\u200dple.com\ufeff", "a@example.com"),
        ("mi\xadlieu@example.com", "milieu@example.com"),
        ("MailTo:a@example.com", "a@example.com"),
        ("mailto: a@example.com", "a@example.com"),
        ("<a@example.com>", "a@example.com"),
        ('"Le Tallec, Odile" <Odile@example.com>', "odile@example.com"),
        ("Odile < mailto:odile@example.com >", "odile@example.com"),
        ("Odile @ Horizon <odile@example.com>", "odile@example.com"),
        ("odile@example.com <odile@example.com>", "odile@example.com"),
        ('"Odile@Example.com" <mailto:odile@example.com>', "odile@example.com"),
        ("'Odile@example.com' <odile@example.com>", "odile@example.com"),
        ("odile@example.com<mailto:odile@example.com>", "odile@example.com"),
        ("odile@example.com; Odile@example.com", "odile@example.com"),
        ("Odile <odile@example.com>, odile@example.com", "odile@example.com"),
        ("perle@société-lorval.example <perle@xn--socit-lorval-eebb.example>", "perle@xn--socit-lorval-eebb.example"),
        ("perle@société-lorval.example", "perle@xn--socit-lorval-eebb.example"),
        ("perle@socie\u0301te\u0301-lorval.example", "perle@xn--socit-lorval-eebb.example"),
        ("Perle@XN--SOCIT-LORVAL-EEBB.example", "perle@xn--socit-lorval-eebb.example"),
        ("ana@ｅｘａｍｐｌｅ．ｎｅｔ", "ana@example.net"),
        ("ana@example。net", "ana@example.net"),
        ("a@straße.example", "a@xn--strae-oqa.example"),
        ("\u212aevin@example.com", "kevin@example.com"),  # the Kelvin sign is K in NFC
        ("a@r3---x.example", "a@r3---x.example"),
        ("a@1.2", "a@1.2"),
        (f"{LOCAL_64}@example.com", f"{LOCAL_64}@example.com"),
        (f"a@{LABEL_63}.fr", f"a@{LABEL_63}.fr"),
        (LONGEST, LONGEST),
        (f"{'x' * 5000} <a@example.com>", "a@example.com"),
    ],
)
def test_an_address_has_one_spelling(text: str, expected: str) -> None:
    assert normalise_email(text) == expected


@pytest.mark.parametrize("text", ["", " ", "\xa0 \u200b", "mailto:", "<>", "Odile < >", " " * 1_000_000])
def test_an_empty_text_is_a_missing_address(text: str) -> None:
    assert normalise_email(text) is Code.MISSING_EMAIL


@pytest.mark.parametrize(
    "text",
    [
        "néant",
        "paul.durand@exemple",
        "deux@arobases@example.com",
        "point.final@example.com.",
        "espace dedans@example.com",
        "a@exam ple.com",
        "virgule@example,com",
        "prénom@example.com",
        "@example.com",
        "seul@",
        "@",
        ".a@example.com",
        "a.@example.com",
        "a..b@example.com",
        "a@.example.com",
        "a@example..com",
        "a@-tiret.example",
        "a@tiret-.example",
        "a@sous_tiret.example",
        "a.(at).b.example",
        "'a@example.com'",
        '"a b"@example.com',
        "a@[192.0.2.1]",
        "un@example.com;deux@example.com",
        "a@x.fr <b@y.fr>",
        '"a@x.fr" <b@y.fr>',
        "a＠x.fr <b@y.fr>",
        "Odile (a@x.fr) <b@y.fr>",
        f"{'x' * 5000} a@x.fr <b@y.fr>",
        "a@x.fr <mailto:b@y.fr>",
        "b@y.fr b@y.fr a@x.fr",
        "A <a@example.com>, B <b@example.com>",
        "<a@example.com",
        "a@example.com>",
        "<a@example.com> Odile",
        "<<a@example.com>>",
        "mailto:mailto:a@example.com",
        "ｊｅａｎ@example.com",
        "jean＠example.com",
        "a@b＠example.com",
        "jean\u202e@example.com",
        "jean@exam\u200fple.com",
        "je\0an@example.com",
        "jean@example.com\0",
        "jean\n@example.com",
        "\u0131@example.com",
        "\u017f@example.com",
        "а@example.com",  # Cyrillic
        "a@\ud800.com",
        "\ud800@example.com",
        "a@xn--zzzzzzzz99999.example",
        "a@xn--example-.example",
        "a@\u200e.example",
        "a@\u0301a.example",
        f"{LOCAL_64}l@example.com",
        f"a@{LABEL_63}d.fr",
        f"{LONGEST}e",
        "x" * 1_000_000,
        "a@" + "x" * 1_000_000,
        "a@" + "é" * 1_000_000,
        "a" + "\u0300\u0316" * 500_000,
        "a@" + "." * 1_000_000,
        "@" * 1_000_000,
        "<" * 1_000_000,
        "anne@erased.invalid",  # stands for an erased person
        "Anne <ANNE@Erased.INVALID>",
        f"{'a' * 64}@erased.invalid",
    ],
)
def test_an_invalid_address_is_refused_and_not_repaired(text: str) -> None:
    assert normalise_email(text) is Code.INVALID_EMAIL


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    answer = normalise_email(text)
    assert isinstance(answer, Code) or normalise_email(answer) == answer


@given(st.text(alphabet=string.ascii_letters + string.digits + ".-@+'\xa0 :<>éK\u212a_\u200b\n", max_size=80))
@example("a@xn--zca.fr")
@example("a@b.XN--zz")
@example("a@b.c\n")
@example(f"{LOCAL_64}@b.fr")
@example(f"a@{LABEL_63}")
@example("a@erased.invalid")
@example("A@Erased.Invalid ")
def test_the_fast_path_agrees_with_the_complete_rule(text: str) -> None:
    assert normalise_email(text) == normalise_unusual_email(text)


PLAIN = st.from_regex(r"[A-Za-z0-9.+'-]{1,30}@[A-Za-z0-9-]{1,15}(\.[A-Za-z0-9-]{1,12}){1,3}", fullmatch=True)


@given(PLAIN)
def test_the_fast_path_agrees_on_plain_addresses(text: str) -> None:
    assert normalise_email(text) == normalise_unusual_email(text)


@pytest.mark.parametrize(
    ("email", "written"),
    [
        ("odile@example.fr", "odile@example.fr"),
        ("odile@xn--cole-9oa.example", "odile@école.example"),
        ("odile@mail.xn--cole-9oa.example", "odile@mail.école.example"),
        ("xn--odile@example.fr", "xn--odile@example.fr"),
        ("odile@xn--.example", "odile@xn--.example"),
    ],
)
def test_an_accented_domain_is_shown_in_unicode(email: str, written: str) -> None:
    assert unicode_email(email) == written


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("Horizon Formation <aide@horizon.fr>", Mailbox("Horizon Formation", "aide@horizon.fr")),
        ('"Horizon, la formation" <Aide@horizon.fr>', Mailbox("Horizon, la formation", "Aide@horizon.fr")),
        ('"Le \\"grand\\" pas" <aide@horizon.fr>', Mailbox('Le "grand" pas', "aide@horizon.fr")),
        ("École <x@éc.fr>", Mailbox("École", "x@xn--c-9fa.fr")),
        ("S.A.R.L. Horizon<aide@horizon.fr>", Mailbox("S.A.R.L. Horizon", "aide@horizon.fr")),
        ("<aide@horizon.fr>", Mailbox("", "aide@horizon.fr")),
        (" aide@horizon.fr ", Mailbox("", "aide@horizon.fr")),
        ("aide@localhost", Mailbox("", "aide@localhost")),
        ('"aide@horizon.fr" <aide@horizon.fr>', Mailbox("aide@horizon.fr", "aide@horizon.fr")),
    ],
)
def test_a_mailbox_has_a_name_and_an_address(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        "",
        "horizon",
        "Horizon",
        "Horizon <>",
        "Horizon <aide>",
        "Horizon aide@horizon.fr",
        "Horizon, la formation <aide@horizon.fr>",
        "Horizon <aide@horizon.fr",
        "Horizon aide@horizon.fr>",
        "Horizon <aide@horizon.fr>, <b@horizon.fr>",
        "aide@horizon.fr, b@horizon.fr",
        "aide@horizon.fr b@horizon.fr",
        "a@x.fr <aide@horizon.fr>",
        '"a@x.fr" <aide@horizon.fr>',
        '"service a@x.fr" <aide@horizon.fr>',
        "Horizon <aide@@horizon.fr>",
        "Horizon <aide @horizon.fr>",
        "Horizon <aide@horizon..fr>",
        "Horizon <a,b@horizon.fr>",
        "Horizon <aide@horizon.fr> Paris",
        "Horizon <aide@horizon.fr>\r\nBcc: x@y.fr",
        "Hori\r\nzon <aide@horizon.fr>",
        '"Horizon <aide@horizon.fr>',
        "aide@horizon.fr (Horizon)",
    ],
)
def test_what_is_not_exactly_one_mailbox_is_none(text: str) -> None:
    assert parse_mailbox(text) is None
