"""The page that a marketer opens: one file, no script, nothing from outside, in English or Japanese."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from closedloop.reports.advice import Advice
from closedloop.reports.charts import charts
from closedloop.reports.metrics import Report
from closedloop.reports.missing import missing
from closedloop.reports.sentences import advice_tables, sentence
from closedloop.reports.tables import shown as shown_cell
from closedloop.reports.tables import tables
from closedloop.reports.words import Language, Words

TEMPLATES = Path(__file__).parent / "templates"
FILE_NAMES: Mapping[Language, str] = {Language.EN: "index.html", Language.JA: "index.ja.html"}


def csv_name(table: str, language: Language) -> str:
    """The file of a table for people."""
    return f"human/{table}.csv" if language is Language.EN else f"human/{table}.{language}.csv"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def page(report: Report, language: Language, advice: Advice) -> str:
    """A report, and what it advises, as one page of HTML."""
    words = Words(language)
    # The drawings are ours and escape their texts; everything else is escaped by the template engine.
    drawn = {name: Markup(svg) for name, svg in charts(report, words).items()}  # noqa: S704
    style = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704
    days = (report.ends - report.starts).days + 1
    return _template().render(
        r=report, w=words, charts=drawn, style=style, a=advice,
        tables={**tables(report, words), **advice_tables(advice, words)},
        told=lambda point: sentence(point, words, advice.currency),
        shown=lambda cell, kind: shown_cell(cell, kind, report.money.currency, words),
        # Everything that a page leads to is of its own version, so a reader never meets two reports at once.
        csv=lambda table: f"../version={report.version}/{csv_name(table, language)}",
        version_file=lambda version: f"../version={version}/{FILE_NAMES[language]}",
        other_file=f"../version={report.version}/{FILE_NAMES[words.other]}", days=days,
        day_number=max(0, min(days, (report.day - report.starts).days + 1)),
        as_of=words.moment(report.as_of), missing=list(missing(report, words)),
        top=max((stage.now for stage in report.stages), default=0) or 1,
    )
