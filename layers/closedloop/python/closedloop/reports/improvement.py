"""From a report to what should change: every point with its figure, its evidence, and what it does to the draft.

Nothing is changed unless the new is better in 8 of 10 cases and rests on 30 events or more; else it is kept, and said
so. Source: analytics reference 6 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from closedloop.attribution.models import MARKOV
from closedloop.loops.definition import Loop, Metric
from closedloop.loops.feasibility import Chance, Past, demands, feasibility
from closedloop.loops.proposal import KEPT, Note, draft
from closedloop.reports.advice import SCHEMA, Advice, Answer, BesideLift, Changed, Evidence, Forecast, Point, Told
from closedloop.reports.allocation import Split, split
from closedloop.reports.bottleneck import Draws, Leak, Passage, history, leaks, prior, seeded, target
from closedloop.reports.deals import Deal
from closedloop.reports.facts import Facts
from closedloop.reports.forecast import CAME, Compared, compared, coverage, outlook, still_to_come, velocity
from closedloop.reports.judged import Judged, buckets, carried_over, threshold_of
from closedloop.reports.metrics import Attainment, Experiment, Report
from closedloop.reports.next_test import NextTest, Testable, next_test
from closedloop.reports.past import past_of
from closedloop.reports.survival import Wait
from closedloop.reports.threshold import better
from closedloop.reports.window import own_currency, window
from closedloop.sites.definition import Place

if TYPE_CHECKING:
    from numpy.random import Generator

SURE = 0.8
LEAST_EVENTS = 30
DAYS_OF_PACE = 7
MOST_VALUES = 20
# What gates of each kind let through where nobody has measured or stated it.
RULE_OF_THUMB = {"won": 0.22, "opened": 0.25, "ready": 0.12}


Expected = Mapping[str, Mapping[str, tuple[int, float, float, float]]]


@dataclass(frozen=True, slots=True)
class Finding:
    """A point and what it does at one place of the draft."""

    point: Point
    place: Place
    value: Any = KEPT


@dataclass(frozen=True, slots=True)
class Basis:
    """All that advice rests on.

    Shapes: `former` are the last reports of the loops before this one, oldest first; `expected` is what was forecast
    of each of them and of this one when it was approved, by loop and metric: target, low, middle, high.
    """

    loop: Loop
    report: Report
    facts: Facts
    as_of: datetime
    judged: Sequence[Judged] = ()
    former: Sequence[Report] = ()
    expected: Expected | None = None

    @property
    def past(self) -> Past:
        return past_of(self.report)

    @property
    def won(self) -> list[Deal]:
        seen = window(self.loop, self.as_of)
        return [
            deal for deal in self.facts.deals
            if deal.won_at is not None and seen.holds(deal.won_at) and own_currency(deal, self.loop)
        ]

    @property
    def worth(self) -> float | None:
        """What a deal brings: the mean of those won, else of those that the plan states."""
        values = [deal.revenue_minor for deal in self.won] or list(self.loop.assumptions.deal_values_minor)
        return sum(values) / len(values) if values else None

    def chance(self, *about: str) -> Generator:
        return seeded(self.loop.loop, self.report.as_of, *about)


def advise(basis: Basis, say: Callable[[Point], str]) -> tuple[Advice, list[Note]]:
    """What follows from a report, and what the draft of the next loop says at which place.

    Shapes: `say` puts a point into words.
    """
    loop, report = basis.loop, basis.report
    found_leaks, beside = _leaks(basis), _beside_lift(basis)
    shares = _split(basis, beside)
    test = _next_test(basis)
    carried = carried_over(basis.judged, basis.as_of)
    findings = [
        *_bottleneck(basis, found_leaks), *_lifts(basis), *_budget(basis, shares, beside), *_thresholds(basis),
        *_prizes(basis), *_test(basis, test), *_measured(basis), *_carried(basis, carried),
    ]
    notes = [Note(one.place, say(one.point), one.value) for one in findings]
    not_before = report.day + timedelta(days=1)
    ahead = feasibility(draft(loop, notes, not_before), basis.past).chances
    goals = [_goal(at, chance, basis) for at, chance in enumerate(ahead)]
    notes += [Note(one.place, say(one.point)) for one in goals]
    calibration = tuple(_calibration(basis))
    return Advice(
        schema=SCHEMA, loop=loop.loop, loop_version=report.loop_version, as_of=report.as_of, currency=loop.currency,
        next_loop=draft(loop, (), not_before).loop, forecasts=tuple(_forecasts(basis)),
        next_forecasts=tuple(map(_of_chance, ahead)), leaks=found_leaks, worth_minor=basis.worth,
        budget=shares.spends if shares else (), budget_probability=shares.probability if shares else None,
        beside_lift=beside, test=test, points=tuple(one.point for one in (*findings, *goals)),
        changes=tuple(Changed(_spelt(loop, one.place), say(one.point)) for one in findings if one.value is not KEPT),
        carried_over=carried, calibration=calibration, coverage=coverage(calibration),
    ), notes


def _spelt(loop: Loop, place: Place) -> str:
    """A place by its names: gates interested holdout."""
    named: Sequence[Any] = ()
    words = []
    for step in place:
        if isinstance(step, str):
            named = getattr(loop, step, ()) if step in ("gates", "campaigns") else named
            words.append(step)
        else:
            words.append(named[step].name if step < len(named) and len(words) == 1 else str(step + 1))
    return " ".join(words)


def _point(says: str, about: str, answer: Answer, evidence: Evidence | None, **figures: Any) -> Point:
    return Point(says, about, answer, evidence, {
        name: Told(*told) if isinstance(told, tuple) else Told(told) for name, told in figures.items()
    })


# How the loop ends.


def _forecasts(basis: Basis) -> Iterator[Forecast]:
    planned = feasibility(basis.loop).chances
    for goal, plan in zip(basis.report.objectives, planned, strict=True):
        yield _forecast(goal, plan, basis)


def _forecast(goal: Attainment, plan: Chance, basis: Basis) -> Forecast:
    seen = window(basis.loop, basis.as_of)
    whole = (goal.by - seen.first).days + 1
    over = max(0, (min(goal.by, seen.last) - seen.first).days + 1)
    said = (goal.metric, goal.target, goal.money)
    if goal.state in ("met", "missed") or over >= whole:
        sure = float(goal.attained >= goal.target)
        if goal.state != "met" or over >= whole:
            return Forecast(*said, "result", "", goal.attained, goal.attained, goal.attained, sure)
    if over < DAYS_OF_PACE:
        return _of_chance(plan)
    values = _values(basis, goal)
    if goal.money and not values:
        return Forecast(*said, "pace", "no deal has told a value, and the plan states none")
    units = len(_counted(basis, goal)) if goal.money else goal.attained
    curve = _curve(basis, goal, whole)
    drawn = outlook(units, goal.attained, goal.target, still_to_come(over, whole, curve),
                    basis.chance("forecast", goal.metric), values)
    return Forecast(*said, "pace", "", drawn.middle, drawn.low, drawn.high, drawn.probability)


def _counted(basis: Basis, goal: Attainment) -> list[Deal]:
    """The deals that an objective in money counts."""
    if goal.metric == Metric.SALES:
        return basis.won
    seen = window(basis.loop, basis.as_of)
    return [
        deal for deal in basis.facts.deals
        if own_currency(deal, basis.loop) and deal.lost_at is None and seen.holds(deal.opened_at)
    ]


def _values(basis: Basis, goal: Attainment) -> Sequence[int]:
    if not goal.money:
        return ()
    told = [max(0, deal.value_minor - deal.refunded_minor) for deal in _counted(basis, goal)]
    return told or basis.loop.assumptions.deal_values_minor


def _curve(basis: Basis, goal: Attainment, days: int) -> Sequence[float]:
    """How long newcomers take to a deal; nothing for objectives that count no deals, or where too few are known."""
    if goal.metric in (Metric.NEW_PERSONS_WITH_FIT, Metric.REPEAT):
        return ()
    opened = goal.metric in (Metric.OPPORTUNITIES, Metric.EXPECTED_SALES)
    first: dict[str, datetime] = {}
    for deal in basis.facts.deals:
        came = deal.opened_at if opened else deal.won_at
        if came is not None and deal.person:
            first[deal.person] = min(came, first.get(deal.person, came))
    waits = [
        Wait(max(0, (first.get(new.person, basis.as_of) - new.named_at).days), CAME if new.person in first else "")
        for new in basis.facts.new_persons
    ]
    return velocity(waits, days) if sum(bool(wait.end) for wait in waits) >= LEAST_EVENTS else ()


def _of_chance(chance: Chance) -> Forecast:
    money = chance.metric in (Metric.SALES, Metric.EXPECTED_SALES)
    if chance.expected is None:
        missing = chance.missing or "no campaign says how many visitors it is planned to bring"
        return Forecast(chance.metric, chance.target, money, "plan", missing)
    span = chance.expected
    return Forecast(chance.metric, chance.target, money, "plan", "", span.middle, span.low, span.high,
                    chance.probability)


def _goal(at: int, chance: Chance, basis: Basis) -> Finding:
    expected = _of_chance(chance)
    unit = "money" if expected.money else "count"
    if expected.middle is None:
        point = _point("objective_unknown", chance.metric, Answer.KEEP, None, metric=(chance.metric, "metric"),
                       missing=expected.missing)
    else:
        point = _point(
            "objective", chance.metric, Answer.KEEP, Evidence.MODEL, metric=(chance.metric, "metric"),
            target=(expected.target, unit), middle=(expected.middle, unit), low=(expected.low, unit),
            high=(expected.high, unit), p=(expected.probability, "p"),
        )
    return Finding(point, ("objectives", at))


def _calibration(basis: Basis) -> Iterator[Compared]:
    """The results of loops that have ended beside what was forecast of them when they were approved."""
    for report in (*basis.former, basis.report):
        spans = (basis.expected or {}).get(report.loop, {})
        for goal in report.objectives if report.ended else ():
            if goal.metric in spans:
                yield compared_with(report.loop, goal, spans[goal.metric])


def compared_with(loop: str, goal: Attainment, expected: tuple[int, float, float, float]) -> Compared:
    """One objective's result beside its forecast: target, low, middle, high."""
    stated, *span = expected
    return compared(loop, goal.metric, stated, (span[0], span[1], span[2]), goal.attained)


# Where people leak.


def kinds(loop: Loop) -> dict[str, str]:
    """What each gate asks for: a deal won, a deal opened, or that somebody is ready."""
    return {
        gate.name: "won" if demands(gate.when, "won") else "opened" if demands(gate.when, "opened") else "ready"
        for gate in loop.gates
    }


def passages(basis: Basis) -> list[Passage]:
    """Every gate as counted, with the share that it should let through by past loops, the plan, or a rule of thumb."""
    loop, kind = basis.loop, kinds(basis.loop)
    own: dict[str, list[float]] = {gate.name: [] for gate in loop.gates}
    for report in basis.former:
        for name, rate in past_of(report).gates.items():
            if name in own and rate.judged >= LEAST_EVENTS:
                own[name].append(rate.ready / rate.judged)
    found = []
    for gate in loop.gates:
        now, stated = basis.past.gates.get(gate.name), loop.assumptions.gates.get(gate.name)
        same = history(own, kind, gate.name)
        wanted, assumed = target(
            own[gate.name], same, stated.passed / stated.of if stated else None, RULE_OF_THUMB[kind[gate.name]],
        )
        found.append(Passage(
            gate.name, now.ready if now else 0, now.judged if now else 0, wanted, assumed, prior(same),
        ))
    return found


def reach(loop: Loop, entrants: float, rates: Sequence[Draws]) -> Draws:
    """How many reach the last stage at given rates; whom sales cannot take on goes no further."""
    of_gate = dict(zip([gate.name for gate in loop.gates], rates, strict=True))
    at: dict[str, Draws] = {stage: np.zeros_like(rates[0]) for stage in loop.stages}
    at[loop.stages[0]] += entrants
    capacity = loop.sales_capacity
    room = capacity.per_week * ((loop.period.end - loop.period.start).days + 1) // 7 if capacity else 0
    for stage in loop.stages:
        if capacity and capacity.stage == stage:
            at[stage] = at[stage].clip(max=room)
        left = at[stage]
        for gate in loop.gates_from(stage):
            passing = left * of_gate[gate.name] * (1 - gate.holdout)
            at[gate.to], left = at[gate.to] + passing, left - passing
    return at[loop.stages[-1]]


def _leaks(basis: Basis) -> tuple[Leak, ...]:
    entrants = next((stage.entered for stage in basis.report.stages if stage.stage == basis.loop.stages[0]), 0)
    counted = passages(basis)
    if not entrants or not any(one.of for one in counted):
        return ()
    return leaks(counted, partial(reach, basis.loop, float(entrants)), basis.worth or 1.0, basis.chance("bottleneck"))


def _bottleneck(basis: Basis, found: Sequence[Leak]) -> Iterator[Finding]:
    judged = {one.gate: one.of for one in passages(basis)}
    place_of = {gate.name: at for at, gate in enumerate(basis.loop.gates)}
    unit = "money" if basis.worth else "number"
    for leak in found:
        if not leak.largest:
            return
        name, place = leak.gate, ("gates", place_of[leak.gate])
        if judged[name] < LEAST_EVENTS:
            # It may hide a leak, or be none; the next one that is known is named as well.
            few = _point("bottleneck_few", name, Answer.KEEP, None, gate=name, judged=(judged[name], "count"))
            yield Finding(few, place)
            continue
        yield Finding(_point(
            "bottleneck" if leak.largest >= SURE else "bottleneck_unsure", name, Answer.LOOK,
            Evidence.ASSUMED if leak.assumed else Evidence.MODEL, gate=name, rate=(leak.rate, "share"),
            target=(leak.target, "share"), gain=(leak.gain, unit), low=(leak.low, unit), high=(leak.high, unit),
            p=(leak.largest, "p"),
        ), place)
        return


# What was measured by holdouts, and what models credit.


def _model(report: Report) -> str:
    named = {model.model for model in report.models}
    return next((model for model in MARKOV if model in named), "linear")


def credited(report: Report) -> dict[str, float]:
    """The deals of each campaign by the strongest model that the report has."""
    model = _model(report)
    for figures in report.models:
        if figures.model == model:
            return {channel: share.deals for channel, share in figures.channels.items()}
    return {one.campaign: one.linear.deals for one in report.campaigns}


def _behind(loop: Loop, experiment: Experiment) -> list[str]:
    """The campaigns whose work an experiment measures: all of a loop, or those behind a gate."""
    if experiment.kind == "universal":
        return [campaign.name for campaign in loop.campaigns if campaign.mail]
    order = {stage: place for place, stage in enumerate(loop.stages)}
    to = next((gate.to for gate in loop.gates if gate.name == experiment.gate), "")
    return [one.name for one in loop.campaigns if to and order.get(one.stage, -1) >= order[to]]


def _beside_lift(basis: Basis) -> tuple[BesideLift, ...]:
    deals, model, found = credited(basis.report), _model(basis.report), []
    for one in basis.report.experiments:
        if one.kind == "reverse":
            continue
        credit = sum(deals.get(name, 0.0) for name in _behind(basis.loop, one))
        if one.lift is None or one.interval is None:
            found.append(BesideLift(one.kind, one.gate, model, credit, None, None, None, None))
            continue
        measured, low, high = (edge * one.treated for edge in (one.lift, one.interval.low, one.interval.high))
        kept = min(1.0, max(0.0, measured / credit)) if credit and one.interval.excludes_zero else None
        found.append(BesideLift(one.kind, one.gate, model, credit, measured, low, high, kept))
    return tuple(found)


def _lifts(basis: Basis) -> Iterator[Finding]:
    for one in basis.report.experiments:
        at = next((n for n, gate in enumerate(basis.loop.gates) if gate.name == one.gate), None)
        place: Place = ("universal_holdout",) if one.kind == "universal" else ("gates", at or 0)
        low, high = (one.interval.low, one.interval.high) if one.interval else (None, None)
        figures = {
            "gate": one.gate, "lift": (one.lift, "points"), "low": (low, "points"), "high": (high, "points"),
            "people": (one.eligible, "count"),
        }
        if one.answer in ("better", "worse") and one.kind != "reverse":
            yield Finding(_point(f"lift_{one.answer}", one.gate, Answer.LOOK, Evidence.HOLDOUT, **figures), place)
        elif one.kind != "reverse":
            detects = (one.detectable, "gap")
            yield Finding(_point("lift_unknown", one.gate, Answer.KEEP, None, detects=detects, **figures), place)


# The budget.


def _kept(campaign: str, loop: Loop, report: Report, beside: Sequence[BesideLift]) -> float | None:
    """The part of a campaign's credit that holdouts confirm, by the nearest of them; None where none measured it."""
    found = None
    for one, row in zip([e for e in report.experiments if e.kind != "reverse"], beside, strict=True):
        if row.kept is not None and campaign in _behind(loop, one) and (found is None or one.kind == "holdout"):
            found = row.kept
    return found


def _split(basis: Basis, beside: Sequence[BesideLift]) -> Split | None:
    loop, report = basis.loop, basis.report
    of_loop = {campaign.name: campaign for campaign in loop.campaigns}
    seen = window(loop, basis.as_of)
    whole = (loop.period.end - loop.period.start).days + 1
    over = max(1, (seen.last - seen.first).days + 1)
    deals = credited(report)
    rows = []
    for one in report.campaigns:
        campaign = of_loop.get(one.campaign)
        if campaign is None:
            continue
        # What a plan states is its whole cost; what was reported is the part of the period that is over.
        stated = campaign.cost.total_minor if campaign.cost is not None else 0
        spend = stated or round((one.cost_minor or 0) * whole / over)
        if spend > 0:
            kept = _kept(one.campaign, loop, report, beside)
            mine = deals.get(one.campaign, 0.0) * (1.0 if kept is None else kept)
            each = one.linear.revenue_minor / one.linear.deals if one.linear.deals else basis.worth or 1.0
            rows.append((one.campaign, spend, mine, max(1.0, each)))
    if len(rows) < 2:
        return None
    total = sum(spend for _, spend, _, _ in rows)
    budget = min(total, loop.budget.amount_minor) if loop.budget else total
    return split(rows, budget, basis.chance("budget"))


def _budget(basis: Basis, found: Split | None, beside: Sequence[BesideLift]) -> Iterator[Finding]:
    loop = basis.loop
    if found is None:
        point = _point("budget_unknown", "", Answer.KEEP, None)
        yield Finding(point, ("budget",) if loop.budget else ("campaigns",))
        return
    deals = sum(spend.deals for spend in found.spends)
    place_of = {campaign.name: at for at, campaign in enumerate(loop.campaigns)}
    if deals < LEAST_EVENTS or found.probability < SURE:
        figures = {"deals": (deals, "number"), "p": (found.probability, "p")}
        says = "budget_few" if deals < LEAST_EVENTS else "budget_unsure"
        yield Finding(_point(says, "", Answer.KEEP, None, **figures), ("budget",) if loop.budget else ("campaigns",))
        return
    of_model = Evidence.MODEL if _model(basis.report) in MARKOV else Evidence.COUNTED
    for spend in found.spends:
        measured = _kept(spend.campaign, loop, basis.report, beside) is not None
        point = _point(
            "budget", spend.campaign, Answer.CHANGE, Evidence.HOLDOUT if measured else of_model,
            campaign=spend.campaign, now=(spend.now_minor, "money"), new=(spend.proposed_minor, "money"),
            deals=(spend.deals, "number"), marginal=(spend.marginal_cost_minor, "money"), p=(found.probability, "p"),
        )
        yield Finding(point, ("campaigns", place_of[spend.campaign], "cost"), {"amount_minor": spend.proposed_minor})


# Gates: thresholds under sales capacity, the one test, prizes.


def _thresholds(basis: Basis) -> Iterator[Finding]:
    loop, capacity = basis.loop, basis.loop.sales_capacity
    seen = window(loop, basis.as_of)
    room = capacity.per_week * max(0, (seen.last - seen.first).days + 1) / 7 if capacity else None
    for at, gate in enumerate(loop.gates):
        asked = threshold_of(gate)
        if asked is None or room is None or capacity is None or gate.to != capacity.stage:
            continue
        place, least = asked
        told = buckets(basis.judged, gate, least)
        here = [bucket for bucket in told if bucket.of]
        passed = sum(bucket.people for bucket in told if bucket.at_least >= least)
        lowest = next((bucket for bucket in told if bucket.at_least == least), None)
        if lowest is None or passed <= room:
            yield Finding(_point("threshold_room", gate.name, Answer.KEEP, None, gate=gate.name,
                                 passed=(passed, "count"), room=(room, "count")), ("gates", at))
            continue
        higher = next(bucket.at_least for bucket in told if bucket.at_least > least)
        sure = better(told, least, higher, basis.worth or 1.0, 0.0, room, basis.chance("threshold", gate.name))
        figures = {"gate": gate.name, "now": (least, "number"), "new": (higher, "number"), "p": (sure, "p"),
                   "people": (sum(bucket.of for bucket in here), "count"), "passed": (passed, "count"),
                   "room": (room, "count")}
        if lowest.of < LEAST_EVENTS or sure < SURE:
            yield Finding(_point("threshold_unsure", gate.name, Answer.KEEP, None, **figures), ("gates", at))
        else:
            point = _point("threshold", gate.name, Answer.CHANGE, Evidence.COUNTED, **figures)
            yield Finding(point, ("gates", at, "when", *place), higher)


def _prizes(basis: Basis) -> Iterator[Finding]:
    for at, campaign in enumerate(basis.loop.campaigns):
        one = next((c for c in basis.report.campaigns if c.campaign == campaign.name), None)
        if campaign.incentive and one is not None:
            few = one.mature < LEAST_EVENTS or one.never_back is None
            figures = {"campaign": campaign.name, "people": (one.mature, "count"), "share": (one.never_back, "share")}
            yield Finding(_point("prizes_few" if few else "prizes", campaign.name, Answer.KEEP if few else Answer.LOOK,
                                 None if few else Evidence.COUNTED, **figures), ("campaigns", at))


def _next_test(basis: Basis) -> NextTest | None:
    loop, order = basis.loop, {stage: place for place, stage in enumerate(basis.loop.stages)}
    last = max(order.get(campaign.stage, -1) for campaign in loop.campaigns)
    measured = {one.gate: one for one in basis.report.experiments if one.kind == "holdout"}
    rows = []
    for gate in loop.gates:
        rate = basis.past.gates.get(gate.name)
        if rate is None or not rate.ready or order[gate.to] > last:
            continue
        mine = [one for one in basis.judged if one.gate == gate.name and one.outcome == "advance"]
        base = sum(one.won for one in mine) / len(mine) if mine else 0.0
        known = measured.get(gate.name)
        error = _error(known) if known and known.lift is not None else None
        rows.append(Testable(gate.name, rate.ready, base, known.lift if known and error else None, error or None))
    return next_test(rows, basis.worth or 1.0)


def _error(one: Experiment) -> float:
    """The standard error of a lift."""
    treated, holdout = one.treated_won / one.treated, one.holdout_won / one.holdout
    return sqrt(treated * (1 - treated) / one.treated + holdout * (1 - holdout) / one.holdout)


def _test(basis: Basis, test: NextTest | None) -> Iterator[Finding]:
    if test is None:
        yield Finding(_point("test_none", "", Answer.KEEP, None), ("gates",))
        return
    at, gate = next((n, g) for n, g in enumerate(basis.loop.gates) if g.name == test.gate)
    unit = "money" if basis.worth else "number"
    figures = {
        "gate": gate.name, "share": (test.holdout, "share"), "value": (test.value, unit),
        "needed": (test.needed, "count"), "ready": (test.ready, "count"), "detects": (test.detects, "gap"),
    }
    if gate.holdout == test.holdout:
        yield Finding(_point("test_kept", gate.name, Answer.KEEP, None, **figures), ("gates", at))
        return
    yield Finding(_point("test", gate.name, Answer.CHANGE, None, **figures), ("gates", at, "holdout"), test.holdout)


# What the next plan takes for granted.


def _measured(basis: Basis) -> Iterator[Finding]:
    loop, past = basis.loop, basis.past
    known = loop.assumptions
    steps: list[tuple[Place, str, tuple[int, int], Any]] = [
        (("assumptions", "become_known"), "become_known", past.known, known.become_known),
    ]
    aims = {objective.metric for objective in loop.objectives}
    if known.fit or Metric.NEW_PERSONS_WITH_FIT in aims:
        steps.append((("assumptions", "fit"), "fit", past.fit, known.fit))
    if known.repeat or Metric.REPEAT in aims:
        steps.append((("assumptions", "repeat"), "repeat", past.repeat, known.repeat))
    for gate in loop.gates:
        rate = past.gates.get(gate.name)
        counted = (rate.ready, rate.judged) if rate else (0, 0)
        steps.append((("assumptions", "gates", gate.name), gate.name, counted, known.gates.get(gate.name)))
    for place, step, (passed, of), stated in steps:
        figures = {"step": (step, "step"), "passed": (passed, "count"), "of": (of, "count")}
        if of >= LEAST_EVENTS:
            point = _point("measured", step, Answer.CHANGE, Evidence.COUNTED, **figures)
            yield Finding(point, place, {"passed": passed, "of": of})
        elif stated is not None:
            yield Finding(_point("measured_few", step, Answer.KEEP, None, **figures), place)
    values = sorted(deal.revenue_minor for deal in basis.won if deal.revenue_minor > 0)
    place = ("assumptions", "deal_values_minor")
    if len(values) >= LEAST_EVENTS:
        point = _point("values", "", Answer.CHANGE, Evidence.COUNTED, deals=(len(values), "count"))
        yield Finding(point, place, _quantiles(values))
    elif known.deal_values_minor:
        yield Finding(_point("values_few", "", Answer.KEEP, None, deals=(len(values), "count")), place)


def _quantiles(values: Sequence[int]) -> list[int]:
    """A few values that stand for many, each for the same part of them."""
    return [values[(2 * part + 1) * len(values) // (2 * MOST_VALUES)] for part in range(MOST_VALUES)]


def _carried(basis: Basis, carried: Mapping[str, int]) -> Iterable[Finding]:
    people, place = sum(carried.values()), ("assumptions", "people_already_known")
    if people == basis.loop.assumptions.people_already_known:
        return []
    gates = ", ".join(f"{gate} {count}" for gate, count in sorted(carried.items()))
    point = _point("carried", "", Answer.CHANGE, Evidence.COUNTED, people=(people, "count"), gates=gates)
    return [Finding(point, place, people)]
