"""Comes from POST /v1/webhooks/email/{provider}?site=SITE; appends packets; goes to the ledger's stream."""

from __future__ import annotations

from typing import Any

from closedloop.capture.mail import accept_mail
from closedloop.runtime import anymail
from closedloop.runtime.capture import carry


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return carry(event, context, lambda request, doors: accept_mail(request, doors, anymail.door()))
