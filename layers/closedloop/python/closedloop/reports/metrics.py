"""The figures of a report, made of counted facts. The dataclasses below are the shape of summary.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction

from pydantic import TypeAdapter

from closedloop.attribution.journeys import LOOKBACK, NONE, Touch
from closedloop.attribution.models import written
from closedloop.attribution.rules import Credit
from closedloop.events import event as names
from closedloop.events.times import iso
from closedloop.loops.definition import BESIDE_THE_PATH, Loop, Metric, Objective
from closedloop.loops.experiments import experiments_of
from closedloop.profiles.kinds import TO_COME_BACK
from closedloop.reports import statistics
from closedloop.reports.campaign_quality import CampaignQuality, campaign_quality
from closedloop.reports.cohorts import Cohort, cohorts
from closedloop.reports.credit import Credits, paid_back_on
from closedloop.reports.deals import Deal
from closedloop.reports.facts import ArmCount, Facts, ListCount, NewPerson, Quality
from closedloop.reports.restatement import Changes
from closedloop.reports.statistics import Interval
from closedloop.reports.velocity import PipelineVelocity, StageVelocity, pipeline_velocity, stage_velocity
from closedloop.reports.window import Window, own_currency, window
from closedloop.sites.definition import version_of

SCHEMA = 1
MATURE_7 = timedelta(days=7)
MATURE_30 = TO_COME_BACK


@dataclass(frozen=True, slots=True)
class Attainment:
    """How far an objective is reached.

    Units: people, deals, or minor units; `share` is 1 when it is met; `elapsed` is the share of its time that is over;
    `per_day_so_far` and `per_day_needed` are a day. None where there is nothing to divide by.
    """

    metric: str
    target: int
    attained: int
    by: date
    fit: int
    money: bool
    share: float
    elapsed: float
    per_day_so_far: float | None
    per_day_needed: float | None
    state: str
    series: tuple[tuple[date, int], ...]


@dataclass(frozen=True, slots=True)
class StageFlow:
    """One stage: entered, left, standing there now; `beside` says it is no step of the purchase process."""

    stage: str
    entered: int
    left: int
    now: int
    beside: bool


@dataclass(frozen=True, slots=True)
class Because:
    """A kind of hold, or a reason of exclusion, with its persons."""

    why: str
    people: int


@dataclass(frozen=True, slots=True)
class GateFlow:
    """What a gate finally said of the persons that it judged."""

    gate: str
    from_stage: str
    to_stage: str
    judged: int
    advanced: int
    held: int
    excluded: int
    holds: tuple[Because, ...]
    exclusions: tuple[Because, ...]
    advance_rate: float | None
    advance_interval: Interval | None


@dataclass(frozen=True, slots=True)
class People:
    """Who came.

    Units: persons and browsers; shares 0 to 1, None where nobody could be counted or the time is not over yet.
    """

    unique_users: int
    known: int
    anonymous: int
    page_views: int
    new_persons: int
    new_with_fit: int
    fit_at_least: int
    persons_known: int
    persons_in_loop: int
    cohort_7: int
    back_7: float | None
    cohort_30: int
    back_30: float | None
    back_30_interval: Interval | None


@dataclass(frozen=True, slots=True)
class WeekFigures:
    """One week, named after its Monday; `back_30` is None until all its newcomers had thirty days."""

    week: date
    unique_users: int
    page_views: int
    new_persons: int
    first_seen: int
    back_30: float | None


@dataclass(frozen=True, slots=True)
class Share:
    """What one channel is credited with by one rule; `deals` is rounded to six places, `revenue_minor` is exact."""

    deals: float
    revenue_minor: int


@dataclass(frozen=True, slots=True)
class CampaignFigures:
    """One campaign of the loop, or another channel that buyers came through.

    Units: money in minor units of the loop's currency; `reached` are new persons who met it before they became known;
    `brought` are those whom it met last. Cost per deal, revenue per cost and the day on which the cost was brought back
    go by linear credit. None: no cost is known, nothing to divide by, or the time is not over yet.
    """

    campaign: str
    of_loop: bool
    stage: str
    touchpoint: str
    incentive: bool
    cost_minor: int | None
    cost_stated: bool
    reached: int
    brought: int
    brought_with_fit: int
    cost_per_new_person_minor: int | None
    mature: int
    never_back: float | None
    first: Share
    last: Share
    linear: Share
    cost_per_deal_minor: int | None = None
    revenue_per_cost: float | None = None
    paid_back_on: date | None = None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """What one attribution model says: each channel's share of the deals won and their revenue.

    Shapes: `removal`, of Markov models alone, is the share of the deals that would be lost without the channel.
    """

    model: str
    channels: Mapping[str, Share]
    removal: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Money:
    """Deals and revenue in the period, in the loop's currency, refunds taken off; other currencies stand apart.

    Shapes: `deals_mixed` are deals won in the period of which several currencies were told.
    """

    currency: str
    deals_opened: int
    deals_won: int
    deals_lost: int
    deals_refunded: int
    revenue_minor: int
    refunded_minor: int
    cost_minor: int | None
    return_on_cost: float | None
    deals_mixed: int = 0


@dataclass(frozen=True, slots=True)
class Foreign:
    """What is in another currency and therefore in no sum above."""

    currency: str
    deals_won: int
    revenue_minor: int
    cost_minor: int


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment: does what lies behind a gate bring deals, does the whole loop, and what does a gate refuse?

    Shapes: `kind` is holdout, universal (without a gate) or reverse, of which `treated` are those let through and
    `holdout` those refused.
    Shapes: `answer` is refused, empty, not_enough_evidence, better or worse; `method` is always_valid while the loop
    runs, newcombe after its end.
    Units: `lift` and `detectable` are differences of shares.
    """

    gate: str
    planned_holdout: float
    eligible: int
    treated: int
    holdout: int
    mixed: int
    treated_won: int
    holdout_won: int
    sample_ratio_p: float | None
    lift: float | None
    interval: Interval | None
    method: str
    detectable: float | None
    answer: str
    kind: str = "holdout"


@dataclass(frozen=True, slots=True)
class MailFigures:
    """The mails of one campaign; units are people."""

    campaign: str
    asked_for: int
    sent: int
    pending: int
    failed: int
    unknown: int
    delivered: int
    opened: int
    opened_by_machine: int
    clicked: int
    bounced: int
    complained: int
    unsubscribed: int


@dataclass(frozen=True, slots=True)
class DataQuality:
    """How good the data are."""

    delivered: int
    counted: int
    duplicates: int
    late: int
    machine: int
    failed: int
    human_page_views: int
    cookieless_share: float | None
    set_aside: int = 0


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One day of the period, in the loop's time zone; money in minor units of its currency, booked when it was won."""

    day: date
    new_persons: int
    deals_opened: int
    deals_won: int
    revenue_minor: int


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant: what must hold, what was found on either side, and whether it holds."""

    name: str
    left: int
    relation: str
    right: int
    holds: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What one loop achieved as of one moment.

    Shapes: `version` names it among the loop's reports; `changes` is what it says differently of days that the report
    before it had shown, None for the first one.
    """

    schema: int
    loop: str
    loop_version: str
    strategy: str
    sites: tuple[str, ...]
    as_of: str
    day: date
    time_zone: str
    starts: date
    ends: date
    ended: bool
    objectives: tuple[Attainment, ...]
    stages: tuple[StageFlow, ...]
    gates: tuple[GateFlow, ...]
    people: People
    weeks: tuple[WeekFigures, ...]
    money: Money
    foreign: tuple[Foreign, ...]
    campaigns: tuple[CampaignFigures, ...]
    experiments: tuple[Experiment, ...]
    mails: tuple[MailFigures, ...]
    quality: DataQuality
    reconciles: bool
    checks: tuple[Check, ...]
    models: tuple[ModelFigures, ...] = ()
    velocity: tuple[StageVelocity, ...] = ()
    pipeline: PipelineVelocity | None = None
    cohorts: tuple[Cohort, ...] = ()
    campaign_quality: tuple[CampaignQuality, ...] = ()
    addresses: ListCount = field(default_factory=ListCount)
    days: tuple[DayFigures, ...] = ()
    version: str = ""
    changes: Changes | None = None


SUMMARY = TypeAdapter(Report)


def measure(loop: Loop, facts: Facts, as_of: datetime, credits: Credits) -> Report:
    """All figures of a report; its checks are still to be made (see reconcile.py)."""
    seen = window(loop, as_of)
    campaigns = _campaigns(loop, facts, seen, credits)
    brought = _brought(facts)
    return Report(
        schema=SCHEMA, loop=loop.loop, loop_version=version_of(loop), strategy=loop.strategy, sites=loop.sites,
        as_of=iso(as_of), day=seen.today, time_zone=loop.time_zone, starts=loop.period.start, ends=loop.period.end,
        ended=seen.today > loop.period.end,
        objectives=tuple(_attainment(objective, loop, facts, seen) for objective in loop.objectives),
        stages=_stages(loop, facts), gates=_gates(loop, facts), people=_people(loop, facts, seen),
        weeks=_weeks(facts, seen), money=_money(loop, facts, seen), foreign=_foreign(loop, facts, seen),
        campaigns=campaigns,
        experiments=tuple(
            _experiment(arms, loop, ended=seen.today > loop.period.end) for arms in facts.arms
        ),
        mails=_mails(loop, facts), quality=_quality(facts.quality), reconciles=False, checks=(),
        models=tuple(_model(model, by_channel, credits) for model, by_channel in credits.by_rule.items()),
        velocity=stage_velocity(loop, facts.stays), pipeline=pipeline_velocity(loop, facts.deals, seen, as_of),
        cohorts=cohorts(facts.cohorts, seen),
        campaign_quality=campaign_quality(
            brought, {name: _mature(mine, seen) for name, mine in brought.items()}, facts.campaign_people,
            [one.campaign for one in campaigns if one.of_loop or one.campaign in brought],
            [campaign.name for campaign in loop.campaigns], wanted_fit(loop),
        ),
        addresses=facts.list_count, days=_days(loop, facts, seen),
    )


def _gains(objective: Objective, loop: Loop, facts: Facts, seen: Window) -> Iterable[tuple[date, int]]:
    """What counts towards an objective, day by day of when it happened."""
    if objective.metric is Metric.NEW_PERSONS_WITH_FIT:
        return [(new.day, 1) for new in facts.new_persons if new.fit >= objective.fit]
    own = [deal for deal in facts.deals if own_currency(deal, loop)]
    if objective.metric is Metric.OPPORTUNITIES:
        return [(seen.day(deal.opened_at), 1) for deal in facts.deals if seen.holds(deal.opened_at)]
    if objective.metric is Metric.EXPECTED_SALES:
        return [(seen.day(deal.opened_at), deal.value_minor - deal.refunded_minor)
                for deal in own if seen.holds(deal.opened_at) and deal.lost_at is None]
    if objective.metric is Metric.SALES:
        return [(seen.day(deal.won_at), deal.revenue_minor)
                for deal in own if deal.won_at is not None and seen.holds(deal.won_at)]
    if objective.metric is Metric.REPEAT:
        return [(new.day, 1) for new in facts.new_persons if new.back_30]
    return [(seen.day(deal.won_at), 1) for deal in facts.deals if deal.won_at is not None and seen.holds(deal.won_at)]


def _attainment(objective: Objective, loop: Loop, facts: Facts, seen: Window) -> Attainment:
    last = min(objective.by, seen.last)
    of_day: dict[date, int] = {}
    for day, gain in _gains(objective, loop, facts, seen):
        if day <= last:
            of_day[day] = of_day.get(day, 0) + gain
    attained = sum(of_day.values())
    whole = (objective.by - seen.first).days + 1
    over = max(0, (last - seen.first).days + 1)
    ahead = (objective.by - last).days if over else whole
    series = []
    so_far = 0
    for number in range(over):
        day = seen.first + timedelta(days=number)
        so_far += of_day.get(day, 0)
        series.append((day, so_far))
    missing = max(0, objective.target - attained)
    if not missing:
        state = "met"
    elif not over:
        state = "not_begun"
    elif seen.today > objective.by:
        state = "missed"
    else:
        state = "ahead" if attained * whole >= objective.target * over else "behind"
    return Attainment(
        metric=objective.metric.value, target=objective.target, attained=attained, by=objective.by, fit=objective.fit,
        money=objective.metric in (Metric.SALES, Metric.EXPECTED_SALES), share=attained / objective.target,
        elapsed=min(1.0, over / whole), per_day_so_far=attained / over if over else None,
        per_day_needed=missing / ahead if ahead > 0 and missing else None, state=state, series=tuple(series),
    )


def _stages(loop: Loop, facts: Facts) -> tuple[StageFlow, ...]:
    counts = {count.stage: count for count in facts.stages}
    further = [stage for stage in counts if stage not in loop.stages]
    order = [*loop.stages, *(s for s in BESIDE_THE_PATH if s in further),
             *sorted(s for s in further if s not in BESIDE_THE_PATH)]
    return tuple(
        StageFlow(stage, counts[stage].entered, counts[stage].left, counts[stage].now, stage not in loop.stages)
        if stage in counts else StageFlow(stage, 0, 0, 0, stage not in loop.stages)
        for stage in order
    )


def _gates(loop: Loop, facts: Facts) -> tuple[GateFlow, ...]:
    flows = []
    # Gates of earlier versions of the loop keep their verdicts.
    former = sorted({count.gate for count in facts.verdicts} - {gate.name for gate in loop.gates})
    for name, from_stage, to_stage in [*((g.name, g.from_, g.to) for g in loop.gates), *((n, "", "") for n in former)]:
        said = [count for count in facts.verdicts if count.gate == name]
        advanced = sum(count.people for count in said if count.outcome == "advance")
        holds = _because((count.hold_kind or "unnamed", count.people) for count in said if count.outcome == "hold")
        exclusions = _because((count.reason or "unnamed", count.people) for count in said if count.outcome == "exclude")
        held, excluded = sum(b.people for b in holds), sum(b.people for b in exclusions)
        judged = advanced + held + excluded
        flows.append(GateFlow(
            gate=name, from_stage=from_stage, to_stage=to_stage, judged=judged, advanced=advanced, held=held,
            excluded=excluded, holds=holds, exclusions=exclusions, advance_rate=statistics.share(advanced, judged),
            advance_interval=statistics.wilson(advanced, judged),
        ))
    return tuple(flows)


def _because(counted: Iterable[tuple[str, int]]) -> tuple[Because, ...]:
    sums: dict[str, int] = {}
    for why, people in counted:
        sums[why] = sums.get(why, 0) + people
    return tuple(Because(why, people) for why, people in sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def wanted_fit(loop: Loop) -> int:
    """The fit that makes a person one of the wanted: the one that the loop's objective names, else half."""
    named = [objective.fit for objective in loop.objectives if objective.metric is Metric.NEW_PERSONS_WITH_FIT]
    return max(named, default=50)


def _people(loop: Loop, facts: Facts, seen: Window) -> People:
    of_7 = [first for first in facts.first_days if first.day + MATURE_7 <= seen.today]
    of_30 = [first for first in facts.first_days if first.day + MATURE_30 <= seen.today]
    cohort_7, cohort_30 = sum(first.people for first in of_7), sum(first.people for first in of_30)
    back_30 = sum(first.back_30 for first in of_30)
    fit = wanted_fit(loop)
    return People(
        unique_users=facts.users.known + facts.users.anonymous, known=facts.users.known,
        anonymous=facts.users.anonymous, page_views=facts.users.page_views, new_persons=len(facts.new_persons),
        new_with_fit=sum(new.fit >= fit for new in facts.new_persons), fit_at_least=fit,
        persons_known=facts.persons_known, persons_in_loop=facts.persons_in_loop, cohort_7=cohort_7,
        back_7=statistics.share(sum(first.back_7 for first in of_7), cohort_7), cohort_30=cohort_30,
        back_30=statistics.share(back_30, cohort_30), back_30_interval=statistics.wilson(back_30, cohort_30),
    )


def _weeks(facts: Facts, seen: Window) -> tuple[WeekFigures, ...]:
    if seen.last < seen.first:
        return ()
    looked = {week.week: week for week in facts.weeks}
    figures = []
    week = seen.first - timedelta(days=seen.first.weekday())
    while week <= seen.last:
        cohort = [first for first in facts.first_days if first.week == week]
        people = sum(first.people for first in cohort)
        mature = week + timedelta(days=6) + MATURE_30 <= seen.today
        of_week = looked.get(week)
        figures.append(WeekFigures(
            week=week, unique_users=of_week.unique_users if of_week else 0,
            page_views=of_week.page_views if of_week else 0,
            new_persons=sum(new.week == week for new in facts.new_persons), first_seen=people,
            back_30=statistics.share(sum(first.back_30 for first in cohort), people) if mature else None,
        ))
        week += timedelta(days=7)
    return tuple(figures)


def campaign_costs(loop: Loop, facts: Facts, seen: Window) -> dict[str, tuple[int, bool]]:
    """What each campaign cost, and whether only the loop states so; reported figures go before stated ones."""
    costs: dict[str, tuple[int, bool]] = {
        campaign.name: (campaign.cost.until(seen.last), True)
        for campaign in loop.campaigns if campaign.cost is not None
    }
    reported: dict[str, int] = {}
    for cost in facts.costs:
        if cost.currency in ("", loop.currency):
            reported[cost.campaign] = reported.get(cost.campaign, 0) + cost.amount_minor
    costs.update((campaign, (amount, False)) for campaign, amount in reported.items())
    return costs


def _money(loop: Loop, facts: Facts, seen: Window) -> Money:
    won = [deal for deal in facts.deals if seen.holds(deal.won_at) and own_currency(deal, loop)]
    costs = campaign_costs(loop, facts, seen)
    cost = sum(amount for amount, _ in costs.values()) if costs else None
    revenue = sum(deal.revenue_minor for deal in won)
    return Money(
        currency=loop.currency, deals_opened=sum(seen.holds(deal.opened_at) for deal in facts.deals),
        deals_won=len(won), deals_lost=sum(seen.holds(deal.lost_at) for deal in facts.deals),
        deals_refunded=sum(deal.refunded_minor != 0 for deal in won), revenue_minor=revenue,
        refunded_minor=sum(deal.refunded_minor for deal in won), cost_minor=cost,
        return_on_cost=(revenue - cost) / cost if cost else None,
        deals_mixed=sum(deal.mixed and seen.holds(deal.won_at) for deal in facts.deals),
    )


def _foreign(loop: Loop, facts: Facts, seen: Window) -> tuple[Foreign, ...]:
    deals: dict[str, list[Deal]] = {}
    for deal in facts.deals:
        if not own_currency(deal, loop) and seen.holds(deal.won_at):
            deals.setdefault(deal.currency, []).append(deal)
    costs: dict[str, int] = {}
    for cost in facts.costs:
        if cost.currency not in ("", loop.currency):
            costs[cost.currency] = costs.get(cost.currency, 0) + cost.amount_minor
    return tuple(
        Foreign(currency, len(deals.get(currency, ())),
                sum(deal.revenue_minor for deal in deals.get(currency, ())), costs.get(currency, 0))
        for currency in sorted({*deals, *costs})
    )


def _campaigns(loop: Loop, facts: Facts, seen: Window, credits: Credits) -> tuple[CampaignFigures, ...]:
    fit = wanted_fit(loop)
    brought = _brought(facts)
    reached: dict[str, int] = {}
    for new in facts.new_persons:
        met = [touch for touch in facts.touches.get(new.person, ()) if _led_to(touch, new.named_at)]
        for channel in {touch.channel for touch in met} or {NONE}:
            reached[channel] = reached.get(channel, 0) + 1
    costs = campaign_costs(loop, facts, seen)
    of_loop = {campaign.name: campaign for campaign in loop.campaigns}
    credited = {channel for by_channel in credits.by_rule.values() for channel in by_channel}
    others = sorted(({*brought, *reached, *costs, *credited} - {NONE}) - set(of_loop))
    last = [NONE] if NONE in credited or NONE in brought else []
    figures = []
    for name in [*of_loop, *others, *last]:
        campaign = of_loop.get(name)
        mine = brought.get(name, [])
        mature = _mature(mine, seen)
        cost, stated = costs.get(name, (None, False))
        met_count = reached.get(name, 0)
        linear = credits.by_rule["linear"].get(name)
        deals = linear.conversions if linear else 0
        figures.append(CampaignFigures(
            campaign=name, of_loop=campaign is not None, stage=campaign.stage if campaign else "",
            touchpoint=campaign.touchpoint if campaign else "", incentive=campaign.incentive if campaign else False,
            cost_minor=cost, cost_stated=stated, reached=met_count, brought=len(mine),
            brought_with_fit=sum(new.fit >= fit for new in mine),
            cost_per_new_person_minor=round(Fraction(cost, met_count)) if cost is not None and met_count else None,
            mature=len(mature), never_back=statistics.share(sum(not new.back_30 for new in mature), len(mature)),
            first=_share(credits, "first", name), last=_share(credits, "last", name),
            linear=_share(credits, "linear", name),
            cost_per_deal_minor=round(cost / deals) if cost is not None and deals else None,
            revenue_per_cost=linear.value / cost if cost and linear else 0.0 if cost else None,
            paid_back_on=paid_back_on(credits.journeys, name, cost, seen) if cost else None,
        ))
    return tuple(figures)


def _brought(facts: Facts) -> dict[str, list[NewPerson]]:
    """The new persons by the campaign or channel that they met last before they became known."""
    brought: dict[str, list[NewPerson]] = {}
    for new in facts.new_persons:
        met = [touch for touch in facts.touches.get(new.person, ()) if _led_to(touch, new.named_at)]
        brought.setdefault(met[-1].channel if met else NONE, []).append(new)
    return brought


def _mature(new_persons: Iterable[NewPerson], seen: Window) -> list[NewPerson]:
    """Those who had thirty days to come back: nobody is called a prize hunter before."""
    return [new for new in new_persons if new.day + MATURE_30 <= seen.today]


def _days(loop: Loop, facts: Facts, seen: Window) -> tuple[DayFigures, ...]:
    found: dict[date, list[int]] = {}
    for new in facts.new_persons:
        found.setdefault(new.day, [0] * 4)[0] += 1
    for deal in facts.deals:
        if seen.holds(deal.opened_at):
            found.setdefault(seen.day(deal.opened_at), [0] * 4)[1] += 1
        if deal.won_at is not None and seen.holds(deal.won_at) and own_currency(deal, loop):
            of_day = found.setdefault(seen.day(deal.won_at), [0] * 4)
            of_day[2] += 1
            of_day[3] += deal.revenue_minor
    whole = range(max(0, (seen.last - seen.first).days + 1))
    return tuple(
        DayFigures(day, *found.get(day, [0] * 4)) for day in (seen.first + timedelta(days=number) for number in whole)
    )


def _led_to(touch: Touch, named_at: datetime) -> bool:
    return named_at - LOOKBACK <= touch.at <= named_at


def _model(model: str, by_channel: Mapping[str, Credit], credits: Credits) -> ModelFigures:
    deals = written([mine.conversions for mine in by_channel.values()], decimals=6)
    return ModelFigures(
        model,
        {
            channel: Share(float(won), mine.value)
            for (channel, mine), won in zip(by_channel.items(), deals, strict=True)
        },
        {channel: round(effect, 6) for channel, effect in credits.removal.get(model, {}).items()},
    )


def _share(credits: Credits, rule: str, channel: str) -> Share:
    mine = credits.by_rule[rule].get(channel)
    return Share(0.0, 0) if mine is None else Share(round(float(mine.conversions), 6), mine.value)


def _experiment(arms: ArmCount, loop: Loop, *, ended: bool) -> Experiment:
    planned = next(share for kind, gate, share in experiments_of(loop) if (kind, gate) == (arms.kind, arms.gate))
    p = statistics.sample_ratio(arms.treated, arms.holdout, planned)
    numbers = (arms.treated_won, arms.treated, arms.holdout_won, arms.holdout)
    refused = p is not None and p < statistics.SAMPLE_RATIO_REFUSES_BELOW
    interval = None
    lift = None
    if not refused and arms.treated and arms.holdout:
        lift = arms.treated_won / arms.treated - arms.holdout_won / arms.holdout
        interval = statistics.newcombe(*numbers) if ended else statistics.always_valid(*numbers)
    if refused:
        answer = "refused"
    elif lift is None:
        answer = "empty"
    elif interval is None or not interval.excludes_zero:
        answer = "not_enough_evidence"
    else:
        answer = "better" if interval.low > 0 else "worse"
    drawn = arms.treated + arms.holdout
    base = (arms.treated_won + arms.holdout_won) / drawn if drawn else 0.0
    return Experiment(
        gate=arms.gate, planned_holdout=planned, eligible=arms.eligible, treated=arms.treated, holdout=arms.holdout,
        mixed=arms.mixed, treated_won=arms.treated_won, holdout_won=arms.holdout_won, sample_ratio_p=p, lift=lift,
        interval=interval, method="newcombe" if ended else "always_valid",
        # With no deal at all, or nothing but deals, the spread of the shares is not known yet.
        detectable=statistics.detectable(arms.treated, arms.holdout, base) if 0 < base < 1 and not refused else None,
        answer=answer, kind=arms.kind,
    )


def _mails(loop: Loop, facts: Facts) -> tuple[MailFigures, ...]:
    figures = []
    for campaign in loop.campaigns:
        done = {count.outcome: count.people for count in facts.actions if count.campaign == campaign.name}
        came: dict[tuple[str, bool], int] = {
            (count.name, count.machine): count.people for count in facts.mails if count.campaign == campaign.name
        }
        if campaign.mail is None and (campaign.kind or not (done or came)):
            continue

        def both(name: str, came: Mapping[tuple[str, bool], int] = came) -> int:
            return came.get((name, False), 0) + came.get((name, True), 0)

        figures.append(MailFigures(
            campaign=campaign.name, asked_for=sum(done.values()), sent=done.get("sent", 0),
            pending=done.get("pending", 0), failed=done.get("failed", 0), unknown=done.get("unknown", 0),
            delivered=both(names.EMAIL_DELIVERED), opened=came.get((names.EMAIL_OPENED, False), 0),
            opened_by_machine=came.get((names.EMAIL_OPENED, True), 0),
            clicked=came.get((names.EMAIL_CLICKED, False), 0), bounced=both(names.EMAIL_BOUNCED),
            complained=both(names.EMAIL_COMPLAINED), unsubscribed=both(names.EMAIL_UNSUBSCRIBED),
        ))
    return tuple(figures)


def _quality(quality: Quality) -> DataQuality:
    return DataQuality(
        delivered=quality.delivered, counted=quality.counted, duplicates=quality.delivered - quality.distinct_ids,
        late=quality.late, machine=quality.machine, failed=quality.failed, human_page_views=quality.human_page_views,
        cookieless_share=statistics.share(quality.cookieless, quality.human_page_views), set_aside=quality.set_aside,
    )
