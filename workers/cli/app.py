"""Holds the table of the commands of `matricule`, and finds the one that is called.

``matricule --help`` and completion read the table alone, so that they answer at once. The module of a command is
imported when that command is called or its own help is asked.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Command(NamedTuple):
    """A command people type.

    Parameters:
      place: its module in this package; behind a colon its name there, when the module holds several commands.
      summary: one line for the help of its group; the first sentence of the command's own help.
    """

    place: str
    summary: str


class Group(NamedTuple):
    """Several commands under one word."""

    summary: str
    commands: Mapping[str, Command]


HELP: Final = """Operate Matricule: run its processes, ask it for work, see how it is.

Settings come from the environment: DATABASE_URL, REDIS_URL and those a process needs (docs/settings.md). Each command
has a --help of its own, with its exit codes; with --json it answers programs.
"""

SECTIONS: Final[Mapping[str, Mapping[str, Command | Group]]] = {
    "Processes": {
        "serve": Command("serve", "Serve the pages that the links in mails open."),
        "clock": Command("clock", "Run a clock: it wakes what is due and fires the schedules."),
        "webhooks": Command("webhooks", "Run a sender of webhooks: it tells portals what happened."),
        "bounces": Command("bounces", "Run the reader of bounces: mails that came back."),
        "ops": Command("ops", "Serve the console and metrics to operators."),
        "migrate": Command("migrate", "Bring the tables of the database up to date."),
        "backup": Command("backup", "Write a backup of the database and the documents."),
        "restore": Command("restore", "Restore a backup into the database, which must be empty."),
    },
    "See how it is": {
        "status": Command("status", "Show queues, mails and processes, and what needs a person."),
        "queues": Command("queues", "List queues, pause one or lanes of it, let it go on."),
        "jobs": Command("jobs", "List jobs, the latest first, or show one."),
        "errors": Command("errors", "Group jobs and mails that gave up by their error."),
        "why": Command("why", "Say why a job or a mail waits, and when it will be done."),
        "contract": Command("contract", "List contracts and their seats, or show one's participants."),
        "audit": Command("audit", "Show what was done to a person, for a company, by a job."),
    },
    "Ask for work": {
        "enqueue": Command("enqueue", "Send one request: KIND with its fields as JSON."),
        "retry": Command("acting:retry", "Give dead jobs and unsent mails all their attempts again."),
        "dismiss": Command("acting:dismiss", "Leave dead jobs and unsent mails out of problems."),
        "cancel": Command("acting:cancel", "Cancel jobs and mails that have not begun."),
        "drain": Command("drain", "Have a process take nothing new, and finish what it holds."),
        "actions": Command("actions", "List what operators did to many rows; stop it, undo it."),
        "schedules": Group(
            "List schedules, run one now, pause it, let it go on.",
            {
                "list": Command("schedules:list", "List the schedules, with their next and last run (UTC)."),
                "run": Command("schedules:run", "Run a schedule now: the clock that leads does so within a second."),
                "pause": Command("schedules:pause", "Pause a schedule, until it is resumed."),
                "resume": Command("schedules:resume", "Let a paused schedule go on, at its next time."),
            },
        ),
        "import": Group(
            "Check, run, stop and undo imports of files of people.",
            {
                "run": Command("imports.run", "Enrol the people of a file on a contract."),
                "check": Command("imports.check", "Say what is understood of a file; touch nothing."),
                "cancel": Command("imports.changes:cancel", "Stop an import; what was done stays done."),
                "undo": Command("imports.changes:undo", "Withdraw the people an import enrolled."),
                "model": Command("imports.model", "Write the model of a file that managers fill in."),
            },
        ),
        "inbox": Group(
            "Set up and list the folders that files are dropped in.",
            {
                "put": Command("inbox:put", "Set up an inbox, or change it."),
                "list": Command("inbox:list", "List the inboxes."),
            },
        ),
    },
    "Operators": {
        "ops-user": Group(
            "Make the users of the console, change them, shut them out.",
            {
                "add": Command("ops_user:add", "Make a user of the console."),
                "list": Command("ops_user:list", "List the users of the console."),
                "role": Command("ops_user:role", "Give a user another role."),
                "password": Command("ops_user:password", "Give a user another password."),
                "disable": Command("ops_user:disable", "Shut a user out of the console."),
                "enable": Command("ops_user:enable", "Let a user in again who was shut out."),
                "remove": Command("ops_user:remove", "Delete a user of the console."),
                "sign-out": Command("ops_user:sign-out", "End all sessions of a user of the console."),
            },
        ),
    },
    "Portals": {
        "portal": Group(
            "Create portals, give them keys, take keys away.",
            {
                "create": Command("portal:create", "Record a portal and give it a key."),
                "rotate": Command("portal:rotate", "Give a portal a further key."),
                "revoke": Command("portal:revoke", "End a key, or all keys of a portal."),
                "list": Command("portal:list", "List the portals and their keys, never a secret."),
                "limits": Command("portal:limits", "Set how many requests a portal may send each minute."),
                "contact": Command("portal_contact:contact", "Set who is told when a portal's webhooks fail."),
                "acl": Command("portal:acl", "Print the users of Redis that portals need."),
                "webhook": Command(
                    "portal_webhook", "Record a webhook endpoint of a portal, or show, try or delete it."
                ),
            },
        ),
    },
    "Records and people": {
        "seed": Command("seed", "Record companies, trainings and contracts from a JSON file."),
        "organisation": Group(
            "Say who signs certificates: the training organisation.",
            {
                "put": Command("organisation:put", "Record an organisation, or change it."),
                "show": Command("organisation:show", "Print the organisations that are recorded, as JSON."),
            },
        ),
        "certificate": Group(
            "Show, duplicate, correct and revoke certificates of trainings.",
            {
                "show": Command("certificate:show", "Print what certificates say and where they stand, as JSON."),
                "duplicate": Command("certificate:duplicate", "Make numbered duplicates for people of a contract."),
                "fetch": Command("certificate:fetch", "Write the file a job of duplicates gave."),
                "correct": Command("certificate:correct", "Issue a certificate anew because it says something wrong."),
                "revoke": Command("certificate:revoke", "Revoke a certificate: it is shown as no longer valid."),
                "preview": Command("certificate_preview", "Write sample certificates as PDF and PNG."),
            },
        ),
        "person": Group(
            "Export, erase or correct what is known of a person.",
            {
                "export": Command("person:export", "Print all that is known of a person, as JSON."),
                "erase": Command("person:erase", "Forget who a person was; it cannot be undone."),
                "correct-email": Command("correct_email", "Put another address on an account, at once."),
                "correct-name": Command("correct_name", "Put another name on an account, at once."),
            },
        ),
        "mail": Group(
            "Send no mail to an address; preview the mails.",
            {
                "suppress": Command("suppress", "Leave an address alone: send no mail to it."),
                "preview": Command("mail_preview", "Write every mail in every language, with sample values."),
            },
        ),
    },
}


class Unloaded(TyperCommand):
    """Stands for a command while its module is not imported: it has its name and its line in the help."""

    def __init__(self, name: str, entry: Command) -> None:
        super().__init__(name, help=entry.summary, rich_markup_mode=None)
        self._place = entry.place

    def load(self) -> Any:
        """Imports the module; returns the real command."""
        from workers.logs import configure_logs  # noqa: PLC0415 - costs more than the whole help

        configure_logs("WARNING")  # of the libraries, to stderr; a process sets the level of its settings itself
        module, _, inner = self._place.partition(":")
        command = typer.main.get_command(import_module(f"workers.cli.{module}").app)
        if inner and isinstance(command, TyperGroup):
            command = command.commands[inner]
        command.name = self.name
        return command


class LazyGroup(TyperGroup):
    """A group that lists its commands without importing them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Imports the module of the command that is called or completed; returns the command and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, Unloaded) else command, rest


class Matricule(LazyGroup):
    """The command `matricule` with everything below it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for commands in SECTIONS.values():
            self.commands.update({name: _entered(name, entry) for name, entry in commands.items()})

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as in the class above
        """Writes the commands below the headings of their sections."""
        widest = max(map(len, self.commands))
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), self.commands[name].get_short_help_str(80)) for name in names])


def _entered(name: str, entry: Command | Group) -> Unloaded | LazyGroup:
    if isinstance(entry, Command):
        return Unloaded(name, entry)
    below: dict[str, Any] = {inner: Unloaded(inner, command) for inner, command in entry.commands.items()}
    return LazyGroup(name=name, help=entry.summary, commands=below, no_args_is_help=True, rich_markup_mode=None)


app = typer.Typer(cls=Matricule, help=HELP, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
app.callback()(lambda: None)


def run(command: Callable[..., Any], name: str) -> None:
    """Runs a command under the name people type.

    An error that no command expects ends with an exit code of its own: 1 would say "refused, nothing was changed".
    """
    try:
        command(prog_name=name)
    except Exception as error:  # noqa: BLE001 - the outermost edge
        from workers.cli.edge import end_of_crash  # noqa: PLC0415 - costs more than the whole help

        sys.exit(end_of_crash(error))


def main() -> None:
    run(app, "matricule")
