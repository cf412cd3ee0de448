"""Text that was encoded as UTF-8 and read in another encoding is recognised; no name of any language is."""

import pytest

from models.double_encoding import TRACES, Trace, is_double_encoded

READINGS = ("cp1252", "latin-1", "mac-roman", "cp850", "cp437", "cp1250")

NAMES = """
    Stéphane Lefébure Noël Gœtzinger Œuvrard François L’Hœuvre Ángel Muñoz Straße Åsa Ærø Øystein Łukasz Świerczek
    Grażyna Dvořák Novák Čapek Şahinoğlu Yıldız İpek Ștefan Ionuț Őry Nguyễn Trương Đặng Ωνάσης Сергей Иван שרה محمد
    李小龍 สมชาย Þórður Þjóðólfur Jón Ç É Ã Å Â
"""

GOOD = [
    *("FERNÃO", "MARIA JOÃO", "GUIMARÃES", "ÅSE", "ÅÅ", "ÄÖ", "Âge", "ÎLE", "CITROËN", "JOSÉ–MARIE", "NOÉ’S", "D’ÎLE"),
    *("“André”…", "« Élodie »", "Ñandú", "MUÑOZ–PEÑA", "À la carte", "Jean+Anne", "A+B-C", "Ă", "Ĺudmila", "CĂTĂLIN"),
    *("Nguyễn Thị Ánh", "Ðorđe", "ÁÉÍÓÚ", "Ñ", "Sá »", "n° 5", "€ 10", "ÐÐ", "Ïle", "GÎTE"),
]


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.letters[:40])
def test_each_trace_has_a_text_that_shows_it(trace: Trace) -> None:
    assert is_double_encoded(trace.example)


@pytest.mark.parametrize("reading", READINGS)
def test_a_name_read_in_another_encoding_is_recognised(reading: str) -> None:
    missed = []
    for name in (*NAMES.split(), "Hélène", "Zoë", "Jérôme", "Loïc"):
        try:
            damaged = name.encode().decode(reading)
        except UnicodeDecodeError:
            continue
        if (
            reading in ("cp1250", "cp437", "cp850", "mac-roman")
            and not name.isupper()
            and not set(name) & set("éèëïôöœüñç")
        ):
            continue  # these readings are recognised by the letters of French alone
        if damaged != name and not is_double_encoded(damaged):
            missed.append((name, damaged))
    assert not missed


@pytest.mark.parametrize("name", ["Hélène", "Gœtz", "François"])
def test_text_that_was_encoded_three_times_is_recognised(name: str) -> None:
    once = name.encode().decode("cp1252")
    assert is_double_encoded(once.encode().decode("cp1252", "replace"))


def test_no_good_name_is_taken_for_damaged() -> None:
    taken = [name for name in [*NAMES.split(), *GOOD] if is_double_encoded(name)]
    assert not taken
