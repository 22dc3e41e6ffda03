"""Comes from stage_transitions; writes the shards of those who are due; goes to the map over shards."""

from __future__ import annotations

from typing import Any

from closedloop.events.times import parse
from closedloop.loops.flow import select
from closedloop.runtime import clock, doors


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    now = parse(event["at"]) if event.get("at") else clock.now()
    run = event.get("run") or doors.run_name("tick", clock.scheduled(event.get("scheduled_time"), now))
    return select(run, event.get("persons") or (), doors.state(), doors.runs(), clock.now())
