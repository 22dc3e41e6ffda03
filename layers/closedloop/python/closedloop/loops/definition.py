"""The loop: a versioned plan of numeric objectives, ordered campaigns and the gates between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, model_validator

from closedloop.events.event import EMAIL_OPENED
from closedloop.sites.definition import (
    OPENS_PROVE_NOTHING,
    Currency,
    Definition,
    Flag,
    Name,
    Path,
    Place,
    Text,
    Zone,
    doubled,
    refuse,
)
from closedloop.sites.words import did_you_mean, listed


def _day(value: Any) -> date:
    """A day as people write it for machines; a number is no day."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value} is no day of the calendar") from None
    raise ValueError(f"expected a day, such as 2026-09-01, found {'nothing' if value is None else value}")


Day = Annotated[date, BeforeValidator(_day)]
Score = Annotated[float, Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Fit = Annotated[int, Field(strict=True, ge=0, le=100)]
Times = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Days = Annotated[int, Field(strict=True, ge=1, le=400)]
Money = Annotated[int, Field(strict=True, ge=0, le=10**15)]

# So many of the newest moments of one thing are kept in a profile; a window cannot count more.
COUNTED_IN_A_WINDOW = 20

EXCLUDED = "excluded"
RECYCLED = "recycled"
LOST = "lost"
BESIDE_THE_PATH = (EXCLUDED, RECYCLED, LOST)


class Metric(StrEnum):
    """What an objective counts; awareness and page views are none of them, since nobody can answer for them."""

    NEW_PERSONS_WITH_FIT = "new_persons_with_fit"
    OPPORTUNITIES = "opportunities"
    EXPECTED_SALES = "expected_sales"
    SALES = "sales"
    DEALS_WON = "deals_won"


class Objective(Definition):
    """A number to reach by a date.

    Units: `target` counts people or deals, or is money in minor units of the loop's currency; `fit` is the least
    fit, of 100, that makes a person one of the wanted.
    """

    metric: Metric
    target: Annotated[int, Field(strict=True, gt=0, le=10**15)]
    by: Day
    fit: Fit = 50


class Interest(Definition):
    """How much somebody cares about a topic now, and what share of all their interest that is."""

    topic: Name
    at_least: Score
    share: Share = 0


class AtLeast(Definition):
    """A score that has to be reached."""

    at_least: Score


class FitAtLeast(Definition):
    """How much somebody has to be like the wanted people, of 100."""

    at_least: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)]


class Often(Definition):
    """How often, and in how many of the last days; ever when no days are given."""

    times: Times = 1
    within_days: Days | None = None

    @model_validator(mode="after")
    def _can_be_counted(self) -> Often:
        if self.within_days is not None and self.times > COUNTED_IN_A_WINDOW:
            text = f"expected at most {COUNTED_IN_A_WINDOW} where within_days is given, found {self.times}"
            refuse("often", [(("times",), text)])
        return self


class Visited(Often):
    """Pages seen, by the start of their path."""

    path: Path


class Did(Often):
    """Something done, by the event's name."""

    event: Text

    @model_validator(mode="after")
    def _proves_something(self) -> Did:
        if self.event == EMAIL_OPENED:
            refuse("did", [(("event",), OPENS_PROVE_NOTHING)])
        return self


class Condition(Definition):
    """One question about a person, or several joined; exactly one of the names is given."""

    all: tuple[Condition, ...] | None = None
    any: tuple[Condition, ...] | None = None
    not_: Condition | None = Field(default=None, alias="not")
    interest: Interest | None = None
    engagement: AtLeast | None = None
    fit: FitAtLeast | None = None
    visited: Visited | None = None
    did: Did | None = None
    deal: Literal["opened", "won", "lost"] | None = None
    attribute: dict[Text, Annotated[tuple[Text, ...], Field(min_length=1)]] | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Condition:
        names = {name: field.alias or name for name, field in type(self).model_fields.items()}
        given = [alias for name, alias in names.items() if getattr(self, name) is not None]
        if not given:
            raise ValueError(f"expected one question: {listed(list(names.values()))}")
        if len(given) > 1:
            raise ValueError(f"expected one question, found {listed(given, 'and')}; join them with all or any")
        if self.all == () or self.any == ():
            refuse("condition", [((given[0],), "expected at least one condition in the list")])
        if self.attribute == {}:
            refuse("condition", [(("attribute",), "expected at least one attribute with its values")])
        return self


class Mail(Definition):
    """A mail to write to those who come through the gate.

    Shapes: the texts are templates that may use first_name, link, unsubscribe_link and the person's attributes.
    """

    subject: Text
    text: str = Field(min_length=1, max_length=50_000)
    html: str = Field(default="", max_length=100_000)
    link: Text


class Cost(Definition):
    """What a campaign costs in all, in minor units of the loop's currency."""

    amount_minor: Money


class Campaign(Definition):
    """One touchpoint activity for one stage of the purchase process.

    Units: `incentive` says that people are paid for answering, as by a prize.
    """

    name: Name
    stage: Name
    touchpoint: Literal["page", "form", "email", "seminar", "exhibition", "call", "dealer", "ad"]
    incentive: Flag = False
    cost: Cost | None = None
    mail: Mail | None = None

    @model_validator(mode="after")
    def _mail_is_mailed(self) -> Campaign:
        if self.mail is not None and self.touchpoint != "email":
            text = f"campaign {self.name} has a mail, so expected email, found {self.touchpoint!r}"
            refuse("campaign", [(("touchpoint",), text)])
        return self


class ExcludeRule(Definition):
    """Who is taken out of the loop at this gate, and why, in words."""

    when: Condition
    reason: Text


class Gate(Definition):
    """The filter between the campaigns of one stage and those of the next.

    Units: `holdout` is the random share of those who pass that is kept back, to measure what the campaign adds.
    """

    name: Name
    from_: Name = Field(alias="from")
    to: Name
    when: Condition
    exclude: tuple[ExcludeRule, ...] = ()
    holdout: Annotated[float, Field(strict=True, ge=0, le=0.5, allow_inf_nan=False)] = 0


class Period(Definition):
    """From the first day to the last, both included, in the loop's time zone."""

    start: Day
    end: Day

    @model_validator(mode="after")
    def _forward(self) -> Period:
        if self.end < self.start:
            refuse("period", [(("end",), f"the period ends on {self.end}, before it starts on {self.start}")])
        return self


class Loop(Definition):
    """A plan from objective to measured result.

    Shapes: `stages` are in order of the purchase process; a person enters at the first; gates lead forward only.
    """

    loop: Name
    sites: tuple[Name, ...] = Field(min_length=1)
    strategy: Text
    period: Period
    time_zone: Zone = "Asia/Tokyo"
    currency: Currency
    objectives: tuple[Objective, ...] = Field(min_length=1)
    stages: tuple[Name, ...] = Field(min_length=2)
    campaigns: tuple[Campaign, ...] = Field(min_length=1)
    gates: tuple[Gate, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _hangs_together(self) -> Loop:
        gates = [*self._unknown_stages(), *self._backward_gates()]
        # A gate that leads astray leaves its stage unreached: that says nothing new.
        refuse("loop", [*self._doubled(), *(gates or self._unreached_stages()), *self._times()])
        return self

    def _doubled(self) -> Iterator[tuple[Place, str]]:
        for place, site in doubled(self.sites):
            yield ("sites", place), f"site {site} is named twice"
        for place, stage in doubled(self.stages):
            yield ("stages", place), f"stage {stage} is named twice"
        for place, name in doubled([campaign.name for campaign in self.campaigns]):
            yield ("campaigns", place, "name"), f"campaign {name} is named twice"
        for place, name in doubled([gate.name for gate in self.gates]):
            yield ("gates", place, "name"), f"gate {name} is named twice"

    def _unknown_stages(self) -> Iterator[tuple[Place, str]]:
        named = [(("campaigns", place, "stage"), campaign.stage) for place, campaign in enumerate(self.campaigns)]
        for place, gate in enumerate(self.gates):
            named += [(("gates", place, "from"), gate.from_), (("gates", place, "to"), gate.to)]
        for at, stage in named:
            if stage not in self.stages:
                near = did_you_mean(stage, self.stages)
                yield at, f"expected one of the stages {listed(self.stages)}, found {stage!r}{near}"

    def _backward_gates(self) -> Iterator[tuple[Place, str]]:
        order = {stage: place for place, stage in reversed(list(enumerate(self.stages)))}
        for place, gate in enumerate(self.gates):
            if order.get(gate.to, len(order)) <= order.get(gate.from_, -1):
                way = f"from {gate.from_} to {gate.to}"
                yield ("gates", place, "to"), f"gate {gate.name} leads {way}; a gate leads forward"

    def _unreached_stages(self) -> Iterator[tuple[Place, str]]:
        reached = {self.stages[0], *(gate.to for gate in self.gates)}
        for place, stage in enumerate(self.stages):
            if stage in BESIDE_THE_PATH:
                yield ("stages", place), f"{stage} stands beside the path and is always there; leave it out"
            elif stage not in reached:
                yield ("stages", place), f"no gate leads to stage {stage}, so nobody can reach it"

    def _times(self) -> Iterator[tuple[Place, str]]:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield ("time_zone",), f"expected a time zone, such as Asia/Tokyo, found {self.time_zone!r}"
        for place, objective in enumerate(self.objectives):
            if not self.period.start <= objective.by <= self.period.end:
                yield ("objectives", place, "by"), (
                    f"expected a day of the period, {self.period.start} to {self.period.end}, found {objective.by}"
                )

    def gates_from(self, stage: str) -> tuple[Gate, ...]:
        """The gates that somebody at a stage stands before, the farthest-leading first."""
        order = {name: place for place, name in enumerate(self.stages)}
        return tuple(sorted((g for g in self.gates if g.from_ == stage), key=lambda g: -order[g.to]))

    def campaigns_of(self, stage: str) -> tuple[Campaign, ...]:
        """The campaigns that somebody who reached a stage meets."""
        return tuple(campaign for campaign in self.campaigns if campaign.stage == stage)
