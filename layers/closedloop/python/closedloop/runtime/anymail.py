"""Reads what mail providers post through django-anymail's webhook views; the only place that knows Django.

Django is configured at the first call and never at import: no addresses, no database, no applications.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import io
import json
import ssl
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from closedloop.capture import sns
from closedloop.capture.mail import MailEvent
from closedloop.capture.request import Request
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, BadSignature, NotDurable
from closedloop.events.identifiers import safe
from closedloop.runtime import doors, settings
from closedloop.sites.definition import Site
from closedloop.store import schema
from closedloop.store.calls import CallFailed

TOLERANCE_S = 300
TOKEN_TTL = timedelta(hours=24)
FETCH_S = 2.0
FETCHED_BYTES = 64 * 1024

# What reading unproven or strange bytes may raise inside anymail's views; its own errors are added at the first call.
STRANGE = (
    ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError, OSError, RecursionError,
)


@dataclass(frozen=True, slots=True)
class Provider:
    """How one provider proves itself: anymail's view, the name of the site's secret, and the view's word for it.

    Shapes: `argument` is empty where the signature is checked here; `also` are further secrets that a view may take.
    """

    view: str
    secret: str
    argument: str
    also: Mapping[str, str]


def _signed(view: str, secret: str, argument: str, **also: str) -> Provider:
    return Provider(f"{view}TrackingWebhookView", secret, argument, also)


# Those without a signature of their own send a user name and a password over TLS.
PROVIDERS: Mapping[str, Provider] = {
    "amazon_ses": _signed("AmazonSES", "", ""),
    "brevo": _signed("Brevo", "brevo_basic", "webhook_secret"),
    "mailersend": _signed("MailerSend", "mailersend_key", "signing_secret"),
    "mailgun": _signed("Mailgun", "mailgun_key", "webhook_signing_key"),
    "mailjet": _signed("Mailjet", "mailjet_basic", "webhook_secret"),
    "mailtrap": _signed("Mailtrap", "mailtrap_key", "tracking_secret"),
    "mandrill": _signed("Mandrill", "mandrill_key", "webhook_key", webhook_url="mandrill_url"),
    "postal": _signed("Postal", "postal_key", "webhook_key"),
    "postmark": _signed("Postmark", "postmark_basic", "webhook_secret"),
    "resend": _signed("Resend", "resend_key", ""),
    "sendgrid": _signed("SendGrid", "sendgrid_key", "tracking_webhook_verification_key"),
    "sparkpost": _signed("SparkPost", "sparkpost_basic", "webhook_secret"),
    "unisender_go": _signed("UnisenderGo", "unisender_go_key", "api_key"),
}


class AnymailDoor:
    """Proves and reads what the thirteen providers post.

    Shapes: `secrets` are a site's by name; `claim` takes a token for one body of one site and is false when another
    body has it; `confirm` visits an address of Amazon SNS.
    Errors: BadSignature, BadShape; NotDurable when a secret, a certificate or a claim could not be had.
    """

    def __init__(
        self, secrets: Callable[[str], Mapping[str, Any]], certificates: sns.Certificates,
        confirm: Callable[[str], None], claim: Callable[[str, str, datetime], bool],
    ) -> None:
        self._secrets = secrets
        self._certificates = certificates
        self._confirm = confirm
        self._claim = claim

    def events(self, provider: str, request: Request, site: Site, received: datetime) -> Sequence[MailEvent | Bad]:
        """The reports in a request, each with its place; what cannot be read stands as bad in its place."""
        if provider == "amazon_ses":
            return self._amazon(request, site, received)
        how, secrets = PROVIDERS[provider], self._secrets(site.site)
        keys = _keys(secrets.get(how.secret))
        if not keys:
            raise BadSignature(f"{provider}: this site has no secret {how.secret} yet, so nobody can be believed")
        also = {argument: str(secrets[name]) for argument, name in how.also.items() if secrets.get(name)}
        if provider == "resend":
            _check_standard(request, keys)
            view = _view(provider)
        else:
            view = _proven(provider, request, how, keys, also)
        self._check_replay(provider, request, site, received)
        return _read(provider, view, request)

    def _amazon(self, request: Request, site: Site, received: datetime) -> Sequence[MailEvent | Bad]:
        """SNS's signature is ours to check; anymail reads only the fields that it covers."""
        notice = sns.verified(request.body, site.webhooks.sns_topics, received, self._certificates)
        sns.confirm_subscription(notice, self._confirm)
        if notice.kind != sns.NOTIFICATION:
            return ()
        headers = {**request.headers, "content-type": "application/json"}
        whole = replace(request, headers=headers, body=json.dumps(dict(notice.fields)).encode())
        view = _ses_view()
        try:
            view.run_validators(_django_request(whole))
        except _strange() as error:
            raise BadSignature("amazon_ses: the headers are not of this message") from error
        return _read("amazon_ses", view, whole)

    def _check_replay(self, provider: str, request: Request, site: Site, received: datetime) -> None:
        """What was signed long ago is refused, where the provider signs a time."""
        if provider == "sendgrid":
            _check_age(request.headers.get("x-twilio-email-event-webhook-timestamp", ""), received)
        elif provider == "resend":
            _check_age(request.headers.get("svix-timestamp", ""), received)
        elif provider == "mailgun":
            # Mailgun signs no more than time and token, so the token is good for one body only.
            moment, token = _mailgun_signature(request)
            _check_age(moment, received)
            body = hashlib.sha256(request.body).hexdigest()
            if not self._claim(f"{site.site}#{safe(token)}", body, received):
                raise BadSignature("mailgun: this token came before, with another body")


# Proof.


def _keys(stated: Any) -> list[str]:
    """The live values of a secret: one, or a list while it is being changed."""
    return [key for key in (stated if isinstance(stated, list) else [stated]) if isinstance(key, str) and key]


def _proven(provider: str, request: Request, how: Provider, keys: Iterable[str], also: Mapping[str, str]) -> Any:
    """The view that found the signature right, under any of the live secrets."""
    failure: BaseException | None = None
    for key in keys:
        try:
            view = _view(provider, **{how.argument: key}, **also)
            view.run_validators(_django_request(request))
        except _strange() as error:
            failure = error
        else:
            return view
    raise BadSignature(f"{provider}: the signature is wrong or missing") from failure


def _check_standard(request: Request, keys: Iterable[str]) -> None:
    """Resend signs by Standard Webhooks under other header names; anymail would want a package that does the same.

    Source: Standard Webhooks specification, "Signature scheme".
    """
    given = request.headers.get("svix-signature", "")
    head = f"{request.headers.get('svix-id', '')}.{request.headers.get('svix-timestamp', '')}."
    signed = head.encode("utf-8", "surrogatepass") + request.body
    for key in keys:
        try:
            secret = base64.b64decode(key.removeprefix("whsec_"), validate=True)
        except ValueError as error:
            raise BadSignature("resend: the site's secret resend_key is no key of Resend") from error
        wanted = base64.b64encode(hmac.digest(secret, signed, "sha256"))
        for one in given.split():
            version, _, signature = one.partition(",")
            if version == "v1" and hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), wanted):
                return
    raise BadSignature("resend: the signature is wrong or missing")


def _check_age(moment: str, received: datetime) -> None:
    try:
        age = abs(received.timestamp() - int(moment))
    except ValueError as error:
        raise BadSignature("the time of signing cannot be read") from error
    if age > TOLERANCE_S:
        raise BadSignature(f"signed more than {TOLERANCE_S} seconds ago, or in the future")


def _mailgun_signature(request: Request) -> tuple[str, str]:
    """Time and token, which the view has proven already; of repeated values the last counts, there as here."""
    if _django_request(request).content_type == "application/json":
        block = json.loads(request.body)["signature"]
    else:
        block = _django_request(request).POST
    return str(block["timestamp"]), str(block["token"])


# Reading.


def read_again(provider: str, request: Request) -> Sequence[MailEvent | Bad]:
    """The reports of a request that was proven when it first came.

    Errors: BadShape when it is none of a provider that we know.
    """
    if provider not in PROVIDERS and provider != "amazon_ses":
        raise BadShape(f"{provider!r} is no provider of mails")
    try:
        view = _ses_view() if provider == "amazon_ses" else _view(provider, **{PROVIDERS[provider].argument: "x"})
    except _strange():
        view = _view(provider)
    return _read(provider, view, request)


def _read(provider: str, view: Any, request: Request) -> list[MailEvent | Bad]:
    """The reports of a proven request; when one spoils the whole, each is read by itself."""
    try:
        return list(_parsed(view, request))
    except _strange() as error:
        parts = _parts(provider, request.body)
        if parts is None:
            return [Bad(0, _unreadable(provider, error), request.body)]
    found: list[MailEvent | Bad] = []
    for index, part in enumerate(parts):
        try:
            found.extend(_parsed(view, replace(request, body=part)))
        except _strange() as error:
            found.append(Bad(index, _unreadable(provider, error), part))
    return found


def _unreadable(provider: str, error: BaseException) -> str:
    """The reason by its kind only: the words of an error may quote what was sent."""
    return f"{provider}: this report cannot be read ({type(error).__name__})"


def _parsed(view: Any, request: Request) -> list[MailEvent]:
    from anymail.exceptions import AnymailConfigurationError
    from anymail.signals import AnymailTrackingEvent

    inbound = "inbound mail is not taken here: let the provider post its tracking events only"
    try:
        events = view.parse_events(_django_request(request))
    except AnymailConfigurationError as error:
        raise BadShape(inbound) from error
    if not all(isinstance(event, AnymailTrackingEvent) for event in events):
        raise BadShape(inbound)
    return [_mail_event(event) for event in events]


def _mail_event(event: Any) -> MailEvent:
    raw = event.esp_event
    return MailEvent(
        kind=str(event.event_type), recipient=event.recipient or "",
        at=event.timestamp if isinstance(event.timestamp, datetime) else None,
        message_id=str(event.message_id or ""), event_id=str(event.event_id or ""), link=str(event.click_url or ""),
        agent=str(event.user_agent or ""), reject=str(event.reject_reason or ""),
        response="\n".join(str(said) for said in (event.description, event.mta_response) if said),
        metadata=event.metadata if isinstance(event.metadata, Mapping) else {},
        tags=_texts(event.tags),
        raw=raw.dict() if hasattr(raw, "dict") else raw if isinstance(raw, Mapping) else {},
    )


def _texts(stated: Any) -> tuple[str, ...]:
    """A mail's tags: a list, one word, or nothing, as providers have it."""
    return tuple(tag for tag in ([stated] if isinstance(stated, str) else stated or ()) if isinstance(tag, str))


def _parts(provider: str, body: bytes) -> list[bytes] | None:
    """A body of many reports as bodies of one; None for a single report.

    Errors: BadShape when it is nothing of the kind.
    """
    try:
        if provider == "mandrill":
            reports = json.loads(parse_qs(body.decode(), strict_parsing=True)["mandrill_events"][-1])
            return [urlencode({"mandrill_events": _json([report])}).encode() for report in reports]
        whole = json.loads(body)
        if provider == "unisender_go" and "events_by_user" in whole:
            user = whole["events_by_user"][0]
            return [_json({"events_by_user": [{**user, "events": [one]}]}).encode() for one in user["events"]]
        if provider == "mailtrap":
            return [_json({"events": [report]}).encode() for report in whole["events"]]
        if provider == "brevo" and isinstance(whole, list):
            return [_json(report).encode() for report in whole]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise BadShape(f"{provider}: the body is not in the provider's shape") from error
    if isinstance(whole, list):
        return [_json([report]).encode() for report in whole]
    if isinstance(whole, dict):
        return None
    raise BadShape(f"{provider}: the body is not in the provider's shape")


def _json(content: Any) -> str:
    return json.dumps(content)


# Django.


@cache
def _configure() -> None:
    from django.conf import settings as django_settings

    if not django_settings.configured:
        django_settings.configure(USE_TZ=True, USE_I18N=False, ALLOWED_HOSTS=["*"])


@cache
def _strange() -> tuple[type[BaseException], ...]:
    _configure()
    from anymail.exceptions import AnymailError
    from django.core.exceptions import ImproperlyConfigured, SuspiciousOperation

    return (*STRANGE, AnymailError, SuspiciousOperation, ImproperlyConfigured)


def _view(provider: str, **secrets: str) -> Any:
    _configure()
    view = getattr(import_module(f"anymail.webhooks.{provider}"), PROVIDERS[provider].view)
    return _quietly(lambda: view(**secrets))


def _ses_view() -> Any:
    """anymail's view for SES without its own SNS client: SNS is checked and answered here, so boto3 is not needed."""
    _configure()
    amazon_ses = _without_boto3("anymail.webhooks.amazon_ses")

    class Ses(amazon_ses.AmazonSESTrackingWebhookView):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super(amazon_ses.AmazonSESBaseWebhookView, self).__init__()

    return _quietly(Ses)


def _without_boto3(module: str) -> Any:
    """A module that would like boto3 and is prepared not to have it; loading it would double a cold start.

    Source: Python reference, "The module cache": None in its place makes an import fail.
    """
    if "boto3" in sys.modules:
        return import_module(module)
    sys.modules["boto3"] = None  # type: ignore[assignment]
    try:
        return import_module(module)
    finally:
        del sys.modules["boto3"]


def _quietly(make: Callable[[], Any]) -> Any:
    """anymail warns of views without Basic auth; ours are proven otherwise, or not at all."""
    from anymail.exceptions import AnymailWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnymailWarning)
        return make()


def _django_request(request: Request) -> Any:
    _configure()
    from django.core.handlers.wsgi import WSGIRequest

    headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()}
    return WSGIRequest({
        **headers, "REQUEST_METHOD": request.method, "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": urlencode(request.query), "CONTENT_TYPE": request.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(request.body)), "SERVER_NAME": request.headers.get("host", "localhost"),
        "SERVER_PORT": "443", "wsgi.url_scheme": "https", "wsgi.input": io.BytesIO(request.body),
    })


# The door of this process.


def _visit(url: str) -> bytes:
    """Get what lies at an address that was found to be Amazon's; redirects are not followed.

    Errors: NotDurable, so that SNS asks again.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPSConnection(
        parts.hostname or "", timeout=FETCH_S, context=ssl.create_default_context()
    )
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        content = answer.read(FETCHED_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise NotDurable(f"Amazon SNS could not be reached: {type(error).__name__}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise NotDurable(f"Amazon SNS answered {answer.status}")
    return content


def _confirm(url: str) -> None:
    _visit(url)


def claim(token: str, body: str, now: datetime) -> bool:
    """Take a token for one body; the same body may come again, another may not.

    Errors: NotDurable.
    """
    item = {
        schema.PK: {"S": f"W#{token}"}, schema.SK: {"S": "TOKEN"}, "body_hash": {"S": body},
        schema.TTL: {"N": str(int((now + TOKEN_TTL).timestamp()))},
    }
    try:
        doors.dynamo().call("PutItem", {
            "TableName": settings.settings()[settings.STATE_TABLE], "Item": item,
            "ConditionExpression": "attribute_not_exists(#pk) OR body_hash = :body OR #ttl < :now",
            "ExpressionAttributeNames": {"#pk": schema.PK, "#ttl": schema.TTL},
            "ExpressionAttributeValues": {":body": {"S": body}, ":now": {"N": str(int(now.timestamp()))}},
        })
    except CallFailed as error:
        if error.is_condition:
            return False
        raise NotDurable(f"the claim could not be stored: {error.code}") from error
    return True


@cache
def door() -> AnymailDoor:
    """The provider door of this process."""
    return AnymailDoor(doors.site_secrets, sns.Certificates(_visit), _confirm, claim)
