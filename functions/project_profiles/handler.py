"""Comes from the Events stream; writes evidence and profiles; wakes stage_transitions for hot people."""

from __future__ import annotations

import hashlib
from typing import Any

from closedloop.events.times import iso
from closedloop.profiles.flow import project
from closedloop.runtime import clock, doors, observe, stream


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    arrived = stream.packets(stream.images(event), "project_profiles")
    projected = project(arrived, doors.state(), doors.ledger(), doors.sites(), clock.now)
    if projected.hot:
        # Named after the people and the records, so that a batch delivered again starts nothing new.
        numbers = "|".join([*sorted(projected.hot), *(number for number, _, _ in arrived)])
        run = f"hot-{hashlib.sha256(numbers.encode()).hexdigest()[:32]}"
        doors.start_transitions(run, {"run": run, "at": iso(clock.now()), "persons": sorted(projected.hot)})
    observe.note(context, "projected", packets=len(arrived), changed=len(projected.changed), again=len(projected.again))
    return stream.response(projected.again)
