"""Who lives in the world: people with their truth, lookers who stay unknown, and bots.

Drawn one after the other from numbers of chance that belong to each of them alone, so the story of one does not move
when another is told or left out.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from closedloop.world import catalogue as c

DAYS = 60
SEMINAR_DAYS_BEFORE = 15

# What the campaigns really do: the rise of the chance to buy for one person whom the campaign reaches.
CASE_MAIL_EFFECT = 0.25
PUMP_SEMINAR_EFFECT = 0.08
# Of those whom an ad brought, the share that would have come by themselves.
AD_CAME_ANYWAY = 0.3


class Kind(StrEnum):
    """What somebody is after."""

    PROSPECT = "prospect"
    STUDENT = "student"
    PRIZE_HUNTER = "prize_hunter"


class Joined(StrEnum):
    """By what a browser told whose it is; a browser that never did cannot be joined by anybody."""

    FORM = "form"
    IDENTIFY = "identify"
    NEVER = "never"


class Outcome(StrEnum):
    """How a deal that happens without any mail stands at the end."""

    WON = "won"
    LOST = "lost"
    OPEN = "open"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class Browser:
    """One browser of a person, known to the site by its visitor id."""

    id: str
    agent: str
    joined: Joined


@dataclass(frozen=True, slots=True)
class Deal:
    """An opportunity that opens whether or not anybody is mailed.

    Units: days before the end of the world (`closed_days` is 0 while it is open), amount in minor units.
    """

    id: str
    outcome: Outcome
    opened_days: int
    closed_days: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Propensities:
    """What a person is inclined to do, each from 0 to 1; nobody but the world knows them."""

    pumps: float
    click: float
    buy_anyway: float
    buy_if_mailed: float


@dataclass(frozen=True, slots=True)
class Person:
    """One human who gives an address once, with everything that is true of them.

    Units: `first_days` is the day of the first visit, counted back from the end. `by_ad_only` says that without the
    ad they had never come; `reachable` that a mail to them arrives.
    """

    number: int
    kind: Kind
    locale: str
    first_name: str
    company: str
    industry: str
    employees: int
    email: str
    browsers: tuple[Browser, ...]
    first_days: int
    by_ad: bool
    by_ad_only: bool
    attends_seminar: bool
    reachable: bool
    propensities: Propensities
    would_buy_without_seminar: bool
    would_buy_anyway: bool
    would_buy_if_mailed: bool
    deal: Deal | None

    @property
    def id(self) -> str:
        return f"person-{self.number}"

    @property
    def wanted(self) -> bool:
        """Whether their firm is one that the loop is for."""
        return self.industry in c.WANTED_INDUSTRIES and self.employees >= c.WANTED_EMPLOYEES

    @property
    def keen(self) -> bool:
        """Whether they are wanted and care about pumps: the people that the case mail moves."""
        return self.kind is Kind.PROSPECT and self.wanted and self.propensities.pumps >= 0.5

    @property
    def moved_by_mail(self) -> bool:
        """Whether the mail makes the difference between buying and not."""
        return self.would_buy_if_mailed and not self.would_buy_anyway


@dataclass(frozen=True, slots=True)
class Looker:
    """A human who looks around and never says who they are."""

    number: int
    browser: Browser
    locale: str
    careers: bool


@dataclass(frozen=True, slots=True)
class Bot:
    """A program that loads pages."""

    number: int
    kind: str
    visitor: str
    agent: str


def chance(seed: int, kind: str, number: int) -> Random:
    """The numbers of chance that belong to one inhabitant.

    Source: Python seeds from text by SHA-512, the same on every machine and version.
    """
    return Random(f"{seed}:{kind}:{number}")


def visitor_id(rng: Random) -> str:
    """A visitor id, as the capture function would have set it."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _kind(rng: Random) -> Kind:
    return rng.choices((Kind.PROSPECT, Kind.STUDENT, Kind.PRIZE_HUNTER), (70, 10, 20))[0]


def _firm(rng: Random, kind: Kind) -> tuple[str, int]:
    """Industry and number of employees."""
    if kind is Kind.STUDENT:
        return "student", 0
    wanted = rng.random() < (0.62 if kind is Kind.PROSPECT else 0.1)
    if wanted:
        return rng.choice(c.WANTED_INDUSTRIES), rng.choice((100, 120, 250, 400, 800, 1500))
    # Unwanted for one reason or the other: the wrong trade, or the right one and too small.
    if rng.random() < 0.3:
        return rng.choice(c.WANTED_INDUSTRIES), rng.choice((5, 12, 30, 80))
    return rng.choice(c.OTHER_INDUSTRIES), rng.choice((3, 20, 60, 150, 600))


def _name(rng: Random, locale: str) -> tuple[str, str]:
    """The given name as it is written, and what stands before the @."""
    if locale == "ja-JP":
        (_, family), (written, given) = rng.choice(c.JAPANESE_FAMILIES), rng.choice(c.JAPANESE_GIVEN)
        return written, f"{given}.{family}"
    family, given = rng.choice(c.ENGLISH_FAMILIES), rng.choice(c.ENGLISH_GIVEN)
    return given, f"{given}.{family}".lower()


def _browsers(rng: Random, kind: Kind, neighbour: Person | None) -> tuple[Browser, ...]:
    """One to three browsers; now and then the last is the neighbour's, at home or at work."""
    own = 1 if kind is Kind.PRIZE_HUNTER else rng.choices((1, 2, 3), (62, 28, 10))[0]
    browsers = [Browser(visitor_id(rng), rng.choice(c.WINDOWS if rng.random() < 0.75 else c.PHONES), Joined.FORM)]
    for _ in range(own - 1):
        joined = rng.choices((Joined.FORM, Joined.IDENTIFY, Joined.NEVER), (40, 40, 20))[0]
        browsers.append(Browser(visitor_id(rng), rng.choice(c.PHONES if rng.random() < 0.6 else c.WINDOWS), joined))
    if neighbour is not None and own < 3 and kind is not Kind.PRIZE_HUNTER and rng.random() < 0.08:
        lent = neighbour.browsers[0]
        browsers.append(Browser(lent.id, lent.agent, Joined.FORM))
    return tuple(browsers)


def _amount(rng: Random) -> int:
    """The value of a deal: a few million yen, in steps of ten thousand."""
    return max(30, round(rng.lognormvariate(5.7, 0.5))) * 10_000


def _deal(rng: Random, number: int, outcome: Outcome, *, after_seminar: bool) -> tuple[int, Deal]:
    """The day of the first visit that leaves room for a deal, and the deal."""
    if outcome is Outcome.OPEN:
        opened, closed = rng.randint(2, 8), 0
    elif after_seminar:
        opened = rng.randint(SEMINAR_DAYS_BEFORE - 5, SEMINAR_DAYS_BEFORE - 1)
        closed = opened - rng.randint(3, 8)
    else:
        opened = rng.randint(14, DAYS - 15)
        closed = opened - rng.randint(3, 12)
    first = min(DAYS, opened + rng.randint(8, 15))
    return first, Deal(f"D-{number:06d}", outcome, opened, closed, _amount(rng))


def draw_person(rng: Random, number: int, neighbour: Person | None) -> Person:
    """Bring one person into the world.

    Shapes: `neighbour` is the person before, whose browser may be shared. One draw decides both whether they buy
    anyway and whether they buy if mailed, so a mail never loses a buyer.
    """
    kind = _kind(rng)
    industry, employees = _firm(rng, kind)
    wanted = industry in c.WANTED_INDUSTRIES and employees >= c.WANTED_EMPLOYEES
    locale = "ja-JP" if rng.random() < 0.7 else "en-US"
    first_name, local = _name(rng, locale)
    company, domain = rng.choice(c.COMPANIES[industry])
    if kind is Kind.PRIZE_HUNTER:
        local, domain = f"lucky.{local}", "freemail"

    prospect = kind is Kind.PROSPECT
    pumps = round(rng.betavariate(4, 2) if prospect and wanted else rng.betavariate(2, 3), 3)
    keen = prospect and wanted and pumps >= 0.5
    reachable = rng.random() >= 0.03
    attends = prospect and rng.random() < 0.25
    base = round(0.03 + 0.12 * pumps, 3) if keen else 0.02 if prospect else 0.0
    anyway = round(base + (PUMP_SEMINAR_EFFECT if attends else 0), 3)
    if_mailed = round(anyway + (CASE_MAIL_EFFECT if keen and reachable else 0), 3)
    luck = rng.random()

    first_days, deal = rng.randint(1, DAYS), None
    if luck < anyway:
        outcome = Outcome.REFUNDED if rng.random() < 0.06 else Outcome.WON
        first_days, deal = _deal(rng, number, outcome, after_seminar=luck >= base)
    elif prospect and luck >= if_mailed and rng.random() < 0.1:
        outcome = rng.choice((Outcome.LOST, Outcome.LOST, Outcome.OPEN))
        first_days, deal = _deal(rng, number, outcome, after_seminar=False)
    if attends:
        first_days = max(first_days, SEMINAR_DAYS_BEFORE + rng.randint(6, 20))
    browsers = _browsers(rng, kind, neighbour)
    if len(browsers) > 1:
        # Early enough that each browser gets its visit.
        first_days = max(first_days, len(browsers) + 5)
    by_ad = prospect and rng.random() < 0.45
    return Person(
        number=number, kind=kind, locale=locale, first_name=first_name, company=company, industry=industry,
        employees=employees, email=f"{local}{number}@{domain}.example", browsers=browsers,
        first_days=first_days, by_ad=by_ad, by_ad_only=by_ad and rng.random() >= AD_CAME_ANYWAY,
        attends_seminar=attends, reachable=reachable,
        propensities=Propensities(
            pumps=pumps, click=0.55 if keen else 0.25 if prospect else 0.05, buy_anyway=anyway, buy_if_mailed=if_mailed,
        ),
        would_buy_without_seminar=luck < base, would_buy_anyway=luck < anyway, would_buy_if_mailed=luck < if_mailed,
        deal=deal,
    )


def draw_looker(rng: Random, number: int) -> Looker:
    """Bring somebody into the world who will stay unknown."""
    browser = Browser(visitor_id(rng), rng.choice(c.WINDOWS + c.PHONES), Joined.NEVER)
    return Looker(number, browser, "ja-JP" if rng.random() < 0.7 else "en-US", rng.random() < 0.25)


def draw_bot(rng: Random, number: int) -> Bot:
    """Bring a program into the world; the kinds take turns, so a small world has each of them."""
    kind, agent = c.CRAWLERS[number % len(c.CRAWLERS)]
    return Bot(number, kind, visitor_id(rng), agent)
