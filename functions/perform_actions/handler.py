"""Comes from decide_stages; sends what is pending for a shard, each claimed first; goes to close_run."""

from __future__ import annotations

from typing import Any

from closedloop.loops.flow import perform_shard
from closedloop.runtime import doors


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return perform_shard(event["run"], int(event["shard"]), doors.state(), doors.runs(), doors.mail())
