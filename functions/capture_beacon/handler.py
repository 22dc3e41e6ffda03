"""Comes from POST /v1/{batch,track,...}, the pixel, the SDK settings; appends packets; goes to the ledger's stream."""

from __future__ import annotations

from typing import Any

from closedloop.capture.flow import accept_beacon
from closedloop.runtime.capture import carry


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return carry(event, context, accept_beacon)
