"""closedloop lake: every event of the ledger lies in the lake, and who must act where one does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from closedloop.events.event import Door
from closedloop.lake.archive import archive_packets
from closedloop.lake.compact import MADE_FROM
from closedloop.runtime import clock, doors
from tests.builders import a_packet, a_record
from tests.cli.conftest import LAKE, NOW, Cloud, Run

FILE = "compacted/events/dt=2026-11-20/part-0.parquet"


@pytest.fixture
def archived(applied: Cloud) -> Cloud:
    """Two days of two events, of which one was delivered twice."""
    for days in (4, 3):
        records = [{**a_record(visitor="b1"), "id": f"demo/beacon/{days}-{number}"} for number in (1, 2)]
        packet = a_packet(*records, site="demo", door=Door.BEACON, received_at=NOW - timedelta(days=days))
        doors.ledger().append([packet])
        archive_packets([packet], doors.sites(), "1", doors.lake())
        archive_packets([packet], doors.sites(), f"again-{days}", doors.lake())
    return applied


def checked(run: Run) -> tuple[int, list[tuple[Any, ...]], str]:
    said = run("lake", "check", "--json")
    rows = [tuple(row[name] for name in ("day", "ledger", "lake", "lines", "compacted", "state")) for row in said.json]
    return said.status, sorted(rows), said.err


def test_a_lake_that_holds_what_the_ledger_holds_is_complete_before_and_after_compaction(
    archived: Cloud, run: Run
) -> None:
    for word in ("no", "yes"):
        assert checked(run)[:2] == (0, [
            ("2026-11-20", 2, 2, 4, word, "complete"), ("2026-11-21", 2, 2, 4, word, "complete"),
        ])
        assert run("lake", "compact", "--json").json == {"days": 2, "made": 2 if word == "no" else 0}
    shown = run("lake", "check", "--since", "2026-11-21")
    assert shown.status == 0 and "2026-11-21" in shown.out and "2026-11-20" not in shown.out
    assert run("lake", "check", "--since", "monday").status == 2


def test_an_event_that_never_reached_the_lake_is_missing_and_the_archiver_is_named(archived: Cloud, run: Run) -> None:
    late = {**a_record(visitor="b1"), "id": "demo/beacon/lost"}
    doors.ledger().append([a_packet(late, site="demo", door=Door.BEACON, received_at=NOW - timedelta(days=4, hours=1))])
    status, rows, err = checked(run)
    assert (status, rows[0]) == (1, ("2026-11-20", 3, 2, 4, "no", "missing"))
    assert "events of 2026-11-20: 1 are in the ledger and not in the lake" in err and "archive_events" in err
    # What came in today may still be on its way.
    archive_packets(list(doors.ledger().every_packet()), doors.sites(), "found", doors.lake())
    doors.ledger().append([a_packet({**late, "id": "demo/beacon/new"}, site="demo", received_at=clock.now())])
    status, rows, _ = checked(run)
    assert (status, rows[-1]) == (0, ("2026-11-24", 1, 0, 0, "no", "on its way"))


def test_what_somebody_took_out_of_the_ledger_is_told_unless_people_were_erased(archived: Cloud, run: Run) -> None:
    told = {**a_record(visitor="b1"), "id": "demo/beacon/stray"}
    stray = a_packet(told, site="demo", received_at=NOW - timedelta(days=4))
    archive_packets([stray], doors.sites(), "stray", doors.lake())
    status, rows, err = checked(run)
    assert (status, rows[0][-1]) == (1, "more than the ledger") and "restore" in err


def test_a_compacted_file_that_says_other_than_its_objects_is_found(archived: Cloud, run: Run) -> None:
    assert run("lake", "compact").status == 0
    s3 = archived.client("s3")
    other = s3.get_object(Bucket=LAKE, Key=FILE.replace("20/", "21/"))["Body"].read()
    noted = s3.head_object(Bucket=LAKE, Key=FILE)["Metadata"]
    assert set(noted) == {MADE_FROM}
    s3.put_object(Bucket=LAKE, Key=FILE, Body=other, Metadata=noted)
    status, rows, err = checked(run)
    assert (status, rows[0][-2:]) == (1, ("differs", "file differs")) and FILE in err
