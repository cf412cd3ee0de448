"""A lacking program is named in one line with its cure; its tests are skipped and counted, and fail in CI."""

import ctypes.util
import shutil

import pytest

from scripts import system_tools
from scripts.system_tools import TOOLS
from tests.kit.processes.support import PROJECT
from tests.kit.system import need, told_of_skipped


@pytest.fixture
def without_qpdf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretends that only two programs are lacking."""
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("qpdf", "pdfinfo") else name)
    monkeypatch.setattr(ctypes.util, "find_library", str)


@pytest.mark.usefixtures("without_qpdf")
def test_what_is_lacking_is_told_in_a_line_with_its_cure(capsys: pytest.CaptureFixture[str]) -> None:
    system_tools.main([])
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "This system lacks pdfinfo, qpdf, and tests that need them are skipped: apt-get install poppler-utils qpdf\n"
    )
    system_tools.main(["--packages"])
    assert capsys.readouterr().out == "poppler-utils qpdf\n"


def test_nothing_is_said_when_all_is_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(system_tools, "TOOLS", ())
    for arguments in ([], ["--packages"]):
        system_tools.main(arguments)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("without_qpdf")
def test_a_test_that_lacks_something_is_skipped_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    need("zbarimg")
    monkeypatch.delenv("MATRICULE_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"lacks qpdf: apt-get install qpdf$"):
        need("zbarimg", "qpdf")
    monkeypatch.setenv("MATRICULE_CI", "1")
    with pytest.raises(pytest.fail.Exception, match=r"lacks qpdf: apt-get install qpdf$"):
        need("qpdf")


def test_what_is_not_listed_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="system_tools"):
        need("true")


def test_the_end_counts_what_was_skipped_for_it() -> None:
    def skipped(reason: str) -> pytest.TestReport:
        return pytest.TestReport("n", ("f", 1, "n"), {}, "skipped", ("f", 1, f"Skipped: {reason}"), "call")

    reports = [skipped("this system lacks qpdf: apt-get install qpdf"), skipped("needs root"),
               skipped("this system lacks zbarimg, qpdf: apt-get install zbar-tools qpdf")]  # fmt: skip
    assert told_of_skipped(reports) == "2 tests were skipped; for all of them: apt-get install qpdf zbar-tools"
    assert told_of_skipped(reports[1:2]) == ""


def test_ci_installs_this_list_and_no_other() -> None:
    script = (PROJECT / ".ci/run").read_text(encoding="utf-8")
    assert "scripts/system_tools.py --packages" in script
    assert [tool.name for tool in TOOLS if tool.name in script] == []


def test_in_ci_everything_is_there() -> None:
    need(*(tool.name for tool in TOOLS))
