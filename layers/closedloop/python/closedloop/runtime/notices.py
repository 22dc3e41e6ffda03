"""Gives notices to the event bus, and delivers them: to the topic of the deployment, to Slack, to a CRM's webhook."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from closedloop.errors import NoticeRefused, OutcomeUnknown, TryAgain
from closedloop.loops.handover import Delivery
from closedloop.loops.notices import Notice

SOURCE, DETAIL_TYPE = "closedloop", "Notice"
# How many events one call to the bus takes.
AT_ONCE = 10
TIMEOUT_S = 5.0
# Their names among a site's secrets.
SLACK_URL, CRM_URL, CRM_KEY = "notice_slack_url", "notice_crm_url", "notice_crm_key"
AGAIN = frozenset((408, 425, 429))
Secrets = Callable[[str], Mapping[str, Any]]


def put_on(bus: str, events: Any) -> Callable[[Sequence[Delivery]], None]:
    """Gives deliveries to a bus, through a client of EventBridge that is handed in.

    Errors: TryAgain; whatever was given may be given again.
    Source: Amazon EventBridge API, PutEvents.
    """

    def tell(deliveries: Sequence[Delivery]) -> None:
        entries = [
            {"EventBusName": bus, "Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(asdict(one))}
            for one in deliveries
        ]
        for start in range(0, len(entries), AT_ONCE):
            try:
                answer = events.put_events(Entries=entries[start : start + AT_ONCE])
            except (ClientError, BotoCoreError) as error:
                raise TryAgain(f"the event bus did not take it: {type(error).__name__}") from error
            if answer["FailedEntryCount"]:
                code = next(one["ErrorCode"] for one in answer["Entries"] if "ErrorCode" in one)
                raise TryAgain(f"the event bus did not take it: {code}")

    return tell


class Topic:
    """Publishes to an SNS topic; its subject names nobody.

    Errors: NoticeRefused, TryAgain.
    Source: Amazon SNS API, Publish.
    """

    def __init__(self, topic: str, sns: Any) -> None:
        self._topic, self._sns = topic, sns

    def __call__(self, site: str, notice: Notice) -> None:
        # Subjects are ASCII of at most 100 characters; names of loops and campaigns are.
        subject = f"Closed Loop: {notice.campaign} ({notice.loop})"[:100]
        words = {"id": notice.id, "kind": notice.kind, "loop": notice.loop, "campaign": notice.campaign}
        try:
            self._sns.publish(
                TopicArn=self._topic, Subject=subject, Message=notice.as_text(),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in words.items()
                },
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("NotFound", "NotFoundException", "AuthorizationError", "InvalidParameter"):
                raise NoticeRefused(f"the topic did not take it: {code}") from error
            raise TryAgain(f"the topic did not take it: {code}") from error
        except BotoCoreError as error:
            raise TryAgain(f"the topic was not reached: {type(error).__name__}") from error


class Slack:
    """Posts to the incoming webhook that the site's secrets name.

    Errors: NoticeRefused, TryAgain, OutcomeUnknown.
    Source: Slack, "Sending messages using incoming webhooks"; "Escaping text".
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __call__(self, site: str, notice: Notice) -> None:
        url = _secret(self._secrets(site), SLACK_URL, site)
        # What people typed must not call everybody in a channel.
        text = notice.as_text().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        _post(url, json.dumps({"text": text}).encode(), {})


class Crm:
    """Posts to a CRM's webhook, signed by Standard Webhooks; the id is the same however often it is delivered.

    Errors: NoticeRefused, TryAgain, OutcomeUnknown.
    Source: Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature; two live keys sign while they change.
    """

    def __init__(self, secrets: Secrets, now: Callable[[], datetime]) -> None:
        self._secrets, self._now = secrets, now

    def __call__(self, site: str, notice: Notice) -> None:
        from standardwebhooks import Webhook

        secrets, now = self._secrets(site), self._now()
        url, keys = _secret(secrets, CRM_URL, site), secrets.get(CRM_KEY) or _secret(secrets, CRM_KEY, site)
        body = json.dumps(notice.as_json(), ensure_ascii=False)
        try:
            signed = " ".join(
                Webhook(key).sign(notice.id, now, body) for key in ([keys] if isinstance(keys, str) else keys)
            )
        except ValueError as error:
            raise NoticeRefused(f"{CRM_KEY} of site {site} is no key of Standard Webhooks") from error
        _post(url, body.encode(), {
            "webhook-id": notice.id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signed,
        })


def _secret(secrets: Mapping[str, Any], name: str, site: str) -> str:
    value = str(secrets.get(name) or "")
    if not value:
        raise NoticeRefused(f"{name} is not set: closedloop site secrets {site} --set {name}=...")
    return value


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post once to an address that the owner set; no redirect is followed."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    plain = parts.scheme == "http" and host in ("localhost", "127.0.0.1")
    if not host or parts.username or (parts.scheme != "https" and not plain):
        raise NoticeRefused("the webhook's address is no plain https address")
    connection = (
        http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S) if plain
        else http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    )
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, {"content-type": "application/json; charset=utf-8", **headers})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise OutcomeUnknown(f"no answer from the webhook: {type(error).__name__}") from error
    finally:
        connection.close()
    if status in AGAIN or status >= 500:
        raise TryAgain(f"the webhook answered {status}")
    if not 200 <= status < 300:
        raise NoticeRefused(f"the webhook answered {status}")
