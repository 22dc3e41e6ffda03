"""The kinds of people that a loop must tell apart: who has bought, who is of the trade, who only looks, reads or wins.

All of it is read from a profile as of a moment and nothing is stored, so that nobody stays what they were once called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from closedloop.events.times import iso, parse
from closedloop.identity.domains import is_below
from closedloop.profiles.fit import is_one_of
from closedloop.profiles.profile import Profile
from closedloop.sites.definition import Site

# Nobody is called a prize hunter before they had so long to come back.
TO_COME_BACK = timedelta(days=30)
READING = timedelta(days=90)
# Of much reading, the least part that somebody who may buy gives to prices, cases, contact and demonstrations.
INTENT = 0.1
# Who looks at nothing so much as at careers wants a job: at least so many pages, and at least half of all.
CAREERS, CAREERS_PART = 3, 0.5


class Kind(StrEnum):
    """What somebody is to the company, beside a person who may buy."""

    CUSTOMER = "customer"
    EMPLOYEE = "employee"
    COMPETITOR = "competitor"
    JOB_SEEKER = "job_seeker"
    PRIZE_HUNTER = "prize_hunter"
    STUDYING = "studying"
    LOOKING = "looking"


@dataclass(frozen=True, slots=True)
class Told:
    """A kind that somebody is of, why, and the facts that say so, each with how often or what it is."""

    kind: Kind
    reason: str
    evidence: tuple[tuple[str, str], ...] = ()


def kinds_of(profile: Profile, sites: Iterable[Site], as_of: datetime, domain: str = "") -> tuple[Told, ...]:
    """Every kind that somebody is of at a moment, the most telling first.

    Shapes: `sites` are those of the customer list; `domain` is that of the person's address, where it is known.
    """
    own = list(sites)
    read = _Reading.of(profile, own, as_of)
    told = {one.kind: one for one in (*read.job_seeker(), *_customer(profile), *_of_the_trade(profile, own, domain))}
    # What somebody reads or wins says little where more is known of them.
    for guess in (_prize_hunter(profile, as_of), read.not_buying()):
        told = told or {one.kind: one for one in guess}
    return tuple(told[kind] for kind in Kind if kind in told)


def _customer(profile: Profile) -> Iterator[Told]:
    won = [(name, deal) for name, deal in profile.deals.items() if deal.state == "won" and deal.standing != "refunded"]
    if won:
        first = min(deal.at for _, deal in won)[:10]
        yield Told(
            Kind.CUSTOMER, f"has bought: {len(won)} deal{'s' * (len(won) > 1)} won, the first by {first}",
            tuple((name, f"{deal.standing} on {deal.at[:10]}") for name, deal in won),
        )


def _of_the_trade(profile: Profile, sites: Iterable[Site], domain: str) -> Iterator[Told]:
    """Who is no customer to be won, whatever they read: by address, or by what they say of themselves."""
    found: dict[Kind, Told] = {}
    for site in sites:
        for kind, domains in (
            (Kind.EMPLOYEE, site.accounts.own_domains), (Kind.COMPETITOR, site.accounts.competitor_domains)
        ):
            if domain and is_below(domain, domains):
                whose = "our own" if kind is Kind.EMPLOYEE else "a competitor's"
                found.setdefault(kind, Told(kind, f"the address is {whose}: {domain}", (("domain", domain),)))
        for rule in site.kinds.known:
            value, kind = profile.attributes.get(rule.attribute), Kind(rule.kind)
            if is_one_of(value, rule.is_one_of):
                reason = f"{rule.attribute} is {value}"
                found.setdefault(kind, Told(kind, reason, ((rule.attribute, str(value)),)))
    yield from found.values()


def _prize_hunter(profile: Profile, as_of: datetime) -> Iterator[Told]:
    if not profile.prize_at or as_of < (since := parse(profile.prize_at)) + TO_COME_BACK:
        return
    yield Told(
        Kind.PRIZE_HUNTER, f"took a prize on {profile.prize_at[:10]}, and nothing else in {(as_of - since).days} days",
        (("first prize", profile.prize_at),),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """What somebody saw in the last 90 days, by what it is for; an empty purpose is any other page.

    Shapes: of each page the newest views that a profile keeps, so that reloading one is no reading. `declared` says
    that the sites say what their pages are for: else nothing can be told of it.
    """

    seen: Mapping[str, int]
    things: Mapping[str, Mapping[str, int]]
    declared: bool
    much: int

    @classmethod
    def of(cls, profile: Profile, sites: Iterable[Site], as_of: datetime) -> _Reading:
        own = list(sites)
        rules = [rule for site in own for rule in site.kinds.purposes]
        since, until = iso(as_of - READING), iso(as_of)
        paths = sorted(
            ((rule.path, str(rule.purpose)) for rule in rules if rule.path is not None), key=lambda rule: -len(rule[0])
        )
        events = {rule.event: str(rule.purpose) for rule in rules if rule.event is not None}
        seen: dict[str, int] = {}
        things: dict[str, dict[str, int]] = {}
        done = {name: profile.did[name] for name in events if name in profile.did}
        for name, what in (*profile.visited.items(), *done.items()):
            times = sum(since <= moment <= until for moment in what.moments)
            if times:
                purpose = events.get(name) or next((to for path, to in paths if name.startswith(path)), "")
                seen[purpose] = seen.get(purpose, 0) + times
                things.setdefault(purpose, {})[name] = times
        declared = any(rule.purpose != "careers" for rule in rules)
        return cls(seen, things, declared, min((site.kinds.much for site in own), default=0))

    @property
    def all(self) -> int:
        return sum(self.seen.values())

    def job_seeker(self) -> Iterator[Told]:
        jobs = self.seen.get("careers", 0)
        if jobs >= CAREERS and jobs >= CAREERS_PART * self.all:
            yield Told(
                Kind.JOB_SEEKER, f"{jobs} of {self.all} pages seen in {READING.days} days are about careers",
                self._evidence("careers"),
            )

    def not_buying(self) -> Iterator[Told]:
        """Who reads much, or little, and asks for next to nothing that a buyer asks for.

        Source: analytics reference 3.4, the intent ratio.
        """
        other = {"", "careers"}
        intent = self.all - sum(self.seen.get(purpose, 0) for purpose in other)
        if not self.declared or not self.all or intent >= INTENT * self.all:
            return
        asked = f"{intent} of {self.all} pages seen in {READING.days} days are about prices, cases, contact or a demo"
        kind, word = (Kind.STUDYING, "reads much") if self.all >= self.much else (Kind.LOOKING, "looks around")
        yield Told(kind, f"{word}, but only {asked}" if intent else f"{word}, but {asked}", self._evidence(*self.seen))

    def _evidence(self, *purposes: str) -> tuple[tuple[str, str], ...]:
        return tuple(
            (name, f"{times}×{f', {purpose}' if purpose else ''}")
            for purpose in sorted(purposes) for name, times in sorted(self.things[purpose].items())
        )
