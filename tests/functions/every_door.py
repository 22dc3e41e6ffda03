"""One good request for each door of capture, through its real handler: what came in is told apart by a name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from standardwebhooks import Webhook

from closedloop.capture.links import CLICK, OPEN, UNSUBSCRIBE, Mailed, Tokens
from closedloop.events.times import iso
from closedloop.runtime import clock, doors
from functions.capture_beacon import handler as capture_beacon
from functions.capture_deal import handler as capture_deal
from functions.capture_email import handler as capture_email
from functions.capture_form import handler as capture_form
from functions.follow_link import handler as follow_link
from tests.accounts import DEALS_SECRET, POSTMARK
from tests.functions.gateway import KEY, ORIGIN, SECRET_KEY, Context, a_request, basic

PERSON = "email:00112233445566778899aabbccddeeff"
Reply = dict[str, Any]


def beacon(name: str, bad: bool = False) -> Reply:
    """Two events of two visitors; and, if asked for, one that is none."""
    batch = [{"type": "page", "messageId": f"{name}-{end}", "anonymousId": f"{name}-{end}"} for end in ("a", "b")]
    batch += [{"type": "track", "messageId": f"{name}-bad", "anonymousId": "x"}] * bad
    body = json.dumps({"batch": batch, "writeKey": KEY})
    return capture_beacon.handle(a_request("POST", "/v1/batch", body, headers={"origin": ORIGIN}), Context())


def form(name: str) -> Reply:
    """A form that the site's own server sends for somebody."""
    body = json.dumps({"fields": {"email": "jane@example.jp", "company": "Acme"}, "submission_id": name})
    headers = {"content-type": "application/json", "authorization": basic(SECRET_KEY)}
    event = a_request("POST", "/v1/forms/guide", body, headers=headers, parts={"form": "guide"})
    return capture_form.handle(event, Context())


def email(name: str) -> Reply:
    report = {
        "RecordType": "Delivery", "MessageID": name, "Recipient": "jane@example.jp",
        "DeliveredAt": "2026-11-24T05:59:00Z", "Metadata": {"campaign": "case-mail"},
    }
    event = a_request(
        "POST", "/v1/webhooks/email/postmark", json.dumps(report), query={"site": "demo"},
        headers={"content-type": "application/json", "authorization": POSTMARK}, parts={"provider": "postmark"},
    )
    return capture_email.handle(event, Context())


def deal(name: str) -> Reply:
    body = json.dumps({"type": "deal.won", "data": {"id": name, "amount_minor": 100, "currency": "JPY"}})
    at = clock.now()
    headers = {
        "content-type": "application/json", "webhook-id": name, "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(DEALS_SECRET).sign(name, at, body),
    }
    event = a_request(
        "POST", "/v1/webhooks/deals/standard", body, headers=headers, query={"site": "demo"},
        parts={"provider": "standard"},
    )
    return capture_deal.handle(event, Context())


def link(purpose: str, name: str) -> Reply:
    """A link of a mail of the campaign `name`."""
    mailed = Mailed(
        "demo", PERSON, "autumn-pumps", name, iso(clock.now() + timedelta(days=9)),
        f"{ORIGIN}/pumps" if purpose == CLICK else "",
    )
    token = Tokens(doors.link_keys()).sign(purpose, mailed)
    path, method = {CLICK: ("l", "GET"), OPEN: ("o", "GET"), UNSUBSCRIBE: ("u", "POST")}[purpose]
    return follow_link.handle(a_request(method, f"/{path}/{token}", parts={"token": token}), Context())


# Every way in, and how many events one request of it brings.
WAYS: Mapping[str, tuple[Callable[[str], Reply], int]] = {
    "beacon": (beacon, 2), "form": (form, 1), "email": (email, 1), "deal": (deal, 1),
    "click": (partial(link, CLICK), 1), "open": (partial(link, OPEN), 1),
    "unsubscribe": (partial(link, UNSUBSCRIBE), 1),
}
# A person is led on and a mail is shown whatever our tables do: these two promise nothing by their answer.
PROMISING = tuple(way for way in WAYS if way not in ("click", "open"))


def brought(way: str, name: str, records: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a request under this name brought, of all that is stored."""

    def own(record: Mapping[str, Any]) -> bool:
        told = record["properties"]
        if way == "email":
            return bool(told.get("message_id") == name)
        if way in ("beacon", "form", "deal"):
            return str(record["id"]).rpartition("/")[2] in (name, f"{name}-a", f"{name}-b")
        return bool(told.get("campaign") == name)

    return [record for record in records if own(record)]
