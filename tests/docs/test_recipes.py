"""The recipes of CONTRIBUTING.md end in code that works: they are followed in a copy of the tree, and tested there.

Each step of a recipe is a block of code. The recipe tells in words where a block belongs; here that is an anchor, a
piece of the file that the block is put before.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.processes.support import PROJECT

BLOCK = re.compile(r"^( *)```\w*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Copy:
    """A copy of the tree in which the recipes are followed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    def blocks(self, recipe: str) -> Iterator[str]:
        """Yields the blocks of code of a recipe, in their order, without the indent they have in the page."""
        part = self.text.split(f"\n### {recipe}\n")[1].split("\n### ")[0]
        for indent, block in BLOCK.findall(part):
            yield textwrap.dedent("".join(line.removeprefix(indent) for line in block.splitlines(keepends=True)))

    def write(self, name: str, text: str) -> None:
        """Makes a new file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        assert not path.exists()
        path.write_text(text, encoding="utf-8")

    def add(self, name: str, text: str) -> None:
        """Adds a block at the end of a file."""
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def put(self, name: str, block: str, before: str, indent: int = 0) -> None:
        """Puts a block before a piece of a file."""
        self.replace(name, before, textwrap.indent(block, " " * indent) + before)

    def replace(self, name: str, old: str, new: str) -> None:
        """Replaces the first such piece of a file."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text, (name, old)
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def run(self, *command: str) -> None:
        """Runs a program in the copy; fails the test when its exit code is not 0."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder)}
        ran = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout[-6_000:]}\n{ran.stderr[-2_000:]}"


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Returns a copy of the files that git has or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, tmp_path / name)
    return Copy(tmp_path)


def follow_request_kind(copy: Copy) -> None:
    request, service, entry, test = copy.blocks("A request kind")
    copy.add("workers/requests/catalog.py", f"\n\n{request}")
    copy.write("workers/catalog/seat_reports.py", service)
    imported = "from workers.catalog.seat_reports import report_seats\n"
    copy.put("workers/actors/registry.py", imported, "from workers.catalog.records import")
    copy.put("workers/actors/registry.py", entry, '    "put_contract": ', 4)
    copy.write("tests/workers/catalog/test_seat_reports.py", test)


def follow_mail(copy: Copy) -> None:
    word, spec, subject, body, page, english, read, write, entry, sample, imports, owe, test, _ = copy.blocks("A mail")
    copy.put("models/words.py", word, '    ENROLLMENT_REPORT = "', 4)
    copy.put("models/mails.py", spec, "        EmailKind.RELEASE_REPORT: MailSpec(", 8)
    for name, text in {"subject.txt": subject, "body.txt": body, "body.html": page}.items():
        copy.write(f"email_templates/seat_report/{name}", text)
    copy.add("email_templates/locales/en/messages.po", f"\n{english}")
    copy.put("workers/mail/letters/seats.py", f"{read}\n\n", "class _DetachedPerson(")
    copy.replace(
        "workers/mail/letters/seats.py", "WRITERS: Final = {\n", f"{write}\n\nWRITERS: Final = {{\n    {entry}"
    )
    copy.put("workers/cli/samples/mails.py", sample, '    "release_report": (', 4)
    copy.put("workers/catalog/seat_reports.py", imports, "from models.contract import Contract\n")
    copy.put("workers/catalog/seat_reports.py", owe, "    return JobState.SUCCEEDED", 4)
    copy.write("tests/workers/catalog/test_seat_report_mails.py", test)


def follow_event(copy: Copy) -> None:
    word, imports, owe, row, test = copy.blocks("An event")
    copy.put("models/words.py", word, '    CONTRACT_SEATS_LOW = "', 4)
    copy.put("workers/catalog/seat_reports.py", imports, "from models.contract import Contract\n")
    copy.put("workers/catalog/seat_reports.py", owe, "    return JobState.SUCCEEDED", 4)
    copy.put("docs/events.md", row, "| `webhook.test`")
    copy.write("tests/workers/catalog/test_seat_report_events.py", test)


def follow_setting(copy: Copy) -> None:
    field, use, row, test = copy.blocks("A setting")
    copy.put("workers/settings.py", field, "    trusted_proxies: str", 4)
    copy.replace("workers/web/app.py", "timeout_graceful_shutdown=STOP_SECONDS,\n", use)
    copy.replace("workers/web/app.py", "STOP_SECONDS = 10\n", "")
    copy.put("docs/settings.md", row, "| `TRUSTED_PROXIES`")
    copy.add("tests/workers/test_settings.py", f"\n\n{test}")


def follow_migration(copy: Copy) -> None:
    column, make, ways = copy.blocks("A migration")
    copy.put("models/contract.py", column, "    planned_minutes: int | None = None\n", 4)
    found = re.search(r'^alembic revision --rev-id (\d{4}) -m "(.*)"$', make, re.MULTILINE)
    assert found is not None
    copy.run("alembic", "revision", "--rev-id", found[1], "-m", found[2])
    made = copy.folder / f"models/migrations/versions/{found[1]}_{found[2].replace(' ', '_')}.py"
    head = made.read_text(encoding="utf-8").partition("def upgrade")[0]
    made.write_text(head + ways, encoding="utf-8")


def follow_page(copy: Copy) -> None:
    router, template, sentences, include, test = copy.blocks("A page")
    copy.write("workers/web/about.py", router)
    copy.write("workers/web/pages/about.html", template)
    french, english = sentences.split("\n\n")
    copy.put("workers/web/pages/texts.toml", f"{french}\n\n", "[fr.form]")
    copy.put("workers/web/pages/texts.toml", f"{english}\n", "[en.form]")
    copy.replace(
        "workers/web/app.py", "from workers.web import certificates", "from workers.web import about, certificates"
    )
    copy.put("workers/web/app.py", include, "    app.include_router(files.router)\n", 4)
    copy.write("tests/workers/web/test_about.py", test)


def follow_problem(copy: Copy) -> None:
    bound, problem, cases, row, section = copy.blocks("A problem of `status`")
    copy.put("workers/ops/problems.py", bound, "BULK: Final")
    copy.put("workers/ops/problems.py", problem, "    problems += [dict(problem) for problem in rows]\n", 4)
    tests = "tests/workers/ops/test_problems.py"
    copy.put(tests, cases, '        ({"drift": [{"reference": "C-9"}]}', 8)
    copy.replace(tests, "status = {", 'status = {"database": {"transaction_seconds": 0.0}, ')
    copy.put("docs/operations.md", row, "| `drift` |")
    copy.put("docs/ops/runbook.md", section, "### drift\n")


def test_code_made_by_the_recipes_works(copy: Copy) -> None:
    for follow in (
        *(
            follow_request_kind,
            follow_mail,
            follow_event,
            follow_setting,
            follow_migration,
            follow_page,
            follow_problem,
        ),
    ):
        follow(copy)
    copy.run("ruff", "check", "-q", "--fix", "--select", "I", ".")
    copy.run("ruff", "format", "-q", ".")
    copy.run("ruff", "check", "-q", ".")
    tested = (
        "catalog",
        "requests",
        "mail/test_kinds.py",
        "test_settings.py",
        "web/test_about.py",
        "ops/test_problems.py",
    )
    places = [f"tests/workers/{place}" for place in tested]
    copy.run("pytest", "-q", "-n0", "tests/docs/test_data_page.py", "tests/docs/test_requests_page.py", "--rewrite")
    copy.run(
        *("pytest", "-q", "-n0", "-p", "no:cacheprovider", *places, "tests/models/test_mails.py"),
        *("tests/models/test_migrations.py", "tests/docs", "--deselect", "tests/docs/test_recipes.py"),
        *("--deselect", "tests/docs/test_queue_examples.py"),  # ioredis lies beside the tree, and is not copied
    )
