"""The headers of common exports of staff, and of the models of learning platforms, are understood."""

import pytest

from models.words import Code
from workers.rosters.column_names import COLUMN_NAMES
from workers.rosters.columns import Meaning, RosterHeader, read_column_name, read_header
from workers.rosters.reader import read_roster
from workers.rosters.refused import RosterRefused

EXPORTS = {
    "Silae": "Matricule salarié;Civilité;Nom de naissance;Nom d'usage;Prénom;Adresse mail",
    "Cegid": "Matricule;Nom;Prénom;Date d'entrée;E-mail pro;Service",
    "Sage": "N° matricule;Nom patronymique;Nom marital;Prénom usuel;Adresse e-mail professionnelle",
    "PayFit": "Prénom;Nom de famille;Email professionnel;Matricule;Date de début",
    "Lucca": "Nom;Prénom;Adresse email;Matricule;Établissement",
    "ADP": "Associate ID;Legal First Name;Legal Last Name;Work Email;Job Title",
    "ADP in French": "Matricule;Nom usuel;Prénom usuel;Adresse électronique professionnelle",
    "Talentsoft": "Matricule du collaborateur;Nom du collaborateur;Prénom du collaborateur;Adresse e-mail;Langue",
    "Eurécia": "Nom;Prénom;Courriel;Matricule;Département",
    "Factorial": "Prénom(s);Nom(s) de famille;Adresse e-mail professionnelle;Numéro de salarié",
    "DSN": "Nom de famille;Nom d’usage;Prénoms;Matricule du salarié;Adresse mél",
    "Moodle": "username;firstname;lastname;email;idnumber;lang;course1",
    "Chamilo and Dokeos": "LastName;FirstName;UserName;Email;OfficialCode;Language;Password",
    "360Learning": "First name;Last name;Mail;Language;Groups",
    "360Learning in French": "Prénom;Nom;Mail;Langue;Groupes",
    "Docebo": "username;firstname;lastname;email;language",
    "Cornerstone": "User ID;First Name;Last Name;Email Address;Manager ID",
    "LinkedIn Learning": "Email Address;First Name;Last Name;Employee ID",
    "Rise Up": "firstname;lastname;email;lang;group",
    "Didask": "Prénom de l'apprenant;Nom de l'apprenant;Adresse e-mail de l'apprenant",
    "Digiforma": "Civilité;Nom;Nom de naissance;Prénom;Email;Téléphone",
    "Dendreo": "Nom du participant;Prénom du participant;E-mail du participant;Entreprise",
    "an OPCO": "NOM STAGIAIRE *;PRENOM STAGIAIRE *;MAIL STAGIAIRE *",
}


def header(line: str) -> RosterHeader | None:
    return read_header(1, line.split(";"))


@pytest.mark.parametrize("software", EXPORTS)
def test_the_columns_of_an_export_are_known(software: str) -> None:
    found = header(EXPORTS[software])
    assert found is not None
    assert found.columns.keys() >= {"first_name", "last_name", "email"}
    assert ("external_id" in found.columns) == any(
        word in EXPORTS[software].casefold() for word in ("matricule", "id;", "idnumber", "salarié", "official")
    ) | EXPORTS[software].endswith(" ID")


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("Nom de naissance;Nom;Prénom;Mail", "Nom"),
        ("Nom de naissance;Nom d'usage;Prénom;Mail", "Nom d'usage"),
        ("Nom d'usage;Nom;Prénom;Mail", "Nom"),
        ("Nom de naissance;Prénom;Mail", "Nom de naissance"),
        ("Nom;Surname;Prénom;Mail", "Nom"),
    ],
)
def test_of_two_columns_for_one_field_the_preferred_one_counts(line: str, column: str) -> None:
    found = header(line)
    assert found is not None
    assert found.columns["last_name"].header == column
    others = {*line.split(";")} - {column, "Prénom", "Mail"}
    assert {one.header for one in found.ignored} == others


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *(("Nom / Last name", "last_name"), ("Last name/Nom", "last_name"), ("Nom (Last name)", "last_name")),
        *(("Prénom – First name", "first_name"), ("Prénom\nFirst name", "first_name"), ("E-mail | Email", "email")),
        *(("Nom (obligatoire)", "last_name"), ("E-mail [required]*", "email"), ("Adresse de messagerie", "email")),
        *(("\ufeffNom", "last_name"), ("\u200bPré\u200bnom\u2060", "first_name"), ("E\xadmail", "email")),
        *(("ADRESSE COURRIEL", "email"), ("Adresse de courriel :", "email"), ("Adresse e‑mail", "email")),
        *(("Prénom(s)", "first_name"), ("Given names", None), ("Family name", "last_name"), ("Mél.", "email")),
        *(('="Nom"', "last_name"), ("  Nom  d’usage ", "last_name"), ("Learner last name", "last_name")),
        *(("Nom/Prénom", None), ("Nom Prénom", None), ("Nom complet", None), ("E-mail du responsable", None)),
        *(("Nom / Service", None), ("Nom de l'entreprise", None), ("Nom d'utilisateur", None), ("Mail RH", None)),
        *(("Nom / Name", "last_name"), ("Name (Nom)", "last_name"), ("Name", None), ("Name (requis)", None)),
        *(
            ("Name / Prénom", None),
            ("\u200eNom\u202c", "last_name"),
            ("Mail\ufe0f", "email"),
            ("No matricule", "external_id"),
        ),
        *(("E-mail (pro)", "email"), ("nom_famille", "last_name"), ("N° d’employé", "external_id")),
        *(("", None), ("/", None), ("*", None), ("Nom" * 40, None), ("E-mail personnel", None)),
    ],
)
def test_a_column_name_stands_for_one_field_or_for_none(name: str, field: str | None) -> None:
    meaning = read_column_name(name)
    assert (meaning.field if meaning else None) == field


def test_each_name_of_the_table_is_understood_as_its_field() -> None:
    for field, groups in COLUMN_NAMES.items():
        for rank, names in enumerate(groups):
            for name in names:
                assert read_column_name(name) == Meaning(field, rank), name


def test_several_marks_before_the_header_are_passed_over() -> None:
    for start in ("\ufeff\ufeff", "\ufeff\u200b", "\ufeff\n\ufeff"):
        for quote in ("", '"'):
            line = ";".join(f"{quote}{name}{quote}" for name in ("Nom", "Prénom", "Mail"))
            row = read_roster(f"{start}{line}\nDû;Zoé;z@b.fr\n".encode()).rows[0]
            assert (row.last_name, row.first_name, row.email) == ("Dû", "Zoé", "z@b.fr")


def test_a_login_name_is_no_name_of_a_person() -> None:
    with pytest.raises(RosterRefused) as caught:
        read_roster(b"Nom utilisateur;Prenom;Mail\nzdu;Zoe;z@b.fr\n")
    assert caught.value.code is Code.MISSING_COLUMN
