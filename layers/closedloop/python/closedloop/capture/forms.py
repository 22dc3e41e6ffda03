"""The form door: a plain HTML form that is answered with a page, or fetch with JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from closedloop.capture import wire
from closedloop.capture.flow import COOKIE, ORIGIN_CHARS, Doors, cookie, kept_headers
from closedloop.capture.form_body import Submission, read
from closedloop.capture.form_fields import Filled, filled_in
from closedloop.capture.form_spam import giveaway, hurry, time_token
from closedloop.capture.request import Answer, Request, as_json
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, ForeignOrigin, NotFound, UnknownKey
from closedloop.events.event import FORM_SUBMITTED, UNCONFIRMED, Door
from closedloop.events.failed import FailedKind
from closedloop.events.identifiers import SAFE, Hasher, legal, safe
from closedloop.events.packet import pack
from closedloop.events.times import iso
from closedloop.sites.definition import MARKETING, Form, Site, key_hash

# Asks Turnstile about a site's visitor, by the answer their browser brought and the submission's name: a person, a
# robot, or nothing is known.
Challenge = Callable[[str, str, str], bool | None]


@dataclass(frozen=True, slots=True)
class _Case:
    """One form of one site, and whether the owner's own server speaks for the person."""

    site: Site
    secret: bool
    name: str
    form: Form


def accept_form(
    request: Request, doors: Doors, challenge: Challenge | None = None, *, vouched: bool = False
) -> Answer:
    """Take one submission of a form of a site; GET gives a page the time token that its script puts into the form.

    Shapes: `vouched` is true when a person has looked at the submission and wants it in, whatever it looks like.
    """
    if request.method == "OPTIONS":
        return Answer(204)
    if request.method == "GET":
        case = _case(request, request.query.get("writeKey", ""), doors)
        return as_json(200, {"token": time_token(doors.pepper, case.site.site, case.name, doors.now())})
    submission = read(request)
    case = _case(request, submission.key, doors)
    filled = filled_in(case.form, submission.fields, case.site.region)
    received = doors.now()
    hasher = Hasher(doors.pepper, case.site.list_name)
    name = _name_of(submission, filled, case, hasher, received)
    visitor = _visitor(request, submission, case)
    why, flags = ("", {}) if vouched else _suspicion(submission, filled, case, name, doors, challenge, received)
    if why:
        # The answer is the same, and nobody becomes a person by it.
        kept = json.dumps({"form": case.name, **submission.as_json()}, ensure_ascii=False).encode()
        bad = Bad(0, f"form {case.name}: {why}", kept, FailedKind.QUARANTINED)
        doors.fail(case.site.site, Door.FORM.value, [bad], received)
    else:
        entry, clear = _record(submission, filled, case, hasher, name, received)
        entry["properties"] |= flags
        if visitor:
            entry["visitor"] = visitor
        subject = f"V#{case.site.site}#{visitor}" if visitor else f"I#{entry['ids'][0]}"
        headers = kept_headers(request)
        doors.facts.append(
            pack([(subject, entry, clear)], site=case.site.site, door=Door.FORM, received_at=received, headers=headers)
        )
    cookies = (cookie(case.site, visitor),) if visitor and not case.secret else ()
    facts = {"site": case.site.site, "door": Door.FORM.value, "stored": 0 if why else 1, **dict.fromkeys(flags, 1)}
    thanks = _thanks(request, case.site, case.form)
    if submission.wants_page:
        return Answer(303, headers={"location": thanks}, cookies=cookies, facts=facts)
    return Answer(200, as_json(200, {"success": True, "thanks": thanks}).body, cookies=cookies, facts=facts)


def _case(request: Request, stated: str, doors: Doors) -> _Case:
    site, secret = _site(request, stated, doors)
    name = request.path_values.get("form", "")
    form = site.forms.get(name)
    if form is None:
        raise NotFound(f"site {site.site} has no form {name[:60]!r}; its file names the forms it has")
    return _Case(site, secret, name, form)


def _site(request: Request, stated: str, doors: Doors) -> tuple[Site, bool]:
    """The site by its key, or by the page that the form stands on; and whether the key is the secret one."""
    key = wire.basic_key(request.headers.get("authorization", "")) or stated
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


def _suspicion(
    submission: Submission, filled: Filled, case: _Case, name: str, doors: Doors, challenge: Challenge | None,
    received: datetime,
) -> tuple[str, dict[str, str]]:
    """Why a submission is kept apart, empty when it is not; and what else is to be noted of it."""
    why = giveaway(submission.fields, filled.email)
    # The owner's own server has its own ways to know whom it speaks for.
    if why or case.secret:
        return why, {}
    if submission.token:
        why = hurry(submission.token, doors.pepper, case.site.site, case.name, received)
    elif case.form.needs_script:
        why = "it brought no time token"
    if why or not case.form.turnstile:
        return why, {}
    if not submission.challenge:
        return "it brought no answer of Turnstile", {}
    human = challenge(case.site.site, submission.challenge, name) if challenge else None
    # A check that cannot be made must not cost the company a customer.
    return ("", {"unverified": "turnstile"}) if human is None else ("" if human else "Turnstile found no person", {})


def _record(
    submission: Submission, filled: Filled, case: _Case, hasher: Hasher, name: str, received: datetime
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """The submission as the ledger keeps it, and the clear contact that came with it."""
    identifier = hasher.address(filled.email)
    if identifier is None:
        raise BadShape("an e-mail address is needed")
    phone = hasher.phone(filled.contact.get("phone", ""))
    at, late = wire.happened(
        submission.at if case.secret else None, None, received, may_backfill=case.secret
    )
    form = case.form
    properties: dict[str, Any] = {"form": case.name, "campaign": form.campaign or "", "incentive": form.incentive}
    if filled.consents:
        properties["consents"] = [dict(consent) for consent in filled.consents]
    context = wire.kept_context({"page": submission.page, "topic": form.topic})
    consent = _consent(submission, filled, case)
    if consent:
        context["consent"] = consent
    if case.secret:
        context["agent"] = ""
    entry: dict[str, Any] = {
        "id": f"{case.site.site}/form/{name}", "type": "track", "name": FORM_SUBMITTED, "at": iso(at),
        "ids": [identifier, phone] if phone else [identifier], "traits": dict(filled.attributes),
        "properties": properties, "context": context,
    }
    if late:
        entry["late"] = True
    return wire.without_nul(entry, {identifier: dict(filled.contact)})


def _consent(submission: Submission, filled: Filled, case: _Case) -> dict[str, str]:
    """What was said of consent: by the page, and by the boxes of the form itself.

    Where the address still has to confirm it, marketing stays unconfirmed whatever else the page said.
    """
    consent = dict(submission.consent)
    if case.form.double_opt_in:
        for theirs, ours in wire.CONSENT_NAMES:
            if ours == MARKETING:
                consent.pop(theirs, None)
    agreed = filled.agreed_to_marketing
    if agreed:
        word = UNCONFIRMED if case.form.double_opt_in else "granted"
        consent |= {MARKETING: word, "version": agreed["version"], "source": f"form {case.name}"}
    return consent


def _visitor(request: Request, submission: Submission, case: _Case) -> str:
    """Which browser sent the form, where we may know it; the person names themselves by the form, not the browser."""
    objects = request.headers.get("sec-gpc") == "1"
    consent = {"analytics": "granted", **submission.consent} if submission.may_tell else submission.consent
    if wire.stays_unknown(case.site, consent, objects=objects):
        return ""
    own = request.cookies.get(COOKIE, "")
    if SAFE.match(own) and not case.secret:
        return own
    return safe(submission.visitor) if legal(submission.visitor) else ""


def _name_of(submission: Submission, filled: Filled, case: _Case, hasher: Hasher, received: datetime) -> str:
    """The submission's own id; without one, the same words on the same day are the same submission."""
    if submission.submission_id:
        return safe(submission.submission_id)
    words = (case.name, sorted(filled.contact.items()), sorted(filled.attributes.items()), f"{received:%Y-%m-%d}")
    return hasher.digest(json.dumps(words, ensure_ascii=False))


def _thanks(request: Request, site: Site, form: Form) -> str:
    """The page after the form: always one of the site's, whatever its file says."""
    host = urlsplit(form.thanks).netloc
    if host and site.allows_host(host):
        return form.thanks
    origin = request.headers.get("origin")
    home = origin if origin in site.origins else site.origins[0]
    return f"{home}/" if host else f"{home}{form.thanks}"
