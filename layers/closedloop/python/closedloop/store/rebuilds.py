"""How far a rebuild of the profiles has come, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json

from closedloop.store.table import Item, Table, key


class Rebuilds(Table):
    """Keeps a place for each part of the ledger.

    Shapes: a part is named like 1/4; `rules` is the version of what profiles are folded by.
    """

    def rebuilt_to(self, part: str, rules: str) -> Item | None:
        """After which key of the ledger a rebuild by the same rules goes on; nothing when it begins."""
        item = self._get("REBUILD", part)
        if item is None or item["rules"]["S"] != rules:
            return None
        place = json.loads(item["place"]["S"])
        return dict(place) if place else None

    def put_rebuilt(self, part: str, rules: str, place: Item | None) -> None:
        """Note how far a rebuild has come; nothing is the end, after which another begins."""
        self._put({**key("REBUILD", part), "rules": {"S": rules}, "place": {"S": json.dumps(place)}})
