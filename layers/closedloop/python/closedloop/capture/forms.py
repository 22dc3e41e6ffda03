"""The form door: a plain HTML form that is answered with a page, or fetch with JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from closedloop.capture import wire
from closedloop.capture.flow import COOKIE, ORIGIN_CHARS, Doors, cookie, kept_headers
from closedloop.capture.request import Answer, Request, as_json
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, ForeignOrigin, NotFound, Refused, UnknownKey
from closedloop.events.event import FORM_SUBMITTED, Door
from closedloop.events.identifiers import SAFE, Hasher, legal, safe
from closedloop.events.packet import pack
from closedloop.events.times import iso
from closedloop.sites.definition import Form, Site, key_hash

HONEYPOT = "cl_website"
FIELD_CHARS = 5000
MOST_FIELDS = 200
TIME = TypeAdapter(datetime)


@dataclass(frozen=True, slots=True)
class Submission:
    """What was sent: the fields as text, and what the script or the hidden fields add.

    Shapes: `submission_id`, `visitor` and `key` are empty and `at` None when nothing said so. `may_tell` is true when
    the page's script named the browser, which it does with the visitor's permission alone.
    """

    fields: Mapping[str, str]
    submission_id: str
    visitor: str
    key: str
    page: Mapping[str, Any]
    consent: Mapping[str, str]
    at: datetime | None
    wants_page: bool
    may_tell: bool = False


def accept_form(request: Request, doors: Doors) -> Answer:
    """Take one submission of a form of a site."""
    if request.method == "OPTIONS":
        return Answer(204)
    submission = read(request)
    name = request.path_values.get("form", "")
    try:
        site, secret = _site(request, submission, doors)
        form = site.forms.get(name)
        if form is None:
            raise NotFound(f"site {site.site} has no form {name[:60]!r}; its file names the forms it has")
        _take(request, submission, site, secret, name, form, doors)
    except Refused as error:
        if submission.wants_page:
            return Answer(error.status, error.reason + "\n", "text/plain; charset=utf-8")
        raise
    visitor = _visitor(request, submission, site, secret)
    cookies = (cookie(site, visitor),) if visitor and not secret else ()
    facts = {"site": site.site, "door": Door.FORM.value, "stored": 0 if _is_trap(submission) else 1}
    if submission.wants_page:
        return Answer(303, headers={"location": _thanks(request, site, form)}, cookies=cookies, facts=facts)
    body = as_json(200, {"success": True, "thanks": _thanks(request, site, form)}).body
    return Answer(200, body, cookies=cookies, facts=facts)


def read(request: Request) -> Submission:
    """Read a submission from JSON or from a plain form.

    Errors: BadShape, TooLarge.
    """
    body = wire.plain(request.body)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _plain_form(request, body)
    if kind.startswith("multipart/"):
        raise BadShape("send the form as application/x-www-form-urlencoded, as forms without enctype do, or as JSON")
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadShape(f"the body is no JSON: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(content, dict) or not isinstance(content.get("fields"), dict):
        raise BadShape("fields: expected a mapping of the form's fields")
    try:
        at = TIME.validate_python(content["timestamp"]) if content.get("timestamp") else None
    except ValidationError as error:
        raise BadShape("timestamp: expected an ISO 8601 time") from error
    page = content.get("page")
    return Submission(
        fields={name: _text(value, f"fields.{name[:60]}") for name, value in content["fields"].items()},
        submission_id=_text(content.get("submission_id"), "submission_id"),
        visitor=_text(content.get("anonymousId"), "anonymousId"),
        key=request.query.get("writeKey", "") or _text(content.get("writeKey"), "writeKey"),
        page=page if isinstance(page, dict) else {}, consent=wire.consent_of(content.get("consent")), at=wire.aware(at),
        wants_page=False,
    )


def _plain_form(request: Request, body: bytes) -> Submission:
    """A form as browsers post it without a script; boxes of the same name are read together.

    Errors: BadShape.
    """
    fields: dict[str, str] = {}
    try:
        for name, value in parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS):
            fields[name] = f"{fields[name]}, {value}" if name in fields and not name.startswith("cl_") else value
    except ValueError as error:
        raise BadShape("the form's fields cannot be read: expected UTF-8, and at most 200 of them") from error
    url = fields.get("cl_page_url") or request.headers.get("referer", "")
    page = {"url": url, "referrer": fields.get("cl_referrer", "")}
    visitor = fields.get("cl_anonymous_id", "")
    return Submission(
        fields={name: value for name, value in fields.items() if not name.startswith("cl_") or name == HONEYPOT},
        submission_id=fields.get("cl_submission_id", ""), visitor=visitor,
        key=request.query.get("writeKey", "") or fields.get("cl_write_key", ""), page=page, consent={}, at=None,
        wants_page=True, may_tell=bool(visitor),
    )


def _text(value: Any, place: str) -> str:
    """What a field says: text, a number, a ticked box, or the texts of several boxes.

    Errors: BadShape names the field.
    """
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "true"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return ", ".join(str(one) for one in value)
    raise BadShape(f"{place}: expected text")


def _is_trap(submission: Submission) -> bool:
    """Whether a field was filled that people do not see."""
    return bool(submission.fields.get(HONEYPOT))


def _site(request: Request, submission: Submission, doors: Doors) -> tuple[Site, bool]:
    """The site by its key, or by the page that the form stands on."""
    key = wire.basic_key(request.headers.get("authorization", "")) or submission.key
    origin = request.headers.get("origin")
    if key:
        found = doors.keys.site_of_key(key_hash(key))
        if found is None:
            raise UnknownKey("this write key belongs to no site")
        if origin not in (None, "null") and origin not in found[0].origins:
            raise ForeignOrigin(f"pages of {str(origin)[:100]} are not of this site; add it to origins in its file")
        return found
    name = doors.keys.site_of_origin(origin) if origin and len(origin) <= ORIGIN_CHARS else None
    site = doors.keys.site(name) if name else None
    if site is None:
        raise ForeignOrigin(
            "the page of this form belongs to no site; add its origin to the site's file, or ?writeKey= to the action"
        )
    return site, False


def _take(
    request: Request, submission: Submission, site: Site, secret: bool, name: str, form: Form, doors: Doors
) -> None:
    received = doors.now()
    if _is_trap(submission):
        # The answer is the same, and nobody becomes a person by it.
        trapped = Bad(0, f"form {name}: the honeypot was filled", request.body)
        doors.fail(site.site, Door.FORM.value, [trapped], received)
        return
    hasher = Hasher(doors.pepper, site.list_name)
    contact: dict[str, str] = {}
    traits: dict[str, Any] = {}
    identifier = None
    for field in form.fields:
        value = submission.fields.get(field.name, "").replace("\x00", "").strip()[:FIELD_CHARS]
        if field.required and not value:
            raise BadShape(f"{field.name}: is needed")
        if not value:
            continue
        if field.kind == "email":
            identifier = hasher.address(value)
            if identifier is None:
                raise BadShape(f"{field.name}: expected an e-mail address")
            contact["email"] = value
        elif field.kind == "attribute":
            traits[field.name] = value
        else:
            contact[field.name] = value
    if identifier is None:
        raise BadShape("an e-mail address is needed")
    at, late = wire.happened(submission.at if secret else None, None, received, may_backfill=secret)
    visitor = _visitor(request, submission, site, secret)
    entry: dict[str, Any] = {
        "id": f"{site.site}/form/{_submission_id(submission, name, hasher, received)}", "type": "track",
        "name": FORM_SUBMITTED, "at": iso(at), "ids": [identifier], "traits": traits,
        "properties": {"form": name, "campaign": form.campaign or "", "incentive": form.incentive},
        "context": wire.kept_context({"page": submission.page, "topic": form.topic}),
    }
    if submission.consent:
        entry["context"]["consent"] = dict(submission.consent)
    if visitor:
        entry["visitor"] = visitor
    if late:
        entry["late"] = True
    if secret:
        entry["context"] |= {"agent": ""}
    subject = f"V#{site.site}#{visitor}" if visitor else f"I#{identifier}"
    entry, clear = wire.without_nul(entry, {identifier: contact})
    doors.facts.append(pack(
        [(subject, entry, clear)], site=site.site, door=Door.FORM, received_at=received,
        headers=kept_headers(request),
    ))


def _visitor(request: Request, submission: Submission, site: Site, secret: bool) -> str:
    """Which browser sent the form, where we may know it; the person names themselves by the form, not the browser."""
    objects = request.headers.get("sec-gpc") == "1"
    consent = {"analytics": "granted", **submission.consent} if submission.may_tell else submission.consent
    if wire.stays_unknown(site, consent, objects=objects):
        return ""
    own = request.cookies.get(COOKIE, "")
    if SAFE.match(own) and not secret:
        return own
    return safe(submission.visitor) if legal(submission.visitor) else ""


def _submission_id(submission: Submission, name: str, hasher: Hasher, received: datetime) -> str:
    if submission.submission_id:
        return safe(submission.submission_id)
    # Without an id, the same fields on the same day are the same submission.
    content = json.dumps([name, sorted(submission.fields.items()), f"{received:%Y-%m-%d}"], ensure_ascii=False)
    return hasher.digest(content)


def _thanks(request: Request, site: Site, form: Form) -> str:
    """The page after the form: always one of the site's, whatever its file says."""
    host = urlsplit(form.thanks).netloc
    if host and site.allows_host(host):
        return form.thanks
    origin = request.headers.get("origin")
    home = origin if origin in site.origins else site.origins[0]
    return f"{home}/" if host else f"{home}{form.thanks}"
