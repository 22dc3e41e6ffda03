"""The loop: a versioned plan of numeric objectives, ordered campaigns and the gates between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from closedloop.events.event import EMAIL_OPENED
from closedloop.sites.definition import (
    OPENS_PROVE_NOTHING,
    Currency,
    Definition,
    Flag,
    Name,
    Path,
    Place,
    Role,
    Text,
    Zone,
    doubled,
    refuse,
    written,
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


Day = Annotated[date, BeforeValidator(_day), Field(json_schema_extra={
    "pattern": r"^\d{4}-\d{2}-\d{2}$", "patternErrorMessage": "expected a day, such as 2026-09-01",
})]
Score = Annotated[float, Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Fit = Annotated[int, Field(strict=True, ge=0, le=100)]
Times = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Days = Annotated[int, Field(strict=True, ge=1, le=400)]
Money = Annotated[int, Field(strict=True, ge=0, le=10**15)]
People = Annotated[int, Field(strict=True, ge=0, le=10**9)]
Hour = Annotated[str, written(r"^([01]\d|2[0-3]):[0-5]\d$", "an hour and minute, such as 21:00")]

# So many of the newest moments of one thing are kept in a profile; a window cannot count more.
COUNTED_IN_A_WINDOW = 20

EXCLUDED = "excluded"
RECYCLED = "recycled"
LOST = "lost"
BESIDE_THE_PATH = (EXCLUDED, RECYCLED, LOST)

# Between the name of a loop and that of one of its tracks: no name holds it, and the tags of mails may.
LANE = "_"


class Metric(StrEnum):
    """What an objective counts; awareness and page views are none of them, since nobody can answer for them."""

    NEW_PERSONS_WITH_FIT = "new_persons_with_fit"
    OPPORTUNITIES = "opportunities"
    EXPECTED_SALES = "expected_sales"
    SALES = "sales"
    DEALS_WON = "deals_won"
    REPEAT = "repeat"


# What plans like to promise, and why it is no objective here; as `_plain` writes it.
REFUSED_METRICS = {
    "is vague: nobody can count it, so nobody can answer for it": (
        "awareness", "brand", "brand_awareness", "bond", "buzz", "engagement", "image", "interest", "loyalty", "reach",
        "recognition", "reputation", "satisfaction", "visibility", "認知", "認知度", "認知度向上", "ブランド",
        "ブランド認知", "エンゲージメント",
    ),
    "counts attention, which a report shows as a footnote and no business lives on": (
        "clicks", "followers", "impressions", "likes", "opens", "page_views", "pageviews", "pv", "pv数", "sessions",
        "traffic", "unique_users", "uu", "views", "visitors", "visits",
    ),
    "counts whoever signs up, those who come for a prize too": (
        "contacts", "leads", "members", "members_count", "new_leads", "new_members", "new_persons", "persons",
        "registrations", "sign_ups", "signups", "subscribers", "会員数", "登録数", "リード数",
    ),
}


def _plain(word: str) -> str:
    return re.sub(r"[-\s]+", "_", unicodedata.normalize("NFKC", word).strip().casefold())


def _measurable(value: Any) -> Any:
    """Refuse, with the reason, what is no number that somebody answers for."""
    if isinstance(value, str):
        for reason, words in REFUSED_METRICS.items():
            if _plain(value) in words:
                raise ValueError(f"{value} {reason}; count {listed([metric.value for metric in Metric])}")
    return value


class Objective(Definition):
    """A number to reach by a date."""

    metric: Annotated[Metric, BeforeValidator(_measurable)] = Field(description=(
        "What is counted: new persons who fit, deals opened, their value, money of deals won, deals won, or new "
        "persons who came back on another day within 30 days."
    ))
    target: Annotated[int, Field(strict=True, gt=0, le=10**15)] = Field(
        description="The number to reach: people or deals, or money in minor units of the loop's currency.",
    )
    by: Day = Field(description="The day by which it is reached, inside the period.")
    fit: Fit = Field(default=50, description="The least fit, of 100, that makes a person one of the wanted.")

    @model_validator(mode="after")
    def _counts_the_wanted(self) -> Objective:
        if self.metric is Metric.NEW_PERSONS_WITH_FIT and not self.fit:
            refuse("objective", [(("fit",), "expected at least 1: without any fit, whoever signs up is counted")])
        return self


class Interest(Definition):
    """How much somebody cares about a topic now, and what share of all their interest that is."""

    topic: Name = Field(description="A topic that a site of the loop declares.")
    at_least: Score = Field(description="Points of interest, faded to now.")
    share: Share = Field(default=0, description="The least share of all their interest, 0 to 1.")


class AtLeast(Definition):
    """A score that has to be reached."""

    at_least: Score = Field(description="Points, faded to now.")


class FitAtLeast(Definition):
    """How much somebody has to be like the wanted people, of 100."""

    at_least: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] = Field(
        description="Fit, of 100.",
    )


class Often(Definition):
    """How often, and in how many of the last days; ever when no days are given."""

    times: Times = Field(default=1, description="How often at least.")
    within_days: Days | None = Field(default=None, description="In how many of the last days; ever when left out.")

    @model_validator(mode="after")
    def _can_be_counted(self) -> Often:
        if self.within_days is not None and self.times > COUNTED_IN_A_WINDOW:
            text = f"expected at most {COUNTED_IN_A_WINDOW} where within_days is given, found {self.times}"
            refuse("often", [(("times",), text)])
        return self


class Visited(Often):
    """Pages seen, by the start of their path."""

    path: Path = Field(description="How the path of the pages begins.")


class Did(Often):
    """Something done, by the event's name."""

    event: Text = Field(description="The event's name, such as Seminar Attended.")

    @model_validator(mode="after")
    def _proves_something(self) -> Did:
        if self.event == EMAIL_OPENED:
            refuse("did", [(("event",), OPENS_PROVE_NOTHING)])
        return self


class Clicked(Often):
    """A link in a campaign's mail that somebody followed; an open alone proves nothing."""

    campaign: Name = Field(description="A campaign of this loop that has a mail.")


class Owns(Definition):
    """Something that they bought and did not give back, and how old it is."""

    product: Text = Field(description="A class of products that a site of the loop declares, or a product's own name.")
    at_least_years: Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False)] = Field(
        default=0, description="How many years ago it was bought at least, such as 6.5.",
    )
    replaced_soon: Share = Field(default=0, description=(
        "The least chance, 0 to 1, that it is replaced in the next six months, by the life curve of its class."
    ))


class InStage(Definition):
    """How long they have stood at the stage where they are."""

    at_least_days: Days = Field(description="For how many days at least.")


KindName = Literal["customer", "employee", "competitor", "job_seeker", "prize_hunter", "studying", "looking"]


class Condition(Definition):
    """One question about a person, or several joined; exactly one of the names is given."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    all: tuple[Condition, ...] | None = Field(default=None, description="All of these hold.")
    any: tuple[Condition, ...] | None = Field(default=None, description="At least one of these holds.")
    not_: Condition | None = Field(default=None, alias="not", description="This does not hold.")
    interest: Interest | None = Field(default=None, description="They care about a topic.")
    engagement: AtLeast | None = Field(default=None, description="They have been active lately, whatever the topic.")
    fit: FitAtLeast | None = Field(default=None, description="They are like the wanted people.")
    visited: Visited | None = Field(default=None, description="They saw pages.")
    did: Did | None = Field(default=None, description="They did something.")
    clicked: Clicked | None = Field(default=None, description="They followed a link in a campaign's mail.")
    deal: Literal["opened", "won", "lost"] | None = Field(default=None, description="A deal of theirs came so far.")
    attribute: dict[Text, Annotated[tuple[Text, ...], Field(min_length=1)]] | None = Field(
        default=None, description="What is known of them is one of these, such as industry: [water, food].",
    )

    consent: Text | None = Field(
        default=None, description="They said yes to this purpose, such as marketing, and it stands.",
    )
    kind: Annotated[tuple[KindName, ...], Field(min_length=1)] | None = Field(
        default=None, description="They are of one of these kinds, such as [studying, prize_hunter].",
    )
    role: Annotated[tuple[Role, ...], Field(min_length=1)] | None = Field(
        default=None, description="At the company they buy for they are one of these, such as [decision_maker].",
    )
    owns: Owns | None = Field(default=None, description="They own something, perhaps of some age.")
    in_stage: InStage | None = Field(default=None, description="They have stood where they are for some time.")

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

    Shapes: the texts are templates that may use first_name, link, unsubscribe_link, referral_link (the
    person's own, to hand on) and the person's attributes.
    """

    subject: Text = Field(description="The subject, a template.")
    text: str = Field(min_length=1, max_length=50_000, description="The text, a template.")
    html: str = Field(default="", max_length=100_000, description="The same as HTML; made of the text when left out.")
    link: Text = Field(description="The page that {{ link }} leads to.")
    creative: Name | None = Field(
        default=None, description="Which version of the mail this is; its link carries it as utm_content.",
    )


Language = Literal["ja", "en"]
Channel = Literal["topic", "slack", "crm"]
# What is to be done for somebody who reaches a campaign's stage.
MAIL, SALES_NOTICE, CALL_TASK = "mail", "sales_notice", "call_task"
# Where each of them but a mail may meet people.
TOUCHPOINTS_OF = {SALES_NOTICE: ("call", "dealer"), CALL_TASK: ("call",)}


class SalesNotice(Definition):
    """A notice to sales about everybody who comes through the gate: what they did, and why now."""

    to: Annotated[tuple[Channel, ...], Field(min_length=1)] = Field(default=("topic",), description=(
        "Where it goes: the topic of the deployment (mail and more), Slack, or the CRM, by a signed webhook."
    ))
    language: Language = Field(default="ja", description="The language that it is written in.")
    note: str = Field(default="", max_length=500, description="What to do, in words of the plan, such as call today.")

    @model_validator(mode="after")
    def _once_each(self) -> SalesNotice:
        refuse("to", [(("to", place), f"{channel} is named twice") for place, channel in doubled(self.to)])
        return self


class CallTask(SalesNotice):
    """A call to make to everybody who comes through the gate; how it ended is a fact that gates can ask for."""

    within_days: Annotated[int, Field(strict=True, ge=1, le=60)] = Field(
        default=3, description="In how many days it is to be made.",
    )
    outcomes: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        default=("Call Reached", "Call Not Reached", "Appointment Made"),
        description="How it may end, as names of events; a gate asks for one with did: {event: Appointment Made}.",
    )


class Cost(Definition):
    """What a campaign costs, in minor units of the loop's currency: in all, or day by day."""

    amount_minor: Money | None = Field(default=None, description="The whole cost, in minor units (cents, yen).")
    by_day: dict[Day, Money] = Field(
        default_factory=dict, description="The cost of each day, such as 2026-09-01: 50000; a report counts past days.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Cost:
        if (self.amount_minor is None) != bool(self.by_day):
            raise ValueError("expected either amount_minor or by_day")
        return self

    def until(self, day: date) -> int:
        """What was spent through a day; a cost that names no days counts whole."""
        return self.amount_minor or sum(amount for spent, amount in self.by_day.items() if spent <= day)

    @property
    def total_minor(self) -> int:
        return self.until(date.max)


class Campaign(Definition):
    """One touchpoint activity for one stage of the purchase process."""

    name: Name = Field(description="What links carry as utm_campaign, and what reports call it.")
    stage: Name = Field(description="The stage at which people meet it.")
    touchpoint: Literal["page", "form", "email", "seminar", "exhibition", "call", "dealer", "ad"] = Field(
        description="Where it meets people, online or offline.",
    )
    incentive: Flag = Field(default=False, description="Whether people are paid for answering, as by a prize.")
    visitors: People | None = Field(default=None, description="How many visitors it is planned to bring.")
    cost: Cost | None = Field(default=None, description="What it costs.")
    audience: Condition | None = Field(
        default=None, description="For whom of those who reach the stage it is done; everybody when left out.",
    )
    mail: Mail | None = Field(default=None, description="The mail to write to those who reach the stage.")
    sales_notice: SalesNotice | None = Field(default=None, description="The notice to sales about them.")
    call_task: CallTask | None = Field(default=None, description="The call to make to them.")

    @model_validator(mode="after")
    def _does_one_thing(self) -> Campaign:
        given = [name for name in (MAIL, *TOUCHPOINTS_OF) if getattr(self, name) is not None]
        if len(given) > 1:
            text = f"campaign {self.name} does one thing for people, found {listed(given, 'and')}; make two campaigns"
            refuse("campaign", [((given[1],), text)])
        if self.mail is not None and self.touchpoint != "email":
            text = f"campaign {self.name} has a mail, so expected email, found {self.touchpoint!r}"
            refuse("campaign", [(("touchpoint",), text)])
        if self.kind in TOUCHPOINTS_OF and self.touchpoint not in (fitting := TOUCHPOINTS_OF[self.kind]):
            text = f"campaign {self.name} has a {self.kind}, so expected {listed(fitting)}, found {self.touchpoint!r}"
            refuse("campaign", [(("touchpoint",), text)])
        if self.audience is not None and not given:
            text = (
                "an audience chooses for whom something is done, and the campaign does nothing; a gate chooses who "
                "comes this far"
            )
            refuse("campaign", [(("audience",), text)])
        return self

    @property
    def kind(self) -> str:
        """What it does for those who reach the stage: mail, sales_notice, call_task, or nothing."""
        return next((name for name in (MAIL, *TOUCHPOINTS_OF) if getattr(self, name) is not None), "")


class ExcludeRule(Definition):
    """Who is taken out of the loop at this gate, and why, in words."""

    when: Condition = Field(description="Whom this is about.")
    reason: Text = Field(description="Why, as a report says it, such as studying, not buying.")


class Gate(Definition):
    """The filter between the campaigns of one stage and those of the next."""

    name: Name = Field(description="What reports call it; once the loop has started the name stands for this step.")
    from_: Name = Field(alias="from", description="The stage that people come from.")
    to: Name = Field(description="The stage that they reach; a gate leads forward.")
    when: Condition = Field(description="Who is ready.")
    exclude: tuple[ExcludeRule, ...] = Field(default=(), description="Who is taken out of the loop here.")
    holdout: Annotated[float, Field(strict=True, ge=0, le=0.5, allow_inf_nan=False)] = Field(default=0, description=(
        "The random share of the ready, 0 to 0.5, that is kept back to measure what the campaigns behind it add."
    ))
    reverse_holdout: Annotated[float, Field(strict=True, ge=0, le=0.1, allow_inf_nan=False)] = Field(
        default=0, description="The random share of those who are not ready, 0 to 0.1, that passes, to price the gate.",
    )


class Period(Definition):
    """From the first day to the last, both included, in the loop's time zone."""

    start: Day = Field(description="The first day.")
    end: Day = Field(description="The last day.")

    @model_validator(mode="after")
    def _forward(self) -> Period:
        if self.end < self.start:
            refuse("period", [(("end",), f"the period ends on {self.end}, before it starts on {self.start}")])
        return self


class Budget(Definition):
    """What all campaigns together may cost."""

    amount_minor: Annotated[int, Field(strict=True, gt=0, le=10**15)] = Field(
        description="In minor units of the loop's currency (cents, yen).",
    )


class SalesCapacity(Definition):
    """How many people the sales force can take on."""

    stage: Name = Field(description="The stage at which sales takes over.")
    per_week: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(description="How many people a week.")


class Capacity(Definition):
    """How many people may come to a stage; who is ready and over it waits at the gate until there is room."""

    people: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = Field(description="How many people at most.")
    per: Literal["day", "week", "period"] = Field(
        default="week", description="In a day, a week from Monday on, or the whole period, in the loop's time zone.",
    )


class ServiceLevel(Definition):
    """How long anybody should stand at a stage at most; sales is told once of each who stands there longer."""

    days: Days = Field(description="For how many days at most.")
    to: Annotated[tuple[Channel, ...], Field(min_length=1)] = Field(
        default=("topic",), description="Where the notice goes, as that of a sales_notice.",
    )
    language: Language = Field(default="ja", description="The language that it is written in.")


STEPS_CAPACITIES: Any = Field(
    default={}, description="How many people may come to a stage through its gates, by its name.",
)
STEPS_SERVICE_LEVELS: Any = Field(
    default={}, description="How long people should stand at a stage at most, by its name; a notice tells of others.",
)


class FrequencyCap(Definition):
    """At most so many mails to one person in so many days, whichever loop with a cap they come from."""

    mails: Annotated[int, Field(strict=True, ge=1, le=100)] = Field(description="How many mails at most.")
    within_days: Days = Field(description="In how many days.")


class QuietHours(Definition):
    """When no mail leaves, by the clock of the loop's time zone; it may go over midnight."""

    from_: Hour = Field(alias="from", description="When it begins, such as 21:00.")
    to: Hour = Field(description="When it ends, such as 08:00.")

    @model_validator(mode="after")
    def _ends(self) -> QuietHours:
        if self.from_ == self.to:
            refuse("quiet hours", [(("to",), f"expected another hour than {self.from_}, when it begins")])
        return self


class Policies(Definition):
    """What holds for all mails of the loop; who refused them, or whose address bounced, is never mailed anyhow."""

    frequency_cap: FrequencyCap | None = Field(default=None, description="How often anybody is mailed at most.")
    quiet_hours: QuietHours | None = Field(default=None, description="When nobody is mailed.")


class Rate(Definition):
    """A share as it was counted: so many of so many. What it was counted of says how sure it is."""

    passed: People = Field(description="How many went on.")
    of: Annotated[int, Field(strict=True, ge=1, le=10**9)] = Field(description="Of how many.")

    @model_validator(mode="after")
    def _a_share(self) -> Rate:
        if self.passed > self.of:
            refuse("rate", [(("passed",), f"expected at most {self.of}, being part of those, found {self.passed}")])
        return self


class Assumptions(Definition):
    """What the plan takes for granted where no report has measured it, with the numbers that it rests on."""

    become_known: Rate | None = Field(default=None, description="Of visitors, how many leave their address.")
    fit: Rate | None = Field(default=None, description="Of new persons, how many have the fit that is wanted.")
    repeat: Rate | None = Field(default=None, description="Of new persons, how many come back within 30 days.")
    gates: dict[Name, Rate] = Field(
        default_factory=dict, description="Of those before a gate, how many are ready, by the gate's name.",
    )
    deal_values_minor: tuple[Annotated[int, Field(strict=True, gt=0, le=10**15)], ...] = Field(
        default=(), description="What past deals were worth, one by one, in minor units.",
    )
    people_already_known: People = Field(default=0, description="How many people enter the first stage besides.")


class Steps(Protocol):
    """What a loop and each of its tracks are made of."""

    @property
    def stages(self) -> tuple[str, ...]: ...
    @property
    def campaigns(self) -> tuple[Campaign, ...]: ...
    @property
    def gates(self) -> tuple[Gate, ...]: ...
    @property
    def capacities(self) -> dict[str, Capacity]: ...
    @property
    def service_levels(self) -> dict[str, ServiceLevel]: ...


class Track(Definition):
    """A further way through the loop with stages of its own, such as that of another product.

    Everybody stands on each track by themselves. A track is named LOOP_TRACK wherever a loop is named: in commands, in
    records and in reports, of which it has its own.
    """

    track: Name = Field(description="The track's name, such as that of a product; it is called LOOP_TRACK.")
    enter: Condition | None = Field(
        default=None, description="Who enters it; everybody who is known when left out.",
    )
    objectives: tuple[Objective, ...] = Field(
        default=(), description="The numbers that somebody answers for on this track; the loop's when left out.",
    )
    stages: tuple[Name, ...] = Field(min_length=2, description="The steps of this track, in order.")
    campaigns: tuple[Campaign, ...] = Field(
        min_length=1, description="What meets people at each of its stages; a campaign has one name in the whole loop.",
    )
    gates: tuple[Gate, ...] = Field(
        min_length=1, description="Who goes on from stage to stage; a gate has one name in the whole loop.",
    )
    capacities: dict[Name, Capacity] = STEPS_CAPACITIES
    service_levels: dict[Name, ServiceLevel] = STEPS_SERVICE_LEVELS


class Loop(Definition):
    """A plan from objective to measured result.

    Shapes: `stages` are in order of the purchase process; a person enters at the first; gates lead forward only. They
    are the first track; each of `tracks` is walked beside it, as a loop of its own (see `lanes`).
    """

    loop: Name = Field(description="The loop's name; its file may change, its name stays.")
    sites: tuple[Name, ...] = Field(min_length=1, description="The sites it runs on; they share one customer list.")
    strategy: Text = Field(description="The business goal that the objectives follow, in a sentence.")
    follows: Name | None = Field(default=None, description="The loop whose report has the rates that this one expects.")
    period: Period = Field(description="When it runs.")
    time_zone: Zone = Field(default="Asia/Tokyo", description="Where its days begin and end.")
    currency: Currency = Field(description="The currency of all its money.")
    budget: Budget | None = Field(
        default=None, description="What all campaigns together may cost; their stated costs are held against it.",
    )
    sales_capacity: SalesCapacity | None = Field(
        default=None, description=(
            "How many people sales can take on; a plan is judged by it, no gate waits for it (see capacities)."
        ),
    )
    objectives: tuple[Objective, ...] = Field(min_length=1, description="The numbers that somebody answers for.")
    stages: tuple[Name, ...] = Field(min_length=2, description="The steps of the purchase process, in order.")
    campaigns: tuple[Campaign, ...] = Field(min_length=1, description="What meets people at each stage.")
    gates: tuple[Gate, ...] = Field(min_length=1, description="Who goes on from stage to stage.")
    universal_holdout: Annotated[float, Field(strict=True, ge=0, le=0.2, allow_inf_nan=False)] = Field(
        default=0, description=(
            "The random share, 0 to 0.2, of those who enter that no campaign of the loop is sent to, to measure it."
        ),
    )
    tracks: tuple[Track, ...] = Field(
        default=(), description="Further ways through the loop, such as one for each other product.",
    )
    enter: Condition | None = Field(default=None, description="Who enters; everybody who is known when left out.")
    capacities: dict[Name, Capacity] = STEPS_CAPACITIES
    service_levels: dict[Name, ServiceLevel] = STEPS_SERVICE_LEVELS
    policies: Policies = Field(default=Policies(), description="How often and when people are mailed.")
    assumptions: Assumptions = Field(
        default=Assumptions(), description="What the plan takes for granted where nothing was measured.",
    )

    @model_validator(mode="after")
    def _hangs_together(self) -> Loop:
        refuse("loop", [
            *self._doubled(), *_steps(self), *self._tracks(), *self._times(), *self._costs(), *self._assumed(),
        ])
        return self

    def _doubled(self) -> Iterator[tuple[Place, str]]:
        for place, site in doubled(self.sites):
            yield ("sites", place), f"site {site} is named twice"
        for place, track in doubled([track.track for track in self.tracks]):
            yield ("tracks", place, "track"), f"track {track} is named twice"
        # Links name the campaign alone, and verdicts the gate: one name stands for one thing in the whole loop.
        for kind in ("campaign", "gate"):
            named = [(place, one.name) for place, one in self._named(f"{kind}s")]
            for at, name in doubled([name for _, name in named]):
                yield (*named[at][0], "name"), f"{kind} {name} is named twice"

    def _named(self, kind: str) -> Iterator[tuple[Place, Campaign | Gate]]:
        """The campaigns or gates of all tracks, each with its place."""
        for where, steps in (((), self), *((("tracks", at), track) for at, track in enumerate(self.tracks))):
            for place, one in enumerate(getattr(steps, kind)):
                yield (*where, kind, place), one

    def _tracks(self) -> Iterator[tuple[Place, str]]:
        for at, track in enumerate(self.tracks):
            for place, text in _steps(track):
                yield ("tracks", at, *place), text

    def _costs(self) -> Iterator[tuple[Place, str]]:
        campaigns = [(place, one) for place, one in self._named("campaigns") if isinstance(one, Campaign)]
        costs = [campaign.cost.total_minor for _, campaign in campaigns if campaign.cost is not None]
        if self.budget is not None and sum(costs) > self.budget.amount_minor:
            yield ("budget", "amount_minor"), (
                f"the campaigns cost {sum(costs)}, more than the budget of {self.budget.amount_minor}"
            )
        for place, campaign in campaigns:
            for day in campaign.cost.by_day if campaign.cost is not None else ():
                if day > self.period.end:
                    text = f"this day is after the period, which ends on {self.period.end}"
                    yield (*place, "cost", "by_day", day.isoformat()), text

    def _assumed(self) -> Iterator[tuple[Place, str]]:
        gates = [gate.name for _, gate in self._named("gates")]
        for name in self.assumptions.gates:
            if name not in gates:
                near = did_you_mean(name, gates)
                yield ("assumptions", "gates", name), f"expected one of the gates {listed(gates)}{near}"

    def _times(self) -> Iterator[tuple[Place, str]]:
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield ("time_zone",), f"expected a time zone, such as Asia/Tokyo, found {self.time_zone!r}"
        objectives: list[tuple[Place, Objective]] = [
            (("objectives", place), objective) for place, objective in enumerate(self.objectives)
        ]
        for at, track in enumerate(self.tracks):
            objectives += [(("tracks", at, "objectives", place), one) for place, one in enumerate(track.objectives)]
        for place, objective in objectives:
            if not self.period.start <= objective.by <= self.period.end:
                yield (*place, "by"), (
                    f"expected a day of the period, {self.period.start} to {self.period.end}, found {objective.by}"
                )

    @property
    def lanes(self) -> tuple[Loop, ...]:
        """The loop's first track and each further one as a loop of its own, which is named LOOP_TRACK."""
        rates = self.assumptions.gates
        return (self, *(self.model_copy(update={
            "loop": f"{self.loop}{LANE}{track.track}", "tracks": (),
            "follows": f"{self.follows}{LANE}{track.track}" if self.follows else None,
            "enter": track.enter, "stages": track.stages,
            "campaigns": track.campaigns, "gates": track.gates, "objectives": track.objectives or self.objectives,
            "capacities": track.capacities, "service_levels": track.service_levels,
            "sales_capacity": None, "assumptions": self.assumptions.model_copy(update={
                "gates": {gate.name: rates[gate.name] for gate in track.gates if gate.name in rates},
            }),
        }) for track in self.tracks))

    def gates_from(self, stage: str) -> tuple[Gate, ...]:
        """The gates that somebody at a stage stands before, the farthest-leading first."""
        order = {name: place for place, name in enumerate(self.stages)}
        return tuple(sorted((g for g in self.gates if g.from_ == stage), key=lambda g: -order[g.to]))

    def campaigns_of(self, stage: str) -> tuple[Campaign, ...]:
        """The campaigns that somebody who reached a stage meets."""
        return tuple(campaign for campaign in self.campaigns if campaign.stage == stage)


def _steps(of: Steps) -> Iterator[tuple[Place, str]]:
    """What is wrong with the stages, campaigns and gates of a loop or track."""
    for place, stage in doubled(of.stages):
        yield ("stages", place), f"stage {stage} is named twice"
    if of.stages[0] in of.capacities:
        text = f"everybody enters at {of.stages[0]} without a gate, so nobody can wait for room there"
        yield ("capacities", of.stages[0]), text
    gates = [*_unknown_stages(of), *_backward_gates(of)]
    # A gate that leads astray leaves its stage unreached: that says nothing new.
    yield from gates or _broken_paths(of)


def _unknown_stages(of: Steps) -> Iterator[tuple[Place, str]]:
    named: list[tuple[Place, str]] = [
        (("campaigns", place, "stage"), campaign.stage) for place, campaign in enumerate(of.campaigns)
    ]
    for place, gate in enumerate(of.gates):
        named += [(("gates", place, "from"), gate.from_), (("gates", place, "to"), gate.to)]
    if isinstance(of, Loop) and of.sales_capacity is not None:
        named.append((("sales_capacity", "stage"), of.sales_capacity.stage))
    named += [(("capacities", stage), stage) for stage in of.capacities]
    named += [(("service_levels", stage), stage) for stage in of.service_levels]
    for at, stage in named:
        if stage not in of.stages:
            near = did_you_mean(stage, of.stages)
            yield at, f"expected one of the stages {listed(of.stages)}, found {stage!r}{near}"


def _backward_gates(of: Steps) -> Iterator[tuple[Place, str]]:
    order = {stage: place for place, stage in reversed(list(enumerate(of.stages)))}
    for place, gate in enumerate(of.gates):
        if order.get(gate.to, len(order)) <= order.get(gate.from_, -1):
            way = f"from {gate.from_} to {gate.to}"
            yield ("gates", place, "to"), f"gate {gate.name} leads {way}; a gate leads forward"


def _broken_paths(of: Steps) -> Iterator[tuple[Place, str]]:
    """Stages that nobody reaches or leaves, with the campaigns that stand there for nobody."""
    reached = {of.stages[0], *(gate.to for gate in of.gates)}
    ends = [stage for stage in of.stages if stage not in BESIDE_THE_PATH][-1:]
    left = {*ends, *(gate.from_ for gate in of.gates)}
    for place, stage in enumerate(of.stages):
        if stage in BESIDE_THE_PATH:
            yield ("stages", place), f"{stage} stands beside the path and is always there; leave it out"
        elif stage not in reached:
            yield ("stages", place), f"no gate leads to stage {stage}, so nobody can reach it"
        elif stage not in left:
            yield ("stages", place), f"no gate leads on from stage {stage}, so everybody ends there"
    for place, campaign in enumerate(of.campaigns):
        if campaign.stage not in (*reached, *BESIDE_THE_PATH):
            text = f"campaign {campaign.name} meets nobody, since no gate leads to stage {campaign.stage}"
            yield ("campaigns", place, "stage"), text
