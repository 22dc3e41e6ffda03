"""How compact_lake carries one call: every day that is over and has changed becomes one Parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from closedloop.lake.compact import closed, compact, stale
from closedloop.runtime import clock, doors, observe

# A day is begun only with so much time left; what is not begun is done at the next call.
ENOUGH_MS = 240_000


def compact_lake(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Compact the days that are over; with `today` also the one that is not, as far as it has come."""
    lake, before = doors.lake(), clock.now().date() + timedelta(days=1 if event.get("today") else 0)
    count, whole = 0, True
    for day in stale(lake, closed(lake, before)):
        if context.get_remaining_time_in_millis() < ENOUGH_MS:
            whole = False
            break
        compact(lake, day)
        count += 1
    observe.note(context, "compacted", days=count, whole=whole)
    return {"compacted": count, "whole": whole}
