"""Sends requests as the world's browsers and servers would: patiently, and the same facts again when asked to wait."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

import urllib3

from closedloop.errors import TryAgain

ATTEMPTS = 8
LONGEST_WAIT_S = 300.0


class NoAnswer(TryAgain):
    """Nobody answers at the endpoint; whoever runs it must look."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"no answer from {url}: {cause}")
        self.url = url


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Post = Callable[[Request], Reply]


class OverHttp:
    """Posts over kept-alive connections, at most one per thread; redirects are not followed.

    Errors: NoAnswer when no reply comes.
    """

    def __init__(self, threads: int = 4, timeout_s: float = 30.0) -> None:
        self._pools = urllib3.PoolManager(maxsize=threads, block=True, retries=False, timeout=timeout_s)

    def __call__(self, request: Request) -> Reply:
        url, headers = request.url, dict(request.headers)
        host = urlsplit(url).netloc
        name, _, port = host.partition(":")
        if name.endswith(".localhost"):
            # RFC 6761: such names are this machine, but not every resolver knows them.
            url, headers["Host"] = url.replace(host, f"127.0.0.1:{port}" if port else "127.0.0.1", 1), host
        try:
            reply = self._pools.request(request.method, url, body=request.body or None, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise NoAnswer(request.url, str(error)) from error
        return Reply(reply.status, {key.lower(): value for key, value in reply.headers.items()}, reply.data)

    def close(self) -> None:
        """Close the connections."""
        self._pools.clear()


def basic(key: str) -> str:
    """A key as the Authorization header of Segment's clients: user name, no password."""
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"


def deliver(
    make: Callable[[datetime], Request], *, post: Post, now: Callable[[], datetime], wait: Callable[[float], None]
) -> Reply:
    """Send one request until it is taken or refused for good.

    Shapes: the request is made anew for each attempt, since signatures and times of sending age; its facts keep
    their names. Errors: NoAnswer when nobody answered at any attempt's end.
    Source: RFC 9110, 10.2.3 Retry-After.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            reply = post(make(now()))
        except NoAnswer:
            wait(_backoff(attempt))
            continue
        if reply.status != 429 and reply.status < 500:
            return reply
        asked = reply.headers.get("retry-after", "")
        wait(min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else _backoff(attempt))
    return post(make(now()))


def _backoff(attempt: int) -> float:
    return min(0.25 * 2.0**attempt, 30.0)
