"""An HTTP API event (payload format 2.0) as a request, and an answer as its response.

Source: Amazon API Gateway, "Working with AWS Lambda proxy integrations for HTTP APIs".
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from closedloop.capture.request import Answer, Request, later, refusal
from closedloop.errors import BadShape, Refused, TooLarge, TryAgain
from closedloop.runtime import observe

# Over the cap of every door, in base64: not worth unpacking.
MOST_CHARS = 1_500_000


def request(event: dict[str, Any]) -> Request:
    """Read the gateway's event.

    Errors: BadShape when the body is not the base64 that the gateway says it is; TooLarge.
    """
    http = event["requestContext"]["http"]
    headers = {name.lower(): value for name, value in _texts(event.get("headers")).items()}
    body = event.get("body") or ""
    if len(body) > MOST_CHARS:
        raise TooLarge("the body is over 1 MB")
    try:
        raw = base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise BadShape("the body is not what its encoding says") from error
    # The gateway gives cookies as a list of their own; the emulator leaves them in the header.
    pairs = event.get("cookies") or headers.get("cookie", "").split(";")
    return Request(
        method=http["method"], path=event.get("rawPath", http.get("path", "")), headers=headers,
        query=_texts(event.get("queryStringParameters")), path_values=_texts(event.get("pathParameters")),
        cookies={name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)},
        body=raw, network=network(http.get("sourceIp", "")), query_text=event.get("rawQueryString", ""),
    )


def _texts(stated: Mapping[str, str | None] | None) -> dict[str, str]:
    """Names and values as text that can be stored; a name without a value is left out."""
    return {
        name: value if value.isascii() else value.encode("utf-8", "replace").decode()
        for name, value in (stated or {}).items() if value is not None
    }


def network(address: str) -> str:
    """An address without its host part: /24 or /48; empty when it is none."""
    try:
        parsed = ipaddress.ip_address(address)
        cut = ipaddress.ip_network(f"{address}/{24 if parsed.version == 4 else 48}", strict=False)
    except ValueError:
        return ""
    return str(cut.network_address)


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


def in_json(request: Request, error: Refused | TryAgain) -> Answer:
    """What went wrong, for a program."""
    return refusal(error) if isinstance(error, Refused) else later(error)


def answered(
    event: dict[str, Any], context: Any, flow: Callable[[Request], Answer], cors: Callable[[Request, Answer], Answer],
    tell: Callable[[Request, Refused | TryAgain], Answer] = in_json,
) -> dict[str, Any]:
    """Carry one request through a flow; named errors become their answers, and one line tells the outcome."""
    asked: Request | None = None
    try:
        asked = request(event)
        answer = flow(asked)
        if answer.facts:
            observe.stored(context, answer.facts)
    except Refused as error:
        answer = tell(asked, error) if asked is not None else refusal(error)
        observe.refused(context, error)
    except TryAgain as error:
        answer = tell(asked, error) if asked is not None else later(error)
        observe.not_durable(context, error)
    try:
        return response(cors(asked, answer) if asked is not None else answer)
    except TryAgain:
        # Whose page asks cannot be looked up now; the answer stands, and only a page's script cannot read it.
        return response(answer)
