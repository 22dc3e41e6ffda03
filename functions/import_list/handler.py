"""Comes from the queue of files dropped into S3; appends each row as a fact; goes to the ledger's stream."""

from __future__ import annotations

from typing import Any

from closedloop.runtime import lists


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return lists.take_dropped(event, context)
