"""Persons: what evidence says is one human, resolved on reading and never stored as a merge.

Strong nodes that were named together are one person. A browser belongs to whoever named themselves on it; when
several did, each event belongs to the one who did so last before it, or first after it, so a shared browser glues
nobody. A click on a mailed link counts only on browsers where nobody named themselves: a forwarded mail is no proof. A
deal is whole its last buyer's, whoever it was before; whom a payment or refund names has it only where nothing else
names a buyer.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime

from closedloop.events.event import Event
from closedloop.events.identifiers import deal_node, is_strong
from closedloop.identity.evidence import EvidenceKind, Link

KIND_ORDER = {"email": 0, "user": 1}


def anchor_of(nodes: Iterable[str]) -> str:
    """The node that a person is named after: the least, addresses before user ids."""
    return min(nodes, key=lambda node: (KIND_ORDER.get(node.partition(":")[0], 9), node))


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
        self._parent: dict[str, str] = {}
        moments: dict[str, list[tuple[datetime, str, str, EvidenceKind]]] = {}
        for node in strong:
            self._root(node)
        for link in links:
            self._root(link.strong)
            if is_strong(link.node):
                self._join(link.node, link.strong)
            else:
                moments.setdefault(link.node, []).append((link.at, link.event, link.strong, link.kind))
        members: dict[str, list[str]] = {}
        for node in self._parent:
            members.setdefault(self._root(node), []).append(node)
        self._person: dict[str, str] = {}
        self._nodes: dict[str, tuple[str, ...]] = {}
        for nodes in members.values():
            person = person_id(anchor_of(nodes))
            self._nodes[person] = tuple(sorted(nodes))
            self._person.update(dict.fromkeys(nodes, person))
        self._moments: dict[str, list[tuple[datetime, str]]] = {}
        for node, seen in moments.items():
            told = [moment for moment in seen if moment[3] is EvidenceKind.TOLD]
            self._moments[node] = [(at, self._person[strong]) for at, _, strong, _ in sorted(told or seen)]

    def _root(self, node: str) -> str:
        self._parent.setdefault(node, node)
        while self._parent[node] != node:
            self._parent[node] = self._parent[self._parent[node]]
            node = self._parent[node]
        return node

    def _join(self, one: str, other: str) -> None:
        self._parent[self._root(one)] = self._root(other)

    @property
    def nodes(self) -> Mapping[str, tuple[str, ...]]:
        """The strong nodes of each person."""
        return self._nodes

    def owner(self, node: str, at: datetime) -> str | None:
        """Whose a node was at a moment, of a deal whose it is in the end; nothing while nobody is known."""
        if node in self._person:
            return self._person[node]
        moments = self._moments.get(node)
        if not moments:
            return None
        if node.startswith("deal:"):
            return moments[-1][1]
        place = bisect_right(moments, at, key=lambda moment: moment[0])
        return moments[max(place - 1, 0)][1]

    def owner_of(self, event: Event) -> str | None:
        """Who did what an event tells: whoever it names itself, else whoever had the browser or deal then.

        What is said of a deal is the buyer's, whoever handled it or was to buy before; but what a browser alone says of
        it lies with the browser.
        """
        if event.deal and (event.identifiers or not event.visitor):
            buyer = self.owner(deal_node(event.site, event.deal), event.occurred_at)
            if buyer is not None:
                return buyer
        for identifier in event.identifiers:
            if identifier in self._person:
                return self._person[identifier]
        for node in event.nodes:
            person = self.owner(node, event.occurred_at)
            if person is not None:
                return person
        return None
