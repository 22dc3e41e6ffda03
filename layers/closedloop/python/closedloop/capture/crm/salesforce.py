"""Salesforce: an outbound message in SOAP, or the JSON of a flow's HTTP callout, about opportunities.

Neither is signed: a secret that only the owner's organization knows comes with the message, in its address or as a
bearer token, and the organization's id stands in the message. Whoever can sign sends Standard Webhooks instead.

Source: Salesforce, SOAP API Developer Guide, "Outbound Messaging", with its considerations for security.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

from pydantic import ValidationError
from pydantic_core import from_json

from closedloop.capture import wire
from closedloop.capture.crm.told import CrmDeal, Message, Told
from closedloop.capture.request import Answer, Request
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, BadSignature
from closedloop.events.identifiers import Hasher, safe
from closedloop.sites.definition import Site

USUAL = {"Closed Won": "won", "Closed Lost": "lost"}
# Salesforce's names of an opportunity's fields, and three that the owner adds: who buys, and what.
FIELDS = {
    "Id": "id", "LastModifiedDate": "at", "StageName": "stage", "Amount": "amount", "CurrencyIsoCode": "currency",
    "Contact_Email__c": "email", "Customer_Number__c": "user_id",
    "Product__c": "product",
}
THEIRS = {ours: theirs for theirs, ours in FIELDS.items()}
SIGNS_OF_AN_ORGANIZATION = 15
ACKNOWLEDGED = Answer(200, (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope '
    'xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><notificationsResponse '
    'xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse></soapenv:Body>'
    "</soapenv:Envelope>"
), "text/xml; charset=utf-8")


def verify(request: Request, secrets: Sequence[str], now: datetime) -> None:
    """Hold the secret that came with the message against every live one.

    Errors: BadSignature, which does not say what was wrong.
    """
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    stated = (bearer if scheme.lower() == "bearer" else request.query.get("token", "")).encode()
    if not any(hmac.compare_digest(secret.encode(), stated) for secret in secrets):
        raise BadSignature("the signature of this message does not hold")


def read(request: Request, site: Site, hasher: Hasher) -> Message:
    """The opportunities of a message; one that cannot be read spoils no other.

    Errors: BadSignature when the organization is not the site's; BadShape names the field of Salesforce's.
    """
    if request.body.lstrip().startswith(b"<"):
        return _outbound(_soap(request.body), site)
    try:
        content = from_json(request.body)
    except ValueError as error:
        raise BadShape("the body is neither an outbound message nor JSON") from error
    if not isinstance(content, dict):
        raise BadShape("expected one opportunity")
    _check_organization(str(content.get("OrganizationId") or ""), site)
    said = json.dumps({name: content.get(name) for name in (*FIELDS, "IsWon", "IsClosed")}, sort_keys=True)
    return Message((_opportunity(content, site, f"salesforce-{hasher.digest(said)}"),))


def _soap(body: bytes) -> ElementTree.Element:
    """The envelope; SOAP has no document type, and without one no entity can be declared.

    Errors: BadShape.
    Source: SOAP 1.1, section 3.
    """
    try:
        text = body.decode()
        if "<!DOCTYPE" in text:
            raise BadShape("an outbound message has no document type")
        return ElementTree.fromstring(text)  # noqa: S314  read as UTF-8 text, in which no entity was declared
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise BadShape("the body is no XML in UTF-8") from error


def _outbound(envelope: ElementTree.Element, site: Site) -> Message:
    """Up to a hundred notifications; each is named by its own id, which a second attempt keeps."""
    sent = "{*}Body/{*}notifications/{*}"
    organization = envelope.findtext(f"{sent}OrganizationId") or ""
    _check_organization(organization, site)
    facts, bad = [], []
    for index, notification in enumerate(envelope.iterfind(f"{sent}Notification")):
        fields = {field.tag.rpartition("}")[2]: field.text for field in notification.iterfind("{*}sObject/*")}
        name = notification.findtext("{*}Id") or ""
        try:
            if not name:
                raise BadShape("Notification.Id: is missing")
            facts.append(_opportunity(fields, site, f"salesforce-{safe(name)}"))
        except BadShape as error:
            bad.append(Bad(index, error.reason, _alone(organization, notification)))
    return Message(tuple(facts), tuple(bad), ACKNOWLEDGED)


def _alone(organization: str, notification: ElementTree.Element) -> bytes:
    """A message of one notification, which can be read by itself."""
    envelope = ElementTree.Element("Envelope")
    sent = ElementTree.SubElement(ElementTree.SubElement(envelope, "Body"), "notifications")
    ElementTree.SubElement(sent, "OrganizationId").text = organization
    sent.append(notification)
    alone: bytes = ElementTree.tostring(envelope, encoding="utf-8")
    return alone


def _check_organization(stated: str, site: Site) -> None:
    """Ids come in 15 signs, or in 18 of which the last three only repeat the others' case."""
    known = {one[:SIGNS_OF_AN_ORGANIZATION] for one in site.webhooks.salesforce_organizations}
    if stated[:SIGNS_OF_AN_ORGANIZATION] not in known:
        raise BadSignature("the message is not of an organization that the site's file names")


def _opportunity(fields: Mapping[str, Any], site: Site, event_id: str) -> Told:
    try:
        deal = CrmDeal.model_validate({
            ours: fields[theirs] for theirs, ours in FIELDS.items() if fields.get(theirs) not in (None, "")
        })
    except ValidationError as error:
        field, _, said = wire.problem(error).partition(": ")
        raise BadShape(f"{THEIRS.get(field, field)}: {said}") from error
    usual = USUAL
    if deal.stage and (closed := _flag(fields.get("IsClosed"))) is not None:
        # The stage's own meaning in Salesforce, whatever it is called there.
        usual = {deal.stage: ("won" if _flag(fields.get("IsWon")) else "lost") if closed else "changed"}
    return deal.told(event_id, site, usual)


def _flag(stated: Any) -> bool | None:
    return {"true": True, "false": False}.get(str(stated).lower())
