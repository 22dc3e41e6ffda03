"""The evidence that two nodes belong to one person."""

from __future__ import annotations

from typing import Any

from closedloop.events.identifiers import is_strong
from closedloop.events.times import iso, parse
from closedloop.identity.evidence import EvidenceKind, Link
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.table import Table, key

# Later than any time: what was dropped gives way to whatever says the same.
NEVER = "~"


class Evidence(Table):
    """Keeps who is who."""

    def links(self, node: str) -> list[Link]:
        """The evidence that touches a node."""
        links = []
        for item in self._query(f"N#{node}", "E#"):
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
            for node, other, forward in ((link.node, link.strong, True), (link.strong, link.node, False))
        ])

    def drop_link(self, link: Link) -> None:
        """Keep a piece of evidence no longer, as its event was retracted; any other that says the same may follow."""
        self._both(link, [
            self._put_if(
                {**key(f"N#{node}", f"E#{link.kind}#{other}"), "since": {"S": NEVER}},
                "#event = :event", {"#event": "event"}, {":event": {"S": link.event}},
            )
            for node, other in ((link.node, link.strong), (link.strong, link.node))
        ])

    def _both(self, link: Link, puts: list[dict[str, Any]]) -> None:
        """Write both ends of a piece of evidence, each if its condition holds.

        Errors: CallFailed.
        """
        # Two strong nodes must see each other from both ends or from none, or one person would have two ids at once;
        # a browser seen from one end alone is seen whole when its packet comes again.
        calls: list[tuple[str, dict[str, Any]]] = (
            [("TransactWriteItems", {"TransactItems": puts})]
            if is_strong(link.node)
            else [("PutItem", put["Put"]) for put in puts]
        )
        for operation, parameters in calls:
            try:
                self._dynamo.call(operation, parameters)
            except CallFailed as error:
                if not error.is_condition:
                    raise
