"""The tables of a report: what stands beside each chart, as cells; and the files that people and machines open."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from closedloop.reports.facts import FunnelRow
from closedloop.reports.metrics import ModelFigures, Report, Share
from closedloop.reports.statistics import Interval, share
from closedloop.reports.words import DASH, Words
from closedloop.sites.words import harmless


@dataclass(frozen=True, slots=True)
class Figure:
    """A cell with a kind of its own, where the rows of a column differ."""

    value: float | None
    kind: str


Cell = str | int | float | date | Interval | Figure | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key of its words and how its cells are written.

    Shapes: `kind` is text, count, number, days, money, share, points, interval, signed_interval, p, day, or
    figure, whose cells say so themselves.
    """

    key: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """One table; money cells are minor units of the loop's currency, shares are 0 to 1."""

    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def _columns(*named: str) -> tuple[Column, ...]:
    return tuple(Column(key, kind or "text") for key, _, kind in (name.partition("/") for name in named))


def tables(report: Report, words: Words) -> Mapping[str, Table]:
    """All tables of a report, in its language."""
    made = (
        Table("objectives", _columns("metric", "target/figure", "attained/figure", "share/share",
                                     "elapsed/share", "by/day", "state", "definition"), tuple(
            (words.get(f"metric:{o.metric}"), _worth(o.target, o.money), _worth(o.attained, o.money), o.share,
             o.elapsed, o.by, words.get(f"state:{o.state}"), words.get(f"define:{o.metric}", fit=o.fit))
            for o in report.objectives)),
        _key_figures(report, words),
        Table("stages", _columns("stage", "entered/count", "left/count", "stand_now/count"), tuple(
            (words.stage(s.stage), s.entered, s.left, s.now) for s in report.stages)),
        Table("gates", _columns("gate", "from_stage", "to_stage", "judged/count", "advanced/count", "held/count",
                                "excluded/count", "advance_rate/share", "interval/interval"), tuple(
            (g.gate, g.from_stage, g.to_stage, g.judged, g.advanced, g.held, g.excluded, g.advance_rate,
             g.advance_interval) for g in report.gates)),
        Table("reasons", _columns("gate", "verdict", "why", "people/count"), tuple(
            row for g in report.gates for row in (
                *((g.gate, words.get("held"), words.either(f"hold:{b.why}", b.why), b.people) for b in g.holds),
                *((g.gate, words.get("excluded"), words.either(f"hold:{b.why}", b.why), b.people)
                  for b in g.exclusions)))),
        Table("velocity", _columns(
            "stage", "entered/count", "moved_on/count", "left_path/count", "still_there/count", "median_days/days",
            "median_from/days", "median_to/days", "moved_30/share", "lost_30/share", "still_30/share",
            "still_30_interval/interval"), tuple(
            (words.stage(v.stage), v.entered, v.moved, v.lost, v.still, v.median_days, v.median_low_days,
             v.median_high_days, v.moved_30, v.lost_30, v.still_30, v.still_30_interval) for v in report.velocity)),
        _pipeline(report, words),
        _cohorts(report),
        Table("weeks", _columns("week/day", "unique_users/count", "new_persons/count", "first_seen/count",
                                "back_30/share"), tuple(
            (w.week, w.unique_users, w.new_persons, w.first_seen, w.back_30) for w in report.weeks)),
        Table("campaigns", _columns("campaign", "kind", "stage", "cost/money", "reached/count", "brought/count",
                                    "brought_with_fit/count", "cost_per_new_person/money", "never_back/share",
                                    "cost_per_deal/money", "revenue_per_cost/number", "paid_back_on/day"), tuple(
            (words.channel(c.campaign), _kind(c.touchpoint, c.of_loop, c.incentive, words), c.stage, c.cost_minor,
             c.reached, c.brought, c.brought_with_fit, c.cost_per_new_person_minor, c.never_back,
             c.cost_per_deal_minor, c.revenue_per_cost, c.paid_back_on)
            for c in report.campaigns)),
        Table("campaign_quality", _columns(
            "campaign", "met/count", "known_before/count", "brought/count", "fit_share/share", "mature/count",
            "back_share/share", "interval/interval", "others_share/share", "firework/number", "lasts",
            "prize_hunters/count", "prize_share/share", "no_return/share"), tuple(
            (words.channel(q.campaign), q.met, q.known, q.brought, q.fit_share, q.mature, q.back_share,
             q.back_interval, q.others_share, q.firework, words.get(f"lasts:{q.answer}") if q.answer else "",
             q.prize_hunters if q.mature else None, q.prize_share, q.no_return) for q in report.campaign_quality)),
        Table("credit", _columns("campaign", "deals_first/number", "deals_last/number", "deals_linear/number",
                                 "revenue_first/money", "revenue_last/money", "revenue_linear/money"), tuple(
            (words.channel(c.campaign), c.first.deals, c.last.deals, c.linear.deals, c.first.revenue_minor,
             c.last.revenue_minor, c.linear.revenue_minor) for c in report.campaigns)),
        *_models(report, words),
        Table("experiments", _columns("gate", "eligible/count", "treated/count", "treated_won/count", "holdout/count",
                                      "holdout_won/count", "mixed/count", "sample_ratio/p", "lift/points",
                                      "interval/signed_interval", "method", "answer"), tuple(
            (words.experiment(e), e.eligible, e.treated, e.treated_won, e.holdout, e.holdout_won, e.mixed,
             e.sample_ratio_p, e.lift, e.interval, words.get(f"method:{e.method}"), words.answer(e))
            for e in report.experiments)),
        Table("mails", _columns("campaign", *(f"{name}/count" for name in (
            "asked_for", "sent", "failed", "unknown", "pending", "delivered", "opened", "opened_by_machine", "clicked",
            "bounced", "complained", "unsubscribed"))), tuple(
            (m.campaign, m.asked_for, m.sent, m.failed, m.unknown, m.pending, m.delivered, m.opened,
             m.opened_by_machine, m.clicked, m.bounced, m.complained, m.unsubscribed) for m in report.mails)),
        _addresses(report, words),
        _quality(report, words),
        *_changes(report, words),
        Table("checks", _columns("check", "left_side/count", "relation", "right_side/count", "holds"), tuple(
            (words.check(c.name), c.left, c.relation, c.right, words.get("yes" if c.holds else "no"))
            for c in report.checks)),
    )
    return {table.name: table for table in made}


def _models(report: Report, words: Words) -> tuple[Table, ...]:
    """Every model's credit, a column each, and the removal effects of those that have them."""
    met = {channel for model in report.models for channel in (*model.channels, *model.removal)}
    named = [campaign.campaign for campaign in report.campaigns]
    channels = [*(name for name in named if name in met), *sorted(met.difference(named))]
    walked = [model for model in report.models if model.removal]

    def columns(models: Sequence[ModelFigures], kind: str) -> tuple[Column, ...]:
        return Column("campaign"), *(Column(f"rule_{model.model}", kind) for model in models)

    def shares(channel: str) -> list[Share]:
        return [model.channels.get(channel, Share(0.0, 0)) for model in report.models]

    return (
        Table("models_revenue", columns(report.models, "money"), tuple(
            (words.channel(channel), *(share.revenue_minor for share in shares(channel))) for channel in channels)),
        Table("models_deals", columns(report.models, "number"), tuple(
            (words.channel(channel), *(share.deals for share in shares(channel))) for channel in channels)),
        Table("removal", columns(walked, "share"), tuple(
            (words.channel(channel), *(model.removal.get(channel) for model in walked))
            for channel in channels if any(channel in model.removal for model in walked))),
    )


def _worth(value: int, money: bool) -> Figure:
    return Figure(value, "money" if money else "count")


def _kind(touchpoint: str, of_loop: bool, incentive: bool, words: Words) -> str:
    if not of_loop:
        return words.get("outside")
    return f"{touchpoint} · {words.get('incentive')}" if incentive else touchpoint


def _key_figures(report: Report, words: Words) -> Table:
    people, money = report.people, report.money
    rows: list[tuple[Cell, ...]] = []

    def line(key: str, value: float | None, kind: str, unit: str, define: str = "", **values: object) -> None:
        rows.append((words.get(key), Figure(value, kind), unit, words.get(f"define:{define or key}", **values)))

    unit = words.get("people_unit")
    line("unique_users", people.unique_users, "count", unit)
    line("back_7", people.back_7, "share", words.get("of_people", n=words.number(people.cohort_7)))
    line("back_30", people.back_30, "share", words.get("of_people", n=words.number(people.cohort_30)))
    line("new_persons", people.new_persons, "count", unit)
    line("new_with_fit", people.new_with_fit, "count", unit, "new_persons_with_fit", fit=people.fit_at_least)
    line("persons_in_loop", people.persons_in_loop, "count", unit)
    line("deals_won", money.deals_won, "count", words.get("deals_unit"))
    line("revenue", money.revenue_minor, "money", money.currency, "sales")
    line("cost", money.cost_minor, "money", money.currency)
    line("return_on_cost", money.return_on_cost, "share", words.get("percent_unit"))
    return Table("figures", _columns("metric", "value/figure", "unit", "definition"), tuple(rows))


def _pipeline(report: Report, words: Words) -> Table:
    pipeline, currency = report.pipeline, report.money.currency
    told = () if pipeline is None else (
        ("deals_open", Figure(pipeline.open, "count"), words.get("deals_unit")),
        ("win_rate", Figure(pipeline.win_rate, "share"),
         words.get("of_decided", n=words.number(pipeline.won + pipeline.lost))),
        ("mean_value", Figure(pipeline.mean_value_minor, "money"), currency),
        ("cycle_days", Figure(pipeline.cycle_days, "days"), words.get("days_unit")),
        ("pipeline", Figure(pipeline.per_day_minor, "money"), words.get("per_day_unit", currency=currency)),
    )
    return Table("pipeline", _columns("metric", "value/figure", "unit", "definition"), tuple(
        (words.get(key), figure, unit, words.get(f"define:{key}")) for key, figure, unit in told))


def _cohorts(report: Report) -> Table:
    most = max((len(cohort.active) for cohort in report.cohorts), default=0)
    return Table("cohorts", _columns("week/day", "first_seen/count", *(f"after_{n}/share" for n in range(1, most + 1))),
                 tuple(
        (c.week, c.people, *(share(people, c.people) for people in c.active), *(None,) * (most - len(c.active)))
        for c in report.cohorts))


def _addresses(report: Report, words: Words) -> Table:
    listed = report.addresses
    states = ("bounced", "complained", "stopped", "gone_quiet", "alive")
    counted = (*((state, int(getattr(listed, state))) for state in states), ("all", listed.addresses))
    return Table("addresses", _columns("address_state", "value/count", "part/share", "definition"), tuple(
        (words.get(f"list:{state}"), count, share(count, listed.addresses), words.get(f"define:list:{state}"))
        for state, count in counted))


def _changes(report: Report, words: Words) -> tuple[Table, Table]:
    """What is said differently now, and what was received since that may be why."""
    found = report.changes
    return (
        Table("restated", _columns("figure_restated", "before/figure", "now_known/figure", "first_day/day",
                                   "last_day/day"), () if found is None else tuple(
            (words.get(r.figure), _worth(r.before, r.figure == "revenue_minor"),
             _worth(r.now, r.figure == "revenue_minor"), r.first, r.last) for r in found.restated)),
        Table("reasons_restated", _columns("received", "facts/count", "sum_named"), () if found is None else tuple(
            (words.get(f"because:{r.why}"), r.facts,
             words.money(r.amount_minor, r.currency or report.money.currency) if r.amount_minor else "")
            for r in found.reasons)),
    )


def _quality(report: Report, words: Words) -> Table:
    quality, unit = report.quality, words.get("events_unit")
    counts = (
        ("events_delivered", quality.delivered), ("events_counted", quality.counted),
        ("duplicates", quality.duplicates), ("set_aside", quality.set_aside), ("late", quality.late),
        ("machine", quality.machine), ("failed_events", quality.failed),
    )
    of_views = words.get("of_views", n=words.number(quality.human_page_views))
    return Table("quality", _columns("metric", "value/figure", "unit"), (
        *((words.get(key), Figure(value, "count"), unit) for key, value in counts),
        (words.get("cookieless"), Figure(quality.cookieless_share, "share"), of_views),
    ))


def shown(cell: Cell, kind: str, currency: str, words: Words) -> str:
    """A cell as it is read on the page; what is not known is a dash."""
    if isinstance(cell, Figure):
        return shown(cell.value, cell.kind, currency, words)
    if isinstance(cell, Interval):
        return words.interval(cell, signed=kind == "signed_interval")
    if isinstance(cell, date):
        return words.day(cell)
    if isinstance(cell, str):
        return cell or DASH
    if kind == "money":
        return words.money(cell, currency)
    if kind == "share":
        return words.percent(cell)
    if kind == "points":
        return words.signed_points(cell)
    if kind == "p":
        return DASH if cell is None else "< 0.001" if cell < 0.001 else f"{cell:.3f}"
    if kind == "number":
        return words.number(cell, 2)
    if kind == "days":
        return words.number(cell, 1)
    return words.number(cell)


def human_csv(table: Table, currency: str, words: Words) -> bytes:
    """A table for people and their spreadsheets: with a byte order mark, as Japanese Excel wants it.

    Units: money in whole units of the currency, shares from 0 to 1; an interval is two columns.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    header: list[str] = []
    for column in table.columns:
        name = words.get(column.key)
        label = f"{name} ({currency})" if column.kind == "money" else name
        header += [f"{label} ↓", f"{label} ↑"] if column.kind.endswith("interval") else [label]
    writer.writerow([harmless(label) for label in header])
    for row in table.rows:
        cells: list[str | int | float] = []
        for column, cell in zip(table.columns, row, strict=True):
            cells += _plain(cell, column.kind, currency, words)
        writer.writerow(cells)
    return text.getvalue().encode("utf-8-sig")


def _plain(cell: Cell, kind: str, currency: str, words: Words) -> list[str | int | float]:
    if isinstance(cell, Figure):
        return _plain(cell.value, cell.kind, currency, words)
    if kind.endswith("interval"):
        return [round(cell.low, 6), round(cell.high, 6)] if isinstance(cell, Interval) else ["", ""]
    if cell is None or isinstance(cell, Interval):
        return [""]
    if isinstance(cell, date):
        return [cell.isoformat()]
    if isinstance(cell, str):
        return [harmless(cell)]
    if kind == "money":
        scale = words.scale(currency)
        return [int(cell) if scale == 1 else round(cell / scale, 3)]
    return [cell if isinstance(cell, int) else round(cell, 6)]


FUNNEL_COLUMNS = (
    "site", "dt", "loop", "stage", "source", "medium", "campaign", "entered", "advanced", "held", "excluded",
    "revenue_minor", "currency", "as_of",
)


def funnel_csv(rows: Iterable[FunnelRow], as_of: str) -> bytes:
    """The table funnel_daily for machines: UTF-8 without a mark, LF, plain numbers, texts as they are."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FUNNEL_COLUMNS)
    for row in rows:
        writer.writerow((
            row.site, row.day.isoformat(), row.loop, row.stage, row.source, row.medium, row.campaign, row.entered,
            row.advanced, row.held, row.excluded, row.revenue_minor, row.currency, as_of,
        ))
    return text.getvalue().encode()


def quicksight_manifest(prefixes: Sequence[str]) -> bytes:
    """What QuickSight reads to import a table.

    Source: Amazon QuickSight, "Supported formats for Amazon S3 manifest files"; `containsHeader` is a string there.
    """
    return json.dumps({
        "fileLocations": [{"URIPrefixes": list(prefixes)}],
        "globalUploadSettings": {"format": "CSV", "delimiter": ",", "textqualifier": '"', "containsHeader": "true"},
    }, separators=(",", ":")).encode()
