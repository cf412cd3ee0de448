"""Mails to ticked people: who will get one, who will not and why, and what became of it."""

from tests.kit.processes.support import change, rows
from tests.scripts.portal.acting import done, enrollment, heading, jobs, words
from tests.scripts.portal.conftest import Browser, hidden_field

RESET = "/participants/reinitialisations"
RESEND = "/participants/invitations"


def activate(*names: str) -> None:
    for name in names:
        change("UPDATE account SET activated_at = now() WHERE email_norm = :email", email=f"{name}@example.com")


def suppress(name: str) -> None:
    change("INSERT INTO suppression (email_norm, reason) VALUES (:email, 'hard_bounce')", email=f"{name}@example.com")


def ticked(*names: str) -> dict[str, list[str]]:
    return {"enrollment_id": [enrollment(name) for name in names]}


def test_a_reset_says_what_each_person_gets_and_who_gets_nothing(manager: Browser) -> None:
    activate("ada")
    suppress("zoe")
    page = manager.post(RESET, ticked("ada", "bob", "zoe"))
    assert heading(page) == "2 des 3 personnes sélectionnées recevront un email"
    shown = words(page)
    assert "Un lien pour choisir un nouveau mot de passe" in shown
    assert "Son invitation : ce compte n’a pas encore de mot de passe" in shown
    assert shown.index("Ne recevront pas d’email, et pourquoi") < shown.index("zoe@example.com")
    assert "Cette adresse ne reçoit pas nos messages" in shown
    assert "Envoyer 2 emails" in shown
    fields = {name: hidden_field(page.text, name) for name in ("selection", "key")}
    result = done(manager, manager.post(f"{RESET}/faire", fields))
    assert heading(result) == "2 emails partent à l’instant"
    assert "zoe@example.com" not in words(result)
    assert rows("SELECT count(*) FROM email WHERE kind = 'password_reset'") == [(1,)]


def test_a_person_asked_for_too_often_is_told_from_when_on(manager: Browser) -> None:
    page = manager.post(RESEND, ticked("ada"))
    fields = {name: hidden_field(page.text, name) for name in ("selection", "key")}
    for _ in range(3):
        change("INSERT INTO throttle (scope, subject) SELECT 'invitation:account', id FROM account")
    result = done(manager, manager.post(f"{RESEND}/faire", fields))
    assert heading(result) == "Aucune invitation n’est partie"
    assert "Demande faite trop souvent" in words(result)
    assert "possible à nouveau" in words(result)
    again = manager.post(RESEND, ticked("ada"))
    assert heading(again) == "Cette personne ne recevra pas d’invitation"


def test_activated_people_get_no_invitation_but_may_get_a_reset(manager: Browser) -> None:
    activate("ada")
    page = manager.post(RESEND, ticked("ada", "bob"))
    assert heading(page) == "1 des 2 personnes sélectionnées recevra son invitation"
    assert "Le compte est déjà activé" in words(page)
    assert "Envoyer plutôt une réinitialisation" in words(page)
    packed = hidden_field(page.text, "selection")
    reset = manager.post(RESET, {"selection": packed})
    assert heading(reset) == "Cette personne recevra un email"
    assert "ada@example.com" in words(reset)


def test_the_button_of_a_row_concerns_that_row_alone(manager: Browser) -> None:
    page = manager.post(RESEND, ticked("ada", "bob") | {"only": enrollment("zoe")})
    assert heading(page) == "Cette personne recevra son invitation"
    assert "zoe@example.com" in words(page)
    assert "ada@example.com" not in words(page)
    fields = {name: hidden_field(page.text, name) for name in ("selection", "key")}
    for _ in range(2):
        answer = manager.post(f"{RESEND}/faire", fields)
    assert jobs("resend_invitations") == 1
    assert heading(done(manager, answer)).startswith("Invitation envoyée :")


def test_a_link_leads_to_the_confirmation_too(manager: Browser) -> None:
    page = manager.get(f"{RESET}?enrollment_id={enrollment('ada')}")
    assert heading(page) == "Cette personne recevra un email"
    assert jobs("reset_passwords") == 0


def test_a_form_of_another_site_is_refused(manager: Browser) -> None:
    fields = manager.hidden() | {"selection": "A" * 22}
    forged = manager.client.post(f"{RESET}/faire", data=fields, headers={"Origin": "https://evil.example"})
    assert forged.status_code == 403
    assert manager.client.post(f"{RESET}/faire", data=fields | {"csrf": "x"}).status_code == 403
    assert jobs("reset_passwords") == 0
