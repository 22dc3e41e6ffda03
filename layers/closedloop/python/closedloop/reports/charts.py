"""Charts: Vega-Lite specifications as plain values, drawn to still SVG. Nothing in them moves, links or loads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import vl_convert

from closedloop.reports.metrics import Report
from closedloop.reports.words import Words

Spec = dict[str, Any]

VEGA_LITE = "6.4"
# Narrow enough that a telephone shows the letters at a readable size; the page scales it up a little at most.
WIDTH = 440
SCALED = 1.12
INK, MUTED, GRID = "#1d2733", "#5b6875", "#e4e8ed"
ACCENT, SECOND, THIRD, PALE = "#0b6e69", "#d9822b", "#5661b3", "#b9d8d6"
LINES = [ACCENT, SECOND, THIRD, "#b23a48", "#5b6875", "#8a6d3b", "#3a7ca5"]
FONT = "system-ui, 'Hiragino Sans', 'Noto Sans JP', 'Yu Gothic UI', sans-serif"
CONFIG: Spec = {
    "font": FONT,
    "background": "transparent",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": "normal", "gridColor": GRID, "domain": False,
        "ticks": False, "labelPadding": 8, "labelFontSize": 13, "titleFontSize": 13, "labelLimit": 150,
    },
    "legend": {"labelColor": INK, "labelFontSize": 13, "orient": "top", "title": None, "symbolType": "square",
               "offset": 8},
    "bar": {"cornerRadiusEnd": 3},
}
# Weeks are texts, so that no time zone of the process moves them.
_WEEKS: Spec = {"labelAngle": 0, "labelOverlap": True, "labelExpr": "replace(slice(datum.value, 5), '-', '/')"}
_NOT_DRAWN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_ID = re.compile(r'\bid="([^"]+)"')


def draw(chart: str, spec: Spec, label: str) -> str:
    """A specification as an SVG element that may stand in a page beside others.

    The drawing library counts the ids of a process up, so they are written anew from the chart's name: the same
    specification is the same text at every run, and no two charts of a page share an id.
    """
    svg: str = vl_convert.vegalite_to_svg(
        json.dumps(_drawable(spec), ensure_ascii=False), vl_version=VEGA_LITE, allowed_base_urls=[]
    )
    for number, id_ in enumerate(dict.fromkeys(_ID.findall(svg))):
        svg = svg.replace(f'id="{id_}"', f'id="{chart}-{number}"').replace(f"url(#{id_})", f"url(#{chart}-{number})")
    head, _, body = svg.partition(">")
    head = re.sub(r'\s(?:role|aria-[a-z]+)="[^"]*"', "", head)
    size = re.search(r'viewBox="0 0 ([0-9.]+) ', head)
    style = f' style="max-width:{float(size.group(1)) * SCALED:.0f}px"' if size else ""
    head = re.sub(r'\s(?:width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(_drawable(label), quote=True)}"{style}>{body}'


def _drawable(value: Any) -> Any:
    """The same values without the characters that XML has no place for: one of them ends the drawing library's process.

    Nor has its language of expressions a place for the two that end a line of JavaScript.
    Source: XML 1.0, production 2 (Char).
    """
    if isinstance(value, str):
        return _NOT_DRAWN.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_drawable(key): _drawable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_drawable(one) for one in value]
    return value


def charts(report: Report, words: Words) -> Mapping[str, str]:
    """The charts of a report, by name; one that would show nothing is left out."""
    made = {name: spec for name, spec in (
        *((f"pace-{number}", _pace(report, number, words)) for number in range(len(report.objectives))),
        ("stages", _stages(report, words)),
        ("velocity", _velocity(report, words)),
        ("weeks", _weeks(report, words)),
        ("repeat", _repeat(report, words)),
        ("cohorts", _cohorts(report, words)),
        ("credit", _credit(report, words)),
        ("lift", _lift(report, words)),
    ) if spec is not None}
    return {name: draw(name, spec, words.chart_label(name, report)) for name, spec in made.items()}


def _spec(height: int | Spec, **parts: Any) -> Spec:
    return {"width": WIDTH, "height": height, "config": CONFIG,
            "autosize": {"type": "fit-x", "contains": "padding"}, **parts}


def _room(labels: list[str]) -> Spec:
    """An axis with room for its labels: the reader's fonts draw them, and they are wider than those we measure with."""
    widest = max(sum(14 if ord(letter) > 0x2E7F else 8.5 for letter in label) for label in labels)
    return {"minExtent": min(160.0, widest + 10), "labelLimit": 150}


def _pace(report: Report, number: int, words: Words) -> Spec | None:
    objective = report.objectives[number]
    if len(objective.series) < 2:
        return None
    scale = words.scale(report.money.currency) if objective.money else 1
    step = max(1, len(objective.series) // 120)
    days = [*objective.series[::step]]
    if days[-1] != objective.series[-1]:
        days.append(objective.series[-1])
    attained, pace = words.get("attained"), words.get("even_pace")
    values = [{"day": f"{day}", "value": value / scale, "what": attained} for day, value in days]
    values += [{"day": f"{report.starts}", "value": 0, "what": pace},
               {"day": f"{objective.by}", "value": objective.target / scale, "what": pace}]
    return _spec(
        180, data={"values": values}, mark={"type": "line", "interpolate": "linear"},
        encoding={
            "x": {"field": "day", "type": "temporal", "title": None,
                  "scale": {"type": "utc"},
                  "axis": {"format": words.get("day_format"), "labelAngle": 0, "grid": False, "tickCount": 5,
                           "labelFlush": False, "labelOverlap": "greedy", "labelSeparation": 14}},
            "y": {"field": "value", "type": "quantitative", "title": None, "axis": {"tickCount": 4, "format": "~s"}},
            "color": {"field": "what", "type": "nominal", "legend": {"symbolType": "stroke"},
                      "scale": {"domain": [attained, pace], "range": [ACCENT, "#9aa5b1"]}},
            "strokeWidth": {"condition": {"test": {"field": "what", "equal": attained}, "value": 3}, "value": 1.5},
            "strokeDash": {"condition": {"test": {"field": "what", "equal": attained}, "value": [1, 0]},
                           "value": [5, 4]},
        },
    )


def _stages(report: Report, words: Words) -> Spec | None:
    if not any(stage.entered for stage in report.stages):
        return None
    entered, now = words.get("entered"), words.get("stand_now")
    order = [words.stage(stage.stage) for stage in report.stages]
    values = [
        {"stage": words.stage(stage.stage), "what": what, "people": people}
        for stage in report.stages for what, people in ((entered, stage.entered), (now, stage.now))
    ]
    return _spec(
        {"step": 18}, data={"values": values},
        layer=[
            {"mark": {"type": "bar"}},
            {"mark": {"type": "text", "align": "left", "dx": 5, "color": INK, "fontSize": 12},
             "encoding": {"text": {"field": "people", "type": "quantitative", "format": ","},
                          "color": {"value": INK}}},
        ],
        encoding={
            "y": {"field": "stage", "type": "nominal", "sort": order, "title": None, "axis": _room(order),
                  "scale": {"paddingInner": 0.35}},
            "yOffset": {"field": "what", "sort": [entered, now]},
            "x": {"field": "people", "type": "quantitative", "title": words.get("people_unit"),
                  "axis": {"tickCount": 5, "format": ",d"}},
            "color": {"field": "what", "type": "nominal",
                      "scale": {"domain": [entered, now], "range": [PALE, ACCENT]}},
        },
    )


def _weeks(report: Report, words: Words) -> Spec | None:
    if not any(week.unique_users or week.new_persons for week in report.weeks):
        return None
    users, new = words.get("unique_users"), words.get("new_persons")
    values = [
        {"week": f"{week.week}", "what": what, "people": people}
        for week in report.weeks for what, people in ((users, week.unique_users), (new, week.new_persons))
    ]
    return _spec(
        220, data={"values": values}, mark={"type": "bar", "cornerRadiusEnd": 2},
        encoding={
            "x": {"field": "week", "type": "ordinal", "title": words.get("week_of"), "axis": _WEEKS},
            "xOffset": {"field": "what", "sort": [users, new]},
            "y": {"field": "people", "type": "quantitative", "title": words.get("people_unit"),
                  "axis": {"tickCount": 5, "format": ",d"}},
            "color": {"field": "what", "type": "nominal",
                      "scale": {"domain": [users, new], "range": [PALE, ACCENT]}},
        },
    )


def _repeat(report: Report, words: Words) -> Spec | None:
    values = [{"week": f"{week.week}", "share": week.back_30} for week in report.weeks if week.back_30 is not None]
    if not values:
        return None
    return _spec(
        180, data={"values": values},
        layer=[{"mark": {"type": "line", "color": ACCENT, "strokeWidth": 2}},
               {"mark": {"type": "point", "filled": True, "size": 60, "color": ACCENT, "opacity": 1}}],
        encoding={
            "x": {"field": "week", "type": "ordinal", "title": words.get("week_first_seen"), "axis": _WEEKS},
            "y": {"field": "share", "type": "quantitative", "title": None,
                  "axis": {"format": ".0%", "tickCount": 5}, "scale": {"zero": True}},
        },
    )


def _velocity(report: Report, words: Words) -> Spec | None:
    names = [words.stage(one.stage) for one in report.velocity if one.curve]
    if not names:
        return None
    values = [
        {"stage": words.stage(one.stage), "day": day, "share": share}
        for one in report.velocity if one.curve for day, share in ((0.0, 0.0), *one.curve)
    ]
    return _spec(
        220, data={"values": values}, mark={"type": "line", "interpolate": "step-after", "strokeWidth": 2.5},
        encoding={
            "x": {"field": "day", "type": "quantitative", "title": words.get("days_at_stage"),
                  "axis": {"grid": False, "tickCount": 6}},
            "y": {"field": "share", "type": "quantitative", "title": None,
                  "axis": {"format": ".0%", "tickCount": 5}, "scale": {"domain": [0, 1]}},
            "color": {"field": "stage", "type": "nominal", "sort": names,
                      "legend": {"symbolType": "stroke", "columns": 3},
                      "scale": {"domain": names, "range": LINES[:len(names)] or LINES}},
        },
    )


def _cohorts(report: Report, words: Words) -> Spec | None:
    values = [
        {"week": f"{cohort.week}"[5:].replace("-", "/"), "after": after, "share": people / cohort.people}
        for cohort in report.cohorts if cohort.people for after, people in enumerate(cohort.active, 1)
    ]
    if not values:
        return None
    weeks = list(dict.fromkeys(str(value["week"]) for value in values))
    return _spec(
        {"step": 18}, data={"values": values},
        encoding={
            "x": {"field": "after", "type": "ordinal", "title": words.get("weeks_after"),
                  "axis": {"labelAngle": 0, "grid": False}},
            "y": {"field": "week", "type": "ordinal", "sort": weeks, "title": None, "axis": {"grid": False}},
        },
        layer=[
            {"mark": {"type": "rect", "stroke": "white"},
             "encoding": {"color": {"field": "share", "type": "quantitative", "legend": None,
                                    "scale": {"domainMin": 0, "range": ["#eef4f4", "#7dbdb7"]}}}},
            {"mark": {"type": "text", "fontSize": 10, "color": INK},
             "encoding": {"text": {"field": "share", "type": "quantitative", "format": ".0%"}}},
        ],
    )


def _credit(report: Report, words: Words) -> Spec | None:
    shown = [c for c in report.campaigns if c.first.revenue_minor or c.last.revenue_minor or c.linear.revenue_minor]
    if not shown:
        return None
    scale = words.scale(report.money.currency)
    rules = [words.get(f"rule_{rule}") for rule in ("first", "last", "linear")]
    shown = sorted(shown, key=lambda c: (-c.linear.revenue_minor, c.campaign))[:12]
    names = [words.channel(campaign.campaign) for campaign in shown]
    values = [
        {"campaign": words.channel(campaign.campaign), "rule": rule, "value": value / scale}
        for campaign in shown
        for rule, value in zip(rules, (campaign.first.revenue_minor, campaign.last.revenue_minor,
                                       campaign.linear.revenue_minor), strict=True)
    ]
    return _spec(
        {"step": 13}, data={"values": values}, mark={"type": "bar"},
        encoding={
            "y": {"field": "campaign", "type": "nominal", "title": None, "scale": {"paddingInner": 0.4},
                  "sort": names, "axis": _room(names)},
            "yOffset": {"field": "rule", "sort": rules},
            "x": {"field": "value", "type": "quantitative", "title": report.money.currency,
                  "axis": {"tickCount": 5, "format": "~s"}},
            "color": {"field": "rule", "type": "nominal",
                      "scale": {"domain": rules, "range": [SECOND, THIRD, ACCENT]}},
        },
    )


def _lift(report: Report, words: Words) -> Spec | None:
    values = [
        {"gate": words.experiment(experiment), "lift": experiment.lift * 100, "low": experiment.interval.low * 100,
         "high": experiment.interval.high * 100}
        for experiment in report.experiments if experiment.interval is not None and experiment.lift is not None
    ]
    if not values:
        return None
    names = [words.experiment(experiment) for experiment in report.experiments]
    y = {"field": "gate", "type": "nominal", "title": None, "axis": _room(names)}
    axis = {"format": "+d", "tickCount": 6}
    return _spec(
        {"step": 44}, data={"values": values},
        layer=[
            {"mark": {"type": "rule", "color": "#9aa5b1", "strokeDash": [4, 4]}, "encoding": {"x": {"datum": 0}}},
            {"mark": {"type": "rule", "color": ACCENT, "strokeWidth": 3},
             "encoding": {"y": y, "x": {"field": "low", "type": "quantitative", "axis": axis,
                                        "title": words.get("lift_axis")}, "x2": {"field": "high"}}},
            {"mark": {"type": "point", "filled": True, "size": 110, "color": ACCENT, "opacity": 1},
             "encoding": {"y": y, "x": {"field": "lift", "type": "quantitative"}}},
        ],
    )
