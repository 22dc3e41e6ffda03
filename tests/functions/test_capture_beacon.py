"""POST /v1/{batch,track,...}: what Segment's clients send is stored once and answered as they expect."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from closedloop.capture import wire
from closedloop.capture.flow import Doors, accept_beacon, cors
from closedloop.capture.request import Answer, Request
from closedloop.errors import NotDurable
from closedloop.events.packet import Packet
from closedloop.sites.definition import Site
from functions.capture_beacon import handler
from tests.accounts import EVENTS, SITES, STATE, Account
from tests.functions.gateway import CHROME, KEY, ORIGIN, SECRET_KEY, Context, a_request, basic, said

BROWSER = {"origin": ORIGIN, "content-type": "text/plain"}
SERVER = {"content-type": "application/json", "user-agent": "analytics-python/2.4.0"}
COOKIE = "_cl_vid=jane-on-a-laptop"
ASKING = {"origin": "https://eu.example", "content-type": "text/plain"}
NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)

# Route, its body, and the name under which the event is kept.
ROUTES: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("track", {"event": "Price List Viewed"}, "track", "Price List Viewed"),
    ("t", {"event": "Price List Viewed"}, "track", "Price List Viewed"),
    ("page", {"name": "Pumps"}, "page", "Pumps"),
    ("p", {"name": "Pumps"}, "page", "Pumps"),
    ("screen", {"name": "Start"}, "screen", "Start"),
    ("s", {"name": "Start"}, "screen", "Start"),
    ("identify", {"traits": {"industry": "water"}}, "identify", ""),
    ("i", {"traits": {"industry": "water"}}, "identify", ""),
    ("group", {"groupId": "northwind-kk"}, "group", ""),
    ("g", {"groupId": "northwind-kk"}, "group", ""),
    ("alias", {"userId": "u-7", "previousId": "u-7"}, "alias", ""),
    ("a", {"userId": "u-7", "previousId": "u-7"}, "alias", ""),
)


def post(path: str, body: Any, **more: Any) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body)
    return handler.handle(a_request("POST", path, raw, **{"headers": BROWSER, **more}), Context())


def an_event(**words: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Price List Viewed",
        "anonymousId": "jane-on-a-laptop",
        "messageId": "m-1",
        **words,
    }


def a_batch(*events: Mapping[str, Any], **words: Any) -> dict[str, Any]:
    return {"batch": list(events or (an_event(),)), "writeKey": KEY, "sentAt": "2026-11-24T06:10:00.000Z", **words}


@pytest.mark.parametrize(("route", "body", "kind", "name"), ROUTES, ids=[row[0] for row in ROUTES])
def test_each_route_of_segment_stores_its_event_once(
    account: Account, route: str, body: dict[str, Any], kind: str, name: str
) -> None:
    reply = post(f"/v1/{route}", {**body, "anonymousId": "jane-on-a-laptop", "messageId": "m-1", "writeKey": KEY})
    assert (reply["statusCode"], said(reply)) == (200, {"success": True})
    [record] = account.records()
    assert (record["id"], record["type"], record["name"]) == ("demo/beacon/m-1", kind, name)
    assert record["visitor"] == "jane-on-a-laptop"


@pytest.mark.parametrize("route", ["batch", "b"])
def test_a_batch_is_stored_as_one_packet_for_each_subject(account: Account, route: str) -> None:
    others = [an_event(messageId="m-2"), an_event(messageId="m-3", anonymousId="ken")]
    assert post(f"/v1/{route}", a_batch(an_event(), *others))["statusCode"] == 200
    assert sorted((packet.subject, len(packet.records)) for packet in account.packets()) == [
        ("V#demo#jane-on-a-laptop", 2),
        ("V#demo#ken", 1),
    ]


def test_a_batch_sent_again_adds_no_fact(account: Account) -> None:
    post("/v1/batch", a_batch())
    assert post("/v1/batch", a_batch())["statusCode"] == 200
    assert {record["id"] for record in account.records()} == {"demo/beacon/m-1"}


def test_a_batch_sent_again_together_with_later_events_adds_only_these(account: Account) -> None:
    post("/v1/batch", a_batch())
    assert post("/v1/batch", a_batch(an_event(), an_event(messageId="m-2")))["statusCode"] == 200
    assert {record["id"] for record in account.records()} == {"demo/beacon/m-1", "demo/beacon/m-2"}


@pytest.mark.parametrize("claimed", ["demo/email/sendgrid-1", "../email/1", "beacon/1", "a#b", "a|b", "x" * 300])
def test_no_id_that_a_client_makes_up_is_one_of_another_door(account: Account, claimed: str) -> None:
    post("/v1/batch", a_batch(an_event(messageId=claimed)))
    [record] = account.records()
    assert re.fullmatch(r"demo/beacon/[A-Za-z0-9_.-]{1,64}", str(record["id"]))


def test_an_event_needs_somebody_and_a_group_may_have_only_a_browser(account: Account) -> None:
    nobody = an_event(messageId="m-2", anonymousId=None, userId=None)
    group = an_event(type="group", messageId="m-3", userId=None, groupId="northwind-kk")
    reply = post("/v1/batch", a_batch(nobody, group), headers=SERVER)
    assert said(reply)["bad"] == [{"index": 0, "reason": "anonymousId or userId: one of them is needed"}]
    [record] = account.records()
    assert (record["type"], record["visitor"], record["group"]) == ("group", "jane-on-a-laptop", "northwind-kk")


# Who sends it, and in which clothes.


def client(body: bytes, content_type: str, **headers: str) -> tuple[bytes, dict[str, str]]:
    return body, {"content-type": content_type, **headers}


def plain(key: str | None = None) -> bytes:
    return json.dumps(
        {"batch": [an_event()], "sentAt": "2026-11-24T06:10:00Z", **({"writeKey": key} if key else {})}
    ).encode()


CLIENTS = {
    "segment python": client(plain(KEY), "application/json", authorization=basic(KEY)),
    "segment python with gzip": client(
        gzip.compress(plain(KEY)), "application/json", authorization=basic(KEY), **{"content-encoding": "gzip"}
    ),
    "segment browser, body key alone": client(plain(KEY), "text/plain", origin=ORIGIN),
    "rudderstack python": client(
        gzip.compress(plain()), "application/json", authorization=basic(KEY), **{"content-encoding": "gzip"}
    ),
    "rudderstack node": client(gzip.compress(plain()), "application/x-www-form-urlencoded", authorization=basic(KEY)),
    "gzip without its header": client(gzip.compress(plain()), "application/octet-stream", authorization=basic(KEY)),
    "a gzip header without gzip": client(plain(KEY), "application/json", **{"content-encoding": "gzip"}),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_the_clients_work_in_the_clothes_they_wear(account: Account, name: str) -> None:
    body, headers = CLIENTS[name]
    assert post("/v1/batch", body, headers=headers)["statusCode"] == 200
    assert [record["id"] for record in account.records()] == ["demo/beacon/m-1"]


@pytest.mark.parametrize(
    ("headers", "key", "status", "error"),
    [
        ({}, None, 401, "UnknownKey"),
        ({}, "pk_nobody_12345678", 401, "UnknownKey"),
        ({"authorization": basic("pk_nobody_12345678")}, KEY, 401, "UnknownKey"),
        ({"authorization": "Basic ключ"}, None, 401, "UnknownKey"),
        ({"authorization": "Bearer " + KEY}, None, 401, "UnknownKey"),
        ({"origin": "https://www.northwind.example.evil.example"}, KEY, 403, "ForeignOrigin"),
        ({"origin": "https://rival.example"}, KEY, 403, "ForeignOrigin"),
        ({"origin": "null"}, KEY, 403, "ForeignOrigin"),
        ({"origin": "https://" + "x" * 4000}, KEY, 403, "ForeignOrigin"),
    ],
)
def test_a_wrong_key_and_a_foreign_page_are_refused_and_leave_nothing(
    account: Account,
    capsys: pytest.CaptureFixture[str],
    headers: dict[str, str],
    key: str | None,
    status: int,
    error: str,
) -> None:
    reply = post("/v1/batch", a_batch(**({"writeKey": key} if key else {"writeKey": None})), headers=headers)
    assert (reply["statusCode"], said(reply)["error"]) == (status, error)
    assert account.items() == []
    line = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if '"refused"' in line)
    assert (line["message"], line["error"], line["status"]) == ("refused", error, status)


def test_one_line_tells_what_was_stored_and_nothing_of_whom(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    post("/v1/batch", a_batch(an_event(traits={"email": "jane@example.jp"}), {"type": "track"}))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    stored = next(line for line in lines if line.get("message") == "stored")
    assert stored == {
        "level": "INFO",
        "message": "stored",
        "request_id": Context().aws_request_id,
        "site": "demo",
        "door": "beacon",
        "stored": 1,
        "failed": 1,
    }
    assert any("FailedEvents" in line for line in lines), "the metric of failed events"


# Shapes that clients really send.


def test_explicit_nulls_are_as_good_as_nothing(account: Account) -> None:
    nothing = dict.fromkeys(("userId", "traits", "properties", "context", "timestamp", "originalTimestamp", "groupId"))
    assert said(post("/v1/batch", a_batch(an_event(**nothing)))) == {"success": True}
    assert len(account.records()) == 1


def test_an_alias_to_oneself_is_no_error_and_no_merge(account: Account) -> None:
    assert (
        post("/v1/alias", {"userId": "u-7", "previousId": "u-7", "messageId": "m-1", "writeKey": KEY})["statusCode"]
        == 200
    )
    [record] = account.records()
    assert "previous" not in record
    assert len(record["ids"]) == 1


def test_an_alias_keeps_the_former_id_as_its_hash(account: Account) -> None:
    post("/v1/alias", {"userId": "u-7", "previousId": "u-old", "messageId": "m-1", "writeKey": KEY})
    [record] = account.records()
    assert record["previous"].startswith("user:")
    assert record["previous"] not in record["ids"]


@pytest.mark.parametrize("nobody", ["null", "undefined", "guest", "anonymous", "0", ""])
def test_an_id_that_names_nobody_is_refused_and_counted_and_its_event_is_kept(
    account: Account, capsys: pytest.CaptureFixture[str], nobody: str
) -> None:
    body = a_batch(an_event(anonymousId=nobody, userId=nobody))
    assert said(post("/v1/batch", body, headers=SERVER)) == {"success": True}
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["refused_ids"] for line in lines if line.get("message") == "stored"] == [1]
    assert [line["RefusedIds"] for line in lines if "RefusedIds" in line] == [[1.0]], "the metric"
    [packet] = account.packets()
    assert packet.subject.startswith("V#demo#~"), "counted among those who are not known"
    assert "visitor" not in packet.records[0]
    assert "ids" not in packet.records[0]


def test_a_partly_bad_batch_is_answered_200_and_names_the_bad_ones(account: Account) -> None:
    reply = post(
        "/v1/batch",
        a_batch(
            an_event(),
            {"type": "track", "anonymousId": "jane"},
            {"type": "dance"},
            "x",
            an_event(messageId="m-5"),
            an_event(messageId="m-6", properties={"price": 1e400}),
            an_event(messageId="m-7"),
        ),
    )
    assert reply["statusCode"] == 200
    assert [one["index"] for one in said(reply)["bad"]] == [1, 2, 3, 5]
    assert [record["id"] for record in account.records()] == ["demo/beacon/m-1", "demo/beacon/m-5", "demo/beacon/m-7"]
    failed = account.failed()
    assert len(failed) == 4
    assert {one.handler for one in failed} == {"capture_beacon"}
    assert any(json.loads(one.payload) == {"type": "dance"} for one in failed), "with the bytes as they came"


def test_a_batch_full_of_bad_events_is_kept_in_few_writes_with_all_its_bytes(account: Account) -> None:
    bad = [{"type": "track", "anonymousId": f"v-{n}", "properties": {"text": "x" * 400}} for n in range(900)]
    reply = post("/v1/batch", a_batch(an_event(), *bad))
    assert (reply["statusCode"], len(said(reply)["bad"])) == (200, 900)
    kept = [entry for one in account.failed() for entry in json.loads(one.payload)]
    assert {entry["anonymousId"] for entry in kept} == {f"v-{n}" for n in range(900)}
    assert len(account.failed()) <= 3


def test_an_event_of_its_own_route_that_is_bad_is_named_by_its_field(account: Account) -> None:
    reply = post("/v1/track", {"anonymousId": "jane", "writeKey": KEY})
    assert (reply["statusCode"], said(reply)["reason"]) == (400, "event: a track call needs the event's name")
    assert account.items() == []


def test_caps_hold_before_and_after_unpacking(account: Account) -> None:
    event = an_event(properties={"text": "x" * wire.EVENT_BYTES})
    one_over = json.dumps(a_batch(), separators=(",", ":")).encode().ljust(wire.BODY_BYTES + 1)
    assert post("/v1/track", {**event, "writeKey": KEY})["statusCode"] == 413
    assert post("/v1/batch", one_over)["statusCode"] == 413
    packed = {**BROWSER, "content-encoding": "gzip"}
    assert post("/v1/batch", gzip.compress(one_over), headers=packed)["statusCode"] == 413
    reply = post("/v1/batch", a_batch(event, an_event(messageId="m-2")))
    assert [one["reason"] for one in said(reply)["bad"]] == ["an event is over 32 KB"]
    assert [record["id"] for record in account.records()] == ["demo/beacon/m-2"]
    assert post("/v1/batch", one_over[:-1])["statusCode"] == 200


# When the ledger is busy.


class Busy:
    """A ledger that takes nothing."""

    def append(self, packets: Iterable[Packet]) -> None:
        raise NotDurable("the ledger did not take the packets: ThrottlingException")


class Demo:
    """The demo site's keys, without a table behind them."""

    site_words = Site.model_validate(SITES[0][0])

    def site_of_key(self, hashed: str) -> tuple[Site, bool] | None:
        return self.site_words, False

    def site(self, name: str) -> Site | None:
        return self.site_words

    def site_of_origin(self, origin: str) -> str | None:
        return "demo"


def test_a_busy_ledger_is_answered_503_and_the_client_keeps_its_events(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    post("/v1/batch", a_batch())
    account.loses(EVENTS)
    reply = post("/v1/batch", a_batch(an_event(messageId="m-2", traits={"email": "jane@example.jp"})))
    assert reply["statusCode"] == 503
    assert reply["headers"]["retry-after"].isdecimal()
    assert reply["headers"]["access-control-allow-origin"] == ORIGIN, "a page's script must be let read it"
    assert said(reply)["success"] is False
    assert "cookies" not in reply
    line = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if '"not stored"' in line)
    assert (line["level"], line["error"]) == ("ERROR", "NotDurable")
    assert "jane" not in json.dumps(line)


def test_nothing_is_claimed_while_the_settings_cannot_be_read(account: Account) -> None:
    account.loses(STATE)
    reply = post("/v1/batch", a_batch())
    assert (reply["statusCode"], account.items(EVENTS)) == (503, [])


def test_a_cold_function_without_secrets_answers_503(account: Account) -> None:
    account.loses("secret")
    assert post("/v1/batch", a_batch())["statusCode"] == 503


def test_bad_events_are_not_said_to_be_kept_when_the_failed_store_is_busy() -> None:
    def busy(*_: Any) -> None:
        raise NotDurable("the failed event could not be kept")

    class Willing:
        def append(self, packets: Iterable[Packet]) -> None:
            list(packets)

    doors = Doors(Demo(), Willing(), busy, b"pepper", lambda: NOW, lambda: "new")
    with pytest.raises(NotDurable):
        accept_beacon(Request("POST", "/v1/batch", {}, body=json.dumps(a_batch({"type": "dance"})).encode()), doors)


# Browsers: preflight, cookies, consent.


def test_a_preflight_from_a_page_of_a_site_is_answered_exactly(account: Account) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": "POST"}
    reply = handler.handle(a_request("OPTIONS", "/v1/batch", headers=asked), Context())
    assert reply["statusCode"] == 204
    assert {name: reply["headers"][name] for name in reply["headers"] if name.startswith(("access", "vary"))} == {
        "access-control-allow-origin": ORIGIN,
        "access-control-allow-credentials": "true",
        "vary": "Origin",
        "access-control-allow-methods": "POST, GET, OPTIONS",
        "access-control-max-age": "86400",
        "access-control-allow-headers": "Authorization, Content-Type, X-Retry-Count",
        "access-control-expose-headers": "Retry-After",
    }


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "https://" + "e" * 4000, "file://"])
def test_a_preflight_from_elsewhere_is_promised_nothing(account: Account, origin: str) -> None:
    reply = handler.handle(a_request("OPTIONS", "/v1/batch", headers={"origin": origin}), Context())
    assert not [name for name in reply["headers"] if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["null", "", "file://x", "https://" + "e" * 4000])
def test_what_can_be_no_origin_is_not_even_looked_up(origin: str) -> None:
    def looked_up(name: str) -> bool:
        raise AssertionError(name)

    assert cors(Request("OPTIONS", "/v1/batch", {"origin": origin}), Answer(204), looked_up) == Answer(204)


def test_a_preflight_is_answered_even_while_the_settings_cannot_be_read(account: Account) -> None:
    account.loses(STATE)
    assert handler.handle(a_request("OPTIONS", "/v1/batch", headers={"origin": ORIGIN}), Context())["statusCode"] == 204


def test_a_browser_gets_its_own_id_back_as_a_cookie_with_these_attributes(account: Account) -> None:
    reply = post("/v1/batch", a_batch())
    assert reply["cookies"] == [
        "_cl_vid=jane-on-a-laptop; Max-Age=34128000; Path=/; Domain=northwind.example; Secure; SameSite=Lax; HttpOnly"
    ]


def test_a_browser_without_an_id_gets_a_new_one(account: Account) -> None:
    reply = post("/v1/page", {"writeKey": KEY, "messageId": "m-1"})
    [record] = account.records()
    assert reply["cookies"][0].startswith(f"_cl_vid={record['visitor']};")


@pytest.mark.parametrize(
    "cookies", [{"cookies": ["other=1", COOKIE]}, {"headers": {**BROWSER, "cookie": f"other=1; {COOKIE}"}}]
)
def test_the_cookie_wins_over_the_id_that_the_page_keeps(account: Account, cookies: dict[str, Any]) -> None:
    post("/v1/batch", a_batch(an_event(anonymousId="a-younger-id")), **cookies)
    assert account.records()[0]["visitor"] == "jane-on-a-laptop"


@pytest.mark.parametrize("forged", ["_cl_vid=a#b", "_cl_vid=../../x", "_cl_vid=" + "x" * 65, "_cl_vid=", "_cl_vid=a|b"])
def test_a_forged_cookie_is_no_id(account: Account, forged: str) -> None:
    reply = post("/v1/batch", a_batch(), cookies=[forged])
    assert account.records()[0]["visitor"] == "jane-on-a-laptop"
    assert reply["cookies"][0].startswith("_cl_vid=jane-on-a-laptop;")


def test_a_server_gets_no_cookie(account: Account) -> None:
    assert "cookies" not in post("/v1/batch", a_batch(), headers=SERVER)


@pytest.mark.parametrize(
    ("headers", "key", "consent"),
    [
        ({**BROWSER, "sec-gpc": "1"}, KEY, {"analytics": "granted", "marketing": "granted"}),
        ({**BROWSER, "sec-gpc": "1"}, KEY, None),
        (BROWSER, KEY, {"analytics": "denied"}),
        (BROWSER, KEY, {"analytics_storage": "denied"}),
        (ASKING, "pk_asking_12345678", None),
        (ASKING, "pk_asking_12345678", {"analytics": "unknown"}),
        (ASKING, "pk_asking_12345678", {"analytics": "denied", "marketing": "granted"}),
        (ASKING, "pk_asking_12345678", "granted"),
        ({**ASKING, "sec-gpc": "1"}, "pk_asking_12345678", {"analytics": "granted"}),
    ],
)
def test_without_permission_there_is_no_cookie_no_id_and_no_network_only_a_count(
    account: Account, headers: dict[str, str], key: str, consent: Any
) -> None:
    event = an_event(
        context={"consent": consent, "page": {"path": "/products/pumps"}},
        userId="u-7",
        groupId="northwind-kk",
        traits={"email": "jane@example.jp", "industry": "water"},
        properties={"order": "o-1"},
    )
    reply = post("/v1/batch", a_batch(event, writeKey=key), headers=headers, cookies=[COOKIE])
    assert reply["statusCode"] == 200
    assert "cookies" not in reply
    [packet] = account.packets()
    [record] = packet.records
    assert packet.subject.partition("#")[2].split("#")[1].startswith("~")
    assert packet.headers == {"agent": CHROME, "sent_at": "2026-11-24T06:10:00.000Z"}
    assert dict(packet.contact) == {}
    assert not {"visitor", "ids", "group", "previous"} & set(record)
    assert (record["properties"], record["traits"]) == ({}, {})
    assert record["context"]["page"] == {"path": "/products/pumps"}
    assert "jane" not in json.dumps(record).replace("jane-on-a", "jane-on-a")


def test_a_grant_lets_the_browser_be_told_apart(account: Account) -> None:
    event = an_event(context={"consent": {"analytics_storage": "granted"}})
    reply = post("/v1/batch", a_batch(event, writeKey="pk_asking_12345678"), headers=ASKING)
    assert reply["cookies"] == ["_cl_vid=jane-on-a-laptop; Max-Age=34128000; Path=/; Secure; SameSite=Lax; HttpOnly"]
    assert account.records()[0]["context"]["consent"] == {"analytics_storage": "granted", "analytics": "granted"}


def test_a_refusal_is_linked_to_the_one_who_refuses_and_takes_the_cookie_back(account: Account) -> None:
    consent = {"analytics": "denied", "marketing": "denied"}
    refusal = an_event(event="Consent Updated", properties=consent, context={"consent": consent}, userId="u-7")
    later = an_event(messageId="m-2", context={"consent": consent})
    reply = post("/v1/batch", a_batch(refusal, later), cookies=[COOKIE])
    assert reply["cookies"] == ["_cl_vid=; Max-Age=0; Path=/; Domain=northwind.example; Secure; SameSite=Lax; HttpOnly"]
    refused, counted = account.records()
    assert refused["visitor"] == "jane-on-a-laptop"
    assert refused["ids"]
    assert refused["context"]["consent"] == consent
    assert "visitor" not in counted


def test_a_refusal_by_somebody_unknown_makes_nobody_known(account: Account) -> None:
    consent = {"analytics": "denied"}
    refusal = {"type": "track", "event": "Consent Updated", "messageId": "m-1", "context": {"consent": consent}}
    assert "cookies" not in post("/v1/batch", a_batch(refusal))
    assert "visitor" not in account.records()[0]


# Times.


def test_a_secret_key_may_state_the_past_and_a_public_one_is_marked_late(account: Account) -> None:
    old = "2025-03-01T09:00:00.000Z"
    for key, name in ((SECRET_KEY, "by-secret"), (KEY, "by-public")):
        post(
            "/v1/batch",
            {"batch": [an_event(messageId=name, timestamp=old)]},
            headers={**SERVER, "authorization": basic(key)},
        )
    public, secret = account.records()
    assert (secret["at"], secret.get("late")) == (old, None)
    assert public["late"] is True


def test_all_four_times_are_kept(account: Account) -> None:
    """When it happened and when it was sent, by the sender's clock; when it came in, and when it happened by ours."""
    original, sent = datetime(2026, 11, 24, 6, 7, tzinfo=UTC), "2026-11-24T06:10:00+00:00"
    post("/v1/batch", a_batch(an_event(timestamp=original.isoformat()), sentAt=sent))
    [packet] = account.packets()
    [record] = packet.records
    assert (record["original"], packet.headers["sent_at"]) == ("2026-11-24T06:07:00.000Z", "2026-11-24T06:10:00.000Z")
    assert datetime.fromisoformat(record["at"]) == packet.received_at - timedelta(minutes=3)


@pytest.mark.parametrize("sent", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00"])
def test_a_clock_that_tells_no_real_time_loses_no_event_that_has_its_own(account: Account, sent: str) -> None:
    own = an_event(timestamp="2026-11-24T06:07:00Z", sentAt="2026-11-24T06:10:00Z")
    assert said(post("/v1/batch", a_batch(own, sentAt=sent))) == {"success": True}
    assert "sent_at" not in account.packets()[0].headers


Times = Callable[[datetime], Mapping[str, str]]


@pytest.mark.parametrize(
    ("sent_at", "happened", "expected", "late"),
    [
        (timedelta(0), timedelta(minutes=-3), timedelta(minutes=-3), False),
        (timedelta(days=3650), timedelta(days=3650, minutes=-3), timedelta(minutes=-3), False),
        (timedelta(days=-3650), timedelta(days=-3650, minutes=-3), timedelta(minutes=-3), False),
        (timedelta(0), timedelta(days=3650), timedelta(0), False),
        (timedelta(0), timedelta(days=-10), timedelta(days=-10), True),
        (timedelta(days=365 * 900), timedelta(0), timedelta(0), True),
    ],
)
def test_a_wrong_clock_is_corrected_or_marked(
    sent_at: timedelta, happened: timedelta, expected: timedelta, late: bool
) -> None:
    kept: list[Packet] = []

    class Keeps:
        def append(self, packets: Iterable[Packet]) -> None:
            kept.extend(packets)

    doors = Doors(Demo(), Keeps(), lambda *_: None, b"pepper", lambda: NOW, lambda: "new")
    body = a_batch(an_event(timestamp=(NOW + happened).isoformat()), sentAt=(NOW + sent_at).isoformat())
    accept_beacon(Request("POST", "/v1/batch", {}, body=json.dumps(body).encode()), doors)
    [event] = kept[0].events
    assert (event.occurred_at - NOW, event.late) == (expected, late)


# The pixel and the settings.


def test_the_pixel_counts_a_page_by_its_address_and_is_a_picture(account: Account) -> None:
    headers = {"referer": f"{ORIGIN}/products/pumps?utm_source=x&email=jane@example.jp"}
    reply = handler.handle(a_request("GET", "/v1/pixel.gif", headers=headers, query={"writeKey": KEY}), Context())
    assert (reply["statusCode"], reply["headers"]["content-type"], reply["isBase64Encoded"]) == (200, "image/gif", True)
    assert reply["cookies"][0].startswith("_cl_vid=")
    [record] = account.records()
    assert record["context"]["page"]["url"] == f"{ORIGIN}/products/pumps?utm_source=x"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ({}, {}, 401),
        ({"writeKey": "pk_nobody_12345678"}, {}, 401),
        ({"writeKey": KEY}, {"referer": "https://evil.example/"}, 403),
        ({"writeKey": KEY}, {"referer": f"{ORIGIN}.evil.example/"}, 403),
        ({"writeKey": KEY}, {}, 200),
    ],
)
def test_the_pixel_asks_for_a_key_and_a_page_of_the_site(
    account: Account, query: dict[str, str], headers: dict[str, str], status: int
) -> None:
    reply = handler.handle(a_request("GET", "/v1/pixel.gif", headers=headers, query=query), Context())
    assert reply["statusCode"] == status


def test_the_browser_sdk_gets_the_settings_it_starts_with(account: Account) -> None:
    asked = a_request("GET", f"/v1/projects/{KEY}/settings", parts={"key": KEY}, headers={"origin": ORIGIN})
    assert said(handler.handle(asked, Context())) == {"integrations": {"Segment.io": {"apiKey": KEY}}}
    unknown = a_request("GET", "/v1/projects/pk_nobody/settings", parts={"key": "pk_nobody"})
    assert handler.handle(unknown, Context())["statusCode"] == 404


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/batch/", "//v1/batch", "/v1/track", "/v1/unheard-of", "/v1/"])
def test_no_answer_ever_leads_elsewhere(account: Account, path: str) -> None:
    reply = post(path, a_batch())
    assert not 300 <= reply["statusCode"] < 400
    assert "location" not in reply["headers"]


# Personal data.


def test_a_clear_address_lies_in_the_contact_and_nowhere_else(account: Account) -> None:
    event = an_event(
        type="identify",
        userId="Jane@Example.jp",
        traits={
            "email": "jane@example.jp",
            "phone": "+81-90-1234-5678",
            "company": {"name": "Northwind", "email": "in@example.jp"},
        },
        context={
            "ip": "203.0.113.77",
            "traits": {"email": "jane@example.jp"},
            "page": {
                "path": "/hello/jane@example.jp",
                "title": "Hello jane@example.jp",
                "search": "?email=jane%40example.jp",
                "url": f"{ORIGIN}/hello/jane%40example.jp?email=jane%40example.jp",
                "referrer": "https://mail.example/?u=jane@example.jp",
            },
            "campaign": {"name": "to jane@example.jp"},
        },
    )
    post("/v1/batch", a_batch(event))
    [packet] = account.packets()
    text = json.dumps([packet.records, packet.subject, dict(packet.headers)])
    for clear in ("jane@", "Jane@", "jane%40", "1234-5678", "203.0.113.77", "in@example"):
        assert clear not in text
    assert packet.contact == {packet.records[0]["ids"][0]: {"email": "jane@example.jp", "phone": "+81-90-1234-5678"}}
    assert packet.headers["network"] == "203.0.113.0"
    assert packet.records[0]["traits"] == {"company": {"name": "Northwind"}}


def test_traits_are_words_and_no_texts(account: Account) -> None:
    post("/v1/batch", a_batch(an_event(traits={"about": "x" * 9000, "n" * 9000: 1})))
    assert account.records()[0]["traits"] == {"about": "x" * 500, "n" * 100: 1}
