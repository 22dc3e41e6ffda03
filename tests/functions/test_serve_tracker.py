"""GET /t.js: the built script, small on the wire, cached and asked for again by its tag."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from typing import Any

import pytest

from functions.serve_tracker import handler
from web import build


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    build.build()
    for cached in (handler.tracker, handler.etag, handler.gzipped):
        cached.cache_clear()


def a_request(**headers: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "routeKey": "GET /t.js",
        "rawPath": "/t.js",
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {"http": {"method": "GET", "path": "/t.js"}},
        "isBase64Encoded": False,
    }


def test_a_page_gets_the_built_script() -> None:
    reply = handler.handle(a_request(), None)

    assert reply["statusCode"] == 200
    assert reply["body"] == build.tracker().text
    assert reply["isBase64Encoded"] is False
    assert reply["headers"]["content-type"] == "text/javascript; charset=utf-8"
    assert reply["headers"]["cache-control"] == "public, max-age=3600"
    assert reply["headers"]["x-content-type-options"] == "nosniff"


def test_a_browser_that_accepts_gzip_gets_at_most_5_kb() -> None:
    reply = handler.handle(a_request(accept_encoding="gzip, deflate, br"), None)
    body = base64.b64decode(reply["body"])

    assert reply["isBase64Encoded"] is True
    assert reply["headers"]["content-encoding"] == "gzip"
    assert len(body) <= 5120
    assert gzip.decompress(body).decode() == build.tracker().text


def test_caches_keep_the_gzipped_and_the_plain_script_apart() -> None:
    for request in (a_request(), a_request(accept_encoding="gzip")):
        assert handler.handle(request, None)["headers"]["vary"] == "accept-encoding"


@pytest.mark.parametrize("asked", ["{}", 'W/"older", {}', "*"])
def test_who_has_this_script_already_gets_304_without_a_body(asked: str) -> None:
    tag = handler.handle(a_request(), None)["headers"]["etag"]

    for known in (tag, tag.removeprefix("W/")):
        reply = handler.handle(a_request(if_none_match=asked.format(known)), None)
        assert reply["statusCode"] == 304
        assert "body" not in reply
        assert reply["headers"]["etag"] == tag


def test_who_has_an_older_script_gets_the_new_one() -> None:
    assert handler.handle(a_request(if_none_match='W/"older"'), None)["statusCode"] == 200


def test_pages_that_pin_the_script_or_isolate_themselves_may_load_it() -> None:
    headers = handler.handle(a_request(), None)["headers"]

    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"


def test_who_asks_only_for_the_head_gets_no_body() -> None:
    request = a_request()
    request["requestContext"]["http"]["method"] = "HEAD"
    reply = handler.handle(request, None)

    assert "body" not in reply
    assert reply["headers"] == handler.handle(a_request(), None)["headers"]


def test_a_request_without_headers_is_served() -> None:
    assert handler.handle({}, None)["statusCode"] == 200


def test_the_reply_is_plain_json_for_the_gateway() -> None:
    reply = handler.handle(a_request(accept_encoding="gzip"), None)
    assert json.loads(json.dumps(reply)) == reply


def test_importing_the_handler_reads_nothing_and_needs_only_the_standard_library() -> None:
    code = (
        "import sys; import functions.serve_tracker.handler as handler;"
        "assert handler.tracker.cache_info().currsize == 0;"
        "assert not {'boto3', 'pydantic', 'closedloop', 'rjsmin'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=build.ROOT)
