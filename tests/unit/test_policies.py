"""When a loop may mail somebody: its quiet hours by its own clock, and its cap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.loops.definition import Loop
from closedloop.loops.policies import may_mail_at
from tests.builders import NOW, a_loop


def with_policies(zone: str = "Asia/Tokyo", **policies: Any) -> Loop:
    return a_loop(time_zone=zone, policies=policies)


def at(text: str, zone: str = "Asia/Tokyo") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


NIGHT, NOON = {"from": "21:00", "to": "08:00"}, {"from": "12:00", "to": "13:00"}


@pytest.mark.parametrize(("quiet", "now", "free"), [
    (NIGHT, "2026-11-24T20:59", "2026-11-24T20:59"), (NIGHT, "2026-11-24T21:00", "2026-11-25T08:00"),
    (NIGHT, "2026-11-25T07:59:59", "2026-11-25T08:00"), (NIGHT, "2026-11-25T08:00", "2026-11-25T08:00"),
    (NIGHT, "2026-11-25T00:00", "2026-11-25T08:00"), (NOON, "2026-11-24T12:30", "2026-11-24T13:00"),
    (NOON, "2026-11-24T13:00", "2026-11-24T13:00"), (NOON, "2026-11-24T23:00", "2026-11-24T23:00"),
])
def test_a_mail_waits_for_the_end_of_quiet_hours(quiet: dict[str, str], now: str, free: str) -> None:
    assert may_mail_at(with_policies(quiet_hours=quiet), {}, "m", at(now)) == at(free)


def test_quiet_hours_follow_the_clock_when_it_is_set_forward_or_back() -> None:
    berlin = with_policies("Europe/Berlin", quiet_hours={"from": "01:00", "to": "02:30"})
    # 02:30 does not exist on 29 March 2026, and comes twice on 25 October.
    for day, free in (("2026-03-29", datetime(2026, 3, 29, 1, 30)), ("2026-10-25", datetime(2026, 10, 25, 0, 30))):
        assert may_mail_at(berlin, {}, "m", at(f"{day}T01:30", "Europe/Berlin")) == free.replace(tzinfo=UTC)
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
    assert may_mail_at(berlin, {}, "m", second) == second


CAP = {"frequency_cap": {"mails": 2, "within_days": 7}}


def test_a_cap_counts_every_mail_but_the_one_that_is_asked_about() -> None:
    sent = {"a": NOW - timedelta(days=6), "b": NOW - timedelta(days=2), "c": NOW - timedelta(days=9)}
    assert may_mail_at(with_policies(**CAP), sent, "m", NOW) == NOW + timedelta(days=1)
    assert may_mail_at(with_policies(**CAP), sent, "b", NOW) == NOW
    assert may_mail_at(with_policies(), sent, "m", NOW) == NOW


def test_what_the_cap_frees_at_night_waits_for_the_morning() -> None:
    sent = {"a": at("2026-11-17T23:00"), "b": at("2026-11-20T10:00")}
    assert may_mail_at(with_policies(**CAP, quiet_hours=NIGHT), sent, "m", NOW) == at("2026-11-25T08:00")


HOURS = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


@given(HOURS, HOURS, st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)), st.sampled_from(
    ["Asia/Tokyo", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
))
def test_a_wait_is_never_backwards_nor_longer_than_a_day_and_ends_for_good(
    begins: str, ends: str, now: datetime, zone: str
) -> None:
    if begins == ends:
        return
    loop = with_policies(zone, quiet_hours={"from": begins, "to": ends})
    free = may_mail_at(loop, {}, "m", now)
    assert now <= free <= now + timedelta(hours=25)
    assert may_mail_at(loop, {}, "m", free) == free
