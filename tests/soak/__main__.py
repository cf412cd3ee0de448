"""This command does one thing very many times in one process and reports the faults it finds."""

import typer

from tests.soak import certificates

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.callback(help="Do one thing very many times in one process, to see what breaks after weeks.")(lambda: None)
app.command("certificates")(certificates.run)


if __name__ == "__main__":
    app(prog_name="scripts/soak")
