"""Comes from POST /v1/webhooks/deals/{provider}; appends one packet; goes to the ledger's stream."""

from __future__ import annotations

from typing import Any

from closedloop.capture.deals import accept_deal
from closedloop.runtime import doors
from closedloop.runtime.capture import carry


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return carry(event, context, lambda request, capture: accept_deal(request, capture, doors.site_secrets))
