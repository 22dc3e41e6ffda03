"""Comes from stage_transitions; writes the shards of those due, or of everybody; goes to the map over shards."""

from __future__ import annotations

from typing import Any

from closedloop.events.times import parse
from closedloop.loops.flow import customer_lists, select
from closedloop.runtime import clock, doors


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    now = parse(event["at"]) if event.get("at") else clock.now()
    everybody = event.get("scope") == "everybody"
    kind = "nightly" if everybody else "tick"
    run = event.get("run") or doors.run_name(kind, clock.scheduled(event.get("scheduled_time"), now))
    lists = customer_lists(doors.loops(), doors.sites(), now) if everybody else ()
    return select(run, event.get("persons") or (), doors.state(), doors.runs(), clock.now(), lists)
