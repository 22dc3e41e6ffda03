"""Does a provider's report become the right fact, and does nothing clear stay in it?"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.capture.mail import MailEvent, place, record
from closedloop.errors import BadShape
from closedloop.events.identifiers import Hasher
from closedloop.sites.definition import Site
from tests.yardstick import megabytes_of_json

NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)
AT = datetime(2026, 11, 24, 6, 0, 5, tzinfo=UTC)
SITE = Site.model_validate({
    "site": "northwind", "title": "Northwind", "write_key": "pk_northwind1", "origins": ["https://www.example.jp"],
})
HASHER = Hasher(b"pepper", "northwind")
SES = json.loads(Path("tests/vectors/mail/amazon_ses.json").read_text())


def a_report(**changes: Any) -> MailEvent:
    return replace(MailEvent(
        kind="clicked", recipient="Hanako@Example.jp", at=AT, message_id="<m-1@example>", event_id="sg-1",
        link="https://www.example.jp/pumps?mail=hanako%40example.jp", agent="Mozilla/5.0",
        metadata={"campaign": "trial", "loop": "autumn", "person": "p-1", "secret": "x"},
    ), **changes)


def recorded(event: MailEvent, provider: str = "sendgrid") -> dict[str, Any]:
    return dict(record(event, provider, SITE, HASHER, NOW)[1])


def test_a_click_is_a_fact_about_the_person_written_to() -> None:
    subject, entry, contact = record(a_report(), "sendgrid", SITE, HASHER, NOW)
    identifier = HASHER.address("hanako@example.jp")

    assert subject == f"I#{identifier}"
    assert contact == {}
    assert entry == {
        "id": "northwind/sendgrid/sg-1", "type": "track", "name": "Email Link Clicked",
        "at": "2026-11-24T06:00:05.000Z", "ids": [identifier], "traits": {}, "context": {"agent": "Mozilla/5.0"},
        "properties": {
            "message_id": "m-1@example", "campaign": "trial", "loop": "autumn", "person": "p-1",
            "link": "www.example.jp/pumps",
        },
    }


@pytest.mark.parametrize(("kind", "name"), [
    ("delivered", "Email Delivered"), ("opened", "Email Opened"), ("clicked", "Email Link Clicked"),
    ("bounced", "Email Bounced"), ("complained", "Email Marked As Spam"), ("unsubscribed", "Email Unsubscribed"),
    ("deferred", "Email Deferred"), ("sent", "Email Accepted"), ("news of tomorrow", "Email Reported"),
])
def test_each_kind_has_a_name(kind: str, name: str) -> None:
    assert recorded(a_report(kind=kind))["name"] == name


def test_the_words_of_a_mail_server_do_not_stay() -> None:
    said = "550 5.1.1 <hanako@example.jp>: Recipient address rejected: User unknown (10.5.1.12)"
    properties = recorded(a_report(kind="bounced", reject="bounced", response=said))["properties"]

    assert properties["reason"] == "bounced"
    assert properties["status"] == "5.1.1"
    assert "hanako" not in json.dumps(properties)


@pytest.mark.parametrize(("link", "kept"), [
    ("https://www.example.jp/pumps/pn-200?who=x#top", "www.example.jp/pumps/pn-200"),
    ("https://hanako:secret@www.example.jp:8443/a", "www.example.jp/a"),
    ("https://www.example.jp/off/hanako%40example.jp/now", "www.example.jp/off/-/now"),
    ("mailto:hanako@example.jp", ""), ("https://[broken", ""), ("javascript:alert(1)", ""), ("", ""),
])
def test_a_link_is_kept_by_host_and_path(link: str, kept: str) -> None:
    assert place(link) == kept


@pytest.mark.parametrize("recipient", ["", "undisclosed", "a@b@c", "@example.jp"])
def test_a_report_about_nobody_is_refused(recipient: str) -> None:
    with pytest.raises(BadShape, match="recipient"):
        recorded(a_report(recipient=recipient))


def test_a_report_without_time_happened_when_it_came() -> None:
    assert recorded(a_report(at=None))["at"] == "2026-11-24T06:10:00.000Z"


def test_a_time_of_the_future_is_not_believed() -> None:
    assert recorded(a_report(at=NOW + timedelta(days=3650)))["at"] == "2026-11-24T06:10:00.000Z"


def test_a_provider_may_report_late() -> None:
    entry = recorded(a_report(at=NOW - timedelta(days=30)))

    assert entry["at"] == "2026-10-25T06:10:00.000Z"
    assert "late" not in entry


def test_the_same_report_in_another_envelope_is_the_same_fact() -> None:
    first = recorded(a_report(event_id="envelope-1", raw=SES["Click"]), "amazon_ses")
    later = recorded(a_report(event_id="envelope-2", at=NOW, raw=SES["Click"]), "amazon_ses")

    assert first["id"] == later["id"]
    assert first["id"].startswith("northwind/amazon_ses/")
    assert first["at"] == later["at"] == "2026-11-24T05:59:40.000Z"


@pytest.mark.parametrize("change", [
    {"kind": "opened"}, {"recipient": "taro@example.jp"}, {"message_id": "m-2"}, {"at": AT + timedelta(seconds=1)},
    {"link": "https://www.example.jp/pumps?mail=another"},
], ids=str)
def test_what_differs_is_another_fact(change: dict[str, Any]) -> None:
    assert recorded(a_report(**change), "brevo")["id"] != recorded(a_report(), "brevo")["id"]


def test_reports_without_time_and_id_are_told_apart_by_their_content() -> None:
    one, two = (recorded(a_report(at=None, raw={"n": n}), "brevo")["id"] for n in (1, 2))

    assert one != two
    assert one == recorded(a_report(at=None, raw={"n": 1}), "brevo")["id"]


def test_an_id_that_could_cross_into_other_keys_is_hashed() -> None:
    assert "evil" not in recorded(a_report(event_id="x/../evil#site|1"))["id"]


def test_the_tags_of_a_mail_from_ses_name_its_campaign() -> None:
    properties = recorded(a_report(metadata={}, raw=SES["Delivery"]), "amazon_ses")["properties"]

    assert (properties["campaign"], properties["loop"]) == ("trial", "autumn")


@pytest.mark.parametrize(("tags", "carried"), [
    (("loop=autumn;campaign=guide",), {"loop": "autumn", "campaign": "guide"}),
    (("news", "campaign=春のご案内", "loop=autumn"), {"loop": "autumn", "campaign": "春のご案内"}),
    (("autumn", "xcampaign", "campaign:guide", "campaign=", "=guide"), {}),
    (("person=p-1;secret=x",), {"person": "p-1"}),
    (("campaign=guide;topic=pumps",), {"campaign": "guide", "topic": "pumps"}),
])
def test_a_tag_carries_where_a_provider_gives_no_metadata_back(tags: tuple[str, ...], carried: dict[str, str]) -> None:
    properties = recorded(a_report(metadata={}, tags=tags), "postal")["properties"]
    assert {name: told for name, told in properties.items() if name not in ("message_id", "link")} == carried


@pytest.mark.parametrize("change", [
    {"tags": ("campaign=a;" * 80_000,)}, {"tags": ("campaign=a",) * 80_000},
    {"link": "https://a.example/" + "%40/" * 225_000}, {"link": "https://" + "@" * 900_000},
    {"kind": "bounced", "response": "5." * 450_000}, {"agent": "(" * 900_000},
    {"recipient": "a." * 300_000 + "@example.jp"}, {"message_id": "<" * 900_000},
], ids=lambda change: next(iter(change)))
def test_a_report_of_a_megabyte_costs_little(change: dict[str, Any]) -> None:
    def record() -> None:
        with suppress(BadShape):
            recorded(a_report(metadata={}, **change), "postal")

    assert megabytes_of_json(record) < 3


def test_metadata_says_more_than_a_tag() -> None:
    told = recorded(a_report(tags=("campaign=other",)), "mailgun")["properties"]
    assert told["campaign"] == "trial"


@pytest.mark.parametrize("tags", [
    {"campaign": "guide", "loop": []}, {"campaign": ["guide"]}, [{"name": "x"}], "x", None,
], ids=str)
def test_the_tags_of_resend_carry_like_metadata(tags: Any) -> None:
    told = recorded(a_report(metadata={}, raw={"data": {"tags": tags}}), "resend")["properties"]
    assert told.get("campaign") == ("guide" if isinstance(tags, dict) else None)


@pytest.mark.parametrize(("provider", "raw", "soft"), [
    ("amazon_ses", SES["Bounce"], False), ("amazon_ses", SES["SoftBounce"], True),
    ("sendgrid", {"type": "bounce"}, False), ("sendgrid", {"type": "blocked"}, True),
    ("brevo", {"event": "soft_bounce"}, True), ("brevo", {"event": "hard_bounce"}, False),
    ("mailersend", {"data": {"type": "soft_bounced"}}, True), ("mailjet", {"hard_bounce": True}, False),
    ("mandrill", {"event": "hard_bounce"}, False), ("postmark", {"Type": "SoftBounce"}, True),
    ("resend", {"data": {"bounce": {"type": "Permanent"}}}, False), ("postal", {}, False),
    ("sparkpost", {"msys": {"message_event": {"bounce_class": "10"}}}, False),
    ("sparkpost", {"msys": {"message_event": {"bounce_class": "22"}}}, True),
])
def test_a_soft_bounce_is_told_from_a_hard_one(provider: str, raw: dict[str, Any], soft: bool) -> None:
    assert recorded(a_report(kind="bounced", raw=raw), provider)["properties"].get("soft", False) is soft


@pytest.mark.parametrize(("provider", "raw", "machine"), [
    ("sendgrid", {"sg_machine_open": True}, True), ("sendgrid", {"sg_machine_open": False}, False),
    ("brevo", {"event": "unique_proxy_open"}, True), ("brevo", {"event": "opened"}, False),
    ("sparkpost", {"msys": {"track_event": {"is_prefetched": True}}}, True), ("sparkpost", {"msys": None}, False),
    ("postmark", {}, False),
])
def test_an_opening_by_a_machine_is_marked(provider: str, raw: dict[str, Any], machine: bool) -> None:
    assert recorded(a_report(kind="opened", raw=raw), provider)["properties"].get("machine_open", False) is machine


def test_a_delay_that_anymail_does_not_know_is_a_delay() -> None:
    assert recorded(a_report(kind="unknown", raw=SES["DeliveryDelay"]), "amazon_ses")["name"] == "Email Deferred"


def test_the_agent_of_a_mail_server_is_no_reader() -> None:
    assert recorded(a_report(kind="complained", agent="Yahoo!-Mail-Feedback/2.0"))["context"] == {}


def test_text_that_no_table_keeps_is_cleaned_or_cut() -> None:
    entry = recorded(a_report(metadata={"campaign": "a\0b\ud800", "loop": ["x"], "person": 5}, agent="x" * 999))

    assert entry["properties"]["campaign"] == "ab?"
    assert "loop" not in entry["properties"]
    assert len(entry["context"]["agent"]) == 300
    assert json.dumps(entry, ensure_ascii=False, allow_nan=False).encode()


def test_naming_the_mail_door_does_not_load_django() -> None:
    code = (
        "import sys, functions.capture_email.handler, closedloop.capture.mail;"
        "print([name for name in sys.modules if name.partition('.')[0] in ('django', 'anymail', 'requests')])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join((".", "layers/closedloop/python"))},
    )

    assert told.stdout.strip() == "[]"
