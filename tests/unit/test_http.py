"""The gateway's event as a request, and an answer as its response."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from closedloop.capture.request import Answer, Request, as_json, later
from closedloop.errors import BadShape, NotDurable
from closedloop.runtime import http


def an_event(**words: Any) -> dict[str, Any]:
    return {
        "requestContext": {"http": {"method": "POST", "path": "/v1/batch", "sourceIp": "203.0.113.77"}},
        "rawPath": "/v1/batch",
        "headers": {},
        "isBase64Encoded": False,
        **words,
    }


@pytest.mark.parametrize(
    ("address", "cut"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("10.0.0.255", "10.0.0.0"),
        ("2001:db8:1234:5678::1", "2001:db8:1234::"),
        ("::1", "::"),
        ("::ffff:203.0.113.77", "::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unknown", ""),
        ("203.0.113.77:443", ""),
        ("203.0.113.77, 10.0.0.1", ""),
        ("203.0.113.077", ""),
        ("1", ""),
    ],
)
def test_an_address_is_kept_without_the_part_that_names_a_host(address: str, cut: str) -> None:
    assert http.network(address) == cut


def test_header_names_are_read_in_lower_case_and_a_header_without_value_is_none() -> None:
    read = http.request(an_event(headers={"Content-Type": "text/plain", "X-Empty": None}))
    assert dict(read.headers) == {"content-type": "text/plain"}


@pytest.mark.parametrize(
    "words",
    [
        {"cookies": ["a=1", "_cl_vid=jane"]},
        {"headers": {"cookie": "a=1; _cl_vid=jane"}},
        {"headers": {"Cookie": "_cl_vid=jane;a=1"}},
    ],
)
def test_cookies_are_read_from_their_list_or_their_header(words: dict[str, Any]) -> None:
    assert http.request(an_event(**words)).cookies == {"a": "1", "_cl_vid": "jane"}


@pytest.mark.parametrize(
    ("body", "flag", "raw"),
    [
        ("{}", False, b"{}"),
        ("e30=", True, b"{}"),
        (None, False, b""),
        ("", True, b""),
        ("ü", False, "ü".encode()),
        (base64.b64encode(b"\x1f\x8b").decode(), True, b"\x1f\x8b"),
    ],
)
def test_the_body_is_the_bytes_that_were_sent(body: str | None, flag: bool, raw: bytes) -> None:
    assert http.request(an_event(body=body, isBase64Encoded=flag)).body == raw


@pytest.mark.parametrize(
    ("body", "flag"), [("e30", True), ("!", True), ("é", True), ("\ud800", False), ("e30=\n", True)]
)
def test_a_body_that_is_not_what_its_flag_says_is_refused(body: str, flag: bool) -> None:
    with pytest.raises(BadShape):
        http.request(an_event(body=body, isBase64Encoded=flag))


def test_half_signs_in_headers_and_parameters_become_something_that_can_be_stored() -> None:
    read = http.request(an_event(headers={"user-agent": "a\ud83d"}, queryStringParameters={"site": "\udc00"}))
    assert (read.headers["user-agent"], read.query["site"]) == ("a?", "?")


def test_an_answer_is_never_cached_unless_it_says_so() -> None:
    assert http.response(Answer(200))["headers"]["cache-control"] == "no-store"
    assert http.response(Answer(200, headers={"cache-control": "public"}))["headers"]["cache-control"] == "public"


def test_a_picture_travels_as_base64_and_cookies_as_their_own_list() -> None:
    shaped = http.response(Answer(200, "R0lG", "image/gif", cookies=("a=1",)))
    assert (shaped["isBase64Encoded"], shaped["cookies"], shaped["body"]) == (True, ["a=1"], "R0lG")
    assert "cookies" not in http.response(Answer(200))


def test_what_is_not_durable_asks_to_be_sent_again_in_whole_seconds_of_at_most_five_minutes() -> None:
    answer = later(NotDurable("busy"))
    assert answer.status == 503
    assert 0 < int(answer.headers["retry-after"]) <= 300


def test_an_answer_stands_although_nobody_can_look_up_whose_page_asked() -> None:
    def busy(request: Request, answer: Answer) -> Answer:
        raise NotDurable("a setting could not be read")

    assert http.answered(an_event(), None, lambda request: as_json(200, {}), busy)["statusCode"] == 200


def test_what_is_a_bug_rises() -> None:
    def broken(request: Request) -> Answer:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        http.answered(an_event(), None, broken, lambda request, answer: answer)
