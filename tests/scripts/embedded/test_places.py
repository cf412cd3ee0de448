import os
import shutil
from pathlib import Path

import pytest

from scripts.embedded import places as module
from scripts.embedded.places import (
    MissingPart,
    Places,
    SystemUser,
    UnsafePlace,
    current_account,
    places,
    private_folder,
    public_folder,
)
from scripts.embedded.postgres import MAJOR, Postgres

pytestmark = pytest.mark.heavy

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
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir(mode=0o700)
    os.chown(tmp_path / "here", 65534, 65534)
    with pytest.raises(UnsafePlace, match="belongs to user 65534"):
        private_folder(tmp_path / "here", current_account())


@as_root
def test_the_whole_start_refuses_a_socket_folder_made_by_another_user(var: Path) -> None:
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
    assert not SystemUser("nobody", 65534, 65534).can_enter(where.postgres_short)


def test_a_public_folder_is_readable_and_only_its_owner_writes_in_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        folder = public_folder(tmp_path / "here")
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert public_folder(folder) == folder
    folder.chmod(0o775)
    with pytest.raises(UnsafePlace, match="0775"):
        public_folder(folder)


@pytest.fixture
def private_wheel(private_var: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installs the wheel as pip does with the umask 077."""
    found = module._postgres_wheel()
    wheel = private_var.parent / "site" / found.name
    for name in (f"{found.name}/pginstall{MAJOR}", f"{found.name}.libs"):
        if (found.parent / name).exists():
            shutil.copytree(found.parent / name, wheel.parent / name, symlinks=True)
    for path in wheel.parent.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(module, "_postgres_wheel", lambda: wheel)
    return wheel


def copied(where: Places) -> Path:
    """Returns the only entry in the folder of the copy."""
    (copy,) = where.copies.iterdir()
    return copy


@as_root
def test_postgres_runs_from_a_copy_that_only_root_can_change(private_wheel: Path, private_var: Path) -> None:
    where, before = places(private_var), os.umask(0o077)
    server = Postgres(where, durable=False)
    try:
        server.start()
    finally:
        os.umask(before)
        server.stop()
    found = [path for path in (where.copies, *where.copies.rglob("*")) if not path.is_symlink()]
    assert {path.stat().st_uid for path in found} == {0}
    assert not any(path.stat().st_mode & 0o022 for path in found)
    assert where.postgres_short not in copied(where).parents


@as_root
def test_a_copy_that_is_of_no_use_is_made_again(private_wheel: Path, private_var: Path) -> None:
    where = places(private_var)
    program = where.postgres_binaries(MAJOR) / "postgres"
    made = program.stat().st_ino
    assert (where.postgres_binaries(MAJOR) / "postgres").stat().st_ino == made
    copied(where).chmod(0o700)
    assert where.postgres.can_run(where.postgres_binaries(MAJOR) / "postgres")
    assert program.stat().st_ino != made
    assert copied(where) in program.parents


@as_root
def test_a_copy_that_fails_says_why_and_leaves_nothing(
    private_wheel: Path, private_var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = places(private_var)
    program = private_wheel / f"pginstall{MAJOR}" / "bin" / "postgres"
    good = program.read_bytes()
    program.write_bytes(b"#!/nowhere\n")
    with pytest.raises(MissingPart, match="cannot run programs below"):
        where.postgres_binaries(MAJOR)
    program.write_bytes(good)
    monkeypatch.setattr(module, "mkdtemp", lambda dir: str(private_var / "gone"))  # noqa: A006
    (private_var / "gone").write_text("in the way")
    with pytest.raises(MissingPart, match="could not be copied"):
        where.postgres_binaries(MAJOR)
    assert list(where.copies.iterdir()) == []


@as_root
def test_a_folder_for_the_copy_made_by_another_user_is_refused(private_wheel: Path, private_var: Path) -> None:
    where = places(private_var)
    where.copies.mkdir()
    os.chown(where.copies, 65534, 65534)
    with pytest.raises(UnsafePlace, match=str(where.copies)):
        where.postgres_binaries(MAJOR)
    assert list(where.copies.iterdir()) == []
