"""Comes from GET /t.js; answers with the built tracker; goes to browsers and the caches before them."""

from __future__ import annotations

import gzip
import hashlib
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any


@cache
def tracker() -> bytes:
    return Path(__file__).with_name("t.js").read_bytes()


@cache
def etag() -> str:
    # Weak, for the gzipped and the plain body are the same script.
    return f'W/"{hashlib.sha256(tracker()).hexdigest()[:32]}"'


@cache
def gzipped() -> str:
    return b64encode(gzip.compress(tracker(), mtime=0)).decode("ascii")


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    asked: dict[str, str] = event.get("headers") or {}
    headers = {
        "cache-control": "public, max-age=3600",
        "etag": etag(),
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
        # Pages with an integrity attribute or an embedder policy load scripts by these two.
        "access-control-allow-origin": "*",
        "cross-origin-resource-policy": "cross-origin",
    }
    if _knows(asked.get("if-none-match", "")):
        return {"statusCode": 304, "headers": headers}
    headers["content-type"] = "text/javascript; charset=utf-8"
    if event.get("requestContext", {}).get("http", {}).get("method") == "HEAD":
        return {"statusCode": 200, "headers": headers}
    if "gzip" in asked.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return {"statusCode": 200, "headers": headers, "body": gzipped(), "isBase64Encoded": True}
    return {"statusCode": 200, "headers": headers, "body": tracker().decode("ascii"), "isBase64Encoded": False}


def _knows(if_none_match: str) -> bool:
    """Weak comparison, RFC 9110 section 13.1.2: a cache may have made the tag strong or weak."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag().removeprefix("W/") in tags
