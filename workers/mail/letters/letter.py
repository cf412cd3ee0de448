"""One mail as its templates want it, and what every kind of mail says alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models.words import EmailKind, EmailState, Purpose
from workers.database import Session
from workers.engine.ledger import ClaimedRow
from workers.imports.reports import StoredRows
from workers.rosters.kept_rows import KeptRows
from workers.security.keys import signing_keys
from workers.security.tokens import link_url, make_token
from workers.settings import get_settings


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail ready to be rendered, or the state in which it ends without being sent.

    Parameters:
      row: the claimed mail.
      kind: the templates to render; may differ from the row's (an invitation to somebody who has activated meanwhile
        only announces the training).
      context: values for the templates; empty when the mail is not to be sent.
      unsent: why it is not to be sent, or None.
      file_id: of the file of duplicates it brings, attached when its context says so.
      rows: of the roster file it speaks of, which is read later: a file takes seconds, in which no lock is held.
      from_rows: what those rows add to the context, from their file opened.
    """

    row: ClaimedRow
    kind: EmailKind
    context: Mapping[str, Any]
    unsent: EmailState | None = None
    file_id: UUID | None = None
    rows: StoredRows | None = None
    from_rows: Callable[[KeptRows], Mapping[str, Any]] = lambda _: {}

    @property
    def has_file(self) -> bool:
        """Whether a file is read before it can be rendered."""
        return self.rows is not None or bool(self.file_id and self.context.get("attached"))


Writer = Callable[[Session, ClaimedRow, Any], Letter]
"""Writes the letter of a claimed mail from the facts it speaks of."""


def not_wanted(row: ClaimedRow, state: EmailState = EmailState.CANCELLED) -> Letter:
    """The letter of a mail that is not to be sent."""
    return Letter(row, EmailKind(row.columns["kind"]), {}, state)


def names(fact: Any) -> dict[str, Any]:
    """Of which company and training a mail speaks."""
    return {"company_name": fact.company_name, "training_title": fact.training_title}


def to_a_person(fact: Any) -> dict[str, Any]:
    """What every mail to a person says."""
    return {"first_name": fact.first_name} | signature()


def signature() -> dict[str, Any]:
    """Who writes, and whom to ask."""
    settings = get_settings()
    return {"platform_name": settings.platform_name, "support_address": settings.support_address}


def link_address(fact: Any) -> str:
    """Where a link leads: the fact names its key, purpose and version, and the account."""
    return _address(fact.key_id, fact.link_id, Purpose(fact.purpose), fact.version, fact.account_id)


def not_me_address(fact: Any) -> str | None:
    """Where whoever is attached by mistake says so; None once that was said, or the link was voided on purpose."""
    if not fact.not_me_live:
        return None
    return _address(fact.not_me_key, fact.not_me_id, Purpose.NOT_ME, fact.not_me_version, fact.account_id)


def _address(key_id: str, link_id: UUID, purpose: Purpose, version: int, account_id: UUID) -> str:
    token = make_token(
        signing_keys(), key_id=key_id, link_id=link_id, purpose=purpose, version=version, account_id=account_id
    )
    return link_url(get_settings().link_base_url, token)
