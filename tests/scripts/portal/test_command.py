"""python -m scripts.portal: it refuses to be reached from other machines, and settings that it cannot read."""

from pathlib import Path

import pytest

from scripts.portal.__main__ import is_loopback, main
from scripts.portal.settings import CompanyAccess, SiteSettings, read_settings

SETTINGS = SiteSettings(
    "http://127.0.0.1:1/v1", "secret", (CompanyAccess("acme", "Acmé", "Zoë", "mtr_x"),), "mtr_y", "Horizon", "a@b.test"
)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "10.0.0.1", "localhost", "example.com", "", "127.1"])
def test_only_an_address_of_this_machine_alone_is_one(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_addresses_of_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


def test_it_refuses_to_listen_to_other_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "site"
    file.write_text(SETTINGS.as_json())
    assert main([str(file), "--host", "0.0.0.0"]) == 2
    assert capsys.readouterr().err.startswith("0.0.0.0 is refused")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"companies": [1]}', '{"companies": [], "unknown": 1}', None])
def test_settings_that_cannot_be_read_are_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    file = tmp_path / "site"
    if content is not None:
        file.write_text(content)
    assert main([str(file)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "site"
    file.write_text(SETTINGS.as_json())
    assert read_settings(file) == SETTINGS
