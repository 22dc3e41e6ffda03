"""Asks the lake: files that were fetched to a folder in, facts out. The questions stand in sql/, one a file.

The questions use plain SQL, which stands in sql/athena/ in Athena's words; only the loading below is DuckDB's own. What
is asked about (the loop, its bounds, its days and campaigns) is handed over as small tables, so a question has no
parameters.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from closedloop.attribution.journeys import LOOKBACK
from closedloop.events import event as names
from closedloop.events.agents import Grade
from closedloop.events.behaviour import MAIL_DOORS, Act, behaviour, mail_of
from closedloop.events.deals import day_of, teller
from closedloop.identity.evidence import EvidenceKind
from closedloop.lake import columns, layout
from closedloop.loops.definition import BESIDE_THE_PATH, Loop
from closedloop.loops.experiments import experiments_of
from closedloop.profiles.fold import CONTACTS
from closedloop.reports import facts as f
from closedloop.reports.deals import DealFact, fold_deals
from closedloop.reports.people import Identification, fits, holdings
from closedloop.reports.touchpoints import MEETINGS, Meeting, touches
from closedloop.reports.window import window
from closedloop.sites.definition import Site

SQL = Path(__file__).parent / "sql"
# An address whose person did nothing for so long has gone quiet.
A_YEAR = timedelta(days=365)

# Facts that others do to a person, or that say nothing of what the person does: they are no activity.
PASSIVE = (
    names.EMAIL_SENT, names.EMAIL_DELIVERED, names.EMAIL_OPENED, names.EMAIL_BOUNCED, names.EMAIL_COMPLAINED,
    names.EMAIL_UNSUBSCRIBED, names.DEAL_OPENED, names.DEAL_CHANGED, names.DEAL_WON, names.DEAL_LOST, names.DEAL_PAID,
    names.DEAL_REFUNDED, names.ORDER_UPDATED, names.ORDER_CANCELLED, names.ORDER_REFUNDED, names.COST_REPORTED,
    names.MAIL_SUPPRESSED, names.MAIL_ALLOWED,
)

# What the questions read of a compacted day, or of lines as delivered.
_READ = {
    "events_delivered": (layout.EVENTS, frozenset(column.name for column in columns.EVENTS) - {
        "schema_version", "term", "source_rule", "host", "path", "title", "topic", "consent", "properties",
    }),
    "decisions_delivered": (layout.DECISIONS, frozenset(column.name for column in columns.DECISIONS) - {
        "draw", "copies",
    }),
}

_TABLES = {
    "asked": "loop VARCHAR, currency VARCHAR, home_site VARCHAR, as_of TIMESTAMP, starts_at TIMESTAMP, "
             "until TIMESTAMP, lookback_starts_at TIMESTAMP, first_day VARCHAR, last_day VARCHAR, "
             "a_year_ago TIMESTAMP, former_as_of TIMESTAMP, former_until TIMESTAMP, former_day VARCHAR",
    "sites_asked": "site VARCHAR",
    "days": "day DATE, week DATE, starts_at TIMESTAMP, ends_at TIMESTAMP",
    "campaigns_asked": "campaign VARCHAR",
    "gates_asked": "gate VARCHAR, from_stage VARCHAR",
    "experiments_asked": "kind VARCHAR, gate VARCHAR",
    "form_campaigns": "site VARCHAR, form VARCHAR, campaign VARCHAR",
    "touch_names": "name VARCHAR, kind VARCHAR",
    "passive_names": "name VARCHAR",
    "contact_doors": "door VARCHAR",
    "beside_the_path": "stage VARCHAR",
    "judged": "id VARCHAR, grade VARCHAR",
    "person_map": "node VARCHAR, since TIMESTAMP, until TIMESTAMP, person VARCHAR",
    "shared_names": "node VARCHAR, since TIMESTAMP, until TIMESTAMP, person VARCHAR",
    "converted": "person VARCHAR",
    "winners": "person VARCHAR, won_at TIMESTAMP",
    "won_deals": "day DATE, person VARCHAR, stage VARCHAR, revenue_minor BIGINT, currency VARCHAR",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a report looks at: the period in the loop's own days, cut off at the moment of the report.

    Shapes: `until` and `last_day` are the end of the period or the moment of the report, whichever is earlier.
    """

    as_of: datetime
    starts_at: datetime
    until: datetime
    first_day: date
    last_day: date
    today: date


def bounds(loop: Loop, as_of: datetime) -> Bounds:
    """The bounds of a loop's report as of a moment."""
    zone = ZoneInfo(loop.time_zone)
    today = as_of.astimezone(zone).date()
    end = _midnight(loop.period.end + timedelta(days=1), zone)
    return Bounds(
        as_of=as_of, starts_at=_midnight(loop.period.start, zone), until=min(end, as_of), first_day=loop.period.start,
        last_day=min(loop.period.end, today), today=today,
    )


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


@contextmanager
def engine(*, memory: str, spill: Path, threads: int = 2) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that keeps to its memory, spills to a folder, and loads nothing from the network."""
    connection = duckdb.connect(":memory:", config={
        "memory_limit": memory, "temp_directory": str(spill), "threads": threads,
        "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
    })
    try:
        connection.execute("SET TimeZone = 'UTC'")
        # It would draw its progress on standard output, among the results.
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()


def gather(
    connection: duckdb.DuckDBPyConnection, folder: Path, loop: Loop, sites: Mapping[str, Site], as_of: datetime,
    former: datetime | None = None,
) -> f.Facts:
    """Everything a report of the loop is made of, from the lake's files under a folder.

    Shapes: the folder holds `events/`, `decisions/` and `failed/` as the lake does; each may be missing. `former` is
    the moment of the report before this one.
    """
    with TemporaryDirectory() as between:
        return _gathered(_Lake(connection, Path(between)), folder, loop, sites, as_of, former)


def _gathered(
    lake: _Lake, folder: Path, loop: Loop, sites: Mapping[str, Site], as_of: datetime, former: datetime | None
) -> f.Facts:
    edge = bounds(loop, as_of)
    of_loop = [sites[name] for name in loop.sites if name in sites]
    lake.load(folder)
    lake.hand_over(loop, of_loop, edge, former)

    lake.keep("distinct_events", "distinct_events")
    lake.fill("judged", [(id_, told.grade.value) for id_, told in behaviour(
        Act(id_, at, name, bool(page), browser,
            mail_of(site, ids, loop_named, campaign, message) if door in MAIL_DOORS else "", link, bool(hidden),
            Grade(grade or Grade.HUMAN))
        for id_, at, name, page, browser, site, ids, loop_named, campaign, message, link, door, hidden, grade
        in lake.ask("acts_to_judge")
    ).items()])
    lake.keep("events", "judged_events")
    told = [
        Identification(id_, site, visitor, tuple(ids.split(" ")), deal, _utc(at), EvidenceKind(kind), of_refund)
        for id_, site, visitor, ids, deal, at, kind, of_refund in lake.ask("identifications")
    ]
    held = holdings(told)
    for table, shared in (("person_map", False), ("shared_names", True)):
        lake.fill(table, [
            (h.node, _naive(h.since), _naive(h.until), h.person) for h in held if h.shared is shared
        ])
    lake.keep("decisions", "distinct_decisions")
    lake.keep("acts", "acts")

    deals = tuple(fold_deals(
        DealFact(deal, site, name, person, _utc(at), amount, currency, id_, is_open, teller(door, of_list),
                 day_of(_utc(at), sites.get(site, loop).time_zone))
        for deal, site, name, person, at, amount, currency, id_, is_open, door, of_list in lake.ask("deal_facts")
    ))
    seen = window(loop, as_of)
    won = [deal for deal in deals if seen.holds(deal.won_at)]
    lake.fill("winners", [(deal.person, _naive(deal.won_at)) for deal in won if deal.person and deal.won_at])
    lake.fill("won_deals", [
        (seen.day(deal.won_at), deal.person, loop.stages[-1], deal.revenue_minor,
         deal.currency or loop.currency)
        for deal in won if deal.won_at is not None
    ])
    lake.keep("new_persons", "new_persons")
    new = lake.rows("SELECT person, named_at, day, week, back_30 FROM new_persons ORDER BY named_at, person")
    lake.fill("converted", sorted({(row[0],) for row in new} | {(deal.person,) for deal in won if deal.person}))
    lake.keep("origins", "origins")
    fit = fits(lake.ask("attributes"), of_loop)
    ((broken, paths),) = lake.ask("broken_paths")
    ((known, in_loop, _),) = lake.ask("people_counts")
    hunters = {person for (person,) in lake.ask("prize_hunters")}
    return f.Facts(
        users=f.Users(*lake.ask("unique_users")[0]),
        weeks=tuple(f.Week(*row) for row in lake.ask("weekly_users")),
        first_days=tuple(f.FirstDay(day, week, people, int(b7), int(b30))
                         for day, week, people, b7, b30 in lake.ask("returning_people")),
        new_persons=tuple(f.NewPerson(person, _utc(at), day, week, fit.get(person, 0), bool(back), person in hunters)
                          for person, at, day, week, back in new),
        touches=touches((Meeting(person, id_, _utc(at), kind, campaign, channel, source)
                         for person, id_, at, kind, campaign, channel, source in lake.ask("touchpoints")), loop),
        deals=deals,
        costs=tuple(f.CampaignCost(campaign, currency, int(amount))
                    for campaign, currency, amount in lake.ask("costs")),
        stages=tuple(f.StageCount(stage, int(i), int(o), int(now)) for stage, i, o, now in lake.ask("stage_flow")),
        broken_paths=broken, paths=paths, persons_in_loop=in_loop, persons_known=known,
        verdicts=tuple(f.VerdictCount(*row) for row in lake.ask("verdicts")),
        advances_without_move=lake.ask("advances_without_move")[0][0],
        arms=tuple(f.ArmCount(*row) for row in lake.ask("arms")),
        mails=tuple(f.MailCount(campaign, name, bool(machine), people)
                    for campaign, name, machine, people in lake.ask("mail_events")),
        actions=tuple(f.ActionCount(*row) for row in lake.ask("actions")),
        quality=replace(f.Quality(*(int(count) for count in lake.ask("quality")[0])), failed=_failed(folder)),
        funnel=tuple(
            f.FunnelRow(site, day, name, stage, source, medium, campaign, int(entered), int(advanced), int(held),
                        int(excluded), int(revenue), currency)
            for site, day, name, stage, source, medium, campaign, entered, advanced, held, excluded, revenue, currency
            in lake.ask("funnel_daily")
        ),
        stays=tuple(f.StageStay(*row) for row in lake.ask("stage_stays")),
        cohorts=tuple(f.CohortWeek(*row) for row in lake.ask("cohort_weeks")),
        campaign_people=tuple(f.CampaignPeople(*row) for row in lake.ask("campaign_people")),
        list_count=f.ListCount(*lake.ask("list_health")[0]),
        received_since=tuple(
            f.ReceivedSince(name, currency, facts, int(amount or 0))
            for name, currency, facts, amount in (lake.ask("received_since") if former else ())
        ),
    )


class _Lake:
    """The tables of one report in one engine."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder

    def load(self, folder: Path) -> None:
        """Read what was delivered: each day from its compacted file or from its lines, as they lie in the folder."""
        for table, (prefix, only) in _READ.items():
            lines, parquet = (
                [str(file) for file in sorted((folder / place).glob(f"**/*.{kind}"))]
                for place, kind in ((prefix, "ndjson.gz"), (layout.COMPACTED + prefix, "parquet"))
            )
            self._connection.execute(f"CREATE TABLE {table} AS {columns.delivered(prefix, lines, parquet, only)}")

    def hand_over(self, loop: Loop, sites: Sequence[Site], edge: Bounds, former: datetime | None) -> None:
        """Write down what is asked about."""
        for table, shape in _TABLES.items():
            self._connection.execute(f"CREATE TABLE {table} ({shape})")
        zone = ZoneInfo(loop.time_zone)
        # What the former report showed of the day that it was made on was not yet the whole of it.
        shown = former.astimezone(zone).date() if former else edge.first_day
        self.fill("asked", [(
            loop.loop, loop.currency, loop.sites[0], _naive(edge.as_of), _naive(edge.starts_at), _naive(edge.until),
            _naive(edge.starts_at - LOOKBACK), f"{edge.first_day}", f"{edge.last_day}", _naive(edge.as_of - A_YEAR),
            _naive(former), _naive(_midnight(shown, zone)), f"{shown}",
        )])
        self.fill("sites_asked", [(name,) for name in loop.sites])
        # Days run on past the period, so that a return after its end is seen.
        whole = (max(edge.today, loop.period.end) - edge.first_day).days + 1
        days = [edge.first_day + timedelta(days=number) for number in range(whole)]
        self.fill("days", [
            (day, day - timedelta(days=day.weekday()), _naive(_midnight(day, zone)),
             _naive(_midnight(day + timedelta(days=1), zone)))
            for day in days
        ])
        self.fill("campaigns_asked", [(campaign.name,) for campaign in loop.campaigns])
        self.fill("gates_asked", [(gate.name, gate.from_) for gate in loop.gates])
        self.fill("experiments_asked", [(kind, gate) for kind, gate, _ in experiments_of(loop)])
        self.fill("form_campaigns", [(site.site, name, form.campaign) for site in sites
                                     for name, form in site.forms.items() if form.campaign])
        self.fill("touch_names", sorted(MEETINGS.items()))
        self.fill("passive_names", [(name,) for name in PASSIVE])
        self.fill("contact_doors", [(str(door),) for door in sorted(CONTACTS)])
        self.fill("beside_the_path", [(stage,) for stage in BESIDE_THE_PATH])

    def fill(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Put rows into a table of ours, through a file of JSON lines: by far the quickest way in for many rows."""
        typed = dict(pair.split(" ") for pair in _TABLES[table].split(", "))
        file = self._folder / f"{table}.ndjson"
        with open(file, "w", encoding="utf-8") as lines:
            for row in rows:
                lines.write(json.dumps(dict(zip(typed, row, strict=True)), default=str, ensure_ascii=False) + "\n")
        if file.stat().st_size:
            self._connection.execute(f"INSERT INTO {table} {columns.as_lines([str(file)], typed)}")
        file.unlink()

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """The answer to a question, by the name of its file."""
        return self.rows(_sql(question))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def keep(self, table: str, question: str) -> None:
        """Keep an answer as a table, for the questions that build on it."""
        self._connection.execute(f"CREATE TABLE {table} AS {_sql(question)}")


def _sql(question: str) -> str:
    return (SQL / f"{question}.sql").read_text(encoding="utf-8")


def _failed(folder: Path) -> int:
    """How many records the failed store holds, each once."""
    ids: set[str] = set()
    for file in sorted((folder / layout.FAILED).glob("**/*.ndjson.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            ids.update(json.loads(line)["id"] for line in lines)
    return len(ids)


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
