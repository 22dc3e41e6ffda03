"""Comes from the event bus, one notice for one channel; reads whom it is about; tells the topic, Slack or the CRM."""

from __future__ import annotations

from typing import Any

from closedloop.loops.handover import Delivery, deliver
from closedloop.runtime import clock, doors, observe


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    told = Delivery(**event["detail"])
    loops = {loop.loop: loop for loop in doors.loops()}
    outcome = deliver(told, doors.state(), loops, doors.channels(), clock.now)
    observe.note(context, "notice", id=told.id, channel=told.channel, loop=told.loop, outcome=outcome)
    if outcome == "failed":
        observe.count("ToReview", 1)
    return {"outcome": outcome, "id": told.id}
