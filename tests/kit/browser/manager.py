"""A manager at the example portal: the gestures that many tests share, in the words of the page."""

import re
from typing import Final

from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.kit.browser.contracts import OwnContract, Person
from tests.kit.browser.mailbox import plain
from tests.kit.browser.system import BOCAGE, FERRAND

MANAGERS: Final = {BOCAGE: "Claire Aubrac", FERRAND: "Hugo Ferrand"}

COUNTERS: Final = ("Inscriptions prévues", "Participants inscrits", "Places restantes")


class Manager:
    """A manager in a browser."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def sign_in(self, company: str = BOCAGE) -> None:
        """Signs in with one click."""
        self.page.goto("/connexion")
        self.page.get_by_role("button", name=f"Continuer en tant que {MANAGERS[company]}").click()
        expect(self.page).to_have_url(re.compile(r"/participants$"))

    def choose(self, contract: OwnContract) -> None:
        """Has the page show a contract."""
        self.page.goto("/formations")
        button = self.page.get_by_role("button", name=f"Afficher : {contract.title}", exact=True)
        if button.count():
            button.click()
        else:  # it is the one that is shown already
            self.see_list()
        self.is_told(contract.title)

    def see_list(self) -> None:
        """Opens the list of participants."""
        self.page.goto("/participants")

    def is_told(self, heading: str | re.Pattern[str]) -> None:
        """Checks the main heading of the page, as soon as the page is there."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    def sees(self, *texts: str) -> None:
        """Checks that the main part of the page says these."""
        for text in texts:
            expect(self.page.get_by_role("main")).to_contain_text(text)

    def counters(self) -> tuple[int, int, int]:
        """Returns the three counters in the order of the guide, which names them."""
        section = self.page.get_by_label("Places du contrat")
        names = [plain(one) for one in section.locator("dt").all_inner_texts()]
        assert tuple(names) == COUNTERS
        planned, enrolled, left = (
            int(re.sub(r"\D", "", one)) for one in section.locator("dd").evaluate_all(FIRST_TEXTS)
        )
        return planned, enrolled, left

    def row(self, person: Person) -> Locator:
        """Returns the row of a person in a table."""
        return self.page.get_by_role("row").filter(has_text=person.email)

    def add(self, way: str) -> None:
        """Opens a way to add people from the menu « Participants »."""
        menu = self.page.locator("details.menu").filter(has_text="Ajout unique")
        menu.locator("summary").click()
        menu.get_by_role("link", name=way).click()
        self.is_told(way)

    def other_action(self, person: Person, action: str) -> None:
        """Chooses an action from the menu of a row."""
        row = self.row(person)
        row.locator("summary").click()
        row.get_by_role("link", name=action).click()

    def fill_in(self, person: Person) -> None:
        """Fills in the form for one person."""
        self.page.get_by_label("Email", exact=True).fill(person.email)
        self.page.get_by_label("Prénom", exact=True).fill(person.first_name)
        self.page.get_by_label("Nom", exact=True).fill(person.last_name)

    def fill_in_row(self, number: int, person: Person) -> None:
        """Fills in a row of « Ajout multiple »."""
        values = {"Email": person.email, "Prénom": person.first_name, "Nom": person.last_name}
        for name, value in values.items():
            self.page.get_by_label(f"{name}, ligne {number}", exact=True).fill(value)

    def press(self, name: str) -> None:
        """Presses a button."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def tick(self, *people: Person) -> None:
        """Ticks rows of the list."""
        for one in people:
            self.row(one).get_by_role("checkbox").check()

    def drop(self, name: str, content: bytes) -> None:
        """Gives a file to « Import CSV » and has it checked."""
        file: FilePayload = {"name": name, "mimeType": "text/csv", "buffer": content}
        self.page.get_by_label("Fichier des personnes à inscrire").set_input_files(file)
        self.press("Vérifier le fichier")


FIRST_TEXTS: Final = "cells => cells.map(cell => cell.firstChild.textContent)"
"""The figure of each counter, without what stood there before."""


def roster(*people: Person, header: str = "Nom;Prénom;E-mail") -> bytes:
    """Returns a file of people as Excel writes it in French: Windows-1252, with semicolons."""
    lines = [header, *(f"{one.last_name};{one.first_name};{one.email}" for one in people)]
    return "".join(f"{line}\r\n" for line in lines).encode("windows-1252")
