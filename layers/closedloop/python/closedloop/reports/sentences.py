"""What a report advises in words, English and Japanese, and the tables that stand beside it."""

from __future__ import annotations

from collections.abc import Mapping

from closedloop.loops.definition import Metric
from closedloop.reports.advice import Advice, Point, Told
from closedloop.reports.tables import Cell, Column, Figure, Table, shown
from closedloop.reports.words import DASH, Words

MONEY = (Metric.SALES, Metric.EXPECTED_SALES)
_STEPS = ("become_known", "fit", "repeat")


def sentence(point: Point, words: Words, currency: str) -> str:
    """One point as somebody would say it, with its figures and how strong its evidence is."""
    values = {name: _value(told, words, currency) for name, told in point.figures.items()}
    text = words.get(f"point:{point.says}", **values)
    return text + words.get("evidence_is", letter=point.evidence) if point.evidence else text


def _value(told: Told, words: Words, currency: str) -> str:
    if told.kind == "metric":
        return words.get(f"metric:{told.value}")
    if told.kind == "step":
        step = str(told.value)
        return words.get(f"step:{step}") if step in _STEPS else words.get("step:gate", gate=step)
    if told.kind == "p" and isinstance(told.value, float):
        return f"{told.value:.2f}"
    if told.kind == "gap":
        return DASH if told.value is None else f"{float(told.value) * 100:.1f}"
    return shown(told.value, told.kind, currency, words)


def advice_tables(advice: Advice, words: Words) -> Mapping[str, Table]:
    """The tables of what to do next, in one language."""
    made = (
        Table("advice", _columns("finding", "evidence", "consequence"), tuple(
            (sentence(point, words, advice.currency), point.evidence.value if point.evidence else "",
             words.get(f"consequence:{point.answer}")) for point in advice.points)),
        Table("forecast", _columns("metric", "target/figure", "middle/figure", "low/figure", "high/figure",
                                   "p_met/share", "rests_on"), tuple(
            (words.get(f"metric:{one.metric}"), *_span(one.money, one.target, one.middle, one.low, one.high),
             one.probability, one.missing or words.get(f"rests_on:{one.rests_on}")) for one in advice.forecasts)),
        Table("leaks", _columns("gate", "advance_rate/share", "target/share", "target_is", "gain/figure", "low/figure",
                                "high/figure", "p_largest/share"), tuple(
            (leak.gate, leak.rate, leak.target, words.get("assumed" if leak.assumed else "from_past_loops"),
             *(Figure(value, "money" if advice.worth_minor else "number")
               for value in (leak.gain, leak.low, leak.high)), leak.largest) for leak in advice.leaks)),
        Table("budget", _columns("campaign", "spend_now/money", "spend_next/money", "deals_counted/number",
                                 "marginal_cost/money"), tuple(
            (spend.campaign, spend.now_minor, spend.proposed_minor, spend.deals, spend.marginal_cost_minor)
            for spend in advice.budget)),
        Table("beside_lift", _columns("gate", "model", "deals_credited/number", "deals_measured/number", "low/number",
                                      "high/number", "credit_kept/share"), tuple(
            (words.get(f"experiment:{one.kind}", gate=one.gate), words.get(f"rule_{one.model}"), one.credited,
             one.measured, one.low, one.high, one.kept) for one in advice.beside_lift)),
        Table("calibration", _columns("loop", "metric", "target/figure", "low/figure", "middle/figure", "high/figure",
                                      "result/figure", "place/share", "inside"), tuple(
            (one.loop, words.get(f"metric:{one.metric}"),
             *_span(one.metric in MONEY, one.target, one.low, one.middle, one.high, one.result), one.place,
             words.get("yes" if one.within else "no")) for one in advice.calibration)),
    )
    return {table.name: table for table in made}


def _span(money: bool, *values: float | None) -> tuple[Cell, ...]:
    return tuple(Figure(value, "money" if money else "count") for value in values)


def _columns(*named: str) -> tuple[Column, ...]:
    return tuple(Column(key, kind or "text") for key, _, kind in (name.partition("/") for name in named))
