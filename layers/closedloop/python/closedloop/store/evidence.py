"""The evidence that two nodes belong to one person, or do not; an address that confirmed itself is both ends."""

from __future__ import annotations

from itertools import islice
from typing import Any

from closedloop.events.identifiers import is_strong
from closedloop.events.times import iso, parse
from closedloop.identity.evidence import EvidenceKind, Link
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.table import Table, key

# Later than any time: what was dropped gives way to whatever says the same.
NEVER = "~"
MOST_OF_A_PHONE = 500


class Evidence(Table):
    """Keeps who is who."""

    def links(self, node: str) -> list[Link]:
        """The evidence that touches a node; of a switchboard's phone, as much as shows that it is one."""
        links = []
        items = self._query(f"N#{node}", "E#")
        for item in islice(items, MOST_OF_A_PHONE) if node.startswith("phone:") else items:
            if "other" not in item:
                continue
            other, forward = item["other"]["S"], item["forward"]["BOOL"]
            links.append(
                Link(
                    node if forward else other,
                    other if forward else node,
                    EvidenceKind(item["evidence"]["S"]),
                    parse(item["at"]["S"]),
                    item["event"]["S"],
                )
            )
        return links

    def put_link(self, link: Link) -> None:
        """Keep a piece of evidence, the earliest of its kind, readable from both its ends."""
        self._both(link, [
            self._put_if(
                {
                    **key(f"N#{node}", f"E#{link.kind}#{other}"),
                    "other": {"S": other},
                    "forward": {"BOOL": forward},
                    "evidence": {"S": link.kind.value},
                    "at": {"S": iso(link.at)},
                    "event": {"S": link.event},
                    "since": {"S": (since := f"{iso(link.at)}#{link.event}")},
                },
                "attribute_not_exists(#pk) OR #since > :since",
                {"#pk": schema.PK, "#since": "since"},
                {":since": {"S": since}},
            )
            for node, other, forward in _ends(link)
        ])

    def drop_link(self, link: Link) -> None:
        """Keep a piece of evidence no longer, as its event was retracted; any other that says the same may follow."""
        self._both(link, [
            self._put_if(
                {**key(f"N#{node}", f"E#{link.kind}#{other}"), "since": {"S": NEVER}},
                "#event = :event", {"#event": "event"}, {":event": {"S": link.event}},
            )
            for node, other, _ in _ends(link)
        ])

    def _both(self, link: Link, puts: list[dict[str, Any]]) -> None:
        """Write both ends of a piece of evidence, each if its condition holds.

        Errors: CallFailed.
        """
        # Two strong nodes must see each other from both ends or from none, or one person would have two ids at once;
        # a browser seen from one end alone is seen whole when its packet comes again.
        calls: list[tuple[str, dict[str, Any]]] = (
            [("TransactWriteItems", {"TransactItems": puts})]
            if is_strong(link.node) and len(puts) > 1
            else [("PutItem", put["Put"]) for put in puts]
        )
        for operation, parameters in calls:
            try:
                self._dynamo.call(operation, parameters)
            except CallFailed as error:
                if not error.is_condition:
                    raise


def _ends(link: Link) -> list[tuple[str, str, bool]]:
    """The node that a piece of evidence is kept under, the other end, and whether it leads there."""
    ends = [(link.node, link.strong, True), (link.strong, link.node, False)]
    return ends[:1] if link.node == link.strong else ends
