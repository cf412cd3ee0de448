"""The texts the demonstration shows at its end."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.words import LOCALES
from scripts.demonstration.expectation import ExpectedOutcome
from scripts.demonstration.learners import PASSWORD
from scripts.demonstration.story import Story
from workers.i18n.catalogues import code_sentence
from workers.rosters.reader import ReadRoster

LEARNER = "bruno.castelli@exemple.test"
GOOD = ("enrolled", "attached", "already_enrolled")


def show_outcome(out: Console, story: Story) -> None:
    """Shows the counters, the result of each line of the file, the mails, and where to look at them."""
    found = story.outcome
    out.print()
    out.print(_lines(story.roster, found))
    contract = found.contract
    out.print(
        f"\nInscriptions prévues {contract['planned_seats']} · Participants inscrits {contract['enrolled_count']}"
        f" · Places restantes {contract['remaining']}"
    )
    codes = ", ".join(f"{number} {code}" for code, number in Counter(found.codes).items())
    out.print(f"{len(found.codes)} lines: {codes}")
    kinds = ", ".join(f"{number} {kind}" for kind, number in Counter(mail["kind"] for mail in found.mails).items())
    out.print(f"{found.deliveries.total()} mails delivered: {kinds}")
    out.print(f"\nRead the mails  {story.mailbox}")
    out.print(f"Their links open at {story.links}")


def show_next(out: Console, story: Story, logs: Path) -> None:
    """Shows pages and commands to try next."""
    inbox = logs.parents[1] / "inbox"
    out.print(f"Gestion entreprise : {story.site}", style="bold", soft_wrap=True)
    out.print(f"As a learner    {story.site}apprenant, {LEARNER}, {PASSWORD}", soft_wrap=True)
    out.print(f"Drop a file     {inbox}", soft_wrap=True)
    out.print("                CSV, Excel or OpenDocument with the columns of the model, which")
    out.print("                « Import CSV » gives; it is enrolled within two minutes.")
    out.print(f"Process logs    {logs}", soft_wrap=True)
    out.print("\nIn another terminal: scripts/matricule status, scripts/matricule --help")
    out.print("The key of the portal demo is PORTAL_KEY in var/environment.")
    out.print(Text.assemble(("Ctrl-C stops everything.", "bold"), " Run again: same keys, same job, no new mail."))


def _lines(roster: ReadRoster, found: ExpectedOutcome) -> Table:
    title = f"participants-demo.csv, read as {roster.reading.encoding}, delimiter {roster.reading.delimiter}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("line", justify="right")
    table.add_column("person", overflow="fold")
    table.add_column("result", overflow="fold")
    for row, code in zip(roster.rows, found.codes, strict=False):
        style = "green" if code in GOOD else "yellow"
        result = Text.assemble((code_sentence(code, LOCALES[0]), style), (f" ({code})", "dim"))
        table.add_row(str(row.line), f"{row.first_name} {row.last_name}", result)
    return table
