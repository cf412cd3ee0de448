"""The table of names: one person in two spellings, or two people at one address."""

import pytest

from models.names import FullName, names_differ

SAME = [
    ("capitals", "jeanne", "MARTIN", "Jeanne", "Martin"),
    ("accents", "Helene", "Lefevre", "Hélène", "Lefèvre"),
    ("decomposed accents", "He\u0301le\u0300ne", "Lefe\u0300vre", "Hélène", "Lefèvre"),
    ("a ligature", "Loic", "Lecoeur", "Loïc", "Lecœur"),
    ("an umlaut", "Jürgen", "Müller", "Juergen", "Mueller"),
    ("a sharp s", "Anna", "Groß", "Anna", "Gross"),
    ("a stroke", "Łukasz", "Wałęsa", "Lukasz", "Walesa"),
    ("a Turkish i", "Işıl", "Yıldız", "Isil", "Yildiz"),
    ("the order", "Martin", "Jeanne", "Jeanne", "Martin"),
    ("order and capitals", "LE DÛ", "zoé", "Zoé", "Le Dû"),
    ("a hyphen", "Jean Pierre", "Martin", "Jean-Pierre", "Martin"),
    ("no space", "Jeanpierre", "Martin", "Jean-Pierre", "Martin"),
    ("an apostrophe", "Ana", "d’Almeida", "Ana", "D'Almeida"),
    ("no apostrophe", "Ana", "Dalmeida", "Ana", "d'Almeida"),
    ("a particle", "Luc", "Latour", "Luc", "de La Tour"),
    ("no particle", "Rosa", "Souza", "Rosa", "de Souza"),
    ("one of two first names", "Marie", "Dupont", "Marie-Claude", "Dupont"),
    ("the other of two first names", "Claude", "Dupont", "Marie-Claude", "Dupont"),
    ("one of two last names", "Anne", "Dupont", "Anne", "Dupont-Martin"),
    ("one of several on both sides", "Anne Sophie", "Dupont", "Anne", "Dupont Martin"),
    ("one of several in the other order", "Dupont", "Anne", "Anne-Sophie", "Dupont-Martin"),
    ("a second first name beside the last name", "Ana", "Maria Silva", "Ana Maria", "Silva"),
    ("an initial", "J.", "Martin", "Jeanne", "Martin"),
    ("initials", "J.-P.", "Martin", "Jean-Pierre", "Martin"),
    ("a short form", "Steph", "D.", "Stéphane", "Dû"),
    ("a short form of another beginning", "Manu", "Petit", "Emmanuelle", "Petit"),
    ("one name only", "Suharto", "-", "Suharto", "."),
    ("one name of two", "", "Martin", "Jeanne", "Martin"),
    ("a doubled consonant", "Mohammed", "Alaoui", "Mohamed", "Alaoui"),
    ("a doubled consonant in the middle", "Matthieu", "Le Goff", "Mathieu", "Le Gof"),
    ("a short form with a doubled consonant", "Matt", "Petit", "Matthieu", "Petit"),
    ("two initials as one word", "JC", "Petit", "Jean-Christophe", "Petit"),
    ("a saint", "Anne", "St-Martin", "Anne", "Saint-Martin"),
    ("a woman saint", "Anne", "Ste Marie", "Anne", "Sainte-Marie"),
    ("an Italian particle", "Luca", "Valle", "Luca", "della Valle"),
    ("another script", "Сергей", "ИВАНОВ", "Сергей", "Иванов"),
]

DIFFERENT = [
    ("two people", "Karim", "Haddad", "Jeanne", "Martin"),
    ("one family", "Karim", "Martin", "Jeanne", "Martin"),
    ("one first name", "Jeanne", "Haddad", "Jeanne", "Martin"),
    ("nearly one first name", "Jean", "Martin", "Jeanne", "Martin"),
    ("nearly one last name", "Jean", "Dupont", "Jean", "Dupond"),
    ("one of two first names in common", "Jean-Paul", "Martin", "Jean-Pierre", "Martin"),
    ("another saint", "Anne", "St-Martin", "Anne", "Saint-Jean"),
    ("other initials as one word", "JP", "Petit", "Jean-Christophe", "Petit"),
    ("another initial", "K.", "Martin", "Jeanne", "Martin"),
    ("only a particle in common", "Luc", "de Souza", "Luc", "de La Tour"),
    ("only the first name is known, and is another", "Karim", "Martin", "Jeanne", "-"),
    ("no name in common at all", "-", ".", "Jeanne", "Martin"),
    ("a first name that is the other's last name", "Martin", "Karim", "Martin", "Jeanne"),
    ("the beginning of a longer name", "Mar", "Petit", "Marguerite", "Petit"),
    ("another script", "Sergei", "Ivanov", "Сергей", "Иванов"),
]


@pytest.mark.parametrize(("given", "known", "differ"), [
    *(((first, last), (other_first, other_last), False) for _, first, last, other_first, other_last in SAME),
    *(((first, last), (other_first, other_last), True) for _, first, last, other_first, other_last in DIFFERENT),
], ids=[what for what, *_ in (*SAME, *DIFFERENT)])  # fmt: skip
def test_two_names_are_one_person_in_two_spellings_or_two_people(
    given: tuple[str, str], known: tuple[str, str], *, differ: bool
) -> None:
    assert names_differ(FullName(*given), FullName(*known)) is differ
    assert names_differ(FullName(*known), FullName(*given)) is differ


def test_long_names_of_many_words_are_compared_at_once() -> None:
    many = FullName(" ".join(["a"] * 50), " ".join(["b"] * 50))
    assert not names_differ(many, many)
