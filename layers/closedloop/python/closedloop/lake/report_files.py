"""Builds a loop's report from a folder of the lake and writes its files, so that a reader never sees half of one.

The tree, in the bucket of the reports; SITE is the first site that the loop names:

    reports/site=SITE/loop=LOOP/version=V/{human/*.csv,proposal.*,notice.json,index.ja.html,index.html,summary.json}
    reports/site=SITE/loop=LOOP/dt=DAY/{proposal.*,summary.json,index.ja.html,index.html}
    reports/site=SITE/loop=LOOP/latest/{proposal.*,summary.json,index.ja.html,index.html}
    schemas/loop-report.schema.json
    curated/funnel_daily/site=S/dt=DAY/LOOP.part-0.parquet
    curated_csv/funnel_daily/site=S/LOOP.part-YEAR.csv
    manifests/quicksight/funnel_daily.json

Several loops share a site, so the loop stands in the path of its report and in the names of its files. A version is
named after the moment of its report and what it says, and stays as it was written; `dt=DAY/` and `latest/` are copies
of the newest one's pages, whose links lead to that version alone. So whenever the writing stops, whatever a reader
opens is of one report, the old one or the new one. Order of writing: data, version with its summary last, day,
manifest, `latest/` last. Nothing in the files depends on the clock or the machine: the same lake as of the same moment
after the same former report gives the same bytes, and a second run overwrites the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import duckdb

from closedloop.events.times import parse
from closedloop.lake import layout
from closedloop.lake.judged import judged
from closedloop.lake.queries import engine, gather
from closedloop.loops.definition import Loop
from closedloop.loops.lint import problems_with
from closedloop.loops.proposal import written
from closedloop.reports.advice import ADVICE, Advice
from closedloop.reports.credit import credits_of
from closedloop.reports.facts import FunnelRow
from closedloop.reports.improvement import Basis, Expected, advise
from closedloop.reports.metrics import Report, measure
from closedloop.reports.notice import NOTICE, language_of, notice
from closedloop.reports.page import FILE_NAMES, csv_name, page
from closedloop.reports.reconcile import reconciled
from closedloop.reports.restatement import changes
from closedloop.reports.sentences import advice_tables, sentence
from closedloop.reports.summary import schema, summary
from closedloop.reports.tables import funnel_csv, human_csv, quicksight_manifest, tables
from closedloop.reports.words import Language, Words
from closedloop.sites.definition import Site
from closedloop.sites.document import Document

MEMORY = "900MB"
TABLE = "funnel_daily"
RECOMPUTED = timedelta(days=7)
HTML, JSON, CSV = "text/html; charset=utf-8", "application/json", "text/csv; charset=utf-8"
PARQUET, YAML = "application/vnd.apache.parquet", "application/yaml"

_FUNNEL = """loop VARCHAR, stage VARCHAR, source VARCHAR, medium VARCHAR, campaign VARCHAR, entered BIGINT,
 advanced BIGINT, held BIGINT, excluded BIGINT, revenue_minor BIGINT, currency VARCHAR, as_of TIMESTAMP"""


class Publish(Protocol):
    """The door to the bucket of the reports."""

    def __call__(self, key: str, body: bytes, content_type: str) -> None: ...


@dataclass(frozen=True, slots=True)
class File:
    """One file of a report."""

    key: str
    body: bytes
    content_type: str


def build(
    loop: Loop, sites: Mapping[str, Site], lake_folder: Path, as_of: datetime, publish: Publish, *, bucket: str,
    former: Report | None = None, erased: Sequence[datetime] = (), newest: bool = True, memory: str = MEMORY,
    before: Sequence[Report] = (), expected: Expected | None = None,
) -> Report:
    """Report on one loop as of one moment, from the lake's files, and publish it.

    Shapes: `sites` are all that the caller knows, the loop's among them; the manifest names them all. `former` is the
    report before this one, `erased` when people were erased, and `newest` says that none of a later moment is there.
    `before` are the last reports of the loops that this one follows, oldest first, and `expected` what was forecast of
    each when it was approved (see improvement.py).
    Errors: NotReconciled, and then nothing is published.
    """
    report, files = prepared(loop, sites, lake_folder, as_of, bucket=bucket, former=former, erased=erased,
                             newest=newest, memory=memory, before=before, expected=expected)
    for file in files:
        publish(file.key, file.body, file.content_type)
    return report


def prepared(
    loop: Loop, sites: Mapping[str, Site], lake_folder: Path, as_of: datetime, *, bucket: str,
    former: Report | None = None, erased: Sequence[datetime] = (), newest: bool = True, memory: str = MEMORY,
    before: Sequence[Report] = (), expected: Expected | None = None,
) -> tuple[Report, list[File]]:
    """A report and its files in the order in which they are written.

    Errors: NotReconciled.
    """
    with TemporaryDirectory() as spill, engine(memory=memory, spill=Path(spill)) as connection:
        facts = gather(connection, lake_folder, loop, sites, as_of, parse(former.as_of) if former else None)
        credits = credits_of(loop, facts, as_of)
        report = reconciled(measure(loop, facts, as_of, credits), facts, credits)
        if former is not None:
            report = replace(report, changes=changes(former, report, facts.received_since, erased))
        report = replace(report, version=_version(report))
        # The tables for machines go forward alone: a report of an earlier moment is a version and no more.
        data = list(_data(connection, report, facts.funnel, Path(spill))) if newest else []
        advice, draft = proposal(
            Basis(loop, report, facts, as_of, judged(connection), before, expected), sites,
        )
    manifest = list(_manifest(sites, bucket))
    return report, [*data, *_report(report, advice, draft, loop.sites[0], bucket, manifest, newest=newest)]


def proposal(basis: Basis, sites: Mapping[str, Site]) -> tuple[Advice, bytes]:
    """What a report advises, and the draft of the next loop as a file, with what has to be mended in it."""
    loop, report = basis.loop, basis.report
    words = Words(Language.EN)
    advice, notes = advise(basis, lambda point: sentence(point, words, loop.currency))
    tomorrow = report.day + timedelta(days=1)

    def file(head: Sequence[str] = ()) -> bytes:
        return written(loop, notes, tomorrow, report.version, head)

    document = Document(file(), layout.DRAFT)
    found = problems_with(document.read_as(Loop), sites, document, basis.as_of, loops=[loop.loop])
    # A site may have changed since the loop was applied: then the draft says what a person has to mend.
    problems = tuple(text for _, _, text in found)
    return replace(advice, problems=problems), file([f"To be mended first: {text}" for text in problems])


def _data(
    connection: duckdb.DuckDBPyConnection, report: Report, rows: Iterable[FunnelRow], folder: Path
) -> Iterator[File]:
    """The daily table: the last days as Parquet, the whole of each year as CSV. Older days stand as they were."""
    of_day: dict[tuple[str, date], list[FunnelRow]] = {}
    of_year: dict[tuple[str, int], list[FunnelRow]] = {(site, report.starts.year): [] for site in report.sites}
    for row in rows:
        of_day.setdefault((row.site, row.day), []).append(row)
        of_year.setdefault((row.site, row.day.year), []).append(row)
    for (site, day), listed in sorted(of_day.items()):
        if day > report.day - RECOMPUTED:
            yield File(layout.curated_parquet(TABLE, site, report.loop, day),
                       _parquet(connection, listed, report.as_of, folder), PARQUET)
    for (site, year), listed in sorted(of_year.items()):
        yield File(layout.curated_csv(TABLE, site, report.loop, year), funnel_csv(listed, report.as_of), CSV)


def _parquet(
    connection: duckdb.DuckDBPyConnection, rows: Iterable[FunnelRow], as_of: str, folder: Path
) -> bytes:
    """One day of the table, with the very names, types and order of its Athena table."""
    target = folder / "part.parquet"
    connection.execute(f"CREATE OR REPLACE TABLE part ({_FUNNEL})")
    connection.executemany(f"INSERT INTO part VALUES ({'?, ' * 11}CAST(left(?, 23) AS TIMESTAMP))", [  # noqa: S608
        (row.loop, row.stage, row.source, row.medium, row.campaign, row.entered, row.advanced, row.held,
         row.excluded, row.revenue_minor, row.currency, as_of)
        for row in rows
    ])
    path = str(target).replace("'", "''")
    connection.execute(f"COPY part TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    return target.read_bytes()


def _version(report: Report) -> str:
    """The name of a report: its moment, so that names stand in order, and what it says, so that no two share one."""
    moment = "".join(sign for sign in report.as_of if sign.isalnum())
    return f"{moment}-{hashlib.sha256(summary(report)).hexdigest()[:8]}"


def _report(
    report: Report, advice: Advice, draft: bytes, site: str, bucket: str, manifest: Iterable[File], *, newest: bool
) -> Iterator[File]:
    """The version; of the newest also the report of the day, the manifest, and then what `latest/` shows."""
    folder = layout.report_version(site, report.loop, report.version)
    for language in Language:
        words = Words(language)
        for table in (*tables(report, words).values(), *advice_tables(advice, words).values()):
            yield File(folder + csv_name(table.name, language), human_csv(table, report.money.currency, words), CSV)
    pages = {FILE_NAMES[language]: page(report, language, advice).encode() for language in (Language.JA, Language.EN)}
    drafted = (
        (layout.DRAFT, draft, YAML), (layout.ADVICE_FILE, ADVICE.dump_json(advice, indent=1) + b"\n", JSON),
    )
    for name, body, kind in drafted:
        yield File(folder + name, body, kind)
    told = notice(report, advice, layout.console_link(bucket, folder + FILE_NAMES[language_of(report)]))
    yield File(folder + layout.NOTICE_FILE, NOTICE.dump_json(told, indent=1) + b"\n", JSON)
    for name, body in pages.items():
        yield File(folder + name, body, HTML)
    yield File(folder + "summary.json", summary(report), JSON)
    if not newest:
        return
    for copy, before in (
        (layout.report_folder(site, report.loop, report.day), ()),
        (layout.latest_report(site, report.loop), (*manifest, File(layout.report_schema(), schema(), JSON))),
    ):
        yield from before
        for name, body, kind in drafted:
            yield File(copy + name, body, kind)
        yield File(copy + "summary.json", summary(report), JSON)
        for name, body in pages.items():
            yield File(copy + name, body, HTML)


def _manifest(sites: Mapping[str, Site], bucket: str) -> Iterator[File]:
    prefixes = [f"s3://{bucket}/{layout.curated_csv_folder(TABLE, site)}" for site in sorted(sites)]
    yield File(layout.quicksight_manifest(TABLE), quicksight_manifest(prefixes), JSON)
