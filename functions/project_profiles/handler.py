"""Comes from the Events stream; writes evidence and profiles; wakes stage_transitions for hot people."""

from __future__ import annotations

import hashlib
from typing import Any

from closedloop.events.times import iso
from closedloop.profiles.flow import project
from closedloop.runtime import clock, doors, stream


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    batch = stream.Batch(list(stream.images(event)), "project_profiles")
    state, ledger = doors.state(), doors.ledger()
    parts = batch.carry(lambda part: project(stream.living(part), state, ledger, batch.sites, clock.now))
    again = {number for part in parts for number in part.again}
    hot = sorted({person for part in parts for person in part.hot})
    if hot:
        # Named after the people and the records, so that a batch delivered again starts nothing new.
        numbers = "|".join([*hot, *(number for number, _, _ in batch.arrived)])
        run = f"hot-{hashlib.sha256(numbers.encode()).hexdigest()[:32]}"
        doors.start_transitions(run, {"run": run, "at": iso(clock.now()), "persons": hot})
    changed = sum(len(part.changed) for part in parts)
    stream.told(context, "projected", batch, changed=changed, again=len(again))
    return stream.response(again)
