"""Persons: what evidence says is one human, resolved on reading and never stored as a merge.

Strong nodes that were named together are one person, as far as flow.py says that they join. A browser belongs to
whoever named themselves on it; when several did, each event belongs to the one who did so last before it, or first
after it, so a shared browser glues nobody. A click on a mailed link counts only on browsers where nobody named
themselves: a forwarded mail is no proof. A deal is whole its last buyer's, whoever it was before; whom a payment or
refund names has it only where nothing else names a buyer.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime

from closedloop.events.event import Event
from closedloop.events.identifiers import deal_node, is_strong, kind_of
from closedloop.identity.evidence import JOINS, EvidenceKind, Link
from closedloop.identity.flow import Evidence, gather, is_everybodys, named_with

KIND_ORDER = {"email": 0, "user": 1, "customer": 2, "phone": 3}


def anchor_of(nodes: Iterable[str]) -> str:
    """The node that a person is named after: the least, addresses before user ids before all else."""
    return min(nodes, key=lambda node: (KIND_ORDER.get(kind_of(node), 9), node))


def person_id(anchor: str) -> str:
    """The id of the person named after a node."""
    return "p_" + hashlib.sha256(anchor.encode()).hexdigest()[:24]


def ids_of(nodes: Iterable[str]) -> tuple[str, ...]:
    """Every id that the person of these strong nodes has or may have had: the present one first.

    Shapes: evidence is only ever added, so whoever became one with another was named after one of the nodes.
    """
    strong = set(nodes)
    now = person_id(anchor_of(strong))
    return (now, *sorted({person_id(node) for node in strong} - {now}))


class Persons:
    """Who every node belongs to, given all the evidence at hand."""

    def __init__(self, links: Iterable[Link], strong: Iterable[str] = ()) -> None:
        at_hand = _AtHand(links)
        self._person: dict[str, str] = {}
        self._nodes: dict[str, tuple[str, ...]] = {}
        contested = []
        for name in {**dict.fromkeys(strong), **dict.fromkeys(at_hand.names)}:
            if name in self._person:
                continue
            # Most have one name, and no other to ask about.
            nodes = gather(name, at_hand).strong if name in at_hand.joined else frozenset((name,))
            if not nodes:
                contested.append(name)
                continue
            person = person_id(anchor_of(nodes))
            self._nodes[person] = tuple(sorted(nodes))
            self._person.update(dict.fromkeys(nodes, person))
        self._moments: dict[str, list[tuple[datetime, str]]] = {}
        for node in at_hand.near:
            seen = at_hand.links(node)
            told = [link for link in seen if link.strength >= JOINS]
            # Of what one event names, the strongest counts alone: it comes last.
            words = {(link.at, link.event): link.strong for link in sorted(told or seen, key=_order)}
            self._moments[node] = [(at, name) for (at, _), name in words.items()]
        for name in contested:
            self._moments[name] = [] if is_everybodys(name, at_hand) else _shares(name, at_hand)

    @property
    def nodes(self) -> Mapping[str, tuple[str, ...]]:
        """The strong nodes of each person."""
        return self._nodes

    @property
    def shared(self) -> Mapping[str, list[datetime]]:
        """The browsers, deals and contested names, each with the moments at which it may change hands."""
        return {
            node: sorted({at for at, _ in moments} | {
                at for _, name in moments for at, _ in self._moments.get(name, ())
            }) for node, moments in self._moments.items()
        }

    def owner(self, node: str, at: datetime) -> str | None:
        """Whose a node was at a moment, of a deal whose it is in the end; nothing while nobody is known."""
        if node in self._person:
            return self._person[node]
        moments = self._moments.get(node)
        if not moments:
            return None
        if node.startswith("deal:"):
            at, name = moments[-1]
        else:
            place = bisect_right(moments, at, key=lambda moment: moment[0])
            name = moments[max(place - 1, 0)][1]
        if is_strong(node) or name in self._person:
            # Who shares a contested name and is contested too says of nobody that it was theirs.
            return self._person.get(name)
        return self.owner(name, at)

    def owner_of(self, event: Event) -> str | None:
        """Who did what an event tells: whoever it names itself, else whoever had the browser or deal then.

        What is said of a deal is the buyer's, whoever handled it or was to buy before; but what a browser alone says of
        it lies with the browser.
        """
        if event.deal and (event.identifiers or not event.visitor):
            buyer = self.owner(deal_node(event.site, event.deal), event.occurred_at)
            if buyer is not None:
                return buyer
        for node in (*event.identifiers[:1], *(node for node in event.nodes if not is_strong(node))):
            person = self.owner(node, event.occurred_at)
            if person is not None:
                return person
        return None


def _shares(name: str, evidence: Evidence) -> list[tuple[datetime, str]]:
    """Who shares a contested name, each from the first time they were named with it, by the strongest kind of names."""
    first: dict[str, datetime] = {}
    others = named_with(name, evidence)
    for link in sorted(evidence.links(name), key=_order):
        if link.other(name) in others and link.kind is EvidenceKind.TOLD:
            # The table keeps no more than the first word of each, and everybody must come to the same.
            first.setdefault(link.other(name), link.at)
    kinds = [KIND_ORDER.get(kind_of(other), 9) for other in first]
    best = min(kinds, default=0)
    return sorted((at, other) for other, at in first.items() if KIND_ORDER.get(kind_of(other), 9) == best)


class _AtHand:
    """Evidence in memory, read by node."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._links: dict[str, list[Link]] = {}
        self.names: dict[str, None] = {}
        self.near: dict[str, None] = {}
        self.joined: set[str] = set()
        for link in dict.fromkeys(links):
            self.names[link.strong] = None
            self._links.setdefault(link.strong, []).append(link)
            if link.node == link.strong:
                continue
            self._links.setdefault(link.node, []).append(link)
            if is_strong(link.node):
                self.names[link.node] = None
                self.joined |= {link.node, link.strong}
            else:
                self.near[link.node] = None

    def links(self, node: str) -> list[Link]:
        return self._links.get(node, [])


def _order(link: Link) -> tuple[datetime, str, int, str]:
    """By time; of what one event names, the strongest kind last."""
    return link.at, link.event, -KIND_ORDER.get(kind_of(link.strong), 9), link.strong
