"""Is a message of Amazon SNS believed only when everything about it is right?"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from closedloop.capture import sns
from closedloop.errors import BadSignature

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
TOPIC = "arn:aws:sns:eu-west-1:123456789012:mails"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
SUBSCRIBE = f"https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"


def a_certificate(key: Any, until: datetime = NOW + timedelta(days=90)) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(NOW - timedelta(days=90)).not_valid_after(until)
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def another_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class Amazon:
    """The host of the certificates: what it serves, and how often it was asked."""

    def __init__(self, certificate: bytes) -> None:
        self.certificate = certificate
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        return self.certificate


@pytest.fixture
def amazon(key: rsa.RSAPrivateKey) -> Amazon:
    return Amazon(a_certificate(key))


def a_message(key: rsa.RSAPrivateKey, version: str = "2", **changes: str) -> dict[str, str]:
    """A message as SNS signs it: by the words of its own guide, not by ours."""
    message = {
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC,
        "Subject": "新製品のお知らせ", "Message": "Hello\nworld", "Timestamp": "2026-11-24T05:59:30.719Z",
        "SignatureVersion": version, "SigningCertURL": CERTIFICATE, **changes,
    }
    if message["Type"] != "Notification":
        message = {"SubscribeURL": SUBSCRIBE, "Token": "2336412f37", **message}
        del message["Subject"]
    lines = ""
    for name in ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"):
        if name in message:
            lines += name + "\n" + message[name] + "\n"
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    message["Signature"] = base64.b64encode(key.sign(lines.encode(), padding.PKCS1v15(), algorithm)).decode()
    return message


def verify(message: dict[str, Any] | bytes, amazon: Amazon, now: datetime = NOW) -> sns.Notice:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return sns.verified(body, (TOPIC,), now, sns.Certificates(amazon))


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_a_signed_message_is_believed(key: rsa.RSAPrivateKey, amazon: Amazon, version: str, kind: str) -> None:
    notice = verify(a_message(key, version, Type=kind), amazon)

    assert notice.kind == kind
    assert notice.fields["Message"] == "Hello\nworld"


def test_a_message_without_subject_is_believed(key: rsa.RSAPrivateKey, amazon: Amazon) -> None:
    message = a_message(key)
    bare = {name: value for name, value in message.items() if name not in ("Subject", "Signature")}
    lines = "".join(f"{n}\n{bare[n]}\n" for n in ("Message", "MessageId", "Timestamp", "TopicArn", "Type"))
    bare["Signature"] = base64.b64encode(key.sign(lines.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()

    assert verify(bare, amazon).kind == "Notification"


def test_only_signed_fields_are_handed_on(key: rsa.RSAPrivateKey, amazon: Amazon) -> None:
    notice = verify({**a_message(key), "UnsubscribeURL": "https://evil.example/", "Token": "x"}, amazon)

    assert set(notice.fields) == {"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}


@pytest.mark.parametrize("url", [
    "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem",
    "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-9c64.pem",
    "https://evil.example/SimpleNotificationService-9c64.pem",
    "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-9c64.pem",
    "https://user@sns.eu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem",
    "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-9c64.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem?x=1",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem#x",
    "https://sns.eu-west-1.amazonaws.com/bucket/SimpleNotificationService-9c64.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-..%2fevil.pem",
    "https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-9c64.pem",
    "https://sns.eu-west-1\n.amazonaws.com/SimpleNotificationService-9c64.pem",
    "https://snsXeu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem",
    "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem",
    "https://[sns.eu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem",
    "https://ｓns.eu-west-1.amazonaws.com/SimpleNotificationService-9c64.pem",
    "",
])
def test_a_certificate_elsewhere_is_refused_before_anything_is_fetched(
    key: rsa.RSAPrivateKey, amazon: Amazon, url: str
) -> None:
    with pytest.raises(BadSignature, match="SigningCertURL"):
        verify(a_message(key, SigningCertURL=url), amazon)

    assert amazon.asked == []


@pytest.mark.parametrize("url", [
    "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-9c64.pem",
    "https://sns.us-gov-west-1.amazonaws.com:443/SimpleNotificationService-9c64.pem",
])
def test_certificates_of_every_partition_are_fetched(key: rsa.RSAPrivateKey, amazon: Amazon, url: str) -> None:
    assert verify(a_message(key, SigningCertURL=url), amazon).kind == "Notification"


@pytest.mark.parametrize("change", [
    {"Message": "Hello\nworld!"}, {"MessageId": "another"}, {"Subject": "another"}, {"Signature": ""},
    {"Signature": "署名"}, {"Signature": "AAAA"}, {"SignatureVersion": "1"}, {"SignatureVersion": "3"},
    {"Timestamp": "2026-11-24T05:59:31.719Z"}, {"Timestamp": "yesterday"}, {"Type": "Rumour"},
    {"Type": "SubscriptionConfirmation"}, {"Message": 5}, {"Message": None},
], ids=str)
def test_a_changed_message_is_refused(key: rsa.RSAPrivateKey, amazon: Amazon, change: dict[str, Any]) -> None:
    with pytest.raises(BadSignature):
        verify({**a_message(key), **change}, amazon)


@pytest.mark.parametrize("name", [
    "Type", "TopicArn", "Signature", "SignatureVersion", "SigningCertURL", "Timestamp", "MessageId", "Message",
])
def test_a_message_that_lacks_something_is_refused(key: rsa.RSAPrivateKey, amazon: Amazon, name: str) -> None:
    message = a_message(key)
    del message[name]

    with pytest.raises(BadSignature):
        verify(message, amazon)


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"Type": {"a": 1}}', b"[" * 100_000,
])
def test_what_is_no_message_is_refused(amazon: Amazon, body: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(body, amazon)


def test_another_key_is_refused(another_key: rsa.RSAPrivateKey, amazon: Amazon) -> None:
    with pytest.raises(BadSignature):
        verify(a_message(another_key), amazon)


def test_a_topic_of_somebody_else_is_refused_unread(key: rsa.RSAPrivateKey, amazon: Amazon) -> None:
    with pytest.raises(BadSignature, match="TopicArn"):
        verify(a_message(key, TopicArn="arn:aws:sns:eu-west-1:666666666666:mails"), amazon)

    assert amazon.asked == []


@pytest.mark.parametrize(("seconds", "believed"), [(-301, False), (-300, True), (3600, True), (3601, False)])
def test_a_message_is_good_for_an_hour(
    key: rsa.RSAPrivateKey, amazon: Amazon, seconds: int, believed: bool
) -> None:
    message = a_message(key, Timestamp="2026-11-24T06:00:00.000Z")
    now = datetime(2026, 11, 24, 6, tzinfo=UTC) + timedelta(seconds=seconds)

    if believed:
        assert verify(message, amazon, now).kind == "Notification"
    else:
        with pytest.raises(BadSignature, match="Timestamp"):
            verify(message, amazon, now)


def test_a_certificate_is_fetched_once(key: rsa.RSAPrivateKey, amazon: Amazon) -> None:
    certificates = sns.Certificates(amazon)
    for _ in range(3):
        sns.verified(json.dumps(a_message(key)).encode(), (TOPIC,), NOW, certificates)

    assert amazon.asked == [CERTIFICATE]


def test_certificates_that_are_none_or_over_or_of_another_kind_are_refused(key: rsa.RSAPrivateKey) -> None:
    curve = a_certificate(ec.generate_private_key(ec.SECP256R1()))
    for pem in (b"<html>", a_certificate(key, until=NOW - timedelta(days=1)), curve):
        with pytest.raises(BadSignature, match="SigningCertURL"):
            verify(a_message(key), Amazon(pem))


def test_a_wanted_subscription_is_confirmed(key: rsa.RSAPrivateKey, amazon: Amazon) -> None:
    visited: list[str] = []
    sns.confirm_subscription(verify(a_message(key, Type="SubscriptionConfirmation"), amazon), visited.append)

    assert visited == [SUBSCRIBE]


@pytest.mark.parametrize("kind", ["Notification", "UnsubscribeConfirmation"])
def test_nothing_else_is_confirmed(key: rsa.RSAPrivateKey, amazon: Amazon, kind: str) -> None:
    visited: list[str] = []
    sns.confirm_subscription(verify(a_message(key, Type=kind), amazon), visited.append)

    assert visited == []


@pytest.mark.parametrize("url", [
    "https://evil.example/?Action=ConfirmSubscription", "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
    "https://sns.eu-west-1.amazonaws.com@evil.example/", "https://sns.eu-west-1.amazonaws.com/other?Action=x",
    "https://169.254.169.254/",
])
def test_a_subscription_is_not_confirmed_elsewhere(key: rsa.RSAPrivateKey, amazon: Amazon, url: str) -> None:
    visited: list[str] = []
    notice = verify(a_message(key, Type="SubscriptionConfirmation", SubscribeURL=url), amazon)

    with pytest.raises(BadSignature, match="SubscribeURL"):
        sns.confirm_subscription(notice, visited.append)

    assert visited == []
