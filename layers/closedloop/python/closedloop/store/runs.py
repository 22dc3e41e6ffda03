"""What each run of the workflow did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from closedloop.events.times import iso
from closedloop.store.calls import CallFailed
from closedloop.store.table import Table, key


class Runs(Table):
    """Keeps the runs."""

    def begin_run(self, run: str, selected: int, now: datetime) -> None:
        """Note that a run began; the selection of a run that is begun again counts until it is closed."""
        try:
            self._dynamo.call(
                "UpdateItem",
                {
                    "TableName": self._table,
                    "Key": key(f"RUN#{run}", "RUN"),
                    "UpdateExpression": "SET began_at = if_not_exists(began_at, :now), selected = :selected",
                    "ConditionExpression": "attribute_not_exists(closed_at)",
                    "ExpressionAttributeValues": {":now": {"S": iso(now)}, ":selected": {"N": str(selected)}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise

    def close_run(self, run: str, counts: Mapping[str, int], now: datetime) -> None:
        self._dynamo.call(
            "UpdateItem",
            {
                "TableName": self._table,
                "Key": key(f"RUN#{run}", "RUN"),
                "UpdateExpression": "SET counts = :counts, closed_at = :now",
                "ExpressionAttributeValues": {
                    ":counts": {"S": json.dumps(counts, sort_keys=True)},
                    ":now": {"S": iso(now)},
                },
            },
        )

    def run(self, run: str) -> dict[str, Any] | None:
        """What a run did: when it began and ended, and its counts."""
        item = self._get(f"RUN#{run}", "RUN")
        if item is None:
            return None
        return {
            "run": run,
            "began_at": item["began_at"]["S"],
            "selected": int(item["selected"]["N"]),
            "closed_at": item.get("closed_at", {}).get("S"),
            "counts": json.loads(item.get("counts", {}).get("S", "{}")),
        }
