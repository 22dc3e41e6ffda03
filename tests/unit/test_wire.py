"""Segment's wire language: bodies in, records out, whatever a client leaves out or gets wrong."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.capture import wire
from closedloop.capture.wire import EVENT, Sender
from closedloop.errors import BadShape, Refused
from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import decode, encode, pack
from closedloop.sites.definition import Site

NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)
SITE = Site.model_validate(
    {
        "site": "demo",
        "title": "Demo",
        "write_key": "pk_demo_12345678",
        "origins": ["https://www.example.com"],
    }
)
SENDER = Sender(SITE, Hasher(b"pepper", "demo"), new_visitor="new")


def record(**words: Any) -> dict[str, Any]:
    event = EVENT.validate_python({"type": "track", "event": "Seen", "anonymousId": "jane", **words})
    return wire.record(event, SENDER, "beacon", NOW, None)[1]


def test_the_same_event_without_an_id_is_the_same_fact_however_often_it_is_sent() -> None:
    stated = {"timestamp": "2026-11-24T06:00:00Z", "messageId": None}
    assert record(**stated)["id"] == record(**stated, sentAt="2026-11-24T06:09:00Z")["id"]
    assert record(**stated)["id"] != record(**stated, properties={"a": 1})["id"]


def test_without_id_and_time_the_minute_of_receipt_tells_two_events_apart() -> None:
    event = EVENT.validate_python({"type": "track", "event": "Seen", "anonymousId": "jane"})
    ids = {wire.record(event, SENDER, "beacon", NOW + timedelta(seconds=s), None)[1]["id"] for s in (0, 30, 90)}
    assert len(ids) == 2


def test_an_id_made_of_the_content_cannot_be_guessed_back_without_the_pepper() -> None:
    event = EVENT.validate_python({"type": "identify", "userId": "jane@example.jp"})
    first, other = (
        wire.record(event, Sender(SITE, Hasher(pepper, "demo")), "beacon", NOW, None)[1]["id"]
        for pepper in (b"a", b"b")
    )
    assert first != other


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("https://e.com/p?utm_source=a&token=b&gclid=c#top", "https://e.com/p?utm_source=a&gclid=c"),
        ("https://e.com/p?email=jane@example.jp", "https://e.com/p"),
        ("https://e.com/p?utm_campaign[]=a&utm_campaign=b", "https://e.com/p?utm_campaign[]=a&utm_campaign=b"),
        ("https://e.com/jane@example.jp/orders", "https://e.com/[address]/orders"),
        ("https://e.com/@jane/post", "https://e.com/@jane/post"),
        ("https://e.com/p?utm_term=%83%7c%83%93%83v", "https://e.com/p?utm_term=%83%7c%83%93%83v"),
        ("https://[::1/p", None),
        ("http://\u2100.example/p", None),
        ("https://[::1]/p", "https://[::1]/p"),
    ],
)
def test_a_page_keeps_what_tells_where_a_visit_came_from_and_no_more(stated: str, kept: str | None) -> None:
    page = record(context={"page": {"url": stated}})["context"]["page"]
    assert page.get("url") == kept


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        (None, {}),
        ("granted", {}),
        ([], {}),
        ({"analytics": "granted"}, {"analytics": "granted"}),
        ({"analytics_storage": "denied"}, {"analytics_storage": "denied", "analytics": "denied"}),
        (
            {"analytics_storage": "denied", "analytics": "granted"},
            {"analytics_storage": "denied", "analytics": "granted"},
        ),
        ({"ad_storage": "granted"}, {"ad_storage": "granted", "marketing": "granted"}),
        ({"analytics": True, "jane@example.jp": "granted"}, {}),
        ({"version": "v3", "marketing": "unknown"}, {"version": "v3", "marketing": "unknown"}),
    ],
)
def test_consent_is_read_in_our_words_and_googles(stated: Any, kept: dict[str, str]) -> None:
    assert wire.consent_of(stated) == kept


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Bearer x",
        "Basic !!!",
        "Basic /w==",
        "Basic é",
        "Basic \ud800",
        "basic",
        "Basic cGs=x",
    ],
)
def test_a_header_that_is_no_basic_key_is_none(header: str) -> None:
    assert wire.basic_key(header) == ""


@pytest.mark.parametrize("header", ["Basic cGtfMTo=", "basic cGtfMTo=", "BASIC cGtfMQ==", "Basic cGtfMTpwYXNz"])
def test_the_key_is_the_user_name(header: str) -> None:
    assert wire.basic_key(header) == "pk_1"


def test_the_traits_of_a_group_call_are_the_companys() -> None:
    stated = {"name": "Acme KK", "email": "info@acme.example", "phone": "03-1234-5678", "employees": 250}
    event = EVENT.validate_python({
        "type": "group", "groupId": "acme-1", "userId": "u-1", "traits": stated,
        "context": {"traits": {"email": "jane@acme.example", "name": "Jane"}},
    })
    _, entry, contact = wire.record(event, SENDER, "beacon", NOW, None)
    jane = SENDER.hasher.address("jane@acme.example")
    assert (entry["group"], entry["traits"], entry["ids"][0]) == ("acme-1", {"employees": 250}, jane)
    assert contact == {jane: {"company": "Acme KK", "email": "jane@acme.example", "name": "Jane"}}


def test_a_half_sign_spoils_only_its_own_event() -> None:
    good = '{"type":"page","anonymousId":"jane"}'
    sent = wire.read(
        "batch", f'{{"batch":[{good},{{"type":"page","name":"cut \\ud83d"}},{good}],"writeKey":"k"}}'.encode()
    )
    assert ([index for index, _ in sent.events], [one.index for one in sent.bad], sent.write_key) == ([0, 2], [1], "k")


def test_a_written_out_nul_stays_and_a_real_one_goes() -> None:
    event = EVENT.validate_json(
        rb'{"type":"track","event":"x","anonymousId":"j","properties":{"a":"1\u0000\\u0000\\\u00002"}}'
    )
    [(_, entry, _)], _ = wire.checked([(0, event)], SENDER, "beacon", NOW, None)
    assert entry["properties"] == {"a": "1\\u0000\\2"}


def test_a_packed_body_is_unpacked_whatever_its_headers_said() -> None:
    assert wire.plain(gzip.compress(b"{}")) == b"{}"
    assert wire.plain(b"{}") == b"{}"
    with pytest.raises(BadShape):
        wire.plain(gzip.compress(b"{}") + gzip.compress(b"{}"))


def test_many_contacts_in_one_request_still_make_packets_that_the_table_holds() -> None:
    fields = {"name": "x" * 300, "phone": "1" * 300, "street": "y" * 300, "username": "z" * 300}
    events = [
        (
            n,
            EVENT.validate_python(
                {
                    "type": "identify",
                    "anonymousId": "jane",
                    "messageId": f"m-{n}",
                    "traits": {"email": f"p{n}@example.jp", **{name: f"{n}{text}" for name, text in fields.items()}},
                }
            ),
        )
        for n in range(900)
    ]
    good, bad = wire.checked(events, SENDER, "beacon", NOW, None)
    packets = pack(good, site="demo", door=Door.BEACON, received_at=NOW, headers={})
    assert (len(good), bad) == (900, [])
    sizes = [len(json.dumps([packet.records, packet.contact])) for packet in packets]
    assert max(sizes) < 400_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=8), inside, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "type",
        "event",
        "name",
        "anonymousId",
        "userId",
        "previousId",
        "groupId",
        "messageId",
        "properties",
        "traits",
        "context",
        "timestamp",
        "originalTimestamp",
        "sentAt",
    ]
)
CONTEXT = st.dictionaries(
    st.sampled_from(["page", "campaign", "consent", "traits", "library", "topic", "userAgent"]), JSON
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(FIELDS, JSON | CONTEXT | st.just("track"), max_size=6), max_size=3))
def test_any_json_is_kept_or_named_and_what_is_kept_can_be_read_again(events: list[dict[str, Any]]) -> None:
    body = json.dumps({"batch": events, "writeKey": "k"}).encode("utf-8", "surrogatepass")
    try:
        sent = wire.read("batch", body)
    except Refused as error:
        assert error.reason
        return
    good, bad = wire.checked(sent.events, SENDER, "beacon", NOW, sent.sent_at, careful=sent.careful)
    assert len(good) + len(bad) + len(sent.bad) == len(events)
    for packet in pack(good, site="demo", door=Door.BEACON, received_at=NOW, headers={}):
        again = decode(
            encode(packet),
            subject=packet.subject,
            site="demo",
            door="beacon",
            received_at="2026-11-24T06:10:00.000Z",
            schema=1,
        )
        assert again.events == packet.events


def test_a_phone_that_is_written_in_full_names_a_person_and_any_other_writing_only_reaches_them() -> None:
    told = record(traits={"email": "jane@example.jp", "phone": "+81312345678"}, userId="u-1")
    assert [name.partition(":")[0] for name in told["ids"]] == ["email", "user", "phone"]
    assert record(traits={"phone": "03-1234-5678"}).get("ids") is None
