"""Requests as API Gateway's HTTP API hands them to a function (payload format 2.0), and what can be read of a reply."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
ORIGIN = "https://www.northwind.example"
KEY, SECRET_KEY = "pk_demo_4f1c2a9b", "sk_demo_owner_only"
ADDRESS_OF_SENDER = "203.0.113.77"
# What the gateway hands on as text; everything else, and all that is encoded, it turns into base64.
TEXT = ("text/", "application/json", "application/xml", "application/javascript")


@dataclass(frozen=True)
class Context:
    """What Lambda hands to a function beside the event."""

    aws_request_id: str = "11111111-2222-3333-4444-555555555555"
    function_name: str = "a-function"
    remaining_ms: int = 900_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def a_request(
    method: str,
    path: str,
    body: bytes | str = b"",
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    cookies: Sequence[str] = (),
    parts: Mapping[str, str] | None = None,
    base64_flag: bool | None = None,
) -> dict[str, Any]:
    """One event of the gateway; `base64_flag` overrides what the gateway would do with the body."""
    raw = body.encode() if isinstance(body, str) else body
    sent = {"host": "c.northwind.example", "user-agent": CHROME, **{k.lower(): v for k, v in (headers or {}).items()}}
    encoded = not sent.get("content-type", "text/plain").startswith(TEXT) or "content-encoding" in sent
    encoded = encoded if base64_flag is None else base64_flag
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": urlencode(query or {}),
        "headers": sent,
        "requestContext": {
            "apiId": "api",
            "domainName": sent["host"],
            "requestId": "r",
            "stage": "$default",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": ADDRESS_OF_SENDER,
                "userAgent": sent["user-agent"],
            },
        },
        "isBase64Encoded": encoded,
    }
    if raw:
        event["body"] = base64.b64encode(raw).decode() if encoded else raw.decode("utf-8", "replace")
    if query:
        event["queryStringParameters"] = dict(query)
    if cookies:
        event["cookies"] = list(cookies)
    if parts:
        event["pathParameters"] = dict(parts)
    return event


def basic(key: str) -> str:
    return "Basic " + base64.b64encode(f"{key}:".encode()).decode()


def said(reply: Mapping[str, Any]) -> dict[str, Any]:
    """A reply's JSON."""
    return dict(json.loads(reply["body"]))
