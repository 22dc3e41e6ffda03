"""The fold: events in, profile out. Pure, order-free and repeatable; copies and late arrivals change nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import groupby, islice
from typing import Any, TypeVar

import msgspec

from closedloop.events import event as names
from closedloop.events.agents import Evidence, Grade
from closedloop.events.behaviour import graded
from closedloop.events.deals import Word, day_of, fold_deal, word_of
from closedloop.events.event import Door, Event, EventType, distinct
from closedloop.events.sources import source_of
from closedloop.events.times import iso
from closedloop.identity.persons import anchor_of, person_id
from closedloop.profiles import consents
from closedloop.profiles.advocacy import referrals_of
from closedloop.profiles.fit import best_site, fit_of
from closedloop.profiles.ownership import things_of
from closedloop.profiles.points import Line, earned, ignored, is_page, path_of, shown_in_vain
from closedloop.profiles.profile import DealState, Profile, Seen
from closedloop.sites.definition import Site

MOMENTS = 20
# What a profile keeps at most: of paths, acts, attributes and deals each so many, the newest, within so many bytes,
# since an item holds 400 KB and anybody may send long names.
PATHS = 200
ATTRIBUTES = 100
DEALS = 200
REASONS = 10
MOST_BYTES = 80_000
SUPPRESSING = {
    names.EMAIL_UNSUBSCRIBED: "unsubscribed",
    names.EMAIL_COMPLAINED: "complained",
    names.EMAIL_BOUNCED: "bounced",
}
# What no operator takes back.
FOR_GOOD = frozenset(("complained", "bounced"))
INTERNAL = "internal"
CONTACTS = frozenset((Door.BEACON, Door.FORM, Door.EMAIL, Door.DEAL, Door.LINK, Door.IMPORT, Door.LIST))
Kept = TypeVar("Kept")


def fold(events: Iterable[Event], nodes: Iterable[str], sites: Mapping[str, Site]) -> Profile | None:
    """What a person's events say of them; nothing while there is no event.

    Shapes: `nodes` are the person's strong nodes; `sites` are those of the group, events of others are left out.
    """
    facts = [event for event in distinct(events) if event.site in sites]
    if not facts:
        return None
    group = sites[facts[0].site].list_name
    strong = sorted(nodes)
    anchor = anchor_of(strong)
    judged = _judged(facts, sites)
    # An opened mail alone says of nobody that they did something.
    alive = [
        event for event, evidence in judged
        if evidence.grade is not Grade.MACHINE and event.name != names.EMAIL_OPENED
    ]
    interest: dict[str, int] = {}
    engagement = 0
    lines = list(earned(judged, sites))
    for line in lines:
        if line.topic:
            interest[line.topic] = interest.get(line.topic, 0) + line.adds
        else:
            engagement += line.adds
    attributes = _attributes(alive)
    proofs = [proof for proof in consents.proofs_of(consents.changes(facts)) if not proof.by_mail]
    consent = consents.said(proofs)
    return Profile(
        person=person_id(anchor),
        group=group,
        nodes=(anchor, *(node for node in strong if node != anchor)),
        first_at=iso(facts[0].occurred_at),
        last_at=iso((alive or facts)[-1].occurred_at),
        events=len(facts),
        interest=interest,
        engagement=engagement,
        fit=fit_of(attributes, best_site(attributes, [sites[name] for name in {event.site for event in facts}])),
        attributes=attributes,
        visited=_newest(
            _seen((path, e) for e in alive if is_page(e) and (path := path_of(e)))
        ),
        clicked=_newest(_seen(
            (campaign[:100], e) for e in alive
            if e.name == names.EMAIL_CLICKED and isinstance(campaign := e.properties.get("campaign"), str) and campaign
        )),
        did=_newest(_seen((e.name, e) for e in alive if e.type is EventType.TRACK)),
        deals=_deals(facts, sites),
        first_source=next(_arrivals(alive, sites), {}),
        last_source=next(_arrivals(reversed(alive), sites), {}),
        active_days=len(
            {event.occurred_at.date() for event in alive if event.door in (Door.BEACON, Door.FORM, Door.LINK)}
        ),
        suppressed=_suppressed(facts),
        consent=consent,
        site_consent=consents.said_elsewhere(proofs, consent),
        machine=_machine(judged),
        ignored=ignored(shown_in_vain(judged, lines, sites), facts),
        owned=things_of(facts, sites),
        referred=referrals_of(alive),
        prize_at=_prize_at(alive, sites),
    )


def ledger(events: Iterable[Event], sites: Mapping[str, Site]) -> list[Line]:
    """Every line that made the person's interest and engagement, in order of time, and then what was shown in vain.

    Shapes: they sum to the profile, topic by topic; an empty topic is engagement.
    """
    facts = [event for event in distinct(events) if event.site in sites]
    judged = _judged(facts, sites)
    lines = list(earned(judged, sites))
    return lines + shown_in_vain(judged, lines, sites)


def _judged(facts: list[Event], sites: Mapping[str, Site]) -> list[tuple[Event, Evidence]]:
    return graded(facts, [name for name, site in sites.items() if site.count_test_browsers])


def _machine(judged: Iterable[tuple[Event, Evidence]]) -> dict[str, int]:
    """How many events a machine made in this person's name, by the reason why we say so."""
    reasons = Counter(evidence.reason for _, evidence in judged if evidence.grade is Grade.MACHINE)
    return dict(sorted(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:REASONS]))


def _arrivals(events: Iterable[Event], sites: Mapping[str, Site]) -> Iterator[dict[str, str]]:
    """Where the person came from each time they arrived; a direct visit names nothing."""
    for event in events:
        page = event.context.get("page")
        if event.type is not EventType.PAGE or not isinstance(page, Mapping):
            continue
        campaign = event.context.get("campaign")
        source = source_of(
            str(page.get("url") or ""),
            str(page.get("referrer") or ""),
            campaign if isinstance(campaign, Mapping) else {},
            sites[event.site].own_hosts,
        )
        if source.channel.lower() not in (INTERNAL, "direct"):
            yield {
                "at": iso(event.occurred_at),
                "channel": source.channel,
                "source": source.source,
                "term": source.term,
                "campaign": source.campaign,
            }


def _attributes(events: Iterable[Event]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for event in events:
        for name, value in event.traits.items():
            if isinstance(value, str | int | float) and value != "":
                attributes[str(name)[:100]] = value[:300] if isinstance(value, str) else value
    return _within(sorted(attributes.items()), ATTRIBUTES)


def _seen(pairs: Iterable[tuple[str, Event]]) -> dict[str, Seen]:
    ordered = sorted(pairs, key=lambda pair: (pair[0], pair[1].occurred_at, pair[1].id))
    seen = {}
    for key, group in groupby(ordered, key=lambda pair: pair[0]):
        moments = [event.occurred_at for _, event in group]
        seen[key] = Seen(len(moments), tuple(map(iso, moments[-MOMENTS:])))
    return seen


def _newest(seen: Mapping[str, Seen]) -> dict[str, Seen]:
    return _within(sorted(seen.items(), key=lambda item: (item[1].moments[-1], item[0]), reverse=True), PATHS)


def _within(items: Iterable[tuple[str, Kept]], most: int) -> dict[str, Kept]:
    """The first of these, as many as a profile has room for, by name."""
    kept, room = {}, MOST_BYTES
    for name, value in islice(items, most):
        room -= len(name.encode()) + len(json.dumps(value, default=msgspec.to_builtins, ensure_ascii=False).encode())
        if room < 0:
            break
        kept[name] = value
    return dict(sorted(kept.items()))


def _deals(events: Iterable[Event], sites: Mapping[str, Site]) -> dict[str, DealState]:
    """Each deal as its words leave it, by site and id: two sites of a group may give one id to two deals."""
    said: dict[str, list[Word]] = {}
    for event in events:
        if event.deal is not None:
            said.setdefault(f"{event.site}/{event.deal}", []).append(word_of(event, sites[event.site].time_zone))
    deals = {
        name: DealState(
            deal.state, deal.amount_minor, deal.currency, iso(deal.at), deal.refunded_minor, deal.paid_minor,
            deal.mixed, iso(deal.won_at) if deal.won_at and deal.won_at != deal.at else "",
        )
        for name, words in said.items() if (deal := fold_deal(words)) is not None
    }
    return _within(sorted(deals.items(), key=lambda item: (item[1].at, item[0]), reverse=True), DEALS)


def _prize_at(events: Iterable[Event], sites: Mapping[str, Site]) -> str:
    """When somebody first took a prize, if they never filled in anything else and never came on any other day."""
    prizes = [event for event in events if event.name == names.FORM_SUBMITTED and event.properties.get("incentive")]
    if not prizes:
        return ""
    days = {_day(event, sites) for event in prizes}
    if all(
        event.properties.get("incentive") if event.name == names.FORM_SUBMITTED else _day(event, sites) in days
        for event in events if _is_contact(event)
    ):
        return iso(prizes[0].occurred_at)
    return ""


def _is_contact(event: Event) -> bool:
    """Whether the person met the company by this, and not somebody or something on their behalf."""
    if event.type is not EventType.TRACK:
        return is_page(event)
    by_mail = event.door is Door.EMAIL and event.name != names.EMAIL_CLICKED
    return not by_mail and event.name not in SUPPRESSING and event.door in CONTACTS


def _day(event: Event, sites: Mapping[str, Site]) -> date:
    return day_of(event.occurred_at, sites[event.site].time_zone)


def _suppressed(events: Iterable[Event]) -> str:
    """Why this person gets no mail; a complaint and a dead address stand whatever comes later."""
    standing = ""
    for event in events:
        operator = event.door is Door.OPERATOR
        if operator and event.name == names.MAIL_ALLOWED and standing not in FOR_GOOD:
            standing = ""
        reason = "manual" if operator and event.name == names.MAIL_SUPPRESSED else SUPPRESSING.get(event.name)
        if reason and not (reason == "bounced" and event.properties.get("soft")):
            standing = reason if not standing or (reason in FOR_GOOD and standing not in FOR_GOOD) else standing
    return standing
