"""Comes from POST /v1/forms/{form}; appends one packet; goes to the ledger's stream."""

from __future__ import annotations

from typing import Any

from closedloop.capture.form_page import tell
from closedloop.capture.forms import accept_form
from closedloop.runtime import doors
from closedloop.runtime.capture import carry


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return carry(event, context, lambda request, capture: accept_form(request, capture, doors.turnstile()), tell)
