"""The loops that are declared, each version for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from closedloop.errors import LoopMoved
from closedloop.events.times import iso, parse
from closedloop.loops.definition import LANE, Loop
from closedloop.sites.definition import version_of
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.table import Item, Table, key


class Loops(Table):
    """Keeps the loops."""

    def put_loop(
        self, loop: Loop, now: datetime, seen: str | None = None, approval: Mapping[str, Any] | None = None
    ) -> str:
        """Declare a loop; the same words are the same version, other words a new one beside it.

        Shapes: `seen` is the version that the change was checked against, empty for none; any when left out.
        `approval` is kept with a new version: who took it, from which report, and what was expected of it.
        Errors: LoopMoved when somebody else changed the loop meanwhile.
        """
        version = version_of(loop)
        current = self._get(f"L#{loop.loop}", "CURRENT")
        found = current["version"]["S"] if current else ""
        if seen not in (None, found):
            raise LoopMoved(loop.loop)
        if found == version:
            return version
        body = {"S": loop.model_dump_json(by_alias=True)}
        kept = {
            "TableName": self._table, "Key": key(f"L#{loop.loop}", f"V#{version}"),
            "UpdateExpression": "SET #body = if_not_exists(#body, :body), #at = if_not_exists(#at, :now)",
            "ExpressionAttributeNames": {"#body": schema.BODY, "#at": "at"},
            "ExpressionAttributeValues": {":body": body, ":now": {"S": iso(now)}},
        }
        writes = [
            {"Update": kept},
            self._once({**key(f"L#{loop.loop}", f"H#{iso(now)}#{version}"), "version": {"S": version}}),
            self._put_if(
                {**key(f"L#{loop.loop}", "CURRENT"), schema.BODY: body, "version": {"S": version}},
                "#version = :seen" if found else "attribute_not_exists(#version)", {"#version": "version"},
                {":seen": {"S": found}} if found else None,
            ),
            {"Put": {"TableName": self._table, "Item": key("L", loop.loop)}},
        ]
        if approval is not None:
            kept_with = {schema.BODY: {"S": json.dumps(approval, ensure_ascii=False, sort_keys=True)}}
            writes.append(self._once({**key(f"L#{loop.loop}", f"A#{iso(now)}#{version}"), **kept_with}))
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": writes})
        except CallFailed as error:
            if error.is_condition:
                raise LoopMoved(loop.loop) from error
            raise
        return version

    def loop(self, name: str) -> Loop | None:
        """A loop, or one of its tracks as LOOP_TRACK, in its current version."""
        item = self._get(f"L#{name.partition(LANE)[0]}", "CURRENT", consistent=False)
        return None if item is None else _lane(_loop(item), name)

    def loop_history(self, name: str) -> list[tuple[datetime, Loop]]:
        """Every version of a loop with the time at which it became current, in order; a version may come again.

        Shapes: of a track, LOOP_TRACK, it is the track in each version of its loop that has it.
        """
        pk = f"L#{name.partition(LANE)[0]}"
        versions = {item[schema.SK]["S"][2:]: _lane(_loop(item), name) for item in self._query(pk, "V#")}
        history = [item[schema.SK]["S"].split("#") for item in self._query(pk, "H#")]
        return [(parse(at), found) for _, at, version in history if (found := versions[version]) is not None]

    def loop_approvals(self, name: str) -> list[dict[str, Any]]:
        """Who took which version of a loop and when, from which report, in order of time."""
        found = []
        for item in self._query(f"L#{name}", "A#"):
            _, at, version = item[schema.SK]["S"].split("#")
            found.append({"at": at, "version": version, **json.loads(item[schema.BODY]["S"])})
        return found

    def loops(self) -> list[Loop]:
        """Every loop that was declared, in its current version."""
        found = (self.loop(item[schema.SK]["S"]) for item in self._query("L", consistent=False))
        return [loop for loop in found if loop is not None]

    def lanes(self) -> list[Loop]:
        """Every loop and every track, each as a loop of its own."""
        return [lane for loop in self.loops() for lane in loop.lanes]


def _lane(loop: Loop, name: str) -> Loop | None:
    return next((lane for lane in loop.lanes if lane.loop == name), None)


def _loop(item: Item) -> Loop:
    return Loop.model_validate_json(item[schema.BODY]["S"])
