"""The gate: a pure question about a person, answered with every condition that decided it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

from closedloop.events.identifiers import normal_address
from closedloop.events.times import iso, parse
from closedloop.identity.roles import NOBODY, UNKNOWN, KnownRole, role_of
from closedloop.loops.definition import Condition, Gate, Owns
from closedloop.profiles.fit import is_one_of
from closedloop.profiles.interest import remaining, share, shown
from closedloop.profiles.kinds import Kind, kinds_of
from closedloop.profiles.ownership import WINDOW_YEARS, Catalogue, age_of, replaced_within
from closedloop.profiles.profile import Asked, Seen
from closedloop.sites.definition import product_key


class Outcome(StrEnum):
    """What a gate answers."""

    ADVANCE = "advance"
    HOLD = "hold"
    EXCLUDE = "exclude"


class HoldKind(StrEnum):
    """Why somebody is held: what is still missing."""

    INTEREST = "not enough interest"
    ACTION = "has not acted yet"
    FIT = "wrong target"
    STUDYING = "studying"
    ROLE = "missing role"
    CONSENT = "no consent"
    TIME = "too early"
    CAPACITY = "capacity"
    HOLDOUT = "holdout"


NAMED_FIRST = (
    HoldKind.FIT, HoldKind.STUDYING, HoldKind.ROLE, HoldKind.CONSENT, HoldKind.INTEREST, HoldKind.ACTION, HoldKind.TIME,
    HoldKind.HOLDOUT,
)
# Of what kinds somebody is who may buy one day, but not now.
NOT_NOW = frozenset((Kind.STUDYING, Kind.LOOKING, Kind.PRIZE_HUNTER))


class Answer(msgspec.Struct, frozen=True):
    """One condition, what was found, and whether that is enough.

    Shapes: `parts` are the conditions it is joined of, empty for a single question.
    """

    holds: bool
    question: str
    found: str
    about: HoldKind
    parts: tuple[Answer, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The explanation as it is kept in a verdict's record."""
        plain: dict[str, Any] = {"holds": self.holds, "question": self.question}
        if self.found:
            plain["found"] = self.found
        if self.parts:
            plain["parts"] = [part.as_json() for part in self.parts]
        return plain


def ask(condition: Condition, profile: Asked, now: datetime) -> Answer:
    """Answer a condition about a person as of now, with what was found for each part."""
    if condition.all is not None:
        parts = tuple(ask(part, profile, now) for part in condition.all)
        holds = all(part.holds for part in parts)
        return Answer(holds, "all of", "", _deciding(parts, holds), parts)
    if condition.any is not None:
        parts = tuple(ask(part, profile, now) for part in condition.any)
        holds = any(part.holds for part in parts)
        return Answer(holds, "any of", "", _deciding(parts, holds), parts)
    if condition.not_ is not None:
        part = ask(condition.not_, profile, now)
        return Answer(not part.holds, "not", "", part.about, (part,))
    return _single(condition, profile, now)


def _single(condition: Condition, profile: Asked, now: datetime) -> Answer:
    # Scores are held against what is asked for as they are shown, so that an explanation never contradicts itself,
    # and a form that is worth 10 points passes a gate that asks for 10, although every score has faded a little.
    if (interest := condition.interest) is not None:
        topic = interest.topic
        points = remaining(profile.interest.get(topic, 0), profile.ignored.get(topic), now)
        part = round(share(profile.interest, topic), 3)
        question = _cares(topic, interest.at_least, interest.share)
        return Answer(
            points >= interest.at_least and part >= interest.share, question, f"{points:.2f}, {part:.1%} of all",
            HoldKind.INTEREST,
        )
    if condition.engagement is not None:
        points, least = shown(profile.engagement, now), condition.engagement.at_least
        return Answer(points >= least, _at_least("engagement", least), f"{points:.2f}", HoldKind.INTEREST)
    if condition.fit is not None:
        least = condition.fit.at_least
        return Answer(profile.fit >= least, _at_least("fit", least), str(profile.fit), HoldKind.FIT)
    if (visited := condition.visited) is not None:
        window = since(visited.within_days, now)
        times = sum(times_in(seen, window) for seen in profile.pages(visited.path))
        question = _often("visited", visited.path, visited.times, visited.within_days)
        return Answer(times >= visited.times, question, f"{times} times", HoldKind.INTEREST)
    if (did := condition.did) is not None:
        seen = profile.done(did.event)
        times = times_in(seen, since(did.within_days, now)) if seen else 0
        question = _often("did", did.event, did.times, did.within_days)
        return Answer(times >= did.times, question, f"{times} times", HoldKind.ACTION)
    if (clicked := condition.clicked) is not None:
        seen = profile.whole().clicked.get(clicked.campaign)
        times = times_in(seen, since(clicked.within_days, now)) if seen else 0
        question = _often("clicked in the mail of", clicked.campaign, clicked.times, clicked.within_days)
        return Answer(times >= clicked.times, question, f"{times} times", HoldKind.ACTION)
    if condition.deal is not None:
        states = profile.deal_states()
        return Answer(
            has_deal(states, condition.deal), f"a deal is {condition.deal}", ", ".join(sorted(states)) or "no deal",
            HoldKind.ACTION,
        )
    if condition.consent is not None:
        said = profile.whole().consent.get(condition.consent, "")
        question = f"consents to {condition.consent}"
        return Answer(said == "granted", question, said or "never asked", HoldKind.CONSENT)
    if condition.kind is not None:
        return _of_kind(condition.kind, profile, now)
    if condition.role is not None:
        role = role_here(profile)
        return Answer(
            role.role in condition.role, f"is {' or '.join(condition.role)}", role.why or "no title is known",
            HoldKind.ROLE,
        )
    if condition.owns is not None:
        return _owns(condition.owns, profile, now)
    if condition.in_stage is not None:
        since_ = profile.around.since
        least = condition.in_stage.at_least_days
        days = (now - parse(since_)).days if since_ else 0
        return Answer(days >= least, f"at this stage for {least} days", f"{days} days", HoldKind.TIME)
    wanted = condition.attribute or {}
    known = {name: profile.attributes.get(name) for name in wanted}
    holds = all(is_wanted(known[name], values) for name, values in wanted.items())
    found = ", ".join(f"{name} {'not known' if value is None else value}" for name, value in known.items())
    return Answer(holds, _alike(tuple(wanted.items())), found, HoldKind.FIT)


def _of_kind(wanted: Sequence[str], profile: Asked, now: datetime) -> Answer:
    around = profile.around
    address = normal_address(around.contact().get("email", "")) or ""
    told = kinds_of(profile.whole(), around.sites, now, address.rpartition("@")[2])
    found = [one for one in told if one.kind in wanted]
    about = HoldKind.STUDYING if NOT_NOW.issuperset(wanted) else HoldKind.FIT
    said = "; ".join(f"{one.kind}: {one.reason}" for one in found or told)
    return Answer(bool(found), f"is of kind {' or '.join(wanted)}", said or "a person who may buy", about)


def role_here(profile: Asked) -> KnownRole:
    """The role that somebody has at the company they buy for, by the first site's rules that knows one."""
    roles = (role_of(profile.attributes, site) for site in profile.around.sites)
    return next((role for role in roles if role.role != UNKNOWN), NOBODY)


def _owns(asked: Owns, profile: Asked, now: datetime) -> Answer:
    catalogue = Catalogue(profile.around.sites)
    wanted = product_key(asked.product)
    things = [
        thing for thing in profile.whole().owned
        if parse(thing.since) <= now and wanted in (product_key(catalogue.class_of(thing)), product_key(thing.product))
    ]
    question = f"owns {asked.product}"
    question += f" for {asked.at_least_years:g} years" if asked.at_least_years else ""
    question += f", replaced within six months with a chance of {asked.replaced_soon:g}" if asked.replaced_soon else ""
    if not things:
        return Answer(False, question, "owns none", HoldKind.FIT)
    # Whoever bought again has replaced: the newest counts.
    thing = max(things, key=lambda thing: thing.since)
    age, life = age_of(thing, now), catalogue.life(catalogue.class_of(thing))
    chance = replaced_within(WINDOW_YEARS, age, life) if life is not None else 0.0
    holds = age >= asked.at_least_years and chance >= asked.replaced_soon
    found = f"{thing.product}, bought on {thing.since[:10]}, {age:.1f} years old"
    found += f", chance {chance:.1%}" if life is not None and asked.replaced_soon else ""
    return Answer(holds, question, found, HoldKind.TIME)


# The questions in words are remembered, as few are asked of many people.


@lru_cache(1024)
def _cares(topic: str, points: float, part: float) -> str:
    return _at_least(f"interest in {topic}", points) + (f" and {part * 100:g}% of all interest" if part else "")


@lru_cache(1024)
def _at_least(what: str, least: float) -> str:
    return f"{what} at least {least:g}"


@lru_cache(1024)
def _often(verb: str, what: str, times: int, within_days: int | None) -> str:
    often = f" {times} times" if times > 1 else ""
    return f"{verb} {what}{often}" + (f" within {within_days} days" if within_days else "")


@lru_cache(1024)
def _alike(wanted: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    return " and ".join(f"{name} is {' or '.join(values)}" for name, values in wanted)


def is_wanted(value: object, wanted: tuple[str, ...]) -> bool:
    """Whether an attribute is one of these values; remembered for the words that come again and again."""
    return _is_wanted_word(value, wanted) if type(value) is str else is_one_of(value, wanted)


_is_wanted_word = lru_cache(4096)(is_one_of)


def has_deal(states: Set[str], wanted: str) -> bool:
    """Whether some deal came so far; one that was won had been opened, even when that message never came."""
    return wanted in states or (wanted == "opened" and "won" in states)


@lru_cache(256)
def since(within_days: int | None, now: datetime) -> str:
    """The first moment of a window, as moments are written; empty, and so before all of them, without one."""
    if within_days is None:
        return ""
    # Moments are whole milliseconds: none lies between the window's first instant and the next whole one.
    return iso(now - timedelta(days=within_days) + timedelta(microseconds=999))


def times_in(seen: Seen, window: str) -> int:
    """How often since a moment; ever when none is given."""
    return len([moment for moment in seen.moments if moment >= window]) if window else seen.times


def _deciding(parts: tuple[Answer, ...], holds: bool) -> HoldKind:
    """What to name when several conditions made an answer so: the wrong target first, as no patience mends it."""
    kinds = [part.about for part in parts if part.holds is holds]
    return next(kind for kind in NAMED_FIRST if kind in kinds)


class Judgement(msgspec.Struct, frozen=True):
    """What a gate says of a person, before any holdout: the outcome, its kind or reason, and why."""

    outcome: Outcome
    reason: str
    hold_kind: HoldKind | None
    why: Mapping[str, Any]


def judge(gate: Gate, profile: Asked, now: datetime) -> Judgement:
    """Ask a gate about a person: those whom it excludes first, then whether they are ready."""
    for rule in gate.exclude:
        answer = ask(rule.when, profile, now)
        if answer.holds:
            return Judgement(Outcome.EXCLUDE, rule.reason, None, answer.as_json())
    answer = ask(gate.when, profile, now)
    if answer.holds:
        return Judgement(Outcome.ADVANCE, "all conditions of the gate hold", None, answer.as_json())
    return Judgement(Outcome.HOLD, _failing(answer), answer.about, answer.as_json())


def _failing(answer: Answer) -> str:
    """What is missing, in words: the first thing of those needed, every thing of those that would do."""
    if answer.question == "all of":
        return next(_failing(part) for part in answer.parts if not part.holds)
    if answer.question == "any of":
        return ", or ".join(_failing(part) for part in answer.parts)
    if answer.question == "not":
        return f"not {_said(answer.parts[0])}"
    return _said(answer)


def _said(answer: Answer) -> str:
    if answer.parts:
        return f"{answer.question} ({', '.join(_said(part) for part in answer.parts)})"
    return f"{answer.question}: {answer.found}"
