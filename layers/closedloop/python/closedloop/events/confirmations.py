"""A consent that its address still has to confirm: what was asked, of whom, and how often anybody may be asked.

Source: reliability rule against bombing somebody with mails through a form: a mail a day for an address and three a
month, five an hour for a network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from closedloop.events.event import FORM_SUBMITTED, UNCONFIRMED, Door, Event
from closedloop.events.packet import Packet

# Until then a mail is still the answer to what somebody did just now; later it would be a surprise.
ASKED_WITHIN = timedelta(hours=24)
# How long the link in the mail is good, and how long mails wait for it.
OPEN_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Question:
    """What one submission of a form asks its address to confirm.

    Shapes: `identifier` is the address's; `submission` is the event's id; `version` and `text`, its hash, say which
    text was agreed to; `network` is that of the sender, empty when it is not known.
    """

    site: str
    form: str
    identifier: str
    submission: str
    version: str
    text: str
    at: datetime
    network: str = ""


def questions_of(packet: Packet, events: Sequence[Event]) -> list[Question]:
    """What a packet's events ask to be confirmed."""
    found = []
    for event in events:
        stated = event.context.get("consent")
        if event.door is not Door.FORM or event.name != FORM_SUBMITTED or not event.identifiers:
            continue
        if not isinstance(stated, Mapping) or stated.get("marketing") != UNCONFIRMED:
            continue
        version = str(stated.get("version", ""))
        agreed = [one for one in event.properties.get("consents", ()) if one.get("version") == version]
        found.append(Question(
            event.site, str(event.properties.get("form", "")), event.identifiers[0], event.id, version,
            str(agreed[0].get("text", "")) if agreed else "", event.received_at, packet.headers.get("network", ""),
        ))
    return found


@dataclass(frozen=True, slots=True)
class Quota:
    """At most so many mails within a span of time."""

    most: int
    span: timedelta


OF_AN_ADDRESS = (Quota(1, timedelta(hours=24)), Quota(3, timedelta(days=30)))
OF_A_NETWORK = (Quota(5, timedelta(hours=1)),)


def free_at(sent: Mapping[str, datetime], of: str, quotas: Sequence[Quota], now: datetime) -> datetime:
    """The first moment at which one more mail is within the quotas.

    Shapes: `sent` is when each question was asked; `of` is the question that is to be asked, which never counts twice.
    """
    free = now
    others = sorted(at for name, at in sent.items() if name != of)
    for quota in quotas:
        recent = [at for at in others if at > now - quota.span]
        if len(recent) >= quota.most:
            free = max(free, recent[-quota.most] + quota.span)
    return free
