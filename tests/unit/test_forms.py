"""What a form says, whichever way a browser sent it, and what gives a robot away."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from closedloop.capture.form_body import CHALLENGE, MOST_FIELDS, Submission, read
from closedloop.capture.form_page import tell
from closedloop.capture.form_spam import giveaway, hurry, time_token
from closedloop.capture.forms import _thanks
from closedloop.capture.request import Request
from closedloop.errors import BadShape, NotDurable, NotFound, TooLarge, WrongField, WrongFields
from closedloop.sites.definition import Form, Site

PLAIN = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
PARTS = {"content-type": 'multipart/form-data; boundary="--a boundary"'}
NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)


def plain(fields: Any, **headers: str) -> Submission:
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    return read(Request("POST", "/v1/forms/guide", {**PLAIN, **headers}, body=body))


def multipart(pairs: Iterable[tuple[str, str | bytes]], **headers: str) -> Submission:
    """As a browser posts a form with enctype multipart/form-data."""
    parts = b"".join(a_part(f'name="{name}"', value) for name, value in pairs)
    return read(Request("POST", "/v1/forms/guide", {**PARTS, **headers}, body=parts + b"----a boundary--\r\n"))


def a_part(disposition: str, value: str | bytes, kind: str = "") -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    head = f"----a boundary\r\nContent-Disposition: form-data; {disposition}\r\n{kind}\r\n"
    return head.encode() + raw + b"\r\n"


def fetched(**content: Any) -> Submission:
    return read(
        Request("POST", "/v1/forms/guide", {"content-type": "application/json"}, body=json.dumps(content).encode())
    )


def test_all_three_ways_say_the_same() -> None:
    fields = {"email": "jane@example.jp", "姓": "山田", "cl_website": "", "message": "一行\r\n二行 & +=%"}
    sent = {**fields, "cl_submission_id": "s-1", "cl_time": "t", "cl_write_key": "k", CHALLENGE: "c"}
    one, other = plain(sent), multipart(sent.items())
    assert one == other
    script = fetched(
        fields={**fields, CHALLENGE: "c"}, submission_id="s-1", time_token="t", writeKey="k", page={"url": "u"}
    )
    for said in (one, script):
        assert (dict(said.fields), said.submission_id, said.token, said.challenge, said.key) == (
            fields, "s-1", "t", "c", "k",
        )
    assert (one.wants_page, other.wants_page, script.wants_page) == (True, True, False)


def test_our_own_hidden_fields_are_no_fields_of_the_form() -> None:
    hidden = {
        "cl_write_key": "k",
        "cl_submission_id": "s",
        "cl_anonymous_id": "jane",
        "cl_page_url": "u",
        "cl_referrer": "r",
    }
    said = plain({**hidden, "email": "jane@example.jp", "cl_unheard_of": "x"})
    assert dict(said.fields) == {"email": "jane@example.jp"}
    assert (said.key, said.submission_id, said.visitor, said.page) == ("k", "s", "jane", {"url": "u", "referrer": "r"})
    assert said.may_tell


def test_ticked_boxes_of_one_name_are_read_together_either_way() -> None:
    pairs = [("topic", "pumps"), ("topic", "valves"), ("email", "jane@example.jp")]
    assert plain(pairs).fields == multipart(pairs).fields == {"topic": "pumps, valves", "email": "jane@example.jp"}


def test_a_file_input_that_was_left_empty_is_no_field() -> None:
    body = a_part('name="email"', "jane@example.jp") + a_part(
        'name="cv"; filename=""', "", "Content-Type: application/octet-stream\r\n"
    )
    said = read(Request("POST", "/v1/forms/guide", PARTS, body=body + b"----a boundary--\r\n"))
    assert said.fields == {"email": "jane@example.jp"}


@pytest.mark.parametrize(
    ("disposition", "content"),
    [
        ('name="cv"; filename="cv.pdf"', b"%PDF\xff"),
        ('name="cv"; filename="cv.pdf"', b""),
        ('name="cv"; filename=""', b"%PDF\xff"),
    ],
)
def test_a_file_is_refused_in_words_not_left_behind(disposition: str, content: bytes) -> None:
    body = a_part(disposition, content) + b"----a boundary--\r\n"
    with pytest.raises(BadShape, match="cv: files are not taken"):
        read(Request("POST", "/v1/forms/guide", PARTS, body=body))


GOOD = a_part('name="email"', "jane@example.jp") + b"----a boundary--\r\n"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", PARTS),
        (GOOD[:-6], PARTS),
        (GOOD, {"content-type": "multipart/form-data"}),
        (GOOD, {"content-type": "multipart/form-data; boundary=other"}),
        (GOOD, {"content-type": "multipart/form-data; boundary="}),
        (a_part('name="email"', b"\xff\xfe") + b"----a boundary--\r\n", PARTS),
        (a_part('name="x"', "1") * (MOST_FIELDS + 1) + b"----a boundary--\r\n", PARTS),
        (b"----a boundary\r\nContent-Type: text/plain\r\n\r\nx\r\n----a boundary--\r\n", PARTS),
        (b"----a boundary\r\n" + b"X-Y: z\r\n" * 100 + b"\r\nx\r\n----a boundary--\r\n", PARTS),
        (b"\r\n" * 100_000, PARTS),
    ],
)
def test_a_multipart_body_that_is_broken_or_has_no_end_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(BadShape):
        read(Request("POST", "/v1/forms/guide", headers, body=body))


def test_the_cap_holds_for_multipart_before_and_after_unpacking() -> None:
    body = a_part('name="x"', "x" * 600_000) + b"----a boundary--\r\n"
    for sent in (body, gzip.compress(body)):
        with pytest.raises(TooLarge):
            read(Request("POST", "/v1/forms/guide", PARTS, body=sent))


def test_the_page_is_told_by_the_browser_where_no_script_told_it() -> None:
    assert plain({"a": "b"}, referer="https://www.example.com/guide").page["url"] == "https://www.example.com/guide"


def test_a_hidden_field_given_twice_is_not_read_together() -> None:
    assert plain([("cl_submission_id", "a"), ("cl_submission_id", "b"), ("x", "1"), ("x", "2")]).submission_id == "b"


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=\xe3\x81", b"&".join(b"f=%d" % n for n in range(201))])
def test_a_plain_form_that_is_no_utf8_or_has_no_end_is_refused(body: bytes) -> None:
    with pytest.raises(BadShape):
        plain(body)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"fields": None},
        {"fields": []},
        {"fields": "email"},
        {"fields": {"a": {"b": 1}}},
        {"fields": {}, "submission_id": {"a": 1}},
        {"fields": {}, "anonymousId": [{}]},
        {"fields": {}, "writeKey": {"a": 1}},
        {"fields": {}, "timestamp": "soon"},
    ],
)
def test_json_of_another_shape_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(BadShape):
        fetched(**content)


@pytest.mark.parametrize(
    "thanks", ["//evil.example/x", "/\\evil.example", "/thanks.html", "https://docs.example.com/thanks"]
)
def test_the_page_of_thanks_is_one_of_the_sites_whatever_the_file_says(thanks: str) -> None:
    site = Site.model_construct(origins=("https://www.example.com",), link_hosts=("docs.example.com",))
    form = Form.model_construct(fields=(), thanks=thanks)
    where = _thanks(Request("POST", "/v1/forms/guide"), site, form)
    assert where.startswith(("https://www.example.com/", "https://docs.example.com/"))


# What gives a robot away.

PEPPER = b"a pepper"


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (timedelta(0), "within 3 seconds"),
        (timedelta(seconds=2.999), "within 3 seconds"),
        (timedelta(seconds=3), ""),
        (timedelta(hours=24), ""),
        (timedelta(hours=24, milliseconds=1), "over a day"),
        (timedelta(seconds=-1), "within 3 seconds"),
    ],
)
def test_a_form_takes_a_person_from_three_seconds_to_a_day(after: timedelta, why: str) -> None:
    said = hurry(time_token(PEPPER, "demo", "guide", NOW), PEPPER, "demo", "guide", NOW + after)
    assert why in said
    assert bool(said) == bool(why)


@pytest.mark.parametrize(
    "token",
    [
        time_token(b"another", "demo", "guide", NOW),
        time_token(PEPPER, "rival", "guide", NOW),
        time_token(PEPPER, "demo", "prize", NOW),
        time_token(PEPPER, "demo", "guide", NOW)[:-1],
        "1" + time_token(PEPPER, "demo", "guide", NOW)[1:-1] + "0",
        "x",
        ".",
        "é" * 46,
        "٣" * 13 + "." + "a" * 32,
    ],
)
def test_a_time_that_we_did_not_sign_for_this_form_gives_a_robot_away(token: str) -> None:
    assert hurry(token, PEPPER, "demo", "guide", NOW + timedelta(minutes=1)) == "its time token is not ours"


@pytest.mark.parametrize(
    ("fields", "email", "why"),
    [
        ({}, "jane@example.jp", ""),
        ({"cl_website": ""}, "jane@example.jp", ""),
        ({"cl_website": "x"}, "jane@example.jp", "the honeypot was filled"),
        ({"message": "http://a.example https://www.b.example"}, "jane@example.jp", ""),
        ({"message": "http://a HTTPS://b www.c.example"}, "jane@example.jp", "a field holds more than 2 links"),
        ({"message": "https://a https://b", "site": "www.c.example"}, "jane@example.jp", ""),
        ({}, "jane@mailinator.com", "its address is of a domain for throwing away"),
        ({}, "jane@MAILINATOR.COM", "its address is of a domain for throwing away"),
        ({}, "jane@sub.mailinator.com", "its address is of a domain for throwing away"),
        ({}, "jane@mailinator.com.example.jp", ""),
        ({}, "hanako@docomo.ne.jp", ""),
        ({}, "jane@gmail.com", ""),
    ],
)
def test_what_the_fields_give_away(fields: dict[str, str], email: str, why: str) -> None:
    assert giveaway(fields, email) == why


# What a person reads whose form was not taken.

WRONG = WrongFields((WrongField("tel", "電話 <b>", "expected a phone number", "電話番号を入力してください"),))


@pytest.mark.parametrize(
    ("accepts", "japanese"),
    [
        ("", False), ("ja", True), ("ja-JP,ja;q=0.9,en;q=0.8", True), ("en-US,ja;q=0.5", False), ("fr,ja;q=0.5", True),
        ("JA", True), ("java", False), ("*", False),
    ],
)
def test_the_words_are_in_the_language_that_the_browser_asks_for_first(accepts: str, japanese: bool) -> None:
    page = tell(Request("POST", "/", {**PLAIN, "accept-language": accepts}), WRONG).body
    script = json.loads(tell(Request("POST", "/", {"accept-language": accepts}), WRONG).body)
    said = "電話番号を入力してください" if japanese else "expected a phone number"
    assert said in page
    assert f'<html lang="{"ja" if japanese else "en"}">' in page
    assert script["fields"] == [{"field": "tel", "label": "電話 <b>", "message": said}]
    assert script["reason"] == "tel: expected a phone number"


@pytest.mark.parametrize("headers", [PLAIN, PARTS])
def test_a_browser_gets_a_page_that_runs_nothing_and_holds_nothing_typed(headers: dict[str, str]) -> None:
    answer = tell(Request("POST", "/", headers, body=b"email=jane%40example.jp"), WRONG)
    assert (answer.status, answer.content_type) == (400, "text/html; charset=utf-8")
    assert "電話 &lt;b&gt;" in answer.body
    assert 'role="alert"' in answer.body
    assert "jane" not in answer.body
    assert "<input" not in answer.body
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_form_that_could_not_be_stored_is_told_in_words_and_when_to_come_again() -> None:
    answer = tell(Request("POST", "/", {**PLAIN, "accept-language": "ja"}), NotDurable("busy"))
    assert answer.status == 503
    assert answer.headers["retry-after"]
    assert "もう一度送信してください" in answer.body
    refused = tell(Request("POST", "/", PLAIN), NotFound("site demo has no form '<i>'"))
    assert (refused.status, "&lt;i&gt;" in refused.body) == (404, True)
