"""PostgreSQL, Valkey and the mailbox together, for those of them that the environment does not name already."""

import fcntl
import os
import secrets
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.embedded.mailbox_process import Mailbox, free_port
from scripts.embedded.places import Places, permitted, places
from scripts.embedded.postgres import Postgres
from scripts.embedded.valkey import Valkey

WEB_HOST, WEB_PORT = "127.0.0.1", 8020
# Names the variables of an environment file, so that they are not taken for somebody's own settings later.
FROM_PARTS = "MATRICULE_FROM_PARTS"


class AlreadyRunning(Exception):
    """Another process holds the parts of this data folder.

    Parameters:
      pid: of that process, 0 when it has not written it yet.
    """

    def __init__(self, var: Path, pid: int) -> None:
        super().__init__(f"{var} is already running (pid {pid})")
        self.pid = pid


class Parts:
    """The embedded parts of one data folder; use it as a context manager, or call `start` and `stop`.

    Parameters:
      var: the data folder; created when it is not there.
      durable: see :class:`Postgres`.
      environment: where DATABASE_URL, REDIS_URL, SMTP_URL and the rest may be set already; this process's by default.

    After the start, `environment` is the whole environment for the other processes, and `postgres`, `valkey` and
    `mailbox` are the parts, or None for those that were set already.
    """

    def __init__(self, var: Path, *, durable: bool = True, environment: Mapping[str, str] | None = None) -> None:
        self.var = var.absolute()
        self.environment = _without_earlier_parts(os.environ if environment is None else environment)
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.mailbox: Mailbox | None = None
        self._durable = durable
        self._undo = ExitStack()

    def start(self) -> dict[str, str]:
        """Starts what is missing and returns the environment for the other processes.

        Raises:
          AlreadyRunning: another process holds this data folder; nothing was touched.
          StartFailed, UnsafePlace, MissingPart: a part could not start; what had started is stopped again.
        """
        with permitted(self.var), ExitStack() as undo:
            self.var.mkdir(parents=True, exist_ok=True)
            undo.callback(os.close, _lock(self.var))
            where = places(self.var)
            values = {**self._start_servers(where, undo), **self._settings()}
            # HOST is not asked for here: some shells set it to the name of the machine.
            self.environment.update(values, HOST=WEB_HOST)
            undo.callback((self.var / "environment").unlink, missing_ok=True)
            _write_private(self.var / "environment", _exports(values))
            self._undo = undo.pop_all()
        return self.environment

    def stop(self) -> None:
        """Stops what was started, the last first, and lets go of the data folder. Fine when nothing runs."""
        self._undo.close()

    def revive(self) -> list[str]:
        """Starts again the parts that died; returns their names."""
        named = {"postgres": self.postgres, "valkey": self.valkey, "mailbox": self.mailbox}
        dead = {name: part for name, part in named.items() if part is not None and not part.running()}
        for part in dead.values():
            part.start()
        return list(dead)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_servers(self, where: Places, undo: ExitStack) -> dict[str, str]:
        values: dict[str, str] = {}
        if not self.environment.get("DATABASE_URL"):
            self.postgres = Postgres(where, durable=self._durable)
            undo.callback(self.postgres.stop)
            self.postgres.start()
            values["DATABASE_URL"] = self.postgres.url()
        if not self.environment.get("REDIS_URL"):
            self.valkey = Valkey(where)
            undo.callback(self.valkey.stop)
            self.valkey.start()
            values["REDIS_URL"] = self.valkey.url
        if not self.environment.get("SMTP_URL"):
            self.mailbox = Mailbox(where)
            undo.callback(self.mailbox.stop)
            self.mailbox.start()
            values |= {"SMTP_URL": self.mailbox.smtp_url, "MAILBOX_URL": self.mailbox.url}
        return values

    def _settings(self) -> dict[str, str]:
        """The settings a laptop needs and nobody gave."""
        port = self.environment.get("PORT") or str(free_port(WEB_PORT))
        wanted = {
            "PORT": port,
            "LINK_BASE_URL": f"http://{WEB_HOST}:{port}",
            "LINK_KEYS": _link_keys(self.var / "link-keys"),
            "CERTIFICATE_STORE": str(self.var.resolve() / "certificates"),
            "PLATFORM_NAME": "Horizon Formation",
            "SUPPORT_ADDRESS": "aide@horizon-formation.test",
            "MAIL_FROM": "Horizon Formation <ne-pas-repondre@horizon-formation.test>",
        }
        return {name: value for name, value in wanted.items() if not self.environment.get(name)}


def _without_earlier_parts(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a sourced `<var>/environment` put there: only people's own settings count."""
    earlier = {FROM_PARTS, *environment.get(FROM_PARTS, "").split()}
    return {name: value for name, value in environment.items() if name not in earlier}


def _lock(var: Path) -> int:
    """Takes the data folder for this process, until the returned descriptor is closed or we die."""
    lock = os.open(var / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 32).decode()
        os.close(lock)
        raise AlreadyRunning(var, int(pid) if pid.isdigit() else 0) from None
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _link_keys(path: Path) -> str:
    """The keys that sign the links of this data folder: made once, so that links in old mails go on working."""
    if not path.exists():
        _write_private(path, f"dev:{secrets.token_hex(32)}\n")
    return path.read_text().strip()


def _exports(values: Mapping[str, str]) -> str:
    """Shell lines that count only while this process lives: after a SIGKILL the file stays, and must say nothing.

    They leave alone what people set themselves, and replace what an earlier file set; FROM_PARTS tells the two apart.
    """
    lines = [f'  eval "unset ${{{FROM_PARTS}:-}} {FROM_PARTS}"\n']
    for name, value in values.items():
        said = f'export {name}={shlex.quote(value)} {FROM_PARTS}="${{{FROM_PARTS}:-}} {name}"'
        lines.append(f'  [ -n "${{{name}:-}}" ] || {said}\n')
    return "".join([f"if kill -0 {os.getpid()} 2>/dev/null; then\n", *lines, "fi\n"])


def _write_private(path: Path, text: str) -> None:
    """Writes a file of mode 0600 at once: nobody reads half of it, or follows a link that waited there."""
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    draft.rename(path)
