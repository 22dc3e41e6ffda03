"""Comes from the map over shards; writes verdicts, positions, transitions and actions; goes to perform_actions."""

from __future__ import annotations

from typing import Any

from closedloop.loops.flow import decide_shard
from closedloop.runtime import clock, doors


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    state = doors.state()
    return decide_shard(
        event["run"], int(event["shard"]), state, doors.runs(), state.loops(), state.sites(), clock.now()
    )
