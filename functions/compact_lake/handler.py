"""Comes from the schedule; writes each day of the lake that is over as one Parquet file."""

from __future__ import annotations

from typing import Any

from closedloop.runtime import compact


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return compact.compact_lake(event, context)
