"""Whether a message posted to us really comes from one of a site's own Amazon SNS topics.

Source: Amazon SNS, "Verifying the signatures of Amazon SNS messages".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic_core import from_json

from closedloop.errors import BadSignature
from closedloop.events.times import parse

HOST = re.compile(r"sns\.[a-z0-9-]{3,30}\.amazonaws\.com(\.cn)?(:443)?")
CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[0-9a-fA-F]{1,64}\.pem")
PLAIN = re.compile(r"[!-\[\]-~]{1,2048}")  # printable ASCII without the space and the backslash
OLD = timedelta(hours=1)
AHEAD = timedelta(minutes=5)
KEPT_KEYS = 16

NOTIFICATION = "Notification"
SUBSCRIPTION = "SubscriptionConfirmation"
UNSUBSCRIPTION = "UnsubscribeConfirmation"

# What is signed of each kind of message, in this order; a subject only where there is one.
_ASKED = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED: Mapping[str, tuple[str, ...]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: _ASKED,
    UNSUBSCRIPTION: _ASKED,
}
HASHES: Mapping[str, type[hashes.SHA1] | type[hashes.SHA256]] = {"1": hashes.SHA1, "2": hashes.SHA256}


@dataclass(frozen=True, slots=True)
class Notice:
    """A message whose signature was found right; only `verified` makes one.

    Shapes: `fields` are the signed ones and no other, since the rest may be anybody's.
    """

    kind: str
    fields: Mapping[str, str]


class Certificates:
    """The keys that SNS signs with, each fetched once from Amazon's own host.

    Errors: BadSignature when an address is not Amazon's, before anything is fetched, or when what it holds is no
    certificate that is valid now; whatever the fetching raises.
    """

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch
        self._kept: dict[str, x509.Certificate] = {}

    def key(self, url: str, now: datetime) -> rsa.RSAPublicKey:
        """The public key of the certificate at an address."""
        parts = _amazon(url)
        if parts is None or not CERTIFICATE_PATH.fullmatch(parts.path) or parts.query:
            raise BadSignature("SigningCertURL: not an address of Amazon SNS's certificates")
        certificate = self._kept.get(url)
        if certificate is None:
            try:
                certificate = x509.load_pem_x509_certificate(self._fetch(url))
            except ValueError as error:
                raise BadSignature("SigningCertURL: holds no certificate") from error
            if len(self._kept) >= KEPT_KEYS:
                self._kept.clear()
            self._kept[url] = certificate
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise BadSignature("SigningCertURL: the certificate's key is not of the kind that SNS signs with")
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise BadSignature("SigningCertURL: the certificate is not valid now")
        return key


def verified(body: bytes, topics: Collection[str], now: datetime, certificates: Certificates) -> Notice:
    """The message in a request's body, once everything about it is found right.

    Shapes: `topics` are the ARNs whose messages are wanted; any other topic, however well signed, is a stranger's.
    Errors: BadSignature.
    """
    message = _read(body)
    kind = message.get("Type", "")
    if kind not in SIGNED:
        raise BadSignature("Type: no kind of SNS message")
    if message.get("TopicArn") not in topics:
        raise BadSignature("TopicArn: not a topic of this site; add it to webhooks.sns_topics in the site's file")
    names = [name for name in SIGNED[kind] if name in message or name != "Subject"]
    try:
        fields = {name: message[name] for name in names}
        signature = base64.b64decode(message["Signature"], validate=True)
        version = HASHES[message["SignatureVersion"]]
        age = now - parse(fields["Timestamp"])
        signed = "".join(f"{name}\n{fields[name]}\n" for name in names).encode()
    except KeyError as error:
        raise BadSignature(f"{error.args[0]}: is missing or unknown") from error
    except (binascii.Error, ValueError, OverflowError) as error:
        raise BadSignature("Signature or Timestamp: cannot be read") from error
    if not -AHEAD <= age <= OLD:
        raise BadSignature("Timestamp: older than an hour, or of the future")
    try:
        certificates.key(message.get("SigningCertURL", ""), now).verify(
            signature, signed, padding.PKCS1v15(), version()
        )
    except InvalidSignature as error:
        raise BadSignature("Signature: is not of this message") from error
    return Notice(kind, fields)


def confirm_subscription(notice: Notice, confirm: Callable[[str], None]) -> None:
    """Answer SNS's question whether we want a topic's messages; other notices ask nothing.

    Errors: BadSignature when the address to visit is not Amazon SNS's; whatever the visit raises.
    """
    if notice.kind != SUBSCRIPTION:
        return
    url = notice.fields["SubscribeURL"]
    parts = _amazon(url)
    if parts is None or parts.path not in ("", "/"):
        raise BadSignature("SubscribeURL: not an address of Amazon SNS")
    confirm(url)


def _read(body: bytes) -> dict[str, str]:
    """The message's text fields; fields of other kinds are none that SNS signs."""
    try:
        message: Any = from_json(body)
    except ValueError as error:
        raise BadSignature("the body is no SNS message") from error
    if not isinstance(message, dict):
        raise BadSignature("the body is no SNS message")
    return {name: value for name, value in message.items() if isinstance(value, str)}


def _amazon(url: str) -> SplitResult | None:
    """An address on a host of Amazon SNS; None for any other, and for whatever two parsers could read in two ways."""
    if not PLAIN.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.scheme == "https" and HOST.fullmatch(parts.netloc) and not parts.fragment else None
