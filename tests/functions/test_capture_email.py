"""POST /v1/webhooks/email/{provider}: what is proven is stored once, what is not leaves no trace."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlencode

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from closedloop.capture import sns
from closedloop.capture.mail import PROVIDERS, accept_mail
from closedloop.events.event import Event
from closedloop.events.identifiers import Hasher
from closedloop.profiles.fold import fold
from closedloop.runtime import anymail, doors, http
from closedloop.sites.definition import EmailProvider, Site
from closedloop.store.boto import BotoCalls
from closedloop.store.ledger import failed_of, packet_of
from closedloop.store.state import State
from functions.capture_email import handler
from tests.accounts import forget

NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)
SENT = int(NOW.timestamp())
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mails"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
VECTORS = Path("tests/vectors/mail")
SENDGRID = (VECTORS / "sendgrid.json").read_text()
SES: Mapping[str, Any] = json.loads((VECTORS / "amazon_ses.json").read_text())
OTHERS: Mapping[str, Any] = json.loads((VECTORS / "others.json").read_text())
BASIC = "closedloop:correct horse"
KEY = "a-secret-of-the-provider"
SVIX = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()

SITE_SECRETS = "closedloop/sites/northwind"
UNSIGNED = ("brevo", "mailjet", "postmark", "sparkpost")

Reply = dict[str, Any]
Call = Callable[..., Reply]


# A world to stand in: two tables, the secrets, one site.


@pytest.fixture(scope="module")
def sendgrid_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def amazon_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """A public key as the providers' pages show it: base64 without the lines around it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, form)).decode()


@dataclass(frozen=True)
class Cloud:
    """What lies in the account."""

    dynamodb: Any
    secrets: Any

    def scan(self, table: str) -> list[dict[str, Any]]:
        return list(self.dynamodb.scan(TableName=table)["Items"])

    def empty(self, table: str, begins: str = "") -> None:
        for item in self.scan(table):
            if item["pk"]["S"].startswith(begins):
                self.dynamodb.delete_item(TableName=table, Key={name: item[name] for name in ("pk", "sk")})

    def say(self, secrets: Mapping[str, Any]) -> None:
        self.secrets.put_secret_value(SecretId=SITE_SECRETS, SecretString=json.dumps(secrets))


@pytest.fixture(scope="module")
def cloud(aws: str) -> Cloud:
    words = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}
    made = Cloud(*(boto3.client(name, endpoint_url=aws, **words) for name in ("dynamodb", "secretsmanager")))
    for table in ("events", "state"):
        made.dynamodb.create_table(
            TableName=table, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        )
    made.secrets.create_secret(Name="closedloop", SecretString=json.dumps({"pepper": "pepper"}))
    made.secrets.create_secret(Name=SITE_SECRETS, SecretString="{}")
    state = State(BotoCalls(made.dynamodb), "state")
    for name, providers in (("northwind", sorted(PROVIDERS)), ("bare", sorted(PROVIDERS)), ("quiet", [])):
        state.put_site(Site.model_validate({
            "site": name, "title": name, "write_key": f"pk_{name}_12345678", "origins": [f"https://{name}.example.jp"],
            "webhooks": {"email": providers, "sns_topics": [TOPIC] if name == "northwind" else []},
        }))
    return made


@pytest.fixture
def world(
    aws: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, sendgrid_key: ec.EllipticCurvePrivateKey,
    amazon_key: rsa.RSAPrivateKey,
) -> Iterator[Cloud]:
    for name, value in {
        "AWS_ENDPOINT_URL": aws, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-west-1", "EVENTS_TABLE": "events", "STATE_TABLE": "state",
        "SECRET_NAME": "closedloop", "SITE_SECRETS_PREFIX": "closedloop/sites/",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    forget()
    cloud.say({
        "sendgrid_key": public(sendgrid_key), "postal_key": public(amazon_key), "resend_key": SVIX,
        "mandrill_url": "https://api.example.jp/v1/webhooks/email/mandrill?site=northwind",
        **{f"{name}_key": KEY for name in ("mailersend", "mailgun", "mailtrap", "mandrill", "unisender_go")},
        **{f"{name}_basic": BASIC for name in UNSIGNED},
    })
    yield cloud
    cloud.empty("events")
    cloud.empty("state", "W#")
    forget()


class Amazon:
    """Amazon's host for certificates and confirmations: what it was asked for."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        built = built.serial_number(1).not_valid_before(NOW - timedelta(days=9))
        built = built.not_valid_after(NOW + timedelta(days=9))
        self._pem = built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.fetched: list[str] = []
        self.confirmed: list[str] = []

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self._pem


@pytest.fixture
def amazon(amazon_key: rsa.RSAPrivateKey) -> Amazon:
    return Amazon(amazon_key)


@pytest.fixture
def call(world: Cloud, amazon: Amazon) -> Call:
    """The function's own way at a stated time, but for Amazon's host, which is ours here."""
    door = anymail.AnymailDoor(
        doors.site_secrets, sns.Certificates(amazon.fetch), amazon.confirmed.append, anymail.claim
    )

    def send(event: dict[str, Any], now: datetime = NOW) -> Reply:
        return http.answered(
            event, None, lambda asked: accept_mail(asked, replace(doors.capture(), now=lambda: now), door),
            lambda asked, answer: answer,
        )

    return send


def a_post(
    provider: str, body: str | bytes, headers: Mapping[str, str] | None = None, site: str = "northwind", *,
    encoded: bool = False,
) -> dict[str, Any]:
    raw = body.encode() if isinstance(body, str) else body
    return {
        "version": "2.0", "rawPath": f"/v1/webhooks/email/{provider}",
        "headers": {"content-type": "application/json", "host": "api.example.jp", **(headers or {})},
        "queryStringParameters": {"site": site}, "pathParameters": {"provider": provider},
        "requestContext": {"http": {"method": "POST", "path": "/", "sourceIp": "192.0.2.1"}},
        "body": base64.b64encode(raw).decode() if encoded else raw.decode(), "isBase64Encoded": encoded,
    }


def items(world: Cloud) -> list[dict[str, Any]]:
    return world.scan("events")


def facts(world: Cloud) -> list[Event]:
    packets = [packet_of(item) for item in items(world) if item["kind"]["S"] == "packet"]
    return sorted((event for packet in packets for event in packet.events), key=lambda event: event.id)


def content(reply: Reply) -> dict[str, Any]:
    return dict(json.loads(reply["body"]))


# SendGrid.


def sendgrid(key: ec.EllipticCurvePrivateKey, body: str | bytes, at: int = SENT) -> dict[str, str]:
    raw = body.encode() if isinstance(body, str) else body
    signature = key.sign(str(at).encode() + raw, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": str(at),
    }


@pytest.mark.parametrize("encoded", [False, True])
def test_a_signed_batch_of_sendgrid_is_stored(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey, encoded: bool
) -> None:
    body = SENDGRID.rstrip("\n") + "\r\n"
    reply = call(a_post("sendgrid", body, sendgrid(sendgrid_key, body), encoded=encoded))

    assert reply["statusCode"] == 200
    assert content(reply) == {"success": True, "events": 8}
    assert sorted(event.name for event in facts(world)) == [
        "Email Bounced", "Email Bounced", "Email Delivered", "Email Link Clicked", "Email Marked As Spam",
        "Email Opened", "Email Queued", "Email Unsubscribed",
    ]
    click = next(event for event in facts(world) if event.name == "Email Link Clicked")
    assert click.id == "northwind/sendgrid/Y2xpY2stMQ"
    assert click.occurred_at == datetime(2026, 11, 24, 6, 2, tzinfo=UTC)
    assert click.context["agent"].startswith("Mozilla/5.0 (Macintosh")
    assert click.properties == {
        "message_id": "14c5d75ce93", "campaign": "trial", "loop": "autumn", "link": "www.example.jp/pumps/pn-200",
    }
    assert next(event for event in facts(world) if event.name == "Email Opened").properties["machine_open"] is True


def test_nothing_clear_is_stored(call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey) -> None:
    call(a_post("sendgrid", SENDGRID, sendgrid(sendgrid_key, SENDGRID)))
    kept = repr([packet_of(item) for item in items(world)])

    assert "hanako" not in kept and "taro" not in kept and "203.0.113" not in kept
    assert all(packet_of(item).contact == {} for item in items(world))


def test_unicode_is_verified_as_it_was_sent(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey
) -> None:
    report = '[{"event":"open",  "campaign":"春のご案内", "email":"hanako@example.jp","sg_event_id":"o1"}]\r\n'
    reply = call(a_post("sendgrid", report, sendgrid(sendgrid_key, report), encoded=True))

    assert reply["statusCode"] == 200
    assert facts(world)[0].properties["campaign"] == "春のご案内"
    assert facts(world)[0].occurred_at == NOW


@pytest.mark.parametrize("spoil", [
    lambda body, headers: (body + " ", headers),
    lambda body, headers: (body.replace("trial", "trail"), headers),
    lambda body, headers: (body, {**headers, "x-twilio-email-event-webhook-signature": ""}),
    lambda body, headers: (body, {**headers, "x-twilio-email-event-webhook-signature": "署名"}),
    lambda body, headers: (body, {**headers, "x-twilio-email-event-webhook-signature": "!!!!"}),
    lambda body, headers: (body, {**headers, "x-twilio-email-event-webhook-timestamp": str(SENT + 1)}),
    lambda body, headers: (body, {**headers, "x-twilio-email-event-webhook-timestamp": "now"}),
    lambda body, headers: (body, {n: v for n, v in headers.items() if not n.endswith("signature")}),
    lambda body, headers: (body, {n: v for n, v in headers.items() if not n.endswith("timestamp")}),
    lambda body, headers: (body, {}),
    lambda body, headers: ("", headers),
])
def test_a_forged_batch_of_sendgrid_is_refused(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey, spoil: Callable[..., tuple[str, dict[str, str]]]
) -> None:
    body, headers = spoil(SENDGRID, sendgrid(sendgrid_key, SENDGRID))
    reply = call(a_post("sendgrid", body, headers))

    assert reply["statusCode"] == 401
    assert content(reply)["error"] == "BadSignature"
    assert items(world) == []


def test_another_key_is_refused(call: Call, world: Cloud) -> None:
    stranger = ec.generate_private_key(ec.SECP256R1())

    assert call(a_post("sendgrid", SENDGRID, sendgrid(stranger, SENDGRID)))["statusCode"] == 401
    assert items(world) == []


@pytest.mark.parametrize(("seconds", "status"), [(300, 200), (301, 401), (-300, 200), (-301, 401)])
def test_a_signature_is_good_for_five_minutes(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey, seconds: int, status: int
) -> None:
    headers = sendgrid(sendgrid_key, SENDGRID, SENT - seconds)

    assert call(a_post("sendgrid", SENDGRID, headers))["statusCode"] == status
    assert bool(items(world)) is (status == 200)


def test_a_repeated_batch_is_the_same_facts(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey
) -> None:
    post = a_post("sendgrid", SENDGRID, sendgrid(sendgrid_key, SENDGRID))
    first = call(post)
    once = {event.id for event in facts(world)}
    again = call(post, NOW + timedelta(seconds=20))

    assert first["statusCode"] == again["statusCode"] == 200
    assert content(first) == content(again)
    assert {event.id for event in facts(world)} == once
    assert len(once) == 8


def test_a_report_that_cannot_be_used_spoils_no_other(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey
) -> None:
    body = json.dumps([
        {"event": "open", "email": "hanako@example.jp", "sg_event_id": "a1", "timestamp": SENT},
        {"email": "hanako@example.jp", "sg_event_id": "a2"}, "what", {"event": "click", "sg_event_id": "a3"},
        {"event": "open", "email": "taro@example.jp", "sg_event_id": "a4", "timestamp": 1e300},
        {"event": "click", "email": "jiro@example.jp", "sg_event_id": "a5", "timestamp": SENT},
    ])
    reply = call(a_post("sendgrid", body, sendgrid(sendgrid_key, body)))

    assert reply["statusCode"] == 200
    assert content(reply)["events"] == 2
    assert [one["index"] for one in content(reply)["bad"]] == [1, 2, 3, 4]
    assert [event.id.rpartition("/")[2] for event in facts(world)] == ["a1", "a5"]
    failed = [item for item in items(world) if item["kind"]["S"] == "failed"]
    assert len(failed) == 4
    assert all("@" not in item["reason"]["S"] and item["handler"]["S"] == "capture_email" for item in failed)
    assert any(b"a2" in failed_of([item]).payload for item in failed)


@pytest.mark.parametrize("body", ["null", "5", '"x"', "[1", "[" * 50_000])
def test_signed_nonsense_is_named_as_such(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey, body: str
) -> None:
    reply = call(a_post("sendgrid", body, sendgrid(sendgrid_key, body)))

    assert reply["statusCode"] == 400
    assert items(world) == []


def test_an_empty_batch_is_no_fact(call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey) -> None:
    assert content(call(a_post("sendgrid", "[]", sendgrid(sendgrid_key, "[]")))) == {"success": True, "events": 0}
    assert items(world) == []


def test_a_batch_over_the_cap_is_refused_unread(call: Call, world: Cloud) -> None:
    assert call(a_post("sendgrid", "x" * (1024 * 1024 + 1)))["statusCode"] == 413


def test_two_keys_live_side_by_side_while_one_is_changed(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey
) -> None:
    new = ec.generate_private_key(ec.SECP256R1())
    world.say({"sendgrid_key": [public(sendgrid_key), public(new)]})

    for key in (sendgrid_key, new):
        assert call(a_post("sendgrid", SENDGRID, sendgrid(key, SENDGRID)))["statusCode"] == 200


# Amazon SES by SNS.


def a_notice(key: rsa.RSAPrivateKey, message: str, version: str = "2", **changes: str) -> tuple[str, dict[str, str]]:
    said = {
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC,
        "Message": message, "Timestamp": "2026-11-24T06:09:00.000Z", "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE, **changes,
    }
    if said["Type"] != "Notification":
        said |= {"Token": "2336", "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"}
    names = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    lines = "".join(f"{name}\n{said[name]}\n" for name in names if name in said)
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    said["Signature"] = base64.b64encode(key.sign(lines.encode(), padding.PKCS1v15(), algorithm)).decode()
    return json.dumps(said), {
        "content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": said["Type"],
        "x-amz-sns-message-id": said["MessageId"],
    }


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(("kind", "name", "at"), [
    ("Send", "Email Accepted", "05:59:00"), ("Delivery", "Email Delivered", "05:59:03.370"),
    ("Open", "Email Opened", "05:59:30"), ("Click", "Email Link Clicked", "05:59:40"),
    ("Bounce", "Email Bounced", "05:59:05"), ("Complaint", "Email Marked As Spam", "05:59:50"),
    ("DeliveryDelay", "Email Deferred", "05:59:10"),
])
def test_a_notice_of_ses_is_stored(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey, kind: str, name: str, at: str, version: str
) -> None:
    reply = call(a_post("amazon_ses", *a_notice(amazon_key, json.dumps(SES[kind]), version), encoded=True))

    assert content(reply) == {"success": True, "events": 1}
    (event,) = facts(world)
    assert (event.name, event.occurred_at) == (name, datetime.fromisoformat(f"2026-11-24T{at}+00:00"))
    assert event.properties["campaign"] == "trial"
    assert "hanako" not in repr(event)


def test_ses_reports_in_another_envelope_are_the_same_facts(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey
) -> None:
    for message_id in ("first", "second"):
        call(a_post("amazon_ses", *a_notice(amazon_key, json.dumps(SES["Click"]), MessageId=message_id)))

    assert len({event.id for event in facts(world)}) == 1


def test_why_ses_gave_up_is_told_without_the_address(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey
) -> None:
    call(a_post("amazon_ses", *a_notice(amazon_key, json.dumps(SES["Bounce"]))))

    (event,) = facts(world)
    assert event.properties["reason"] == "Permanent: General"
    assert event.properties["status"] == "5.1.1"
    assert "soft" not in event.properties


def test_a_forged_notice_of_ses_is_refused(call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    body, headers = a_notice(amazon_key, json.dumps(SES["Click"]))
    cases = [
        a_notice(stranger, json.dumps(SES["Click"])),
        (body.replace("trial", "trail"), headers),
        a_notice(amazon_key, json.dumps(SES["Click"]), TopicArn="arn:aws:sns:eu-west-1:666666666666:mails"),
        a_notice(amazon_key, json.dumps(SES["Click"]), Timestamp="2026-11-24T05:09:59.000Z"),
        (body, {}), (body, {**headers, "x-amz-sns-message-type": "SubscriptionConfirmation"}), ("", headers),
    ]

    assert [call(a_post("amazon_ses", *case))["statusCode"] for case in cases] == [401] * len(cases)
    assert items(world) == []


def test_bytes_beside_the_signed_fields_change_nothing(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey
) -> None:
    click = json.dumps(SES["Click"]).replace("/pumps", "/pumps+AEA-x")
    body, headers = a_notice(amazon_key, click)
    twice = '{"Message": ' + json.dumps(json.dumps(SES["Complaint"])) + ", " + body[1:]
    reply = call(a_post("amazon_ses", twice, {**headers, "content-type": "text/plain; charset=utf-7"}))

    assert reply["statusCode"] == 200
    (event,) = facts(world)
    assert (event.name, event.properties["link"]) == ("Email Link Clicked", "www.example.jp/pumps+AEA-x")


def test_a_subscription_of_our_topic_is_confirmed(
    call: Call, world: Cloud, amazon: Amazon, amazon_key: rsa.RSAPrivateKey
) -> None:
    reply = call(a_post("amazon_ses", *a_notice(amazon_key, "please confirm", Type="SubscriptionConfirmation")))

    assert content(reply) == {"success": True, "events": 0}
    assert amazon.confirmed == ["https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"]
    assert items(world) == []


@pytest.mark.parametrize("change", [
    {"TopicArn": "arn:aws:sns:eu-west-1:666666666666:mails"}, {"Timestamp": "2026-11-24T05:00:00.000Z"},
    {"SigningCertURL": "https://evil.example/SimpleNotificationService-9c64.pem"},
], ids=str)
def test_a_subscription_of_a_stranger_is_not_confirmed(
    call: Call, amazon: Amazon, amazon_key: rsa.RSAPrivateKey, change: dict[str, str]
) -> None:
    notice = a_notice(amazon_key, "please", Type="SubscriptionConfirmation", **change)

    assert call(a_post("amazon_ses", *notice))["statusCode"] == 401
    assert amazon.confirmed == amazon.fetched == []


def test_the_words_after_a_subscription_are_no_fact(call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey) -> None:
    words = "Successfully validated SNS topic for Amazon SES event publishing."

    assert content(call(a_post("amazon_ses", *a_notice(amazon_key, words)))) == {"success": True, "events": 0}
    assert content(call(a_post("amazon_ses", *a_notice(amazon_key, "", Type="UnsubscribeConfirmation"))))["success"]


def test_a_signed_message_that_is_no_report_is_kept_as_failed(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey
) -> None:
    reply = call(a_post("amazon_ses", *a_notice(amazon_key, "hello from the console")))

    assert reply["statusCode"] == 200
    assert content(reply)["events"] == 0
    assert [item["kind"]["S"] for item in items(world)] == ["failed"]


# The other providers, each by its own way of proving itself.


def proven(
    provider: str, key: rsa.RSAPrivateKey, report: Any = None, write: Callable[[Any], str] = json.dumps,
    secret: str = KEY,
) -> tuple[str, dict[str, str]]:
    """A genuine post of a provider: its body and the headers that prove it."""
    body = write(OTHERS[provider] if report is None else report)
    if provider in UNSIGNED:
        user = BASIC if secret == KEY else f"closedloop:{secret}"
        return body, {"authorization": "Basic " + base64.b64encode(user.encode()).decode()}
    if provider in ("mailersend", "mailtrap"):
        header = {"mailersend": "signature", "mailtrap": "mailtrap-signature"}[provider]
        return body, {header: hmac.digest(secret.encode(), body.encode(), "sha256").hex()}
    if provider == "mailgun":
        token = hashlib.sha256(body.encode()).hexdigest()[:50]
        signature = hmac.digest(secret.encode(), f"{SENT}{token}".encode(), "sha256").hex()
        proof = {"timestamp": str(SENT), "token": token, "signature": signature}
        return write({"signature": proof, "event-data": json.loads(body)["event-data"]}), {}
    if provider == "mandrill":
        form = {"mandrill_events": body}
        signed = f"https://api.example.jp/v1/webhooks/email/mandrill?site=northwindmandrill_events{body}"
        return urlencode(form), {
            "content-type": "application/x-www-form-urlencoded",
            "x-mandrill-signature": base64.b64encode(hmac.digest(secret.encode(), signed.encode(), "sha1")).decode(),
        }
    if provider == "postal":
        signature = key.sign(body.encode(), padding.PKCS1v15(), hashes.SHA1())
        return body, {"x-postal-signature": base64.b64encode(signature).decode()}
    if provider == "resend":
        svix = base64.b64decode(SVIX.removeprefix("whsec_")) if secret == KEY else secret.encode()
        name = f"msg_{hashlib.sha256(body.encode()).hexdigest()[:20]}"
        signature = base64.b64encode(hmac.digest(svix, f"{name}.{SENT}.{body}".encode(), "sha256")).decode()
        return body, {"svix-id": name, "svix-timestamp": str(SENT), "svix-signature": f"v1,AAAA v1,{signature}"}
    assert provider == "unisender_go"
    return body.replace("AUTH", hashlib.md5(body.replace("AUTH", secret).encode()).hexdigest()), {}


def a_mailgun_post(token: str, at: int = SENT, **changes: Any) -> str:
    signature = hmac.digest(KEY.encode(), f"{at}{token}".encode(), "sha256").hex()
    report = {**OTHERS["mailgun"]["event-data"], **changes}
    proof = {"timestamp": str(at), "token": token, "signature": signature}
    return json.dumps({"signature": proof, "event-data": report})


REPORTS = {
    "brevo": ("Email Opened", {"machine_open": True}), "mailersend": ("Email Bounced", {"soft": True}),
    "mailgun": ("Email Delivered", {"message_id": "2026.1.SMTP@mg.example"}),
    "mailjet": ("Email Bounced", {"reason": "bounced"}),
    "mailtrap": ("Email Link Clicked", {"link": "example.jp/pumps"}),
    "mandrill": ("Email Bounced", {"soft": True, "status": "4.2.2"}),
    "postal": ("Email Link Clicked", {"link": "example.jp/pumps"}), "postmark": ("Email Opened", {"loop": "autumn"}),
    "resend": ("Email Link Clicked", {"link": "example.jp/pumps"}),
    "sparkpost": ("Email Opened", {"machine_open": True}),
    "unisender_go": ("Email Bounced", {"status": "5.1.1"}),
}


@pytest.mark.parametrize("provider", sorted(REPORTS))
def test_a_genuine_report_is_stored_once(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey, provider: str
) -> None:
    body, headers = proven(provider, amazon_key)
    name, some = REPORTS[provider]
    for _ in range(2):
        assert content(call(a_post(provider, body, headers, encoded=True))) == {"success": True, "events": 1}

    (event_id,) = {event.id for event in facts(world)}
    event = facts(world)[0]
    assert event_id.startswith(f"northwind/{provider}/")
    assert event.name == name
    assert some.items() <= event.properties.items()
    assert "hanako" not in repr(event)
    if provider not in ("mailersend", "postal"):
        assert event.properties["campaign"] == "trial"


@pytest.mark.parametrize("provider", sorted(REPORTS))
def test_a_forged_report_is_refused(call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey, provider: str) -> None:
    body, headers = proven(provider, amazon_key)
    kind = {name: value for name, value in headers.items() if name == "content-type"}
    refused = [call(a_post(provider, "", {} if provider in UNSIGNED else headers))]
    if headers:
        refused.append(call(a_post(provider, body, kind)))
    for name in set(headers) - {"content-type"}:
        for value in ("", "Basic " + base64.b64encode(b"closedloop:wrong").decode(), "署名", "v1,署名", "AAAA"):
            if name != "svix-id":
                refused.append(call(a_post(provider, body, {**headers, name: value})))
    if provider not in (*UNSIGNED, "mailgun"):
        refused.append(call(a_post(provider, body + " ", headers)))
    refused += [call(a_post(provider, json.dumps(OTHERS[provider]), kind)), call(a_post(provider, "[" * 50_000, kind))]

    assert [reply["statusCode"] for reply in refused] == [401] * len(refused)
    assert items(world) == []


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_without_a_secret_nobody_is_believed(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey, sendgrid_key: ec.EllipticCurvePrivateKey, provider: str
) -> None:
    if provider == "amazon_ses":
        body, headers = a_notice(amazon_key, json.dumps(SES["Open"]))
    elif provider == "sendgrid":
        body, headers = SENDGRID, sendgrid(sendgrid_key, SENDGRID)
    else:
        body, headers = proven(provider, amazon_key)

    assert call(a_post(provider, body, headers, site="bare"))["statusCode"] == 401
    assert call(a_post(provider, body, {}, site="bare"))["statusCode"] == 401
    assert items(world) == []


def test_a_secret_that_is_no_key_lets_nobody_in(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey, amazon_key: rsa.RSAPrivateKey
) -> None:
    world.say({"sendgrid_key": "nonsense", "resend_key": "whsec_!", "postmark_basic": ["", 5]})
    posts = [
        a_post("sendgrid", SENDGRID, sendgrid(sendgrid_key, SENDGRID)),
        a_post("resend", *proven("resend", amazon_key)), a_post("postmark", *proven("postmark", amazon_key)),
    ]

    assert [call(post)["statusCode"] for post in posts] == [401, 401, 401]


def test_every_provider_of_the_door_has_its_view() -> None:
    assert set(anymail.PROVIDERS) == set(get_args(EmailProvider)) == PROVIDERS
    assert set(REPORTS) | {"amazon_ses", "sendgrid"} == PROVIDERS


def test_a_mailgun_token_is_good_for_one_body(call: Call, world: Cloud) -> None:
    first, other = a_mailgun_post("7" * 50), a_mailgun_post("7" * 50, recipient="taro@example.jp")

    assert [call(a_post("mailgun", body))["statusCode"] for body in (first, first, other)] == [200, 200, 401]
    assert len({event.id for event in facts(world)}) == 1


def test_a_mailgun_signature_is_good_for_five_minutes(call: Call, world: Cloud) -> None:
    assert call(a_post("mailgun", a_mailgun_post("8" * 50, SENT - 301)))["statusCode"] == 401
    assert items(world) == []


def test_a_resend_signature_is_good_for_five_minutes(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey
) -> None:
    post = a_post("resend", *proven("resend", amazon_key))

    assert call(post, NOW + timedelta(seconds=301))["statusCode"] == 401
    assert items(world) == []


def test_batches_of_other_providers_lose_only_what_cannot_be_read(
    call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey
) -> None:
    _, basic = proven("brevo", amazon_key)
    brevo = json.dumps([OTHERS["brevo"], 5, {**OTHERS["brevo"], "event": "click"}])
    sparkpost = json.dumps([*OTHERS["sparkpost"], {"msys": {"track_event": {}}}])

    assert [one["index"] for one in content(call(a_post("brevo", brevo, basic)))["bad"]] == [1]
    assert [one["index"] for one in content(call(a_post("sparkpost", sparkpost, basic)))["bad"]] == [2]
    assert len(facts(world)) == 3


def test_inbound_mail_is_not_taken(call: Call, world: Cloud, amazon_key: rsa.RSAPrivateKey) -> None:
    _, basic = proven("postmark", amazon_key)
    reply = call(a_post("postmark", json.dumps({"RecordType": "Inbound", "TextBody": "private"}), basic))

    assert reply["statusCode"] == 400
    assert "inbound" in content(reply)["reason"]
    assert items(world) == []


# All thirteen, by what they report of one mail from its delivery to the click.

JOURNEYS: Mapping[str, Mapping[str, Any]] = json.loads((VECTORS / "journeys.json").read_text())
JOURNEY = ("delivered", "opened", "clicked")


@dataclass(frozen=True)
class Signer:
    """Writes posts as a provider would, with its own proof."""

    amazon: rsa.RSAPrivateKey
    sendgrid: ec.EllipticCurvePrivateKey
    secret: str = KEY

    def post(
        self, provider: str, report: Any, write: Callable[[Any], str] = json.dumps, **more: Any
    ) -> dict[str, Any]:
        if provider == "amazon_ses":
            return a_post(provider, *a_notice(self.amazon, write(report)), **more)
        if provider == "sendgrid":
            return a_post(provider, write(report), sendgrid(self.sendgrid, write(report)), **more)
        return a_post(provider, *proven(provider, self.amazon, report, write, self.secret), **more)


@pytest.fixture
def signer(amazon_key: rsa.RSAPrivateKey, sendgrid_key: ec.EllipticCurvePrivateKey) -> Signer:
    return Signer(amazon_key, sendgrid_key)


def test_every_provider_has_its_journey() -> None:
    assert set(JOURNEYS) == PROVIDERS
    assert all(tuple(sorted(reports)) == tuple(sorted(JOURNEY)) for reports in JOURNEYS.values())


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_delivered_opened_and_clicked_make_one_profile_in_all_orders(
    call: Call, world: Cloud, signer: Signer, provider: str
) -> None:
    posts = {kind: signer.post(provider, JOURNEYS[provider][kind], encoded=True) for kind in JOURNEY}
    site = doors.state().site("northwind")
    assert site is not None
    node = Hasher(b"pepper", site.list_name).address("hanako@example.jp")
    assert node is not None
    profiles = set()
    for order in permutations(JOURNEY):
        for minute, kind in enumerate((*order, order[0])):
            reply = call(posts[kind], NOW + timedelta(minutes=minute))
            assert content(reply) == {"success": True, "events": 1}
        events = facts(world)
        assert len({event.id for event in events}) == 3
        profile = fold(events, [node], {"northwind": site})
        assert profile is not None
        profiles.add(profile.as_text())
        world.empty("events")
    assert len(profiles) == 1
    assert (profile.events, set(profile.did)) == (3, {"Email Delivered", "Email Link Clicked"})


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_report_leads_back_to_the_person_the_campaign_and_the_mail(
    call: Call, world: Cloud, signer: Signer, provider: str
) -> None:
    for kind in JOURNEY:
        call(signer.post(provider, JOURNEYS[provider][kind]))
    events = sorted(facts(world), key=lambda event: event.occurred_at)

    assert [event.name for event in events] == ["Email Delivered", "Email Opened", "Email Link Clicked"]
    assert len({event.identifiers for event in events}) == 1
    assert {(event.properties["campaign"], event.properties["loop"]) for event in events} == {("trial", "autumn")}
    (message_id,) = {event.properties["message_id"] for event in events}
    assert message_id
    assert events[-1].properties["link"] == "www.northwind.example/pumps/pn-200"
    assert "hanako" not in repr(events) and "192.0.2.7" not in repr(events)


def crlf(report: Any) -> str:
    return json.dumps(report, ensure_ascii=False, indent=1).replace("\n", "\r\n") + "\r\n"


def backwards(report: Any) -> str:
    return json.dumps(report, sort_keys=True, separators=(" ,", "  :")).replace("/", "\\/")


@pytest.mark.parametrize("write", [crlf, backwards])
@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_signature_is_found_right_on_the_very_bytes(
    call: Call, world: Cloud, signer: Signer, provider: str, encoded: bool, write: Callable[[Any], str]
) -> None:
    assert content(call(signer.post(provider, JOURNEYS[provider]["clicked"], write, encoded=encoded)))["events"] == 1


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_proof_by_another_secret_is_refused(call: Call, world: Cloud, provider: str) -> None:
    stranger = Signer(rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1()), "another-secret")

    assert call(stranger.post(provider, JOURNEYS[provider]["clicked"]))["statusCode"] == 401
    assert items(world) == []
    assert not any(item["pk"]["S"].startswith("W#") for item in world.scan("state"))


@pytest.mark.parametrize(("bot", "flags"), [
    ("apple", {"machine_click": True}), ("generic", {"machine_click": True}), ("gmail", {}), ("", {}),
])
def test_mailgun_says_when_a_machine_clicked(
    call: Call, world: Cloud, signer: Signer, bot: str, flags: dict[str, bool]
) -> None:
    report = json.loads(json.dumps(JOURNEYS["mailgun"]["clicked"]))
    report["event-data"]["client-info"]["bot"] = bot
    call(signer.post("mailgun", report))

    (event,) = facts(world)
    assert {name: value for name, value in event.properties.items() if name.startswith("machine")} == flags


@pytest.mark.parametrize("multipart", [True, False])
def test_mailgun_may_post_a_form(call: Call, world: Cloud, multipart: bool) -> None:
    token = "9" * 50
    fields = {
        "event": "opened", "recipient": "hanako@example.jp", "timestamp": str(SENT), "token": token,
        "signature": hmac.digest(KEY.encode(), f"{SENT}{token}".encode(), "sha256").hex(), "campaign": "trial",
        "loop": "春", "Message-Id": "<1@mg.example>", "user-agent": "Mozilla/5.0",
        "message-headers": json.dumps([["X-Mailgun-Variables", '{"campaign": "trial", "loop": "autumn"}']]),
    }
    if multipart:
        part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
        body = "".join(part.format(name, value) for name, value in fields.items()) + "--x--\r\n"
        kind = "multipart/form-data; boundary=x"
    else:
        body, kind = urlencode(fields), "application/x-www-form-urlencoded"
    post = a_post("mailgun", body, {"content-type": kind}, encoded=True)

    assert content(call(post)) == content(call(post)) == {"success": True, "events": 1}
    assert len({event.id for event in facts(world)}) == 1
    event = facts(world)[0]
    assert (event.name, event.properties["campaign"], event.properties["message_id"]) == (
        "Email Opened", "trial", "1@mg.example",
    )
    forged = body.replace("hanako", "taro")
    assert call(a_post("mailgun", forged, {"content-type": kind}, encoded=True))["statusCode"] == 401


# Whoever only asks whether somebody is here.


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_provider_that_looks_whether_somebody_answers_finds_somebody(
    call: Call, world: Cloud, provider: str, method: str
) -> None:
    def ask(site: str, provider: str = provider) -> int:
        post = a_post(provider, "", site=site)
        post["requestContext"]["http"]["method"] = method
        return int(call(post)["statusCode"])

    assert [ask("northwind"), ask("bare")] == [200, 200]
    assert [ask("quiet"), ask("nobody"), ask("northwind", "sendmail")] == [404, 404, 404]
    assert items(world) == []


def test_mailersend_asks_before_it_tells_its_secret_and_is_believed_nothing(call: Call, world: Cloud) -> None:
    asked = json.dumps({"type": "webhook.test", "message": "This is a test", "created_at": "2026-11-24T06:00:00Z"})
    with_a_report = json.dumps({**JOURNEYS["mailersend"]["clicked"], "type": "webhook.test"})

    assert call(a_post("mailersend", asked, {"signature": "0" * 64}, site="bare"))["statusCode"] == 200
    assert call(a_post("mailersend", with_a_report))["statusCode"] == 200
    assert call(a_post("mailtrap", asked))["statusCode"] == 401
    assert call(a_post("mailersend", asked.replace("webhook.test", "webhook.tset")))["statusCode"] == 401
    assert items(world) == []


# Who is addressed.


@pytest.mark.parametrize(("provider", "site"), [
    ("sendmail", "northwind"), ("", "northwind"), ("sendinblue", "northwind"), ("sendgrid", "nobody"), ("sendgrid", ""),
    ("sendgrid", "quiet"), ("sendgrid", "north#wind"), ("sendgrid", "x" * 500),
])
def test_an_address_that_leads_nowhere_says_so(call: Call, world: Cloud, provider: str, site: str) -> None:
    assert call(a_post(provider, SENDGRID, site=site))["statusCode"] == 404


def test_nothing_is_acknowledged_that_was_not_stored(
    call: Call, world: Cloud, sendgrid_key: ec.EllipticCurvePrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTS_TABLE", "gone")
    reply = call(a_post("sendgrid", SENDGRID, sendgrid(sendgrid_key, SENDGRID)))

    assert reply["statusCode"] == 503
    assert reply["headers"]["retry-after"]


def test_the_function_answers_by_itself(world: Cloud, amazon_key: rsa.RSAPrivateKey) -> None:
    body, headers = proven("postmark", amazon_key)
    reply = handler.handle(a_post("postmark", body, headers), None)

    assert content(reply) == {"success": True, "events": 1}
    assert [event.name for event in facts(world)] == ["Email Opened"]
    assert handler.handle(a_post("postmark", body), None)["statusCode"] == 401
