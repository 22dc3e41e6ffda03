"""What a form says, read from JSON or from a plain form."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from closedloop.capture.forms import Submission, _thanks, read
from closedloop.capture.request import Request
from closedloop.errors import BadShape
from closedloop.sites.definition import Form, Site

PLAIN = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def plain(fields: Any, **headers: str) -> Submission:
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    return read(Request("POST", "/v1/forms/guide", {**PLAIN, **headers}, body=body))


def fetched(**content: Any) -> Submission:
    return read(
        Request("POST", "/v1/forms/guide", {"content-type": "application/json"}, body=json.dumps(content).encode())
    )


def test_both_ways_say_the_same() -> None:
    fields = {"email": "jane@example.jp", "姓": "山田", "cl_website": ""}
    one, other = plain({**fields, "cl_submission_id": "s-1"}), fetched(fields=fields, submission_id="s-1")
    assert (one.fields, one.submission_id) == (other.fields, other.submission_id)
    assert (one.wants_page, other.wants_page) == (True, False)


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
