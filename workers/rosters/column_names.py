"""The names that French and English software gives to the columns of a roster, by field and in order of preference.

Collected from exports of payroll and staff (Silae, Cegid, Sage, PayFit, Lucca, ADP, Talentsoft, Eurécia, Factorial)
and from models of learning platforms (Moodle, Chamilo and Dokeos, 360Learning, Docebo, Cornerstone, LinkedIn Learning,
Rise Up, Didask, Digiforma, Dendreo). The whole name must be one of these: "E-mail du responsable" is another column.
"""

from typing import Final

COLUMN_NAMES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "last_name": (
        (
            *("Nom", "Nom(s)", "Noms", "Nom famille", "Nom de famille", "Nom(s) de famille", "Nom usuel", "Nom légal"),
            *("Last name", "Legal last name", "Surname", "Surnames", "Family name"),
        ),
        ("Nom d'usage", "Nom usage", "Nom d'usage ou marital", "Preferred last name"),
        (
            *("Nom de naissance", "Nom naissance", "Nom patronymique", "Patronyme", "Nom de jeune fille"),
            *("Birth name", "Maiden name"),
        ),
    ),
    "first_name": (
        (
            *("Prénom", "Prénom(s)", "Prénoms", "Prénom légal", "First name", "First name(s)", "Legal first name"),
            *("Given name", "Given name(s)", "Forename"),
        ),
        ("Prénom usuel", "Prénom d'usage", "Prénom principal", "Premier prénom", "1er prénom", "Preferred first name"),
    ),
    "email": (
        (
            *("E-mail", "Mail", "Mél", "Courriel", "Courrier électronique"),
            *("Adresse e-mail", "Adresse mail", "Adresse mél", "Adresse électronique", "Adresse courriel"),
            *("Adresse de courriel", "Adresse de messagerie", "Adresse messagerie"),
            *("Adresse de courrier électronique", "E-mail (pro)", "E-mail travail", "Mail de travail"),
            *("E-mail professionnel", "Mail professionnel", "Mél professionnel", "Courriel professionnel"),
            *(
                "E-mail pro",
                "Mail pro",
                "Courriel pro",
                "Adresse e-mail professionnelle",
                "Adresse mail professionnelle",
            ),
            *("Adresse électronique professionnelle", "Adresse courriel professionnelle", "Messagerie professionnelle"),
            *("Adresse e-mail pro", "Adresse mail pro", "E-mail entreprise", "E-mail de travail"),
            *("E-mail address", "Mail address", "Work e-mail", "Work e-mail address", "E-mail (work)"),
            *(
                "Business e-mail",
                "Business e-mail address",
                "Company e-mail",
                "Corporate e-mail",
                "Professional e-mail",
                "Primary e-mail",
            ),
        ),
    ),
    "locale": (
        (
            *("Langue", "Locale", "Lang", "Language", "Code langue", "Langue de l'utilisateur", "Langue préférée"),
            *("Preferred language", "User language"),
        ),
    ),
    "external_id": (
        (
            *("Matricule", "ID", "External ID", "ID externe", "Identifiant externe", "ID number"),
            *(
                "N° matricule",
                "N° de matricule",
                "Numéro matricule",
                "Numéro de matricule",
                "Matricule RH",
                "Matricule paie",
            ),
            *("No matricule", "No de matricule", "Nº matricule", "Nº de matricule", "N° agent", "N° d'agent"),
            *("N° employé", "N° d'employé", "Numéro employé", "Numéro d'employé", "Code employé"),
            *("N° salarié", "Numéro salarié", "Numéro de salarié", "Code salarié", "ID salarié", "Identifiant salarié"),
            *("Code collaborateur", "Official code", "Employee ID", "Employee number", "Employee no", "Employee code"),
            *("Associate ID", "Staff number", "Personnel number", "User ID"),
        ),
    ),
}
"""The names of each field. Of two groups the first that the file has counts, whatever the order of its columns."""

OF_WHOM: Final = (
    *("du salarié", "salarié", "de l'employé", "employé", "du collaborateur", "collaborateur", "de l'agent", "agent"),
    *("du stagiaire", "stagiaire", "de l'apprenant", "apprenant", "du participant", "participant", "du bénéficiaire"),
    *("bénéficiaire", "de l'élève", "élève", "du candidat", "de la personne"),
)
"""The people whom a column may name behind its name: "Nom du stagiaire" is "Nom". "Nom utilisateur" is a login name."""

OF_WHOM_BEFORE: Final = ("employee", "learner", "trainee", "student", "participant", "user")
"""The same in English, where they stand before it: "Learner last name"."""

NO_PART: Final = ("obligatoire", "requis", "requise", "required", "mandatory", "facultatif", "optionnel", "optional")
"""Words in brackets behind a name: "Nom (obligatoire)" is "Nom"."""

BESIDE_ANOTHER: Final = {"name": "last_name"}
"""Names that say one field only beside another name of it: "Nom / Name" is "Nom", and "Name" alone may be both."""
