"""Comes from the links of our mails; appends one packet; leads on to the site, or stops the mails."""

from __future__ import annotations

from typing import Any

from closedloop.capture.confirm import confirm
from closedloop.capture.links import Tokens, follow
from closedloop.runtime import doors
from closedloop.runtime.capture import carry


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    flow = confirm if str(event.get("rawPath", "")).startswith("/c/") else follow
    return carry(event, context, lambda request, capture: flow(request, capture, Tokens(doors.link_keys())))
