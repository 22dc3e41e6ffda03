"""An AWS endpoint that answers at once: it keeps what is put and works only when it is asked what it holds.

Every side of a comparison writes here, over plain HTTP on loopback, in a process of its own.
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.units import item_bytes, write_units

STATE, LEDGER = "bench-state", "bench-events"


class _Connection(asyncio.Protocol):
    """One kept connection: requests in, canned answers out.

    Shapes: `answers` are bodies by the end of X-Amz-Target; `kept` takes the operation and body of each write.
    """

    def __init__(self, answers: dict[str, bytes], kept: list[tuple[str, bytes]]) -> None:
        self._answers = answers
        self._kept = kept
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._left += data
        while True:
            head, found, rest = self._left.partition(b"\r\n\r\n")
            if not found:
                return
            lines = head.split(b"\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
            }
            length = int(headers.get(b"content-length", b"0"))
            if len(rest) < length:
                return
            self._left = rest[length:]
            self._answer(lines[0], headers, rest[:length])

    def _answer(self, first: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        operation = headers.get(b"x-amz-target", b"").decode().rpartition(".")[2]
        if operation in ("PutItem", "BatchWriteItem"):
            self._kept.append((operation, body))
            content = b"{}" if operation == "PutItem" else b'{"UnprocessedItems":{}}'
        elif operation == "GetItem":
            content = self._answers["origin" if b'"O#' in body else "key"]
        elif operation:
            content = self._answers[operation]
        else:
            content = json.dumps(_held(self._kept)).encode()
            self._kept.clear()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n" % len(content)
            + content
        )


def _held(kept: list[tuple[str, bytes]]) -> dict[str, Any]:
    """What was written since the last time: calls, units, and the facts inside, however they were packed."""
    facts: list[list[str]] = []
    calls: Counter[str] = Counter()
    units = items = size = 0
    for operation, body in kept:
        calls[operation] += 1
        content = json.loads(body)
        if operation == "PutItem":
            put = [content["Item"]]
        else:
            put = [write["PutRequest"]["Item"] for writes in content["RequestItems"].values() for write in writes]
        for item in put:
            weight = item_bytes(item)
            items, size, units = items + 1, size + weight, units + write_units(weight)
            facts.extend(_facts(item))
    return {"calls": calls, "items": items, "bytes": size, "units": units, "facts": sorted(facts)}


def _facts(item: dict[str, Any]) -> list[list[str]]:
    body = item["body"]
    text = body["S"] if "S" in body else zlib.decompress(base64.b64decode(body["B"]))
    content = json.loads(text)
    records = content.get("records", [content])
    # Our ids say the site and the door before the sender's own id.
    return [[record["id"].rpartition("/")[2], record["type"], record.get("visitor", "")] for record in records]


async def _serve(answers: dict[str, bytes]) -> None:
    kept: list[tuple[str, bytes]] = []
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(answers, kept), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Endpoint:
    """The endpoint's process, for as long as the `with` lasts."""

    def __init__(self, site_json: str, site: str, pepper: str) -> None:
        self.sendgrid_key = ec.generate_private_key(ec.SECP256R1())
        public = self.sendgrid_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        answers = {
            "key": {"Item": {"site": {"S": site}, "use": {"S": "public"}, "body": {"S": site_json}}},
            "origin": {"Item": {"site": {"S": site}}},
            "GetSecretValue": {"SecretString": json.dumps({
                "pepper": pepper, "sendgrid_key": base64.b64encode(public).decode(),
            })},
        }
        self._answers = json.dumps({name: json.dumps(answer) for name, answer in answers.items()})

    def __enter__(self) -> Endpoint:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.endpoint"], cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(self._answers)
        self._process.stdin.close()
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """What a function's environment holds, ours and the naive one's."""
        return {
            "PATH": os.defpath, "AWS_ENDPOINT_URL": self.url, "AWS_REGION": "ap-northeast-1",
            "AWS_DEFAULT_REGION": "ap-northeast-1", "AWS_ACCESS_KEY_ID": "AKIDBENCH", "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_SESSION_TOKEN": "bench", "EVENTS_TABLE": LEDGER, "STATE_TABLE": STATE, "SECRET_NAME": "bench",
            "SITE_SECRETS_PREFIX": "bench/",
            "STAGE": "bench", "POWERTOOLS_SERVICE_NAME": "bench", "POWERTOOLS_METRICS_NAMESPACE": "Bench",
            "POWERTOOLS_TRACE_DISABLED": "1", "POWERTOOLS_LOG_LEVEL": "INFO", "WRITE_KEY": "pk_demo_4f1c2a9b",
            "ORIGINS": "http://localhost:8000,https://www.northwind.example",
        }

    def taken(self) -> dict[str, Any]:
        """What was written since this was last asked."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("GET", "/")
            content: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return content


if __name__ == "__main__":
    asyncio.run(_serve({name: text.encode() for name, text in json.load(sys.stdin).items()}))
