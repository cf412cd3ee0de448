"""PostgreSQL, Valkey and the mailbox together; a part that the environment already names is not started."""

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
from scripts.embedded.places import Places, permitted, places, write_private
from scripts.embedded.postgres import Postgres
from scripts.embedded.valkey import Valkey

WEB_HOST, WEB_PORT, OPS_PORT = "127.0.0.1", 8020, 8021
# Names the variables of an environment file, so that a later start does not take them for settings of a person.
FROM_PARTS = "MATRICULE_FROM_PARTS"


class AlreadyRunning(Exception):
    """Another process holds the parts of this data folder.

    Parameters:
      pid: the pid of that process; 0 when it has not written it yet.
    """

    def __init__(self, var: Path, pid: int) -> None:
        super().__init__(f"{var} is already running (pid {pid})")
        self.pid = pid


class Parts:
    """The embedded parts of one data folder; use it as a context manager, or call `start` and `stop`.

    Parameters:
      var: the data folder; it is created if missing.
      durable: see :class:`Postgres`.
      environment: variables such as DATABASE_URL, REDIS_URL and SMTP_URL that may be set already; this process's
        environment by default.

    After the start, `environment` is the whole environment for the other processes; `postgres`, `valkey` and `mailbox`
    are the parts, or None for a part that the environment already named.
    """

    def __init__(self, var: Path, *, durable: bool = True, environment: Mapping[str, str] | None = None) -> None:
        self.var = var.absolute()
        self.environment = _without_earlier_parts(os.environ if environment is None else environment)
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.mailbox: Mailbox | None = None
        self._durable = durable
        self._values: dict[str, str] = {}  # what the environment file says
        self._undo = ExitStack()

    def start(self) -> dict[str, str]:
        """Starts the missing parts and returns the environment for the other processes.

        Raises:
          AlreadyRunning: another process holds this data folder; nothing was touched.
          StartFailed, UnsafePlace, MissingPart: a part could not start; the parts started before it are stopped again.
        """
        with permitted(self.var), ExitStack() as undo:
            self.var.mkdir(parents=True, exist_ok=True)
            undo.callback(os.close, _lock(self.var))
            where = places(self.var)
            self._values = {}
            values = {**self._start_servers(where, undo), **self._settings()}
            # HOST is not read here: some shells set it to the name of the machine.
            self.environment |= {"HOST": WEB_HOST, "OPS_HOST": WEB_HOST}
            undo.callback((self.var / "environment").unlink, missing_ok=True)
            self.add(values)
            self._undo = undo.pop_all()
        return self.environment

    def add(self, values: Mapping[str, str]) -> None:
        """Adds variables to the environment and to the environment file, for this start."""
        self._values |= values
        self.environment.update(values)
        write_private(self.var / "environment", _exports(self._values))

    def stop(self) -> None:
        """Stops the started parts in reverse order and releases the data folder; does nothing when none runs."""
        self._undo.close()

    def revive(self) -> list[str]:
        """Starts the parts that died again; returns their names."""
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
        """Returns the settings that a laptop needs and that the environment lacks."""
        port = self.environment.get("PORT") or str(free_port(WEB_PORT))
        ops_port = self.environment.get("OPS_PORT") or str(free_port(OPS_PORT))
        wanted = {
            "PORT": port,
            "OPS_PORT": ops_port,
            "OPS_URL": f"http://{WEB_HOST}:{ops_port}",
            "LINK_BASE_URL": f"http://{WEB_HOST}:{port}",
            "LINK_KEYS": _signing_keys(self.var / "link-keys"),
            "PORTAL_KEYS": _signing_keys(self.var / "portal-keys"),
            "WEBHOOK_PRIVATE_NETWORKS": "127.0.0.0/8",
            "CERTIFICATE_STORE": str(self.var.resolve() / "certificates"),
            "PLATFORM_NAME": "Horizon Formation",
            "SUPPORT_ADDRESS": "aide@horizon-formation.test",
            "MAIL_FROM": "Horizon Formation <ne-pas-repondre@horizon-formation.test>",
        }
        return {name: value for name, value in wanted.items() if not self.environment.get(name)}


def _without_earlier_parts(environment: Mapping[str, str]) -> dict[str, str]:
    """Removes the variables that a sourced `<var>/environment` has set; only settings made by people count."""
    earlier = {FROM_PARTS, *environment.get(FROM_PARTS, "").split()}
    return {name: value for name, value in environment.items() if name not in earlier}


def _lock(var: Path) -> int:
    """Locks the data folder until the returned descriptor is closed or this process dies."""
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


def _signing_keys(path: Path) -> str:
    """Returns the keys that sign the links of this data folder; they are made once, so that links in old mails stay
    valid.
    """
    if not path.exists():
        write_private(path, f"dev:{secrets.token_hex(32)}\n")
    return path.read_text().strip()


def _exports(values: Mapping[str, str]) -> str:
    """Returns shell lines that have an effect only while this process lives, because the file stays after a SIGKILL.

    They keep the variables that people set themselves and replace those of an earlier file; FROM_PARTS tells them
    apart.
    """
    lines = [f'  eval "unset ${{{FROM_PARTS}:-}} {FROM_PARTS}"\n']
    for name, value in values.items():
        said = f'export {name}={shlex.quote(value)} {FROM_PARTS}="${{{FROM_PARTS}:-}} {name}"'
        lines.append(f'  [ -n "${{{name}:-}}" ] || {said}\n')
    return "".join([f"if kill -0 {os.getpid()} 2>/dev/null; then\n", *lines, "fi\n"])
