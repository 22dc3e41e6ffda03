"""Who shares in the deals that were won: every model side by side, over the same journeys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from itertools import accumulate

from closedloop.attribution.journeys import NONE, Conversion, Journey, journeys
from closedloop.attribution.markov import TooLong
from closedloop.attribution.models import MARKOV, Shares, attribute
from closedloop.attribution.paths import Channels, TooWide, paths_from
from closedloop.attribution.rules import (
    BY_PLACE,
    Credit,
    credit,
    credit_by,
    last_non_direct,
    milestones,
    time_decay,
    whole,
)
from closedloop.loops.definition import Loop
from closedloop.reports.facts import Facts
from closedloop.reports.window import Window, own_currency, window

# In the order in which they stand beside each other.
MODELS = (
    "first", "last", "last_non_direct", "linear", "position", "milestones", "time_decay", *MARKOV, "shapley",
    "shapley_ordered",
)


@dataclass(frozen=True, slots=True)
class Credits:
    """The journeys of the deals won in the loop's currency, and each model's exact credit.

    Shapes: `removal` has the Markov models' effects, the share of the deals that would be lost without a channel; a
    Markov model is missing where its chain cannot be solved.
    """

    journeys: tuple[Journey, ...]
    by_rule: Mapping[str, Mapping[str, Credit]]
    removal: Mapping[str, Mapping[str, float]]


def credits_of(loop: Loop, facts: Facts, as_of: datetime) -> Credits:
    """Who shares in the deals that were won in the period.

    Markov models also ask what led to nothing: the touchpoints of those who became known in the period and have won no
    deal.
    """
    seen = window(loop, as_of)
    won = [
        deal for deal in facts.deals
        if deal.won_at is not None and seen.holds(deal.won_at) and own_currency(deal, loop)
    ]
    named = {new.person: new.named_at for new in facts.new_persons}
    ended, prospect, opportunity = [], {}, {}
    for deal in won:
        assert deal.won_at is not None
        conversion = Conversion(f"{deal.site}/{deal.deal}", deal.person, deal.won_at, deal.revenue_minor)
        ended.append(conversion)
        opportunity[conversion.id] = deal.opened_at
        if deal.person in named:
            prospect[conversion.id] = named[deal.person]
    cut = tuple(journeys(ended, facts.touches))
    by_rule = {name: credit(cut, rule) for name, rule in BY_PLACE.items()}
    by_rule["last_non_direct"] = credit_by(cut, last_non_direct())
    by_rule["milestones"] = credit_by(cut, milestones(prospect, opportunity))
    by_rule["time_decay"] = credit_by(cut, time_decay())
    buyers = {deal.person for deal in facts.deals if deal.won_at is not None}
    rows = [(journey.path or (NONE,), 1, journey.conversion.value, 0) for journey in cut]
    rows += [
        (tuple(touch.channel for touch in facts.touches.get(person, ())), 0, 0, 1)
        for person in sorted(named) if person not in buyers
    ]
    channels = Channels()
    paths = [paths_from(rows, channels)]
    removal: dict[str, Mapping[str, float]] = {}
    for model in (*MARKOV, "shapley", "shapley_ordered"):
        try:
            found = attribute(paths, channels.names, [model])
        except (TooLong, TooWide):
            continue
        by_rule[model] = _in_whole_units(found.models[model], placed=model == "shapley_ordered")
        removal.update(found.removal)
    return Credits(cut, {model: by_rule[model] for model in MODELS if model in by_rule}, removal)


def _in_whole_units(shares: Shares, *, placed: bool) -> dict[str, Credit]:
    """Exact shares as credit whose value is whole minor units; a channel's places are added up."""
    sums: dict[str, Credit] = {}
    for (name, share), value in zip(shares.items(), whole([share.value for share in shares.values()]), strict=True):
        channel = name.rpartition(" (")[0] if placed else name
        had = sums.get(channel)
        sums[channel] = Credit(share.conversions + (had.conversions if had else 0), value + (had.value if had else 0))
    return {channel: mine for channel, mine in sums.items() if mine.conversions or mine.value}


def paid_back_on(cut: tuple[Journey, ...], channel: str, cost: int, seen: Window) -> date | None:
    """The day on which the revenue that a channel shares in, the same for each touchpoint, had brought back its cost.

    Units: the cost in minor units, above zero. None while it has not.
    """
    met = [journey for journey in cut if channel in (journey.path or (NONE,))]
    parts = [
        Fraction(journey.conversion.value * (journey.path or (NONE,)).count(channel), len(journey.path or (NONE,)))
        for journey in met
    ]
    for journey, brought in zip(met, accumulate(parts), strict=True):
        if brought >= cost:
            return seen.day(journey.conversion.at)
    return None
