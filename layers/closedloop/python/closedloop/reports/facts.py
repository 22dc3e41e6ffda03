"""What the lake answers about one loop as of one moment: counted facts, before any figure is made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from closedloop.attribution.journeys import Touch
from closedloop.reports.deals import Deal


@dataclass(frozen=True, slots=True)
class Users:
    """Who looked at the pages in the period, by evidence that is not a machine's."""

    known: int
    anonymous: int
    page_views: int
    page_views_of_nobody: int


@dataclass(frozen=True, slots=True)
class Week:
    """One week, named after its Monday."""

    week: date
    unique_users: int
    page_views: int


@dataclass(frozen=True, slots=True)
class FirstDay:
    """The people first seen on one day, and how many were active again on days 2-7 and 2-30."""

    day: date
    week: date
    people: int
    back_7: int
    back_30: int


@dataclass(frozen=True, slots=True)
class NewPerson:
    """Somebody who became known in the period.

    Units: `fit` is 0 to 100.
    Shapes: `prize_only` says that they took a prize and did nothing else (see profiles/kinds.py).
    """

    person: str
    named_at: datetime
    day: date
    week: date
    fit: int
    back_30: bool
    prize_only: bool = False


@dataclass(frozen=True, slots=True)
class CampaignCost:
    campaign: str
    currency: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class StageCount:
    """One stage: how many entered it, left it, and stand there now."""

    stage: str
    entered: int
    left: int
    now: int


@dataclass(frozen=True, slots=True)
class VerdictCount:
    """How many persons a gate finally gave this verdict."""

    gate: str
    outcome: str
    hold_kind: str
    reason: str
    people: int


@dataclass(frozen=True, slots=True)
class ArmCount:
    """The arms of one experiment; `mixed` were merged from persons in different arms and are left out.

    Shapes: kind is holdout, reverse or universal, the last without a gate; of a reverse holdout `treated` are those
    let through and `holdout` those refused.
    """

    kind: str
    gate: str
    eligible: int
    treated: int
    holdout: int
    mixed: int
    treated_won: int
    holdout_won: int


@dataclass(frozen=True, slots=True)
class MailCount:
    campaign: str
    name: str
    machine: bool
    people: int


@dataclass(frozen=True, slots=True)
class ActionCount:
    campaign: str
    outcome: str
    people: int


@dataclass(frozen=True, slots=True)
class Quality:
    """How good the data are: what was delivered, what counts, what is set apart.

    Units: events; `set_aside` are what a list took back and operators' words on who is who; `failed` are records of
    the failed store, which the whole installation shares.
    """

    delivered: int
    distinct_ids: int
    counted: int
    late: int
    machine: int
    page_views: int
    human_page_views: int
    cookieless: int
    set_aside: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """One row of the table funnel_daily.

    Units: people, and minor units of the currency.
    """

    site: str
    day: date
    loop: str
    stage: str
    source: str
    medium: str
    campaign: str
    entered: int
    advanced: int
    held: int
    excluded: int
    revenue_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class StageStay:
    """People who were at one stage equally long.

    Shapes: `end` is moved (on along the path), lost (beside it), still (there), or joined (found to be one
    with somebody, who goes on for both).
    """

    stage: str
    end: str
    hours: int
    people: int


@dataclass(frozen=True, slots=True)
class CohortWeek:
    """Of the people first seen in one week, those active so many weeks after it."""

    week: date
    after: int
    people: int


@dataclass(frozen=True, slots=True)
class CampaignPeople:
    """Who met one campaign of the loop in the period, and how many of them were known before."""

    campaign: str
    people: int
    known: int


@dataclass(frozen=True, slots=True)
class ListCount:
    """The addresses of the customer list, each under the first word that holds of it, in this order."""

    addresses: int = 0
    bounced: int = 0
    complained: int = 0
    stopped: int = 0
    gone_quiet: int = 0
    alive: int = 0


@dataclass(frozen=True, slots=True)
class ReceivedSince:
    """Facts received since the former report that speak of days which it had already shown, by name and currency."""

    name: str
    currency: str
    facts: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a report is made of.

    Shapes: `touches` are the touchpoints of everybody who won a deal or became known in the period, by person.
    """

    users: Users
    weeks: tuple[Week, ...]
    first_days: tuple[FirstDay, ...]
    new_persons: tuple[NewPerson, ...]
    touches: Mapping[str, tuple[Touch, ...]]
    deals: tuple[Deal, ...]
    costs: tuple[CampaignCost, ...]
    stages: tuple[StageCount, ...]
    broken_paths: int
    paths: int
    persons_in_loop: int
    persons_known: int
    verdicts: tuple[VerdictCount, ...]
    advances_without_move: int
    arms: tuple[ArmCount, ...]
    mails: tuple[MailCount, ...]
    actions: tuple[ActionCount, ...]
    quality: Quality
    funnel: tuple[FunnelRow, ...]
    stays: tuple[StageStay, ...] = ()
    cohorts: tuple[CohortWeek, ...] = ()
    campaign_people: tuple[CampaignPeople, ...] = ()
    list_count: ListCount = field(default_factory=ListCount)
    received_since: tuple[ReceivedSince, ...] = ()
