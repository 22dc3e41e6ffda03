"""A client that signs and sends AWS calls over one kept connection.

botocore spends about 0.7 ms of CPU on each call whatever its size and more than a hundred to be imported; a capture
function makes one call a request, so this client is what its speed and its cold start stand on. botocore's own
signer is its oracle in the tests, DynamoDB Local its engine.
Source: AWS Signature Version 4; DynamoDB low-level API (JSON 1.0); Amazon SQS JSON protocol; Amazon S3 PutObject.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from closedloop.store.calls import THROTTLES, CallFailed

ATTEMPTS = 4
TIMEOUT_S = 2.0
# No attempt begins after it: a caller that is itself waited for must still have time to put what it holds elsewhere.
BUDGET_S = 4.5


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who signs; `token` is empty for long-lived keys."""

    key: str
    secret: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """One AWS service: the name it is signed for, and, where it speaks JSON, its target prefix and JSON version."""

    name: str
    target: str
    version: str


DYNAMODB = Service("dynamodb", "DynamoDB_20120810", "1.0")
SECRETS = Service("secretsmanager", "secretsmanager", "1.1")
SQS = Service("sqs", "AmazonSQS", "1.0")
S3 = Service("s3", "", "")


def signature_headers(
    credentials: Credentials,
    service: str,
    region: str,
    host: str,
    stated: Mapping[str, str],
    body: bytes,
    now: datetime,
    method: str = "POST",
    path: str = "/",
) -> dict[str, str]:
    """The headers that prove who sends this body: those stated, in lower case, and what signing adds.

    Source: AWS Signature Version 4, "Create a signed AWS API request".
    """
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    day = stamp[:8]
    headers = {**stated, "host": host, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        (
            method,
            path,
            "",
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(credentials.secret, day, region, service)
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class SignedClient:
    """Carries calls to one AWS service; retries what the service asks to retry, with full jitter.

    Units: `wait(attempt)` sleeps before the next attempt and is handed in, as is the clock; seconds.
    Errors: CallFailed.
    """

    def __init__(
        self,
        service: Service,
        region: str,
        endpoint: str,
        credentials: Callable[[], Credentials],
        clock: Callable[[], datetime],
        wait: Callable[[int], None],
        timeout_s: float = TIMEOUT_S,
        budget_s: float = BUDGET_S,
    ) -> None:
        parts = urlsplit(endpoint)
        self._service = service
        self._region = region
        self._host = parts.netloc
        self._secure = parts.scheme == "https"
        self._credentials = credentials
        self._clock = clock
        self._wait = wait
        self._timeout_s = timeout_s
        self._budget_s = budget_s
        self._connection: http.client.HTTPConnection | None = None

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        body = json.dumps(
            parameters, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_base64
        ).encode()
        headers = {
            "content-type": f"application/x-amz-json-{self._service.version}",
            "x-amz-target": f"{self._service.target}.{operation}",
        }
        return self._insist("POST", "/", headers, body)

    def put(self, path: str, body: bytes) -> None:
        """Write one object of S3: `path` is the bucket and the key, in signs that need no escape."""
        headers = {"content-type": "application/json", "x-amz-content-sha256": hashlib.sha256(body).hexdigest()}
        self._insist("PUT", path, headers, body)

    def _insist(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        failure = CallFailed("NoAnswer")
        began = self._clock()
        for attempt in range(ATTEMPTS):
            if attempt:
                self._wait(attempt)
                if (self._clock() - began).total_seconds() > self._budget_s:
                    break
            try:
                status, answer = self._send(method, path, headers, body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                failure = CallFailed(type(error).__name__)
                failure.__cause__ = error
                continue
            if status == 200:
                return answer
            failure = _failure(status, answer)
            if status < 500 and failure.code not in THROTTLES:
                break
        raise failure

    def _send(self, method: str, path: str, stated: Mapping[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        headers = signature_headers(
            self._credentials(), self._service.name, self._region, self._host, stated, body, self._clock(), method, path
        )
        kept = self._connection is not None
        connection = self._connection or self._dial()
        self._connection = connection
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            # A kept connection that the service closed while idle carried nothing: dial again at once.
            self.close()
            if not kept:
                raise
            return self._send(method, path, stated, body)
        raw = response.read()
        try:
            answer = json.loads(raw) if raw else {}
        except ValueError:
            # What is no JSON comes from something between us and the service, whatever status it claims.
            return 502, {}
        return response.status, answer

    def _dial(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, timeout=self._timeout_s, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(self._host, timeout=self._timeout_s)

    def close(self) -> None:
        """End the kept connection; the next call dials again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _base64(value: object) -> str:
    """Binary attributes travel as base64 text."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} has no place in a call")
    return base64.b64encode(value).decode()


def _failure(status: int, answer: Mapping[str, Any]) -> CallFailed:
    code = str(answer.get("__type") or answer.get("code") or f"HTTP {status}").rpartition("#")[2]
    reasons = tuple(str(reason.get("Code", "")) for reason in answer.get("CancellationReasons", ()))
    return CallFailed(code, reasons)
