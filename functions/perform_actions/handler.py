"""Comes from decide_stages; sends what is pending for a shard, each claimed first; goes to close_run."""

from __future__ import annotations

from typing import Any

from closedloop.loops.flow import perform_shard
from closedloop.runtime import doors, observe


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    performed = perform_shard(event["run"], int(event["shard"]), doors.state(), doors.runs(), doors.mail())
    # What was suppressed or refused by the person ended as it should; what nobody knows the end of did not.
    unknown = sum(count for name, count in performed["counts"].items() if name.endswith("unknown"))
    if unknown:
        observe.count("ToReview", unknown)
    return performed
