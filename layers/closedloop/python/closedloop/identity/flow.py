"""Gathers what is known of one person: their nodes and the evidence for them.

What joins. Names (addresses, user ids, customer numbers, phones) that evidence joins are one person, except where

1. two names are *apart*: addresses of which each was verified, or names that an operator split. An operator's merge of
   two addresses stands when they are verified afterwards; nothing joins directly what was split;
2. a name is *contested*: a user id or customer number of names that are apart, or a phone of two names of one kind, as
   a switchboard is. It then glues nobody: like a shared browser it belongs to whoever was named with it last, counted
   from the first time for each, addresses before ids. A name of more than twenty is everybody's, what it did nobody's;
3. names that are apart would still be joined along several others: then every name between that belongs to more than
   one other is contested.

All this depends on the evidence alone, never on the order in which it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

from closedloop.events.identifiers import is_address, is_strong, kind_of
from closedloop.identity.evidence import JOINS, EvidenceKind, Link, verified_by

MOST_NODES = 500
MOST_SHARED = 20


class Evidence(Protocol):
    """Where evidence is read."""

    def links(self, node: str) -> list[Link]: ...


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The names that are one person, the browsers, deals and contested names near them, and the evidence among these.

    Shapes: `strong` is empty where gathering began at a contested name.
    """

    strong: frozenset[str]
    near: frozenset[str]
    links: tuple[Link, ...]
    contested: frozenset[str] = frozenset()

    @property
    def beside(self) -> frozenset[str]:
        """The contested names and all who share them: those whose person may change with this one.

        Shapes: a name that has been everybody's for long changes nobody.
        """
        sharing: dict[str, set[str]] = {}
        for link in self.links:
            for name in self.contested & {link.node, link.strong}:
                sharing.setdefault(name, set()).update(filter(is_strong, (link.node, link.strong)))
        return frozenset(one for all_ in sharing.values() if len(all_) <= 2 * MOST_SHARED for one in all_)


class ReadOnce:
    """Evidence that is read once for each node and then remembered."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._links: dict[str, list[Link]] = {}

    def links(self, node: str) -> list[Link]:
        if node not in self._links:
            self._links[node] = self._evidence.links(node)
        return self._links[node]


def strong_nodes(nodes: Iterable[str], evidence: Evidence) -> set[str]:
    """The strong nodes that these nodes touch: themselves, or whoever was named on the browser or deal."""
    found = set()
    for node in nodes:
        if is_strong(node):
            found.add(node)
        else:
            found.update(link.strong for link in evidence.links(node))
    return found


def gather(start: str, evidence: Evidence, near_evidence: Evidence | None = None) -> Neighbourhood:
    """Everything that evidence joins to one strong node.

    Shapes: at most 500 nodes; what has more is no person, and the rest is left out. `near_evidence` tells of browsers
    and deals; it may have been read earlier, since their own packets, read afterwards, say the same and what is new.
    """
    names, near = ReadOnce(evidence), near_evidence or evidence
    found = _joined(start, names, near, lambda node: is_contested(node, names))
    if _holds_apart(found.strong, names):
        # Whoever of them is asked sees all of them, so all come to the same parts.
        parts = _joined(start, names, near, lambda node: len(named_with(node, names)) > 1 and not is_address(node))
        every = dict.fromkeys((*found.links, *parts.links))
        found = Neighbourhood(parts.strong, parts.near, tuple(sorted(every, key=_order)), parts.contested)
    return found


def named_with(name: str, evidence: Evidence) -> set[str]:
    """The other names that evidence joins to a name, unless an operator split the two."""
    between = [link for link in evidence.links(name) if is_strong(link.node) and link.node != link.strong]
    split = {link.other(name) for link in between if link.kind is EvidenceKind.SPLIT}
    return {link.other(name) for link in between if link.strength >= JOINS} - split


def is_contested(name: str, evidence: Evidence) -> bool:
    """Whether a user id, customer number or phone is shared by people who are not one."""
    others = set() if is_address(name) else named_with(name, evidence)
    if len(others) < 2:
        return False
    if len(others) > MOST_SHARED:
        return True
    same_kind = kind_of(name) == "phone"
    return any(
        (same_kind and kind_of(one) == kind_of(two) and not _decided(one, two, EvidenceKind.MERGED, evidence))
        or are_apart(one, two, evidence)
        for one, two in combinations(sorted(others), 2)
    )


def is_everybodys(name: str, evidence: Evidence) -> bool:
    """Whether so many share a name that it says of nobody who they are."""
    return not is_address(name) and len(named_with(name, evidence)) > MOST_SHARED


def are_apart(one: str, two: str, evidence: Evidence) -> bool:
    """Whether two names are known to be two people's."""
    if _decided(one, two, EvidenceKind.SPLIT, evidence):
        return True
    return (
        is_address(one) and is_address(two) and not _decided(one, two, EvidenceKind.MERGED, evidence)
        and all(verified_by(name, evidence.links(name)) is not None for name in (one, two))
    )


def _decided(one: str, two: str, kind: EvidenceKind, evidence: Evidence) -> bool:
    return any(link.kind is kind and link.other(one) == two for link in evidence.links(one))


def _holds_apart(names: Iterable[str], evidence: Evidence) -> bool:
    known = set(names)
    if len(known) < 2:
        return False
    verified = sorted(name for name in known if is_address(name) and verified_by(name, evidence.links(name)))
    return any(are_apart(one, two, evidence) for one, two in combinations(verified, 2)) or any(
        link.kind is EvidenceKind.SPLIT and link.other(name) in known for name in known for link in evidence.links(name)
    )


def _joined(
    start: str, evidence: Evidence, near_evidence: Evidence, contested: Callable[[str], bool]
) -> Neighbourhood:
    strong: set[str] = set()
    near: set[str] = set()
    shared: set[str] = set()
    links: dict[Link, None] = {}
    waiting = [start]
    while waiting and len(strong) + len(near) < MOST_NODES:
        node = waiting.pop()
        if node in strong or node in near or node in shared:
            continue
        if not is_strong(node):
            # Others who named themselves on this browser are evidence about it, and another person.
            near.add(node)
            links.update(dict.fromkeys(near_evidence.links(node)))
            continue
        found = evidence.links(node)
        links.update(dict.fromkeys(found))
        if contested(node):
            shared.add(node)
            if is_everybodys(node, evidence):
                continue
            for other in named_with(node, evidence):
                # What tells whether they are apart; their browsers are their own.
                links.update(dict.fromkeys(link for link in evidence.links(other) if is_strong(link.node)))
                links.update(dict.fromkeys(_verification(other, evidence)))
            near.add(node)
            waiting += (link.node for link in found if not is_strong(link.node))
            continue
        strong.add(node)
        waiting += named_with(node, evidence)
        waiting += (link.node for link in found if not is_strong(link.node))
    return Neighbourhood(frozenset(strong), frozenset(near), tuple(sorted(links, key=_order)), frozenset(shared))


def _verification(name: str, evidence: Evidence) -> list[Link]:
    """The links by which an address counts as verified."""
    own = evidence.links(name)
    link = verified_by(name, own) if is_address(name) else None
    return [] if link is None else [one for one in own if one.node == link.node]


def _order(link: Link) -> tuple[object, ...]:
    return link.at, link.event, link.node, link.strong, link.kind
