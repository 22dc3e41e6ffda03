"""What somebody owns: folded from what was said of their deals, and what that means of a day, which is never stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from closedloop.events.deals import REFUNDS, STEPS, fold_deal, word_of
from closedloop.events.event import ORDER_COMPLETED, Door, Event, distinct
from closedloop.events.times import iso, parse
from closedloop.sites.definition import LifeCurve, Site, product_key

MOST_THINGS = 200
NAME_CHARS = 200
# What an item of a shop's order is known by, in this order.
NAMED_BY = ("sku", "name", "product_id")
YEAR_S = 365.25 * 86_400
WINDOW_YEARS = 0.5
# The fifth of a class's owners that is likeliest to replace.
TOP = 5


class Thing(NamedTuple):
    """What somebody bought and did not give back.

    Shapes: `since` is an ISO time; `deal` is site and number; `seller` is empty where the site itself sold it.
    """

    product: str
    since: str
    deal: str
    seller: str = ""
    quantity: int = 1

    @property
    def site(self) -> str:
        """The site by which we know of it."""
        return self.deal.partition("/")[0]


def things_of(events: Iterable[Event], sites: Mapping[str, Site]) -> tuple[Thing, ...]:
    """What the words on somebody's deals leave them with, in whatever order and however often they came.

    Only what was won counts. The last word that names products says which they were; a refund of the whole sum takes
    all of them back, and one that names products takes so many of these.

    Shapes: the newest 200, oldest first.
    """
    said: dict[str, list[Event]] = {}
    for event in distinct(event for event in events if event.deal is not None and event.site in sites):
        said.setdefault(f"{event.site}/{event.deal}", []).append(event)
    things = sorted(
        (thing for deal, words in said.items() for thing in _bought(deal, words, sites[words[0].site].time_zone)),
        key=lambda thing: (thing.since, thing.product, thing.deal),
    )
    return tuple(things[-MOST_THINGS:])


def _bought(deal: str, said: Sequence[Event], time_zone: str) -> Iterator[Thing]:
    stands = fold_deal(word_of(event, time_zone) for event in said)
    if stands is None or stands.won_at is None:
        return
    steps = [event for event in said if event.name in STEPS]
    bought = next((items for event in reversed(steps) if (items := _items(event.properties))), {})
    refunds = [event.properties for event in said if event.name in REFUNDS]
    whole = stands.refunded_minor >= stands.amount_minor > 0 or any(
        not isinstance(told.get("amount_minor"), int) and not _items(told) for told in refunds
    )
    if whole:
        return
    given_back: dict[str, int] = {}
    for told in refunds:
        for product, quantity in _items(told).items():
            given_back[product] = given_back.get(product, 0) + quantity
    sellers = (seller for event in reversed(steps) if (seller := _seller(event)))
    seller = next(sellers, "")
    for product, quantity in bought.items():
        left = quantity - given_back.get(product, 0)
        if left > 0:
            yield Thing(product, iso(stands.won_at), deal, seller, left)


def _items(told: Mapping[str, Any]) -> dict[str, int]:
    """How many of which product an event names.

    Source: Segment, "Spec: V2 Ecommerce Events": products with sku, name, product_id and quantity.
    """
    listed = told.get("products")
    lines = listed if isinstance(listed, list) else [{"name": told.get("product"), "quantity": told.get("quantity")}]
    items: dict[str, int] = {}
    for line in lines:
        if isinstance(line, Mapping):
            name = next((text for by in NAMED_BY if (text := _text(line.get(by)))), "")
            if name:
                items[name] = items.get(name, 0) + _count(line.get("quantity"))
    return items


def _seller(event: Event) -> str:
    """Who sold it: whom the event names, else the source of a list of purchases."""
    told = event.properties
    named = _text(told.get("seller")) or _text(told.get("affiliation"))
    if named or event.door is not Door.LIST or event.name != ORDER_COMPLETED:
        return named
    return _text(told.get("list"))


def _text(value: object) -> str:
    stated = isinstance(value, str | int) and not isinstance(value, bool)
    return " ".join(str(value).split())[:NAME_CHARS] if stated else ""


def _count(value: object) -> int:
    """How many: one where nothing sensible is said."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9 else 1


class Catalogue:
    """What the sites of one customer list declare of their products.

    A thing is judged by the site that told of it where that declares it, else by the others, as a dealer's list of one
    company may hold another's products.
    """

    def __init__(self, sites: Iterable[Site]) -> None:
        self._classes: dict[str, dict[str, str]] = {}
        self._anywhere: dict[str, str] = {}
        self._lives: dict[str, LifeCurve] = {}
        self.topics: dict[str, tuple[str, ...]] = {}
        for site in sorted(sites, key=lambda site: site.site):
            own = self._classes.setdefault(site.site, {})
            for name, products in site.products.items():
                self.topics.setdefault(name, products.topics)
                if products.life is not None:
                    self._lives.setdefault(name, products.life)
                for product in products.names:
                    own[product_key(product)] = name
                    self._anywhere.setdefault(product_key(product), name)

    def class_of(self, thing: Thing) -> str:
        """The class that a thing belongs to; nothing while no site declares it."""
        key = product_key(thing.product)
        return self._classes.get(thing.site, {}).get(key) or self._anywhere.get(key, "")

    def called(self, thing: Thing) -> str:
        """What a thing is counted as: its class, or its own name while it has none."""
        return self.class_of(thing) or thing.product

    def life(self, name: str) -> LifeCurve | None:
        """How long things of a class are used; nothing where nobody says."""
        return self._lives.get(name)


def age_of(thing: Thing, as_of: datetime) -> float:
    """How old a thing is.

    Units: years of 365.25 days.
    """
    return max(0.0, (as_of - parse(thing.since)).total_seconds() / YEAR_S)


def replaced_within(years: float, age: float, life: LifeCurve) -> float:
    """How likely a thing of this age that is still in use is replaced within so many years.

    Source: Weibull survival, conditional on the age reached; analytics reference 5.5.
    """
    return -math.expm1((age / life.years) ** life.k - ((age + years) / life.years) ** life.k)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Where an owner stands on the life curve of a class of things, as of a moment.

    Shapes: `thing` is the newest of the class, since whoever bought again has replaced; `open` says that the window is.
    Units: `age` in years; `soon` and `next_year` are the chances of replacement in six months and in a year.
    """

    owner: str
    product_class: str
    thing: Thing
    age: float
    soon: float
    next_year: float
    open: bool
    why: str


def newest(things: Iterable[Thing], catalogue: Catalogue) -> dict[str, Thing]:
    """The newest thing of each class that somebody owns."""
    found: dict[str, Thing] = {}
    for thing in sorted(things, key=lambda thing: (thing.since, thing.product, thing.deal)):
        if name := catalogue.class_of(thing):
            found[name] = thing
    return found


def replacements(
    owners: Iterable[tuple[str, Sequence[Thing]]], catalogue: Catalogue, as_of: datetime
) -> list[Replacement]:
    """Who will replace what they own, the likeliest first; things bought after the moment are not owned yet.

    A window is open from the class's own chance on, where one is declared; otherwise for the fifth of its owners that
    is likeliest to replace in the next six months, ties by average rank.
    """
    of_class: dict[str, list[tuple[str, Thing, float, LifeCurve]]] = {}
    for owner, things in owners:
        for name, thing in newest((one for one in things if parse(one.since) <= as_of), catalogue).items():
            life = catalogue.life(name)
            if life is not None:
                of_class.setdefault(name, []).append((owner, thing, age_of(thing, as_of), life))
    found = []
    for name, owned in of_class.items():
        soon = [replaced_within(WINDOW_YEARS, age, life) for _, _, age, life in owned]
        fifths = quintiles(soon)
        for (owner, thing, age, life), chance, fifth in zip(owned, soon, fifths, strict=True):
            said = f"{chance:.1%} in six months"
            if life.window is not None:
                is_open, why = chance >= life.window, f"{said}, the window opens at {life.window:.1%}"
            else:
                is_open, why = fifth == TOP, f"{said}, fifth {fifth} of {len(owned)} owners"
            found.append(Replacement(owner, name, thing, age, chance, replaced_within(1, age, life), is_open, why))
    return sorted(found, key=lambda one: (-one.soon, one.product_class, one.owner))


def quintiles(values: Sequence[float]) -> list[int]:
    """The fifth that each value falls in, 1 the lowest to 5 the highest; equal values share their average rank.

    The rank's middle is what is cut into fifths, so that one alone, or all alike, stand in the middle fifth.
    Source: analytics reference 5.5.
    """
    count = len(values)
    order = sorted(range(count), key=lambda place: values[place])
    fifths = [0] * count
    start = 0
    while start < count:
        end = start
        while end < count and values[order[end]] == values[order[start]]:
            end += 1
        # Twice the average rank less one, which is whole: no rounding moves a border.
        for place in order[start:end]:
            fifths[place] = 1 + 5 * (start + end) // (2 * count)
        start = end
    return fifths
