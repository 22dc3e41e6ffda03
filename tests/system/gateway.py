"""The real handlers behind HTTP on loopback, as API Gateway stands before them, and what may go wrong on the way."""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from functions.capture_beacon import handler as capture_beacon
from functions.capture_form import handler as capture_form
from functions.serve_tracker import handler as serve_tracker
from tests.browsers import WAIT_S, Answer, serving
from tests.functions.gateway import Context, a_request

Reply = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outage:
    """What one POST meets instead of the handler's answer.

    Shapes: `stored` is true when the handler has taken it and only its answer is lost; `readable` is false for what the
    gateway itself says, which knows no site's origins: to a page's script it is a network that failed.
    """

    status: int
    retry_after: str = ""
    stored: bool = False
    readable: bool = True


OUTAGES = {
    "busy, with and without Retry-After": [Outage(429, "1"), Outage(429)],
    "down": [Outage(503, "1"), Outage(500)],
    "throttled by the gateway itself": [Outage(429, readable=False)],
    "stored, but the answer is lost": [Outage(503, "1", stored=True)],
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request that reached the gateway, and its answer."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer: Mapping[str, str]
    said: bytes


@dataclass
class Gateway:
    """Where clients are pointed at; what came in, in order; and the outages that the next POSTs will meet.

    Shapes: browsers know each name under localhost, as in `url`; for other clients the same door is at `by_number`.
    """

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    outages: deque[Outage] = field(default_factory=deque)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def by_number(self) -> str:
        return f"http://127.0.0.1:{self.url.rpartition(':')[2]}"

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def posts(self) -> list[Asked]:
        return [one for one in self.asked if one.method == "POST"]

    def until(self, found: Callable[[], Any]) -> Any:
        """What `found` finds, as soon as a request has made it true."""
        with self.changed:
            result = self.changed.wait_for(found, timeout=2 * WAIT_S)
        assert result, [(one.method, one.path, one.status, one.body[:300]) for one in self.asked]
        return result


def _replied(method: str, path: str, headers: Mapping[str, str], query: str, body: bytes) -> Reply:
    parts = path.split("/")
    forms, settings = path.startswith("/v1/forms/"), path.startswith("/v1/projects/")
    named = {"form": parts[-1]} if forms else {"key": parts[3]} if settings else {}
    cookies = [one.strip() for one in headers.get("cookie", "").split(";") if one.strip()]
    event = a_request(
        method, path, body, headers=headers, query=dict(parse_qsl(query, keep_blank_values=True)), cookies=cookies,
        parts=named,
    )
    handler = serve_tracker if path == "/t.js" else capture_form if forms else capture_beacon
    return handler.handle(event, Context())


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[Gateway]:
    """A gateway on a port of its own until the block ends.

    Shapes: one request at a time reaches a handler, as in one Lambda environment.
    """
    gateway = Gateway()
    one_at_a_time = threading.Lock()

    class Hands(Answer):
        def _carry(self) -> None:
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", 0)))
            with one_at_a_time:
                outage = gateway.outages.popleft() if self.command == "POST" and gateway.outages else None
                if outage is None or outage.stored:
                    reply = _replied(self.command, path, headers, query, body)
                if outage is not None:
                    # What a page's script may read of it is what the handler's own 503 lets it read.
                    cross = {
                        "access-control-allow-origin": headers.get("origin", "*"), "vary": "Origin",
                        "access-control-allow-credentials": "true", "access-control-expose-headers": "Retry-After",
                    } if outage.readable else {}
                    after = {"retry-after": outage.retry_after} if outage.retry_after else {}
                    reply = {"statusCode": outage.status, "headers": {**cross, **after}, "body": '{"message":"busy"}'}
            text = reply.get("body") or ""
            raw = base64.b64decode(text) if reply.get("isBase64Encoded") else text.encode()
            self.send_response(reply["statusCode"])
            for name, value in reply["headers"].items():
                self.send_header(name, value)
            for cookie in reply.get("cookies", ()):
                self.send_header("set-cookie", cookie)
            if reply["statusCode"] not in (204, 304):
                self.send_header("content-length", str(len(raw)))
            self.end_headers()
            if self.command != "HEAD" and reply["statusCode"] not in (204, 304):
                self.wfile.write(raw)
            with gateway.changed:
                gateway.asked.append(
                    Asked(self.command, path, headers, body, reply["statusCode"], reply["headers"], raw)
                )
                gateway.changed.notify_all()

        do_GET = do_HEAD = do_POST = do_OPTIONS = _carry

    with serving(Hands, host) as gateway.url:
        yield gateway
