"""How a list is imported: a file that was dropped into S3, or one that an operator names."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

from closedloop.capture.lists.flow import Doors, Report, take_list
from closedloop.capture.lists.reading import MOST_BYTES, Reject
from closedloop.errors import BadShape, NotFound, Refused, TooLarge, TryAgain
from closedloop.lake import layout
from closedloop.lake.imports import Journal
from closedloop.runtime import clock, doors, observe, settings
from closedloop.sites.words import harmless
from closedloop.store.lists import Lists

# What a message that is none of S3's ends in, however often it is delivered.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)


@cache
def lists() -> Lists:
    return Lists(doors.dynamo(), settings.settings()[settings.STATE_TABLE])


def list_doors() -> Doors:
    """What an import is handed."""
    return Doors(doors.ledger(), Journal(doors.lake()), lists(), lists(), doors.pepper(), clock.now)


def rejects_csv(rejects: Iterable[Reject]) -> bytes:
    """The rejected rows for a spreadsheet: line, column and reason, and nothing that one would compute."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("line", "column", "reason"))
    writer.writerows((one.line, harmless(one.column), harmless(one.reason)) for one in rejects)
    return text.getvalue().encode("utf-8-sig")


def take_dropped(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Import what was dropped under imports/; a message stays in the queue until its file is done with.

    Source: Amazon S3, "Event message structure"; AWS Lambda, "Implementing partial batch responses" for Amazon SQS.
    """
    again = []
    busy: tuple[type[Exception], ...] = (TryAgain, *doors.outages())
    for record in event.get("Records", ()):
        try:
            for key, size in _dropped(record["body"]):
                _take(key, size, context)
        except busy as error:
            observe.note(context, "later", error=type(error).__name__)
            again.append(record["messageId"])
        except UNREADABLE as error:
            # No retry mends it: after its last delivery it lies among the dead letters and alarms.
            observe.alarming(context, "not imported", error=type(error).__name__)
            again.append(record["messageId"])
    return {"batchItemFailures": [{"itemIdentifier": name} for name in again]}


def _dropped(body: str) -> list[tuple[str, int]]:
    """The names and sizes of the files that a message of S3 tells of; S3's own test tells of none."""
    told = json.loads(body)
    if told.get("Event") == "s3:TestEvent":
        return []
    objects = (record["s3"]["object"] for record in told["Records"])
    # The console makes a folder by an object without content, whose name ends so.
    return [(unquote_plus(one["key"]), int(one.get("size", 0))) for one in objects if not one["key"].endswith("/")]


def _take(key: str, size: int, context: Any) -> None:
    lake = doors.lake()
    try:
        report, site = _imported(key, size)
    except Refused as error:
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        lake.put_json(layout.refused(name), {"file": key, "reason": error.reason})
        observe.alarming(context, "list refused", error=type(error).__name__, refused=name)
        observe.count("ListRowsRejected", 1)
        return
    folder = (site, report.kind, report.source, report.name)
    if report.state != "imported before":
        lake.put_json(layout.imported(*folder, "report.json"), report.as_json())
        if report.rejects:
            lake.put(layout.imported(*folder, "rejects.csv"), rejects_csv(report.rejects), "text/csv; charset=utf-8")
    observe.note(context, report.state, list=report.name, source=report.source, **report.counts)
    if report.rejects:
        observe.count("ListRowsRejected", report.counts["rejected"])


def _imported(key: str, size: int) -> tuple[Report, str]:
    parts = key.removeprefix(layout.IMPORTS).split("/")
    if len(parts) != 4 or not parts[3]:
        raise BadShape(f"expected a file under {layout.IMPORTS}KIND/SITE/SOURCE/, such as {layout.IMPORTS}people/"
                       "my-site/dealer/2026-11.csv")
    kind, name, source, _ = parts
    if size > MOST_BYTES:
        raise TooLarge(f"the file is over {MOST_BYTES // 1_000_000} MB; split it")
    site = doors.state().site(name)
    if site is None:
        raise NotFound("no site of this name is known; apply its file first: closedloop site apply FILE")
    mapping = lists().mapping(name, kind, source)
    if mapping is None:
        raise NotFound("this source has no mapping of this kind; apply it first: closedloop import mapping FILE")
    return take_list(doors.lake().get(key), mapping, site, list_doors(), dry_run=False), name
