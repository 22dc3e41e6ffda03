"""Comes from the links of our mails; appends one packet; leads on to the site, or stops the mails."""

from __future__ import annotations

from typing import Any

from closedloop.capture.links import Tokens, follow
from closedloop.runtime import doors
from closedloop.runtime.capture import carry


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return carry(event, context, lambda request, capture: follow(request, capture, Tokens(doors.link_keys())))
