"""An HTTP API event (payload format 2.0) as a request, and an answer as its response.

Source: Amazon API Gateway, "Working with AWS Lambda proxy integrations for HTTP APIs".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable
from typing import Any

from closedloop.capture.request import Answer, Request, later, refusal
from closedloop.errors import BadShape, Refused, TryAgain
from closedloop.runtime import observe


def request(event: dict[str, Any]) -> Request:
    """Read the gateway's event.

    Errors: BadShape when the body is not the base64 that the gateway says it is.
    """
    http = event["requestContext"]["http"]
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    body = event.get("body") or ""
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except (binascii.Error, UnicodeEncodeError) as error:
        raise BadShape("the body is not what its encoding says") from error
    # The gateway gives cookies as a list of their own; the emulator leaves them in the header.
    pairs = event.get("cookies") or headers.get("cookie", "").split(";")
    return Request(
        method=http["method"], path=event.get("rawPath", http.get("path", "")), headers=headers,
        query=event.get("queryStringParameters") or {}, path_values=event.get("pathParameters") or {},
        cookies={name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)},
        body=raw, network=network(http.get("sourceIp", "")),
    )


def network(address: str) -> str:
    """An address without its host part: /24 or /48; empty when it is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network(f"{address}/{24 if parsed.version == 4 else 48}", strict=False).network_address)


def response(answer: Answer) -> dict[str, Any]:
    """The answer in the gateway's shape."""
    shaped: dict[str, Any] = {
        "statusCode": answer.status,
        "headers": {"content-type": answer.content_type, "cache-control": "no-store", **answer.headers},
        "body": answer.body,
    }
    if answer.content_type.startswith("image/"):
        shaped["isBase64Encoded"] = True
    if answer.cookies:
        shaped["cookies"] = list(answer.cookies)
    return shaped


def answered(
    event: dict[str, Any], context: Any, flow: Callable[[Request], Answer], cors: Callable[[Request, Answer], Answer]
) -> dict[str, Any]:
    """Carry one request through a flow; named errors become their answers, and one line tells the outcome."""
    asked: Request | None = None
    try:
        asked = request(event)
        answer = flow(asked)
    except Refused as error:
        answer = refusal(error)
        observe.refused(context, error)
    except TryAgain as error:
        answer = later(error)
        observe.not_durable(context, error)
    return response(cors(asked, answer) if asked is not None else answer)
