"""Compares the tables of the database with those that this release needs: by the revision of the last migration."""

from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

import models
from workers.database import get_engine

MIGRATIONS: Final = Path(models.__file__).parent / "migrations"


class Revisions(NamedTuple):
    """The revision of the database, and that of this release.

    Parameters:
      database: its revision; None when it has no tables yet.
      known: this release has the migration that made it.
    """

    database: str | None
    release: str
    known: bool

    @property
    def suffices(self) -> bool:
        """Whether this release finds its tables: those of its own revision, or of a later release."""
        return self.database == self.release or not self.known


def configuration() -> Config:
    """Makes the configuration of Alembic, wherever this package is installed."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@lru_cache(maxsize=1)
def _revisions_of_release() -> tuple[str, frozenset[str]]:
    """Returns the last revision of this release, and all of them."""
    scripts = ScriptDirectory.from_config(configuration())
    return str(scripts.get_current_head()), frozenset(script.revision for script in scripts.walk_revisions())


def is_known(revision: str) -> bool:
    """Tells whether this release has the migration that made this revision."""
    return revision in _revisions_of_release()[1]


def read_revisions() -> Revisions:
    """Reads which revision the database has."""
    head, known = _revisions_of_release()
    with get_engine().connect() as connection:
        database = MigrationContext.configure(connection).get_current_revision()
    return Revisions(database, head, known=database is None or database in known)
