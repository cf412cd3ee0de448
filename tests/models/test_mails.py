"""The properties of the kinds of mail: complete, and in agreement with the links they carry."""

from datetime import timedelta

import pytest

from models.link import LINK_LIFETIME
from models.mails import (
    ASKING_ABOUT_CORRECTION,
    ENDING,
    FROZEN,
    INVITING,
    MAILS,
    TELLING_OF_ACCESS,
    for_every_kind,
    kinds_where,
    quoted,
)
from models.words import EmailKind, Purpose

MORE_KINDS = [*EmailKind, "birthday"]


def test_a_new_kind_of_mail_without_properties_is_refused() -> None:
    assert for_every_kind(MAILS, "properties") is MAILS
    with pytest.raises(TypeError, match=r"properties: missing for \['birthday'\]"):
        for_every_kind(MAILS, "properties", MORE_KINDS)


def test_properties_of_no_kind_of_mail_are_refused() -> None:
    fewer = [kind for kind in EmailKind if kind is not EmailKind.RELEASE]
    with pytest.raises(TypeError, match="release"):
        for_every_kind(MAILS, "properties", fewer)


def test_kinds_by_their_properties() -> None:
    assert set(FROZEN) == {
        EmailKind.CORRECTION_CONFIRMATION,
        EmailKind.CORRECTION_NOTICE,
        EmailKind.CORRECTION_APPLIED,
        EmailKind.CORRECTION_ENDED,
    }
    assert set(INVITING) == {EmailKind.INVITATION, EmailKind.ATTACHMENT}
    assert set(TELLING_OF_ACCESS) == {*INVITING, EmailKind.REMINDER}
    assert set(ENDING) == {EmailKind.WITHDRAWAL, EmailKind.RELEASE}
    asking = {EmailKind.CORRECTION_CONFIRMATION, EmailKind.CORRECTION_NOTICE, EmailKind.NAME_CONFIRMATION}
    assert set(ASKING_ABOUT_CORRECTION) == asking
    linked = set(kinds_where(lambda spec: spec.chooses_password))
    assert linked == {*TELLING_OF_ACCESS, EmailKind.RELEASE_WARNING, EmailKind.PASSWORD_RESET}
    of_names = {EmailKind.NAME_CONFIRMATION, EmailKind.NAME_CORRECTED}
    assert set(kinds_where(lambda spec: spec.follows_account)) == {*linked, *ENDING, *of_names, EmailKind.DUPLICATE}
    assert kinds_where(lambda spec: spec.despite_bounce) == (EmailKind.CORRECTION_NOTICE,)


def test_the_last_reset_mail_leaves_time_to_use_its_link() -> None:
    lifetime = MAILS[EmailKind.PASSWORD_RESET].lifetime
    assert LINK_LIFETIME[Purpose.PASSWORD_RESET] - lifetime == timedelta(minutes=15)


def test_no_other_mail_outlives_its_link() -> None:
    for spec in MAILS.values():
        if spec.link is not None:
            assert spec.lifetime <= LINK_LIFETIME[spec.link]


def test_words_as_sql_lists_them() -> None:
    assert quoted(ENDING) == "'withdrawal', 'release'"
