"""The truth about a world, as `truth.json` holds it: what a perfect reader of the other files must find.

The product never reads it; tests and demonstrations compare with it.
"""

from __future__ import annotations

# pydantic can check only this one before Python 3.12.
from typing_extensions import TypedDict


class BrowserTruth(TypedDict):
    """One browser; `joined` says by what it told whose it is: form, identify or never."""

    id: str
    joined: str


class PropensitiesTruth(TypedDict):
    """Chances from 0 to 1."""

    pumps: float
    click: float
    buy_anyway: float
    buy_if_mailed: float


class PersonTruth(TypedDict):
    """One human who gave an address."""

    id: str
    kind: str
    emails: list[str]
    browsers: list[BrowserTruth]
    industry: str
    employees: int
    wanted: bool
    reachable: bool
    by_ad: bool
    by_ad_only: bool
    attends_seminar: bool
    propensities: PropensitiesTruth
    would_buy_without_seminar: bool
    would_buy_anyway: bool
    would_buy_if_mailed: bool


class BotTruth(TypedDict):
    """One program, and the visitor id it runs under."""

    visitor: str
    kind: str
    agent: str


class SharedTruth(TypedDict):
    """One browser that several persons use."""

    browser: str
    persons: list[str]


class CampaignTruth(TypedDict):
    """What a campaign really does and really costs.

    Units: `raises_p_deal_by` is the rise of the chance to buy for one person of its audience; buyers are those of the
    audience, without and with the campaign; cost in minor units of JPY.
    """

    raises_p_deal_by: float
    audience: int
    buyers_without: int
    buyers_with: int
    cost_minor: int


class Counts(TypedDict):
    """The numbers of a whole world, as its files have them before any mail of the loop.

    Units: `humans` counts everybody who is no bot; `persons_known` are the distinct addresses, `anonymous_visitors`
    the human browsers that nobody can join to one. `deals_won` counts refunded deals too; `revenue_minor` is what
    was won, `refunded_minor` what of it went back.
    """

    humans: int
    persons_known: int
    wanted_known: int
    prize_hunters: int
    students: int
    lookers: int
    bots: int
    human_visitors: int
    anonymous_visitors: int
    shared_browsers: int
    events: int
    bot_events: int
    forms: int
    mail_events: int
    deal_messages: int
    reactions: int
    deals_opened: int
    deals_won: int
    deals_lost: int
    deals_refunded: int
    revenue_minor: int
    refunded_minor: int
    cost_minor: int


class Truth(TypedDict):
    """The whole of `truth.json`."""

    schema: int
    people: int
    seed: int
    until: str
    site: str
    currency: str
    counts: Counts
    campaigns: dict[str, CampaignTruth]
    shared: list[SharedTruth]
    bots: list[BotTruth]
    lookers: list[str]
    persons: list[PersonTruth]
