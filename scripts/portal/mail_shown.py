"""The state of a participant's last mail in words, with the one next step of the manager."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from scripts.portal.moments import day_and_hour, hour, short_day
from scripts.portal.texts import Texts
from workers.portal_client import Mail, Participant


class MailShown(NamedTuple):
    """The words of a row about the last mail.

    Parameters:
      tone: `bad` or `warn` when the manager must act; empty or `wait` otherwise.
      title, detail: what is so; when or why.
      step: `correct`, `resend`, `reset`, or empty when nothing is to be done.
    """

    tone: str
    icon: str
    title: str
    detail: str
    step: str = ""
    step_label: str = ""

    @property
    def urgency(self) -> int:
        """Orders what must be done before what need not."""
        return {"bad": 0, "warn": 1}.get(self.tone, 2)


class MailWords:
    """Writes the state of mails in a language."""

    def __init__(self, texts: Texts, language: str, now: datetime) -> None:
        self._texts, self._language, self._now = texts, language, now

    def _t(self, key: str, /, **values: object) -> str:
        return self._texts.text(self._language, f"mail.{key}", **values)

    def _one_of(self, table: str, word: str) -> str:
        key = f"{table}.{word}"
        return self._t(key if self._texts.has(f"mail.{key}") else f"{table}.other")

    def of(self, person: Participant) -> MailShown:
        """Says what became of the last mail of a participant."""
        if until := person.email_pending_until or person.name_pending_until:
            title = self._t("confirm" if person.email_pending_until else "confirm_name")
            detail = self._t("nothing_before", day=short_day(until, self._language))
            return MailShown("wait", "clock", title, detail)
        mail = person.mail
        if mail is None:
            return self._none(person)
        says: dict[str, Callable[[Participant, Mail], MailShown]] = {
            "queued": self._queued,
            "deferred": self._deferred,
            "sent": self._sent,
            "uncertain": self._uncertain,
            "complained": self._complained,
        }
        return says.get(mail.state, self._lost)(person, mail)

    def _none(self, person: Participant) -> MailShown:
        if person.activated_at is None and person.can.resend.allowed:
            return MailShown("wait", "mail", self._t("none"), self._t("none_hint"), "resend", self._t("send"))
        return MailShown("wait", "mail", self._t("none"), self._t("nothing"))

    def _queued(self, _person: Participant, mail: Mail) -> MailShown:
        return MailShown("wait", "clock", self._one_of("queued", mail.kind), self._t("nothing"))

    def _deferred(self, _person: Participant, mail: Mail) -> MailShown:
        if mail.at is None:
            return MailShown("wait", "clock", self._one_of("queued", mail.kind), self._t("nothing"))
        key = "mailbox_full" if mail.code == "mailbox_full" else "deferred"
        title = self._t(key, hour=hour(mail.at, self._language))
        return MailShown("wait", "clock", title, self._t("nothing_yet"))

    def _sent(self, person: Participant, mail: Mail) -> MailShown:
        if mail.next == "resend" and mail.at is not None:
            return self._to_send_again(person, mail.at)
        when = day_and_hour(mail.at, self._language) if mail.at else ""
        return MailShown("", "mail", self._one_of("sent", mail.kind), when)

    def _to_send_again(self, person: Participant, sent_at: datetime) -> MailShown:
        """Says that an invitation has expired, or had no answer for long."""
        sent_on = self._t("sent_on", day=short_day(sent_at, self._language))
        ends_at = person.invitation_ends_at
        if ends_at is None:
            return self._with_step(person, "warn", self._t("expired"), sent_on)
        if ends_at <= self._now:
            ended_on = self._t("ended_on", day=short_day(ends_at, self._language))
            return self._with_step(person, "warn", self._t("expired"), ended_on)
        return self._with_step(person, "warn", self._t("unanswered"), sent_on)

    def _uncertain(self, person: Participant, mail: Mail) -> MailShown:
        return self._with_step(
            person, "warn", self._t("uncertain"), self._dated("uncertain_hint", mail), kind=mail.kind
        )

    def _complained(self, _person: Participant, mail: Mail) -> MailShown:
        return MailShown("warn", "warn", self._t("complained"), self._dated("complained_hint", mail))

    def _lost(self, person: Participant, mail: Mail) -> MailShown:
        """Says why a mail was refused for good, or was not sent."""
        if mail.next is None:
            return MailShown("wait", "mail", self._t("cancelled"), self._t("nothing"))
        reason = self._one_of("reason", mail.code or "other")
        detail = self._dated("dated", mail, reason=reason)
        if mail.next == "correct":
            return MailShown("bad", "bad", self._t("undelivered"), detail, "correct", self._t("correct"))
        title = self._t("undelivered" if mail.state == "undeliverable" else "unsent")
        return self._with_step(person, "bad", title, detail, kind=mail.kind)

    def _dated(self, key: str, mail: Mail, /, **values: object) -> str:
        day = short_day(mail.at, self._language) if mail.at else "…"
        return self._t(key, day=day, **values)

    def _with_step(
        self, person: Participant, tone: str, title: str, detail: str, *, kind: str = "invitation"
    ) -> MailShown:
        """Adds the next step, when Matricule would do it now."""
        icon = "warn" if tone == "warn" else "bad"
        if kind == "password_reset" and person.can.reset.allowed:
            return MailShown(tone, icon, title, detail, "reset", self._t("reset"))
        if person.can.resend.allowed:
            return MailShown(tone, icon, title, detail, "resend", self._t("resend"))
        return MailShown(tone, icon, title, detail)
