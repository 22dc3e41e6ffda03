"""One request from outside and the answer to it, free of any gateway's shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from closedloop.errors import Refused, TryAgain


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody sent.

    Shapes: header names are in lower case; `body` is the raw bytes, as signed; `network` is the sender's address cut
    to /24 or /48; `path_values` are the named parts of the route; `query_text` is the query as it was sent.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    path_values: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    network: str = ""
    query_text: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What we answer; the body of an image is base64 text.

    Shapes: `facts` are ids and counts for the log, never what was sent.
    """

    status: int
    body: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    facts: Mapping[str, str | int] = field(default_factory=dict)


def as_json(status: int, content: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON answer."""
    return Answer(status, json.dumps(content, ensure_ascii=False), headers=headers or {})


def refusal(error: Refused) -> Answer:
    """What the sender must change, in one sentence.

    Shapes: `code` and `message` are the words that the clients of Segment and RudderStack look for; the latter's for
    Python takes a refusal without them for a fault of the network, and repeats it.
    """
    name = type(error).__name__
    content = {"success": False, "error": name, "reason": error.reason, "code": name, "message": error.reason}
    return as_json(error.status, content)


def later(error: TryAgain) -> Answer:
    """Nothing durable exists: the sender keeps what it has and sends it again."""
    content = {"success": False, "error": type(error).__name__, "reason": "not stored; send it again"}
    return as_json(503, content, {"retry-after": "2"})
