"""The event: one immutable fact about a visitor, a person or a deal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from closedloop.events.identifiers import deal_node, visitor_node


class EventType(StrEnum):
    """The calls of the Segment specification."""

    TRACK = "track"
    PAGE = "page"
    SCREEN = "screen"
    IDENTIFY = "identify"
    GROUP = "group"
    ALIAS = "alias"


class Door(StrEnum):
    """Which way in an event came; its id is prefixed by it, so no door can take another's ids."""

    BEACON = "beacon"
    FORM = "form"
    EMAIL = "email"
    DEAL = "deal"
    LINK = "link"
    IMPORT = "import"
    LIST = "list"
    OPERATOR = "operator"


# Names that we give to facts; the rest are the sites' own.
FORM_SUBMITTED = "Form Submitted"
EMAIL_SENT = "Email Sent"
EMAIL_ACCEPTED = "Email Accepted"
EMAIL_DELIVERED = "Email Delivered"
EMAIL_OPENED = "Email Opened"
EMAIL_CLICKED = "Email Link Clicked"
EMAIL_BOUNCED = "Email Bounced"
EMAIL_COMPLAINED = "Email Marked As Spam"
EMAIL_UNSUBSCRIBED = "Email Unsubscribed"
DEAL_OPENED = "Deal Opened"
DEAL_CHANGED = "Deal Changed"
DEAL_WON = "Deal Won"
DEAL_LOST = "Deal Lost"
DEAL_PAID = "Deal Paid"
DEAL_REFUNDED = "Deal Refunded"
# Segment's words for a shop's orders; a server's own, which knew a secret key, are deals.
ORDER_COMPLETED = "Order Completed"
ORDER_UPDATED = "Order Updated"
ORDER_CANCELLED = "Order Cancelled"
ORDER_REFUNDED = "Order Refunded"
ORDERS = frozenset((ORDER_COMPLETED, ORDER_UPDATED, ORDER_CANCELLED, ORDER_REFUNDED))
COST_REPORTED = "Campaign Cost Reported"
# Somebody came by the link of another; only our own signed links say so.
REFERRAL_FOLLOWED = "Referral Followed"
# Somebody was there, as a list of those who came says.
SEMINAR_ATTENDED = "Seminar Attended"
# A row of a list was corrected, or its import undone: the event that `retracts` names stands no longer.
ROW_RETRACTED = "List Row Retracted"
# Somebody of the company decided who is whom, or took that back; `retracts` names what stands no longer.
PERSONS_MERGED = "Persons Merged"
PERSONS_SPLIT = "Persons Split"
DECISION_UNDONE = "Decision Undone"
WHO_IS_WHO = frozenset((PERSONS_MERGED, PERSONS_SPLIT, DECISION_UNDONE))
# An operator decided that an address gets no mail, or took that back.
MAIL_SUPPRESSED = "Mail Suppressed"
MAIL_ALLOWED = "Mail Allowed"
CONSENT_CONFIRMED = "Consent Confirmed"
# A consent that the address still has to confirm by the mail that we sent there.
UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, to whom, when it happened and when we received it.

    Shapes: `visitor` is None where consent or the door gives no browser; `identifiers` are keyed hashes; `context`
    keeps page {path, referrer, search, title, url, topic}, campaign, consent, agent, in Segment's words; `group` is the
    company of an explicit group call, as its sender names it.
    """

    id: str
    site: str
    type: EventType
    name: str
    visitor: str | None
    identifiers: tuple[str, ...]
    deal: str | None
    occurred_at: datetime
    received_at: datetime
    door: Door
    packet: str
    properties: Mapping[str, Any]
    traits: Mapping[str, Any]
    context: Mapping[str, Any]
    late: bool = False
    group: str = ""

    @property
    def nodes(self) -> tuple[str, ...]:
        """Everything that this event says belongs together."""
        visitor = (visitor_node(self.site, self.visitor),) if self.visitor else ()
        deal = (deal_node(self.site, self.deal),) if self.deal else ()
        return visitor + self.identifiers + deal


def distinct(events: Iterable[Event]) -> list[Event]:
    """Each fact once, in order of occurrence; of copies that differ, the one received first counts.

    Source: reliability rule: least (received, packet) is one deterministic choice, whatever the order of arrival.
    """
    kept: dict[str, Event] = {}
    for event in events:
        other = kept.get(event.id)
        if other is None or (event.received_at, event.packet) < (other.received_at, other.packet):
            kept[event.id] = event
    return sorted(kept.values(), key=lambda e: (e.occurred_at, e.id))
