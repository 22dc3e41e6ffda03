"""The loop: a versioned plan of numeric objectives, ordered campaigns and the gates between them."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from closedloop.sites.definition import Definition, Name, Text

Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Score = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]

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
    target: int = Field(gt=0)
    by: date
    fit: int = Field(default=50, ge=0, le=100)


class Interest(Definition):
    """How much somebody cares about a topic now, and what share of all their interest that is."""

    topic: Name
    at_least: Score
    share: float = Field(default=0, ge=0, le=1)


class AtLeast(Definition):
    """A score that has to be reached."""

    at_least: Score


class Visited(Definition):
    """Pages seen, by the start of their path."""

    path: Text
    times: int = Field(default=1, ge=1, le=10_000)
    within_days: int | None = Field(default=None, ge=1, le=400)


class Did(Definition):
    """Something done, by the event's name."""

    event: Text
    times: int = Field(default=1, ge=1, le=10_000)
    within_days: int | None = Field(default=None, ge=1, le=400)


class Condition(Definition):
    """One question about a person, or several joined; exactly one of the names is given."""

    all: tuple[Condition, ...] | None = None
    any: tuple[Condition, ...] | None = None
    not_: Condition | None = Field(default=None, alias="not")
    interest: Interest | None = None
    engagement: AtLeast | None = None
    fit: AtLeast | None = None
    visited: Visited | None = None
    did: Did | None = None
    deal: Literal["opened", "won", "lost"] | None = None
    attribute: dict[Text, tuple[Text, ...]] | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Condition:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            names = ", ".join(field.alias or name for name, field in type(self).model_fields.items())
            raise ValueError(f"expected exactly one of {names}")
        if self.all == () or self.any == ():
            raise ValueError("expected at least one condition in the list")
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

    amount_minor: int = Field(ge=0)


class Campaign(Definition):
    """One touchpoint activity for one stage of the purchase process.

    Units: `incentive` says that people are paid for answering, as by a prize.
    """

    name: Name
    stage: Name
    touchpoint: Literal["page", "form", "email", "seminar", "exhibition", "call", "dealer", "ad"]
    incentive: bool = False
    cost: Cost | None = None
    mail: Mail | None = None

    @model_validator(mode="after")
    def _mail_is_mailed(self) -> Campaign:
        if self.mail is not None and self.touchpoint != "email":
            raise ValueError(f"campaign {self.name} has a mail, so its touchpoint is email, not {self.touchpoint}")
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
    holdout: float = Field(default=0, ge=0, le=0.5)


class Period(Definition):
    """From the first day to the last, both included, in the loop's time zone."""

    start: date
    end: date

    @model_validator(mode="after")
    def _forward(self) -> Period:
        if self.end < self.start:
            raise ValueError(f"the period ends on {self.end}, before it starts on {self.start}")
        return self


class Loop(Definition):
    """A plan from objective to measured result.

    Shapes: `stages` are in order of the purchase process; a person enters at the first; gates lead forward only.
    """

    loop: Name
    sites: tuple[Name, ...] = Field(min_length=1)
    strategy: Text
    period: Period
    time_zone: Text = "Asia/Tokyo"
    currency: Currency
    objectives: tuple[Objective, ...] = Field(min_length=1)
    stages: tuple[Name, ...] = Field(min_length=2)
    campaigns: tuple[Campaign, ...] = Field(min_length=1)
    gates: tuple[Gate, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _hangs_together(self) -> Loop:
        for kind, names in (
            ("stage", self.stages), ("campaign", [c.name for c in self.campaigns]), ("gate", [g.name for g in self.gates])
        ):
            doubled = {name for name in names if list(names).count(name) > 1}
            if doubled:
                raise ValueError(f"{kind} {sorted(doubled)[0]} is named twice")
        order = {stage: place for place, stage in enumerate(self.stages)}
        for stage in self.stages:
            if stage in BESIDE_THE_PATH:
                raise ValueError(f"stage {stage} stands beside the path and is always there; leave it out")
        for campaign in self.campaigns:
            if campaign.stage not in order:
                raise ValueError(f"campaign {campaign.name} is for stage {campaign.stage}, which is none of {', '.join(self.stages)}")
        leaving: set[str] = set()
        for gate in self.gates:
            for stage in (gate.from_, gate.to):
                if stage not in order:
                    raise ValueError(f"gate {gate.name} names stage {stage}, which is none of {', '.join(self.stages)}")
            if order[gate.to] <= order[gate.from_]:
                raise ValueError(f"gate {gate.name} leads from {gate.from_} back to {gate.to}; a gate leads forward")
            leaving.add(gate.from_)
        for objective in self.objectives:
            if not self.period.start <= objective.by <= self.period.end:
                raise ValueError(f"objective {objective.metric} is due on {objective.by}, outside the period")
        return self

    def gates_from(self, stage: str) -> tuple[Gate, ...]:
        """The gates that somebody at a stage stands before, the farthest-leading first."""
        order = {name: place for place, name in enumerate(self.stages)}
        return tuple(sorted((g for g in self.gates if g.from_ == stage), key=lambda g: -order[g.to]))

    def campaigns_of(self, stage: str) -> tuple[Campaign, ...]:
        """The campaigns that somebody who reached a stage meets."""
        return tuple(campaign for campaign in self.campaigns if campaign.stage == stage)
