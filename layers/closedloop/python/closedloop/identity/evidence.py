"""Evidence that two identifiers belong together, as each event states it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from closedloop.events.deals import HANDLED
from closedloop.events.event import ROW_RETRACTED, Door, Event
from closedloop.events.identifiers import is_strong


class EvidenceKind(StrEnum):
    """How we know: somebody was named (told), a browser opened a link mailed to an address (click), or a deal's refund
    or payment names somebody (refund), who may only have handled it."""

    TOLD = "told"
    CLICK = "click"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class Link:
    """One piece of evidence: these two nodes belong together.

    Shapes: `strong` is an address or a user id; `node` is a browser, a deal, or another strong node.
    """

    node: str
    strong: str
    kind: EvidenceKind
    at: datetime
    event: str


def links_of(event: Event) -> list[Link]:
    """What an event says of who belongs together; two addresses named at once are not glued by it."""
    kind = EvidenceKind.CLICK if event.door is Door.LINK else EvidenceKind.TOLD
    if event.door is Door.LIST and event.name == ROW_RETRACTED:
        # It touches those whom the row named, and says nothing of them.
        return []
    nodes = event.nodes
    links = []
    for place, strong in enumerate(nodes):
        if not is_strong(strong):
            continue
        for other_place, node in enumerate(nodes):
            both_strong = is_strong(node)
            if node == strong or (both_strong and other_place > place):
                continue
            if both_strong and _kind_of(node) == _kind_of(strong):
                continue
            refund = event.name in HANDLED and node.startswith("deal:")
            links.append(Link(node, strong, EvidenceKind.REFUND if refund else kind, event.occurred_at, event.id))
    return links


def _kind_of(node: str) -> str:
    return node.partition(":")[0]
