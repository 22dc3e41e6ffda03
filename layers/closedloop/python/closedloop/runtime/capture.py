"""How a capture function carries one request: its flow, its doors, CORS and the reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from closedloop.capture.flow import Doors, cors
from closedloop.capture.request import Answer, Request
from closedloop.errors import Refused, TryAgain
from closedloop.runtime import doors, http


def carry(
    event: dict[str, Any], context: Any, flow: Callable[[Request, Doors], Answer],
    tell: Callable[[Request, Refused | TryAgain], Answer] = http.in_json,
) -> dict[str, Any]:
    """Answer a gateway event by a flow that is handed the capture doors; `tell` words what went wrong."""
    return http.answered(
        event, context, lambda request: flow(request, doors.capture()),
        lambda request, answer: cors(request, answer, lambda origin: doors.keys().site_of_origin(origin) is not None),
        tell,
    )
