"""Reads the mails that the local emulator kept instead of sending."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from closedloop.world.post import NoAnswer, Post, Request

LINK = re.compile(r"https?://[^\s<>\"']+/l/[^\s<>\"']+")


@dataclass(frozen=True, slots=True)
class SentMail:
    """One mail that left, as its receiver has it.

    Shapes: `campaign` is None when nobody told which subject belongs to which campaign; `link` is None when the mail
    has none to click on.
    """

    id: str
    address: str
    subject: str
    campaign: str | None
    link: str | None
    sent_at: datetime


def mailbox(url: str, post: Post, subjects: Mapping[str, str] | None = None) -> list[SentMail]:
    """All mails that the emulator at this address took, the earliest first.

    Shapes: `subjects` says which campaign has which subject.
    Errors: NoAnswer when there is no such emulator.
    """
    address = f"{url.rstrip('/')}/_ministack/ses/messages"
    reply = post(Request("GET", address))
    try:
        if reply.status != 200:
            raise ValueError(f"status {reply.status}")
        messages = [message for account in json.loads(reply.body)["messages"].values() for message in account]
        mails = [_mail(message, to, subjects or {}) for message in messages for to in message["To"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoAnswer(address, f"this is no mailbox of the emulator: {error}") from error
    return sorted(mails, key=lambda mail: (mail.sent_at, mail.id, mail.address))


def _mail(message: Mapping[str, object], to: object, subjects: Mapping[str, str]) -> SentMail:
    subject, sent = str(message["Subject"]), message["Timestamp"]
    if not isinstance(sent, int | float):
        raise TypeError(f"expected seconds, not {sent!r}")
    found = LINK.search(str(message.get("BodyText") or "")) or LINK.search(str(message.get("BodyHtml") or ""))
    address = re.sub(r".*<(.*)>\s*", r"\1", str(to))
    return SentMail(
        id=str(message["MessageId"]), address=address, subject=subject, campaign=subjects.get(subject),
        link=found.group().rstrip(".,)") if found else None, sent_at=datetime.fromtimestamp(sent, UTC),
    )
