"""Rules that share the credit of a deal among its touchpoints.

They keep accounts and prove no effect; the page that shows them says so. Credit is counted in exact fractions, and
money is rounded once for all channels together, so that it sums to the revenue to the last minor unit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from closedloop.attribution.journeys import NONE, Journey

Rule = Callable[[int], tuple[Fraction, ...]]
Weigh = Callable[[Journey], Sequence[Fraction]]

# A weight that is no fraction by nature is cut to so many parts, which are dealt out whole.
PARTS = 10**12
DIRECT = frozenset({"direct", "(direct)"})
HALF_LIFE = timedelta(days=30)


def first(touches: int) -> tuple[Fraction, ...]:
    """All credit to what was met first."""
    return (Fraction(1), *(Fraction(0),) * (touches - 1))


def last(touches: int) -> tuple[Fraction, ...]:
    """All credit to what was met last."""
    return (*(Fraction(0),) * (touches - 1), Fraction(1))


def linear(touches: int) -> tuple[Fraction, ...]:
    """The same credit to every touchpoint; repeats count."""
    return (Fraction(1, touches),) * touches


def position(touches: int) -> tuple[Fraction, ...]:
    """Two fifths each to what was met first and last, the fifth left over to all between: the U.

    Shapes: two touchpoints halve the credit, one has it all.
    Source: analytics reference 2.2, with f = l = 0.4.
    """
    if touches < 3:
        return linear(touches)
    between = Fraction(1, 5 * (touches - 2))
    return (Fraction(2, 5), *(between,) * (touches - 2), Fraction(2, 5))


# The rules that a loop's report shows, and all that look at nothing but the place in the path.
RULES: Mapping[str, Rule] = {"first": first, "last": last, "linear": linear}
BY_PLACE: Mapping[str, Rule] = {**RULES, "position": position}


def is_direct(channel: str, direct: Collection[str] = DIRECT) -> bool:
    """Whether a channel is the one of those who came by themselves; case does not count."""
    return channel.casefold() in direct


def last_non_direct(direct: Collection[str] = DIRECT) -> Weigh:
    """All credit to what was met last, unless the buyer just came by themselves: then to what was met before.

    Shapes: where nothing but direct was met, the last of it has the credit.
    Source: analytics reference 2.2.
    """

    def weigh(journey: Journey) -> Sequence[Fraction]:
        path = journey.path
        place = max((i for i, channel in enumerate(path) if not is_direct(channel, direct)), default=len(path) - 1)
        return tuple(Fraction(i == place) for i in range(len(path)))

    return weigh


def time_decay(half_life: timedelta = HALF_LIFE) -> Weigh:
    """The more credit, the nearer to the deal: half as much for each half-life that a touchpoint is older.

    Units: the half-life is 7 days for consumers and 30 in business, unless the site says otherwise; a weight is a
    whole number of billionths of thousandths.
    Source: analytics reference 2.2.
    """

    def weigh(journey: Journey) -> Sequence[Fraction]:
        # Ages count from the last touchpoint: the common factor cancels, and nothing sinks below what floats hold.
        newest = journey.touches[-1].at
        return _shared([Fraction(2.0 ** -((newest - touch.at) / half_life)) for touch in journey.touches])

    return weigh


def milestones(prospect: Mapping[str, datetime], opportunity: Mapping[str, datetime]) -> Weigh:
    """Three tenths each to the touchpoints that came first, made a prospect and made an opportunity: the W.

    Shapes: when each conversion's person became a prospect, and its deal an opportunity, by the conversion's id; the
    touchpoint of a milestone is the last one met until then. One tenth is shared by the rest. Milestones on one
    touchpoint add up, one that is missing weighs nothing, and without a rest its tenth is left out; what there is
    is then scaled to the whole.
    Source: analytics reference 2.2.
    """

    def weigh(journey: Journey) -> Sequence[Fraction]:
        marked = [0]
        for moments in (prospect, opportunity):
            at = moments.get(journey.conversion.id)
            met = [i for i, touch in enumerate(journey.touches) if at is not None and touch.at <= at]
            marked += met[-1:]
        rest = len(journey.touches) - len(set(marked))
        # Without a rest every touchpoint bears a milestone, and the second half is never asked.
        weights = [Fraction(3 * marked.count(i), 10) or Fraction(1, 10 * rest) for i in range(len(journey.touches))]
        there_is = sum(weights, Fraction(0))
        return [weight / there_is for weight in weights]

    return weigh


def _shared(weights: Sequence[Fraction]) -> list[Fraction]:
    """Weights in proportion, as parts that sum to 1."""
    total = sum(weights, Fraction(0))
    return [Fraction(part, PARTS) for part in whole([weight * PARTS / total for weight in weights])]


@dataclass(frozen=True, slots=True)
class Credit:
    """What one channel is credited with by one rule.

    Units: `conversions` is exact and without unit; `value` is in minor units.
    """

    conversions: Fraction
    value: int


def credit(journeys: Iterable[Journey], rule: Rule) -> dict[str, Credit]:
    """Share the conversions and their value among the channels by place, conserving both exactly.

    Shapes: one entry per channel that was met; `(none)` holds the conversions without a touchpoint.
    Source: analytics reference 2.1, 2.2.
    """
    return credit_by(journeys, lambda journey: rule(len(journey.touches)))


def credit_by(journeys: Iterable[Journey], weigh: Weigh) -> dict[str, Credit]:
    """Share the conversions and their value among the channels, conserving both exactly.

    Shapes: as `credit`; a journey is weighed only where something was met.
    Source: analytics reference 2.1, 2.2.
    """
    conversions: dict[str, Fraction] = {}
    values: dict[str, Fraction] = {}
    for journey in journeys:
        path, weights = (journey.path, weigh(journey)) if journey.touches else ((NONE,), (Fraction(1),))
        for channel, weight in zip(path, weights, strict=True):
            if weight:
                conversions[channel] = conversions.get(channel, Fraction(0)) + weight
                values[channel] = values.get(channel, Fraction(0)) + weight * journey.conversion.value
    channels = sorted(conversions)
    rounded = whole([values[channel] for channel in channels])
    return {channel: Credit(conversions[channel], value) for channel, value in zip(channels, rounded, strict=True)}


def whole(shares: Sequence[Fraction]) -> list[int]:
    """Round shares to whole numbers whose sum is the rounded sum of the shares.

    Each share moves by less than 1; of equal remainders the earlier one is rounded up.
    Source: the method of largest remainder (Hare-Niemeyer).
    """
    floors = [share.__floor__() for share in shares]
    missing = round(sum(shares, Fraction(0))) - sum(floors)
    by_remainder = sorted(range(len(shares)), key=lambda i: (floors[i] - shares[i], i))
    for place in by_remainder[:missing]:
        floors[place] += 1
    return floors
