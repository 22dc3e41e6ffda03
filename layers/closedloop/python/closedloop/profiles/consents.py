"""Consent for each purpose and company, with its proof: what was said to which text, when, where, and by which event.

Nothing here is kept for itself: the proofs are read from the facts, which are only ever added, so a consent that was
taken back keeps its proof beside the proof of the withdrawal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from closedloop.events import event as names
from closedloop.events.event import Door, Event
from closedloop.sites.definition import MARKETING

ANALYTICS = "analytics"
WORDS = frozenset(("granted", "denied", names.UNCONFIRMED))
WITHDRAWN_BY_MAIL = frozenset((names.EMAIL_UNSUBSCRIBED, names.EMAIL_COMPLAINED))


@dataclass(frozen=True, slots=True)
class Proof:
    """One word about one purpose to one company.

    Shapes: `word` is granted, denied or unconfirmed; `version` and `text`, a hash, say which text was agreed to, empty
    where none was shown; `source` is where it was said; `counts` is false for a browser's word about an address that
    was asked to confirm: whoever sits there may have typed another's address; `by_mail` is a withdrawal that suppresses
    the address for the whole group.
    """

    at: datetime
    site: str
    purpose: str
    word: str
    version: str
    text: str
    source: str
    event: str
    counts: bool = True
    by_mail: bool = False


def proofs_of(events: Iterable[Event]) -> list[Proof]:
    """Every word that a person's events say of consent, in order of time.

    Shapes: `events` are distinct and in order, as a fold reads them.
    """
    every = [
        event for event in events
        if "consent" in event.context or "consents" in event.properties or event.name in WITHDRAWN_BY_MAIL
    ]
    asked = any(_stated(event).get(MARKETING) == names.UNCONFIRMED for event in every)
    return [proof for event in every for proof in _proofs(event, asked=asked)]


def changes(events: Iterable[Event]) -> Iterator[Event]:
    """The events that say another word of consent than the one before them: a page repeats what the visitor chose.

    Shapes: the last words of these are the last words of all.
    """
    before = None
    for event in events:
        stated = event.context.get("consent")
        if not event.properties.get("consents") and event.name not in WITHDRAWN_BY_MAIL:
            if not isinstance(stated, Mapping):
                continue
            words = event.site, event.door, event.context.get("grade"), stated.get(ANALYTICS), stated.get(MARKETING)
            if words == before:
                continue
            before = words
        else:
            before = None
        yield event


def _proofs(event: Event, *, asked: bool) -> Iterable[Proof]:
    stated, boxes = _stated(event), _boxes(event)
    browser = event.door is Door.BEACON and event.context.get("grade") != "server"

    def proof(purpose: str, word: str, version: str, text: str, source: str) -> Proof:
        counts = not (asked and browser and purpose == MARKETING and word == "granted")
        return Proof(event.occurred_at, event.site, purpose, word, version, text, source, event.id, counts)

    source = str(stated.get("source") or _place(event))
    for purpose in (ANALYTICS, MARKETING):
        word = stated.get(purpose)
        if word in WORDS:
            box = boxes.get(purpose, {})
            version = str(box.get("version") or stated.get("version") or "")
            yield proof(purpose, str(word), version, str(box.get("text") or ""), source)
    for purpose, box in boxes.items():
        if purpose != MARKETING or stated.get(MARKETING) not in WORDS:
            yield proof(purpose, "granted", str(box.get("version") or ""), str(box.get("text") or ""), source)
    if event.name in WITHDRAWN_BY_MAIL:
        yield replace(proof(MARKETING, "denied", "", "", _place(event)), by_mail=True)


def _stated(event: Event) -> Mapping[str, Any]:
    stated = event.context.get("consent")
    return stated if isinstance(stated, Mapping) else {}


def _boxes(event: Event) -> dict[str, Mapping[str, Any]]:
    """The boxes of a form that were ticked, by their purpose; only a form and its confirmation have any."""
    told = event.properties.get("consents")
    if event.door not in (Door.FORM, Door.LINK) or not isinstance(told, list | tuple):
        return {}
    return {str(one["purpose"]): one for one in told if isinstance(one, Mapping) and one.get("purpose")}


def _place(event: Event) -> str:
    form = event.properties.get("form")
    return f"form {form}" if isinstance(form, str) and form and event.door is Door.FORM else {
        Door.BEACON: "page", Door.LINK: "mail", Door.EMAIL: "mail provider", Door.LIST: "list",
    }.get(event.door, event.door.value)


def standing(proofs: Iterable[Proof]) -> dict[tuple[str, str], Proof]:
    """The proof that stands for each company and purpose: the last one that counts."""
    found: dict[tuple[str, str], Proof] = {}
    for proof in proofs:
        key = proof.site, proof.purpose
        if proof.counts and (proof.word != names.UNCONFIRMED or key not in found):
            found[key] = proof
    return dict(sorted(found.items()))


def said(proofs: Iterable[Proof]) -> dict[str, str]:
    """The last word on each purpose, whichever company of the group it was said to."""
    words: dict[str, str] = {}
    for proof in proofs:
        if proof.counts and (proof.word != names.UNCONFIRMED or proof.purpose not in words):
            words[proof.purpose] = proof.word
    return words


def said_elsewhere(proofs: Iterable[Proof], words: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Where one company heard another last word than the group as a whole: that company's own, by site and purpose."""
    found: dict[str, dict[str, str]] = {}
    for (site, purpose), proof in standing(proofs).items():
        if proof.word != words.get(purpose):
            found.setdefault(site, {})[purpose] = proof.word
    return found
