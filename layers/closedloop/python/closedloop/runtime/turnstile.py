"""Asks Cloudflare Turnstile whether a person sent a form; when that cannot be learnt, the form is taken and marked."""

from __future__ import annotations

import http.client
import json
import ssl
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from closedloop.errors import TryAgain

VERIFY = "https://challenges.cloudflare.com/turnstile/v0/siteverify"
SECRET = "turnstile"  # noqa: S105  the secret's name among a site's secrets, not the secret
TIMEOUT_S = 2.0
# What says that a person was not shown; every other code is about our own call.
NO_PERSON = frozenset(("invalid-input-response", "missing-input-response", "timeout-or-duplicate"))


class Turnstile:
    """Asks about one form's sender; `secrets` gives a site's secrets by its name.

    Source: Cloudflare, "Validate the token": siteverify, idempotency_key, error codes.
    """

    def __init__(self, secrets: Callable[[str], Mapping[str, Any]], url: str = VERIFY) -> None:
        self._secrets = secrets
        self._url = urlsplit(url)

    def __call__(self, site: str, answer: str, submission: str) -> bool | None:
        """Whether a person sent it, by the answer that their browser brought; None when that cannot be learnt.

        Shapes: a token counts once, but the same submission sent again is the same question.
        """
        try:
            secret = self._secrets(site).get(SECRET)
        except TryAgain:
            return None
        if not secret:
            return None
        key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{site}|{submission}|{answer}"))
        body = urlencode({"secret": secret, "response": answer[:2048], "idempotency_key": key})
        try:
            told = self._ask(body)
            verdict, codes = told.get("success"), set(told.get("error-codes") or ())
        except (OSError, http.client.HTTPException, ValueError, TypeError, AttributeError):
            return None
        if verdict is True:
            return True
        return False if codes and codes <= NO_PERSON else None

    def _ask(self, body: str) -> dict[str, Any]:
        host = self._url.netloc
        connection = (
            http.client.HTTPSConnection(host, timeout=TIMEOUT_S, context=ssl.create_default_context())
            if self._url.scheme == "https" else http.client.HTTPConnection(host, timeout=TIMEOUT_S)
        )
        try:
            connection.request("POST", self._url.path, body, {"content-type": "application/x-www-form-urlencoded"})
            told: dict[str, Any] = json.loads(connection.getresponse().read(65_536))
            return told
        finally:
            connection.close()
