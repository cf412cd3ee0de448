"""« Import CSV » on the real API: what was understood, the plan, the import, its report, and how it is undone."""

import io
import re

import openpyxl
import pytest

from scripts.portal.import_plans import ImportPlan
from scripts.portal.imported_rows import mark_accents
from tests.kit.builders.imports import CHUNK, file_of, rows_of
from tests.kit.processes.support import change, rows
from tests.scripts.portal.conftest import Answer, Browser
from tests.scripts.portal.working import do_everything, resent, said, sent
from workers.imports import importing, running
from workers.rosters.reader import survey

IMPORT = "/participants/import"

HEADER = "Prénom;Nom de famille;Courriel;Matricule;Service\r\n"
MIXED = rows_of(
    "François;Lefèvre;f.lefevre@example.com;1;Paie",
    "Hélène;Prévost;helene.prevost@martel;2;",
    ";Lambert;noe@example.com;3;",
    "Ada;Lovelace;ADA@example.com;4;",
    "Jean;Roy;F.Lefevre@example.com;5;",
    "Cœlia;D’Hérouville;c.dherouville@example.com;6;",
    header=HEADER,
)
FRENCH = MIXED.decode().encode("cp1252")


@pytest.fixture(autouse=True)
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process: one for each file takes seconds, and tests/workers/rosters tests them."""
    monkeypatch.setattr(running, "survey_apart", survey)


def dropped(manager: Browser, data: bytes, name: str = "équipe.csv") -> Answer:
    """Drops a file and returns its preview."""
    return sent(manager, IMPORT, {}, files={"file": (name, data)})


def imported(manager: Browser, preview: Answer, **fields: str) -> Answer:
    """Imports what a preview shows."""
    html, url = preview.text, preview.url.path
    policy = re.search('name="policy" value="([a-z_]+)"', html)
    assert policy is not None
    return sent(manager, url, {"policy": policy[1], "choice": "now", **fields}, page=url)


def test_the_model_is_given_as_csv_and_as_a_workbook(manager: Browser) -> None:
    page = manager.get(IMPORT)
    assert "200 Mo au plus" in said(page)
    for kind in ("csv", "xlsx"):
        assert f'href="{IMPORT}/modele.{kind}"' in page.text
        model = manager.get(f"{IMPORT}/modele.{kind}")
        assert model.headers["content-disposition"] == f"attachment; filename*=UTF-8''participants.{kind}"
        answer = dropped(manager, model.content, f"participants.{kind}")
        assert "2 nouveaux" in said(answer) or "nouveaux Un compte est créé, une invitation part. 2" in said(answer)
    assert manager.get(f"{IMPORT}/modele.exe").status_code == 404


def test_a_preview_says_what_was_read_and_what_each_line_would_do(manager: Browser) -> None:
    answer = dropped(manager, FRENCH)
    told = said(answer)
    assert "équipe.csv, 6 lignes Rien n’est encore enregistré." in told
    assert "2 places pour cet import. Places restantes : 5, au lieu de 7." in told
    assert "Accents Windows-1252" in told
    assert "Séparateur Point-virgule En-tête Ligne 1" in told
    assert "Courriel Email Matricule Matricule Service Ignorée" in told
    assert "Fran<mark>ç</mark>ois Lef<mark>è</mark>vre" in answer.text
    assert "3 lignes à corriger" in told
    assert 'helene.prevost@<mark class="wrong">martel</mark>' in answer.text
    assert "Il manque la fin de l’adresse, par exemple « martel.fr »" in told
    assert "La même adresse figure déjà à la ligne 2." in told
    assert "Voir les 3 autres lignes" in told
    assert "Importer 2 participants" in told
    assert rows("SELECT count(*) FROM enrollment") == [(4,)]


def test_the_import_does_what_was_shown_and_reports_each_line(manager: Browser) -> None:
    answer = imported(manager, dropped(manager, FRENCH))
    told = said(answer)
    assert "2 participants inscrits, 3 lignes restent à corriger" in told
    assert "Import de équipe.csv, terminé à" in told
    assert "1 personne était déjà dans la liste." in told
    assert "2 François Lefèvre f.lefevre@example.com Nouveau compte Une place utilisée Invitation en cours" in told
    assert "Lignes affichées : 6 sur 6" in told
    assert "François Lefèvre" in manager.get("/participants").text
    assert answer.url.path in manager.get("/imports").text
    assert answer.url.path in manager.get(IMPORT).text


def test_the_lines_to_correct_are_corrected_and_dropped_again(manager: Browser) -> None:
    answer = imported(manager, dropped(manager, FRENCH))
    file = manager.get(f"{answer.url.path}/a-corriger.csv")
    assert file.headers["content-disposition"].endswith("quipe%20%C3%A0%20corriger.csv")
    text = file.content.decode("utf-8-sig")
    assert text.count("\r\n") == 4
    corrected = text.replace("@martel;", "@martel.example;").replace("\r\n;Lambert", "\r\nNoé;Lambert")
    again = imported(manager, dropped(manager, corrected.replace("F.Lefevre", "jean.roy").encode()))
    assert "3 participants inscrits" in said(again)
    assert "à corriger" not in said(again)


def test_a_double_click_and_a_step_back_import_once(manager: Browser) -> None:
    fields = manager.hidden(IMPORT)
    previews = [resent(manager, IMPORT, fields, files={"file": ("a.csv", FRENCH)}) for _ in range(2)]
    assert previews[0].url == previews[1].url
    first = imported(manager, previews[0])
    again = imported(manager, manager.get(previews[0].url.path))  # a step back, with a fresh form
    assert again.url == first.url
    assert rows("SELECT count(*) FROM job") == [(2,)]
    other = resent(manager, IMPORT, fields, files={"file": ("b.csv", file_of("tom"))})
    assert "b.csv, 1 ligne" in said(other)


def test_without_enough_seats_the_manager_chooses(manager: Browser) -> None:
    change("UPDATE contract SET planned_seats = enrolled_count + 1 WHERE reference = 'C-1'")
    preview = dropped(manager, FRENCH)
    assert "Il manque 1 place pour importer tout le fichier" in said(preview)
    assert "2 places seraient utilisées, il en reste 1." in said(preview)
    assert "Importer la première personne du fichier" in said(preview)
    assert "Rien n’est encore enregistré" in said(imported(manager, preview, choice="wait"))
    answer = imported(manager, preview)
    assert "1 personne attend une place" in said(answer)
    assert "1 participant inscrit, 3 lignes restent à corriger" in said(answer)
    full = dropped(manager, file_of("tom"))
    assert "Il ne reste aucune place." in said(full)
    assert 'name="policy"' not in full.text


def test_seats_that_changed_meanwhile_are_told_before_the_import(manager: Browser) -> None:
    preview = dropped(manager, FRENCH)
    change("UPDATE contract SET planned_seats = enrolled_count + 1 WHERE reference = 'C-1'")
    stale = manager.get(preview.url.path)
    assert "Le nombre de places a changé depuis la vérification" in said(stale)
    assert 'name="policy"' not in stale.text
    checked = sent(manager, f"{preview.url.path}/verification", {}, page=preview.url.path)
    assert "Il manque 1 place pour importer tout le fichier" in said(checked)


def test_seats_taken_at_the_last_moment_leave_nothing_half_done(manager: Browser) -> None:
    preview = dropped(manager, FRENCH)
    change("UPDATE contract SET planned_seats = enrolled_count + 1 WHERE reference = 'C-1'")
    answer = imported(manager, preview)
    assert "Rien n’est importé : des places ont été prises entre-temps" in said(answer)
    assert rows("SELECT count(*) FROM enrollment") == [(4,)]
    done = sent(manager, answer.url.path, {"policy": "until_full"}, page=answer.url.path)
    assert "1 participant inscrit" in said(done)


def test_correcting_first_leads_back_to_the_file(manager: Browser) -> None:
    answer = imported(manager, dropped(manager, FRENCH), choice="correct")
    assert answer.url.path == IMPORT
    assert rows("SELECT count(*) FROM enrollment") == [(4,)]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"Nom;Prenom\r\nX;Y\r\n", "Une colonne obligatoire manque"),
        (b"%PDF-1.7", "Ce format de fichier n’est pas accepté"),
        (rows_of("Wa³êsowski;Jan;jan@example.com;").decode().encode("cp1252"), "Les accents du fichier"),
        (rows_of(), "Le fichier ne contient aucune personne"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(manager: Browser, data: bytes, told: str) -> None:
    answer = dropped(manager, data)
    assert "Le fichier n’a pas pu être vérifié" in said(answer)
    assert told in said(answer)
    assert "Rien n’est enregistré." in said(answer)


def test_a_form_without_a_file_says_so(manager: Browser) -> None:
    nothing = sent(manager, IMPORT, {}, files={"file": ("", b"")})
    assert (nothing.status_code, "Choisissez un fichier sur votre ordinateur." in said(nothing)) == (422, True)
    empty = sent(manager, IMPORT, {}, files={"file": ("a.csv", b"")})
    assert (empty.status_code, "Le fichier ne contient aucune personne" in said(empty)) == (422, True)


def test_a_workbook_is_previewed_with_its_sheet(manager: Browser) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Équipe"
    for line in (("Nom", "Prénom", "E-mail"), ("Dû", "Zoé", "zoe.du@example.com")):
        book.active.append(line)
    file = io.BytesIO()
    book.save(file)
    told = said(dropped(manager, file.getvalue(), "équipe.xlsx"))
    assert "Format Classeur Excel Feuille Équipe" in told
    assert "Zoé Dû zoe.du@example.com Nouveau compte, invitation" in told


def test_a_page_under_way_loads_itself_again_and_can_be_stopped(
    manager: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "CHUNK", CHUNK)
    answer = manager.client.post(IMPORT, data=manager.hidden(IMPORT), files={"file": ("a.csv", FRENCH)})
    assert answer.headers["refresh"] == "1"
    assert "Vérification du fichier" in said(answer)
    do_everything()
    preview = answer.url.path
    fields = manager.hidden(preview) | {"policy": "until_full", "choice": "now"}
    running = manager.client.post(preview, data=fields)
    assert (running.headers["refresh"], "Arrêter l’import" in said(running)) == ("1", True)
    stopped = sent(manager, f"{running.url.path}/arret", {}, page=running.url.path)
    assert "Import arrêté : 0 participant inscrit" in said(stopped)


def test_undoing_an_import_says_who_keeps_a_seat_and_why(manager: Browser) -> None:
    report = imported(manager, dropped(manager, FRENCH))
    change(
        "UPDATE enrollment SET progress = 'in_progress', started_at = '2026-11-03T09:00:00Z' WHERE account_id ="
        " (SELECT id FROM account WHERE email_norm = 'f.lefevre@example.com')"
    )
    url = f"{report.url.path}/annulation"
    asked = manager.get(url)
    assert "1 place revient" in said(asked)
    assert "1 place reste utilisée" in said(asked)
    assert "2 François Lefèvre f.lefevre@example.com Formation commencée le 3 novembre 2026" in said(asked)
    assert "Retirer 1 participant" in said(asked)
    undone = sent(manager, url, {"notify": "1"}, page=url)
    assert "Import annulé : 1 place revient" in said(undone)
    assert "Formation commencée le 3 novembre 2026" in said(undone)
    assert "c.dherouville@example.com" not in manager.get("/participants").text
    nothing = manager.get(url)
    assert "Aucune place ne peut revenir" in said(nothing)
    assert "Retirer" not in re.sub("retirée?s?", "", said(nothing))


def test_lines_are_read_page_by_page(manager: Browser) -> None:
    change("UPDATE contract SET planned_seats = 100 WHERE reference = 'C-1'")
    people = [f"p{number}" for number in range(60)]
    report = imported(manager, dropped(manager, file_of(*people)))
    assert "Lignes affichées : 50 sur 60" in said(report)
    first = manager.get(f"{report.url.path}/lignes")
    following = re.search(f'{report.url.path}/lignes\\?(suite=[0-9]+)" rel="next"', first.text)
    assert following is not None
    last = manager.get(f"{report.url.path}/lignes?{following[1]}")
    assert ("p59@example.com" in last.text, "p0@example.com" in last.text) == (True, False)


def test_another_company_finds_no_import(manager: Browser) -> None:
    preview = dropped(manager, FRENCH)
    report = imported(manager, preview)
    hidden = manager.hidden(IMPORT)
    manager.sign_in("autre")
    before = rows("SELECT count(*) FROM job")
    for url in (preview.url.path, report.url.path, *(f"{report.url.path}/{one}" for one in PAGES)):
        assert manager.get(url).status_code == 404, url
    fields = manager.hidden(IMPORT) | {"contract": hidden["contract"]}
    for url in (preview.url.path, *(f"{report.url.path}/{one}" for one in ("arret", "verification", "annulation"))):
        assert manager.client.post(url, data=fields).status_code in (403, 404), url
    assert rows("SELECT count(*) FROM job") == before
    assert report.url.path not in manager.get("/imports").text


PAGES = ("lignes", "a-corriger.csv", "annulation")


def test_the_import_is_there_in_english(manager: Browser) -> None:
    preview = dropped(manager, FRENCH)
    assert "Check before you import" in said(manager.get(f"{preview.url.path}?lang=en"))
    assert "2 participants enrolled, 3 lines to correct" in said(imported(manager, manager.get(preview.url.path)))


def test_hostile_files_are_text(manager: Browser) -> None:
    data = rows_of("<script>alert(1)</script>;=cmd|x;<b>@example.com;", header="Nom;<i>Prénom</i>;E-mail;<u>\r\n")
    answer = dropped(manager, data.replace(b"<i>Pr", b"Pr").replace(b"nom</i>", b"nom"), '"><img src=x>.csv')
    assert answer.status_code == 200
    for tag in ("<script>alert", "<b>@", "<img", "<u>"):
        assert tag not in answer.text


def test_accented_letters_are_marked() -> None:
    marked = [(one.text, one.marked) for one in mark_accents("Zoé Dûœ")]
    assert marked == [("Zo", False), ("é", True), (" D", False), ("û", True), ("œ", True)]


@pytest.mark.parametrize(
    ("remaining", "seen", "unseated", "stale"),
    [(5, 5, 0, False), (6, 5, 0, False), (4, 5, 0, True), (5, 5, 2, False), (6, 5, 2, True)],
)
def test_a_plan_is_stale_when_seats_would_change_it(remaining: int, seen: int, unseated: int, stale: bool) -> None:
    assert ImportPlan(5, 0, 0, unseated, 0, 0, remaining).is_stale(seen) is stale


def test_the_policy_is_the_one_that_does_what_was_shown() -> None:
    plan = ImportPlan(5, 0, 0, 0, 0, 1, 5)
    assert plan.policy == "valid_rows"
    assert plan._replace(unseated=1).policy == "until_full"
    assert plan._replace(known=300_000).policy == "until_full"
