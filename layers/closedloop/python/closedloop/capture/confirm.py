"""The link of the mail that asks an address to confirm a consent: the button counts alone, as scanners follow links."""

from __future__ import annotations

import hashlib
import html
from dataclasses import dataclass
from typing import Any

from closedloop.capture.flow import Doors, kept_headers
from closedloop.capture.links import Tokens, page
from closedloop.capture.request import Answer, Request
from closedloop.errors import NotFound
from closedloop.events.event import CONSENT_CONFIRMED, Door
from closedloop.events.packet import pack
from closedloop.events.times import iso, parse
from closedloop.sites.definition import MARKETING, Site

CONFIRM = "confirm"
HEADING = ("Please confirm", "ご確認")
DONE = ("Confirmed", "確認しました")
LATE = ("Too late", "期限切れです")
GONE = ("Not found", "見つかりません")


@dataclass(frozen=True, slots=True)
class Asking:
    """What the link carries: whose consent it is, to which text of which form, and until when it can be confirmed.

    Shapes: `person` is the address's identifier; `submission` the event's id; `text` the hash of the text.
    """

    site: str
    person: str
    form: str
    submission: str
    version: str
    text: str
    until: str


def confirm(request: Request, doors: Doors, tokens: Tokens) -> Answer:
    """Show what is to be confirmed, and take the confirmation when the button is pressed."""
    try:
        asking = tokens.read_as(Asking, CONFIRM, request.path_values.get("token", ""))
    except NotFound:
        return page(GONE, ("This link is not valid.", "このリンクは無効です。"), 404)
    site = doors.keys.site(asking.site)
    if site is None:
        return page(GONE, ("This link is not valid.", "このリンクは無効です。"), 404)
    title = html.escape(site.title)
    if doors.now() > parse(asking.until):
        return page(LATE, (
            f"This link is no longer valid. Fill in the form of {title} again to get another one.",
            f"このリンクの期限が切れました。{title} のフォームからもう一度お申し込みください。",
        ), 410)
    if request.method != "POST":
        text = html.escape(_text(asking, site))
        return page(HEADING, (
            f"{title}:", f"<q>{text}</q>", "Press the button to agree with this address.",
            "このメールアドレスで同意する場合は、ボタンを押してください。",
        ), 200, "Confirm / 確認する")
    _keep(request, doors, asking)
    return page(DONE, ("Thank you. You can close this page.", "ありがとうございます。ページを閉じて結構です。"), 200)


def _text(asking: Asking, site: Site) -> str:
    """The text that was agreed to, as the site's file still has it."""
    form = site.forms.get(asking.form)
    return next((box.texts[asking.version] for box in form.consents if asking.version in box.texts), "") if form else ""


def _keep(request: Request, doors: Doors, asking: Asking) -> None:
    now = doors.now()
    # Pressed twice, or again after a refusal, it is still the one confirmation of that submission.
    name = hashlib.sha256(asking.submission.encode()).hexdigest()[:40]
    proof = {"purpose": MARKETING, "version": asking.version, "text": asking.text}
    entry: dict[str, Any] = {
        "id": f"{asking.site}/link/{CONFIRM}-{name}", "type": "track", "name": CONSENT_CONFIRMED, "at": iso(now),
        "ids": [asking.person],
        "properties": {"form": asking.form, "submission": asking.submission, "consents": [proof]},
        "context": {
            "method": request.method,
            "consent": {MARKETING: "granted", "version": asking.version, "source": f"mail of form {asking.form}"},
        },
    }
    doors.facts.append(pack(
        [(f"I#{asking.person}", entry, {})], site=asking.site, door=Door.LINK, received_at=now,
        headers=kept_headers(request),
    ))
