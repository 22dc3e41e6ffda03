"""Evidence that two identifiers belong together, as each event states it, and how strong each piece is.

| strength | whence it comes                                                | why it is so strong, and no stronger     |
|----------|----------------------------------------------------------------|------------------------------------------|
| DECIDED  | `closedloop person merge` or `split`                           | somebody looked and answers for it       |
| VERIFIED | the button of a mail that asked the address; or a mailed link  | the mailbox was open to whoever it was   |
|          | opened in the browser where that same address was told         |                                          |
| ADDRESS  | a form, list, CRM, shop or identify call names an address      | its own, but a hand may type another's   |
| USER     | the site's own user id                                         | a login may be shared by a whole office  |
| CUSTOMER | a number that another system gave                              | it often names a company, not a human    |
| PHONE    | a phone number                                                 | a switchboard is everybody's             |
| CLICK    | a browser opened a link that was mailed to an address          | the mail may have been forwarded         |
| REFUND   | money of a deal that went back or came in names somebody       | they may only have handled it            |

Evidence is as strong as the weaker of its two ends. From PHONE on it is strong enough to join; what is weaker only
says whose a browser or a deal is, while nothing stronger does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

from closedloop.events import event as names
from closedloop.events.deals import HANDLED
from closedloop.events.event import Door, Event
from closedloop.events.identifiers import is_address, is_strong, kind_of


class EvidenceKind(StrEnum):
    """How we know: somebody was named (told), a browser opened a link mailed to an address (click), a deal's refund
    or payment names somebody (refund), who may only have handled it; an address confirmed itself (confirmed), or an
    operator decided that two are one (merged) or are two (split)."""

    TOLD = "told"
    CLICK = "click"
    REFUND = "refund"
    CONFIRMED = "confirmed"
    MERGED = "merged"
    SPLIT = "split"


class Strength(IntEnum):
    """How much a piece of evidence weighs; see the table above."""

    REFUND = 10
    CLICK = 20
    PHONE = 40
    CUSTOMER = 50
    USER = 60
    ADDRESS = 70
    VERIFIED = 80
    DECIDED = 90


JOINS = Strength.PHONE
_OF_KIND = {
    EvidenceKind.CLICK: Strength.CLICK, EvidenceKind.REFUND: Strength.REFUND, EvidenceKind.CONFIRMED: Strength.VERIFIED,
    EvidenceKind.MERGED: Strength.DECIDED, EvidenceKind.SPLIT: Strength.DECIDED,
}
_OF_NODE = {
    "email": Strength.ADDRESS, "user": Strength.USER, "customer": Strength.CUSTOMER, "phone": Strength.PHONE,
}
_DECIDED = {names.PERSONS_MERGED: EvidenceKind.MERGED, names.PERSONS_SPLIT: EvidenceKind.SPLIT}


@dataclass(frozen=True, slots=True)
class Link:
    """One piece of evidence: these two nodes belong together, or by a split do not.

    Shapes: `strong` is an address or another name of a person; `node` is a browser, a deal, or another strong node; an
    address that confirmed itself is both.
    """

    node: str
    strong: str
    kind: EvidenceKind
    at: datetime
    event: str

    @property
    def strength(self) -> Strength:
        """How strong it is: as its kind, else as the weaker end."""
        told = _OF_KIND.get(self.kind)
        # A browser or a deal is no weaker than whatever names its owner.
        return told or min(_OF_NODE.get(kind_of(end), Strength.ADDRESS) for end in (self.node, self.strong))

    @property
    def source(self) -> str:
        """Where it came from, as the event's id says: site and door."""
        return " ".join(self.event.split("/")[:2])

    def other(self, node: str) -> str:
        """The end that is not this node."""
        return self.node if self.strong == node else self.strong


def links_of(event: Event) -> list[Link]:
    """What an event says of who belongs together; two addresses named at once are not glued by it."""
    if event.door is Door.OPERATOR and event.name in _DECIDED and len(event.identifiers) == 2:
        return [Link(*event.identifiers, _DECIDED[event.name], event.occurred_at, event.id)]
    if event.door in (Door.LIST, Door.OPERATOR) and event.name in (names.ROW_RETRACTED, *names.WHO_IS_WHO):
        # It touches those whom the row or the decision named, and says nothing of them.
        return []
    kind = EvidenceKind.CLICK if event.door is Door.LINK else EvidenceKind.TOLD
    nodes = event.nodes
    links = []
    if event.door is Door.LINK and event.name == names.CONSENT_CONFIRMED:
        links += [Link(node, node, EvidenceKind.CONFIRMED, event.occurred_at, event.id) for node in nodes
                  if is_address(node)]
    for place, strong in enumerate(nodes):
        if not is_strong(strong):
            continue
        for other_place, node in enumerate(nodes):
            both_strong = is_strong(node)
            if node == strong or (both_strong and other_place > place):
                continue
            if both_strong and kind_of(node) == kind_of(strong):
                continue
            handled = event.name in HANDLED and node.startswith("deal:")
            links.append(Link(node, strong, EvidenceKind.REFUND if handled else kind, event.occurred_at, event.id))
    return links


def verified_by(address: str, links: Iterable[Link]) -> Link | None:
    """The evidence that whoever told an address also opens its mail; nothing while there is none.

    Shapes: `links` are all that touch the address.
    """
    own = sorted(links, key=lambda link: (link.at, link.event))
    told = {link.node for link in own if link.kind is EvidenceKind.TOLD and not is_strong(link.node)}
    return next((
        link for link in own
        if link.strong == address and (
            link.kind is EvidenceKind.CONFIRMED or (link.kind is EvidenceKind.CLICK and link.node in told)
        )
    ), None)
