import os
from pathlib import Path

import pytest

from scripts.embedded.places import Account, UnsafePlace, current_account, places, private_folder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to another user")


def test_a_private_folder_is_made_once_and_found_again(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "here", current_account())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert private_folder(folder, current_account()) == folder


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "here").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePlace, match="link"):
        private_folder(tmp_path / "here", current_account())


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("")
    with pytest.raises(UnsafePlace, match="not a folder"):
        private_folder(tmp_path / "here", current_account())


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o755, 0o1777])
def test_a_folder_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here").chmod(mode)
    with pytest.raises(UnsafePlace, match=f"{mode:04o}"):
        private_folder(tmp_path / "here", current_account())


@as_root
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir(mode=0o700)
    os.chown(tmp_path / "here", 65534, 65534)
    with pytest.raises(UnsafePlace, match="belongs to user 65534"):
        private_folder(tmp_path / "here", current_account())


@as_root
def test_the_whole_start_refuses_a_socket_folder_somebody_put_there_first(var: Path) -> None:
    short = places(var).short
    os.chown(short, 65534, 65534)
    with pytest.raises(UnsafePlace, match=str(short)):
        places(var)
    os.chown(short, 0, 0)


def test_socket_paths_stay_short_however_deep_the_data_folder_is(tmp_path: Path) -> None:
    where = places(tmp_path.joinpath(*["deep-folder"] * 12))
    try:
        assert len(str(where.postgres_short / ".s.PGSQL.5432.lock")) < 100
        assert len(str(where.short / "valkey.sock")) < 100
    finally:
        for folder in {where.short, where.postgres_short}:
            for inside in folder.iterdir():
                inside.rmdir()
            folder.rmdir()


def test_two_data_folders_share_nothing(var: Path, private_var: Path) -> None:
    assert places(var).short != places(private_var).short


@as_root
def test_root_uses_no_open_parent_to_let_postgres_in(private_var: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = places(private_var)
    home = private_var.parents[1]
    assert home.stat().st_mode & 0o777 == 0o700
    assert where.postgres_home.parent == where.postgres_short
    assert "cannot enter" in capsys.readouterr().err


@as_root
def test_root_lends_postgres_to_an_existing_user(var: Path) -> None:
    where = places(var)
    assert where.postgres.uid != 0
    assert where.postgres_home == var / "postgres"
    assert where.postgres_home.stat().st_uid == where.postgres_short.stat().st_uid == where.postgres.uid
    assert not Account("nobody", 65534, 65534).can_enter(where.postgres_short)
