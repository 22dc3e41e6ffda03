"""The loops that are declared, each version for ever."""

from __future__ import annotations

from datetime import datetime

from closedloop.events.times import iso
from closedloop.loops.definition import Loop
from closedloop.sites.definition import version_of
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.table import Table, key


class Loops(Table):
    """Keeps the loops."""

    def put_loop(self, loop: Loop, now: datetime) -> str:
        """Declare a loop; the same words are the same version, other words a new one beside it."""
        version = version_of(loop)
        body = {"S": loop.model_dump_json(by_alias=True)}
        try:
            self._dynamo.call(
                "PutItem",
                {
                    "TableName": self._table,
                    "ConditionExpression": "attribute_not_exists(#pk)",
                    "ExpressionAttributeNames": {"#pk": schema.PK},
                    "Item": {**key(f"L#{loop.loop}", f"V#{version}"), schema.BODY: body, "at": {"S": iso(now)}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise
        self._put({**key(f"L#{loop.loop}", "CURRENT"), schema.BODY: body, "version": {"S": version}})
        self._put(key("L", loop.loop))
        return version

    def loop(self, name: str) -> Loop | None:
        item = self._get(f"L#{name}", "CURRENT", consistent=False)
        return None if item is None else Loop.model_validate_json(item[schema.BODY]["S"])

    def loops(self) -> list[Loop]:
        """Every loop that was declared, in its current version."""
        found = (self.loop(item[schema.SK]["S"]) for item in self._query("L", consistent=False))
        return [loop for loop in found if loop is not None]
