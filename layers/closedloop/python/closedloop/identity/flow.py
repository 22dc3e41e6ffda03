"""Gathers what is known of one person: their nodes and the evidence for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from closedloop.events.identifiers import is_strong
from closedloop.identity.evidence import Link

MOST_NODES = 500


class Evidence(Protocol):
    """Where evidence is read."""

    def links(self, node: str) -> list[Link]: ...


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The strong nodes that are one person, the browsers and deals near them, and the evidence among all these."""

    strong: frozenset[str]
    near: frozenset[str]
    links: tuple[Link, ...]


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
    near_evidence = near_evidence or evidence
    strong: set[str] = set()
    near: set[str] = set()
    links: dict[Link, None] = {}
    waiting = [start]
    while waiting and len(strong) + len(near) < MOST_NODES:
        node = waiting.pop()
        if node in strong or node in near:
            continue
        found = (evidence if is_strong(node) else near_evidence).links(node)
        links.update(dict.fromkeys(found))
        if not is_strong(node):
            # Others who named themselves on this browser are evidence about it, and another person.
            near.add(node)
            continue
        strong.add(node)
        for link in found:
            waiting.append(link.node if link.strong == node else link.strong)
    return Neighbourhood(
        frozenset(strong), frozenset(near), tuple(sorted(links, key=lambda link: (link.at, link.event, link.node)))
    )
