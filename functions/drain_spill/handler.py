"""Comes from the spill queue; appends what the ledger did not take at first; goes to the ledger's stream."""

from __future__ import annotations

from typing import Any

from closedloop.runtime import spill


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return spill.drain(event, context)
