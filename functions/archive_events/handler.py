"""Comes from the Events and State streams; writes the lake: events, decisions, failed events."""

from __future__ import annotations

from typing import Any

from closedloop.runtime import archive


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return archive.archive(event, context)
