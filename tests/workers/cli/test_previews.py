"""`matricule mail preview` and `certificate preview` write samples for the eye, or one line when they cannot."""

from pathlib import Path

import pytest

from models.words import LOCALES
from tests.workers.cli.conftest import Call
from workers.cli.samples.mails import SAMPLES


def test_every_mail_is_written_in_every_language_with_its_subject(call: Call, tmp_path: Path) -> None:
    called = call("mail", "preview", tmp_path / "mails")
    written = {f"{name}.{locale}.{suffix}" for name in SAMPLES for locale in LOCALES for suffix in ("html", "txt")}
    assert (called.code, {Path(row).name for row in called.out.splitlines()}) == (0, written)
    assert {file.name for file in (tmp_path / "mails").iterdir()} == written
    text = (tmp_path / "mails" / "invitation.fr.txt").read_text()
    assert text.partition("\n\n")[0].startswith("Menuiserie Lefèvre & Fils vous ouvre")
    assert "</html>" in (tmp_path / "mails" / "invitation.fr.html").read_text()


@pytest.mark.parametrize("of", ["mail", "certificate"])
def test_a_folder_that_cannot_be_made_is_told_in_one_line(call: Call, tmp_path: Path, of: str) -> None:
    (tmp_path / "file").write_text("in the way")
    called = call(of, "preview", tmp_path / "file" / "folder")
    assert (called.code, called.out) == (1, "")
    assert called.err == f"{tmp_path / 'file' / 'folder'} cannot be written: Not a directory\n"


def test_unknown_samples_are_a_usage_error(call: Call, tmp_path: Path) -> None:
    called = call("certificate", "preview", tmp_path, "--only", "short", "--only", "shrot")
    assert called.code == 2
    assert "no sample is called shrot" in called.err
    assert list(tmp_path.iterdir()) == []
