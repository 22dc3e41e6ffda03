"""compact_lake: a day of the lake as one file; reports say the same to the byte whichever way they read it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from closedloop.events.times import iso
from closedloop.lake import compact as days
from closedloop.lake import layout
from closedloop.lake.report_files import prepared
from closedloop.runtime import doors
from functions.compact_lake import handler
from tests.accounts import LAKE, Account
from tests.functions.gateway import Context
from tests.unit.test_report import AS_OF, a_small_loop
from tests.unit.test_report_rows import DAY, a_deal, a_form, a_move, a_page, an_event, ask, the_loop, the_site, write


@pytest.fixture
def lake(account: Account, tmp_path: Path) -> Account:
    put(account, a_small_loop(tmp_path / "lake"))
    return account


def put(account: Account, folder: Path, name: str = "") -> None:
    for file in sorted(folder.rglob("*.gz")):
        key = file.relative_to(folder).as_posix().replace("batch", f"batch{name}")
        doors.lake().put(key, file.read_bytes())


def fetched() -> tuple[list[str], Mapping[str, bytes]]:
    """What a report copies to its disk, and the report that it makes of it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        days.fetch(doors.lake(), folder)
        files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        _, made = prepared(the_loop(), {"demo": the_site()}, folder, AS_OF, bucket="BUCKET", memory="300MB")
    return files, {file.key: file.body for file in made}


def test_a_report_is_the_same_to_the_byte_before_and_after_compaction(lake: Account) -> None:
    delivered = lake.texts_of(LAKE)
    before, report = fetched()
    assert before and all(name.endswith(".gz") for name in before)
    told = handler.handle({}, Context())
    assert told == {"compacted": len(before), "whole": True}
    files, again = fetched()
    assert len(files) == len(before) and all(name.endswith(".parquet") for name in files)
    assert again == report
    # What was delivered stays, and a second call has nothing to do.
    after = lake.texts_of(LAKE)
    assert {key: body for key, body in after.items() if not key.startswith("compacted/")} == delivered
    assert handler.handle({}, Context()) == {"compacted": 0, "whole": True}
    assert lake.texts_of(LAKE) == after


def test_what_is_delivered_late_is_read_at_once_and_compacted_into_its_own_day_the_next_time(
    lake: Account, tmp_path: Path
) -> None:
    handler.handle({}, Context())
    late = a_page("late-1", "zoe", at=DAY + timedelta(days=3, hours=2), channel="Referral", source="news.example")
    put(lake, write(tmp_path / "late", [late]), "-late")
    day = "dt=2026-10-08/"
    files, report = fetched()
    assert f"events/{day}batch-late.ndjson.gz" in files and f"compacted/events/{day}part-0.parquet" not in files
    assert handler.handle({}, Context())["compacted"] == 1
    files, again = fetched()
    assert f"compacted/events/{day}part-0.parquet" in files and not [name for name in files if name.endswith(".gz")]
    assert again == report


def test_a_day_that_is_not_over_is_compacted_on_request_alone(lake: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("closedloop.runtime.clock.now", lambda: DAY + timedelta(hours=1))
    assert handler.handle({}, Context())["compacted"] == 0
    assert handler.handle({"today": True}, Context())["compacted"] == 2


def test_what_there_is_no_time_for_is_left_to_the_next_call(lake: Account) -> None:
    assert handler.handle({}, Context(remaining_ms=1000)) == {"compacted": 0, "whole": False}
    assert handler.handle({}, Context())["whole"] is True


@pytest.mark.parametrize("does_it", [True, False])
def test_killed_at_any_write_it_leaves_the_old_or_the_new_and_goes_on(
    lake: Account, monkeypatch: pytest.MonkeyPatch, does_it: bool
) -> None:
    report = fetched()[1]
    files = doors.lake()
    wanted = len(days.closed(files, date.max))
    real, writes = files.put_file, 0

    def dying(*words: Any) -> None:
        nonlocal writes
        writes += 1
        if does_it:
            real(*words)
        raise TimeoutError("killed")

    for life in range(3):
        monkeypatch.setattr(files, "put_file", dying)
        with pytest.raises(TimeoutError):
            handler.handle({}, Context())
        monkeypatch.setattr(files, "put_file", real)
        made = [key for key in lake.texts_of(LAKE) if key.startswith("compacted/")]
        assert len(made) == (life + 1 if does_it else 0)
        assert fetched()[1] == report
    assert handler.handle({}, Context())["compacted"] == wanted - (3 if does_it else 0)
    assert fetched()[1] == report


def test_what_comes_while_a_day_is_compacted_is_in_the_file(
    lake: Account, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late, real, calls = write(tmp_path / "late", [a_page("late-1", "zoe")]), days.write_day, 0

    def slowly(*words: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        real(*words, **named)
        if calls == 1:
            put(lake, late, "-late")

    monkeypatch.setattr(days, "write_day", slowly)
    (day,) = days.stale(doors.lake(), [(layout.EVENTS, DAY.date())])
    made = days.compact(doors.lake(), day)
    assert calls == 2 and any("-late" in key for key in made.keys)
    assert list(days.stale(doors.lake(), [(layout.EVENTS, DAY.date())])) == []


PEOPLE, HOURS = some.sampled_from(("ada", "bob", "eve")), some.integers(0, 72)


@some.composite
def deliveries(draw: some.DrawFn) -> list[tuple[dict[str, Any], int, int]]:
    """Events, each delivered once or oftener, the very same or sent again later; in which batch each lies."""
    told = []
    for number in range(draw(some.integers(1, 8))):
        who, hours = draw(PEOPLE), draw(HOURS)
        at = DAY + timedelta(hours=hours)
        made = draw(some.sampled_from((
            a_page(f"e{number}", who, at=at, channel="Direct"), a_form(f"e{number}", who, who, at=at),
            a_deal(f"e{number}", "Deal Won", who, 7, at=at, deal=f"d{number}") | {"door": "list"},
            an_event(f"e{number}", "List Row Retracted", at=at, door="list", properties={"retracts": "e0"}),
        )))
        for _ in range(draw(some.integers(1, 3))):
            again = draw(some.sampled_from((0, 0, 5, 30)))
            row = made if not again else {
                **made, "received_at": iso(at + timedelta(hours=again)), "packet": f"again-{again}",
            }
            told.append((row, draw(some.integers(0, 2)), draw(some.integers(0, 99))))
    return told


ONE = a_page("e0", "ada")


@example([(ONE, 0, 0), (ONE, 1, 0)], [0], 80)
@given(told=deliveries(), compacted=some.lists(some.integers(0, 4), unique=True), hours=some.integers(1, 120))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_twice_and_late_the_facts_are_those_of_what_was_delivered(
    told: list[tuple[dict[str, Any], int, int]], compacted: list[int], hours: int
) -> None:
    moment = DAY + timedelta(hours=hours)
    moves = [a_move("t1", "ada", "", "research")] * 2
    with TemporaryDirectory() as name:
        one, other = Path(name, "one"), Path(name, "other")
        write(one, [row for row, _, _ in told], moves)
        # The other has the same in other batches, in another order, and some of its days compacted.
        for batch in range(3):
            there = write(other, [row for row, lies, _ in sorted(told, key=lambda one: one[2]) if lies == batch],
                          moves)
            for file in there.rglob("batch.ndjson.gz"):
                file.rename(file.with_name(f"{batch}.ndjson.gz"))
        for file in (other / "decisions").rglob("[12].ndjson.gz"):
            file.unlink()
        for day in (DAY.date() + timedelta(days=number) for number in compacted):
            for prefix in days.FOLDERS:
                lines = list((other / layout.of_day(prefix, day)).glob("*.gz"))
                if lines:
                    target = other / layout.compacted(prefix, day)
                    target.parent.mkdir(parents=True)
                    days.write_day(prefix, lines, target, memory="300MB")
                    for line in lines:
                        line.unlink()
        assert ask(other, as_of=moment) == ask(one, as_of=moment)


def test_the_same_lines_in_another_order_are_the_same_file(tmp_path: Path) -> None:
    rows = [a_page(f"e{number}", f"b{number % 3}", at=DAY + timedelta(minutes=number)) for number in range(50)]
    made = []
    for name, listed in (("one", rows), ("other", rows[::-1])):
        folder = write(tmp_path / name, listed)
        target = tmp_path / f"{name}.parquet"
        days.write_day(layout.EVENTS, folder.rglob("*.gz"), target, memory="300MB")
        made.append(target.read_bytes())
    assert made[0] == made[1]

