"""What was shown in vain, and numbers whose lines sum to them exactly, at every moment and without folding again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.events import event as names
from closedloop.events.event import Door, Event
from closedloop.loops.definition import Condition
from closedloop.loops.gates import ask
from closedloop.profiles.fold import fold, ledger
from closedloop.profiles.interest import IGNORED_HALF_LIFE, Ignored, remaining, score, shown, weight
from closedloop.profiles.points import MOST_WAITING, PAGE_ENGAGED, Line, summed
from closedloop.profiles.profile import Excerpt, Profile, profile_from
from tests.builders import CHROME, GOOGLEBOT, JANE, NOW, SITE, a_profile, a_site, an_event, minutes

SITES = {SITE: a_site()}
DAY = 24 * 60
MOMENTS = st.datetimes(datetime(2025, 6, 1), datetime(2029, 12, 31), timezones=st.just(UTC))


def folded(*events: Event, **points: Any) -> Profile:
    profile = fold(events, [JANE], {SITE: a_site(points=points)} if points else SITES)
    assert profile is not None
    return profile


def vain(*events: Event, **points: Any) -> list[Line]:
    sites = {SITE: a_site(points=points)} if points else SITES
    return [line for line in ledger(events, sites) if line.ignored]


def a_mail(id: str = "m1", at: datetime = NOW, topic: str = "pumps", **more: Any) -> Event:
    properties = {"topic": topic, "campaign": "case-mail", "message_id": f"<{id}@mails>", **more}
    return an_event(id, Door.EMAIL, type="track", name=names.EMAIL_DELIVERED, ids=[JANE], at=at, properties=properties)


def a_click(at: datetime, door: Door = Door.LINK, link: str = "https://www.northwind.example/pumps/p-200") -> Event:
    agent = {"agent": CHROME} if door is Door.LINK else {"agent": ""}
    return an_event(
        "c1", door, type="track", name=names.EMAIL_CLICKED, ids=[JANE], at=at,
        properties={"campaign": "case-mail", "link": link}, **agent,
    )


def read(seconds: Any, at: datetime = NOW, id: str = "r1", **more: Any) -> Event:
    page = {"page": {"path": more.pop("path", "/pumps/p-200")}}
    return an_event(
        id, type="track", name=PAGE_ENGAGED, at=at, context=page, properties={"engaged_seconds": seconds}, **more
    )


# Mails.


def test_a_mail_that_nothing_followed_in_a_week_takes_a_point_off_its_topic() -> None:
    profile = folded(a_mail())
    due = NOW + timedelta(days=7)
    assert profile.interest == {}
    assert profile.ignored["pumps"].total(due - timedelta(milliseconds=1)) == 0
    assert profile.ignored["pumps"].total(due) == weight(1, due, half_life=IGNORED_HALF_LIFE)


@pytest.mark.parametrize(("after", "reaction", "counts"), [
    (timedelta(days=6), a_click, False), (timedelta(days=8), a_click, True), (timedelta(days=-1), a_click, True),
    (timedelta(days=6), lambda at: a_click(at, Door.EMAIL, "www.northwind.example/pumps/p-200"), False),
    (timedelta(days=6), lambda at: a_click(at, link="https://www.northwind.example/valves/v-1"), True),
    (timedelta(days=6), lambda at: an_event("p1", at=at), False),
    (timedelta(days=6), lambda at: an_event("p1", at=at, path="/valves/v-1"), True),
    (timedelta(days=6), lambda at: an_event("p1", at=at, agent=GOOGLEBOT), True),
])
def test_only_what_a_person_does_about_the_topic_in_time_is_a_reaction(
    after: timedelta, reaction: Any, counts: bool
) -> None:
    assert bool(vain(a_mail(), reaction(NOW + after))) is counts


def test_a_click_is_interest_in_the_topic_of_the_page_that_the_mail_led_to() -> None:
    assert folded(a_click(NOW)).interest == {"pumps": weight(5, NOW)}
    assert set(folded(a_click(NOW, Door.EMAIL, "www.northwind.example/valves/v-1")).interest) == {"valves"}


@pytest.mark.parametrize(("mails", "points", "found"), [
    ([a_mail(), a_mail("m2")], {}, [-1, -1]),
    ([a_mail(), a_mail("m2", message_id="<m1@mails>")], {}, [-1]),
    ([a_mail(topic="")], {}, []),
    ([a_mail()], {"ignored_mail": 0}, []),
    ([a_mail()], {"ignored_mail": 3, "ignored_after_days": 2}, [-3]),
])
def test_each_mail_counts_once_for_what_the_site_says(
    mails: list[Event], points: dict[str, int], found: list[float]
) -> None:
    lines = vain(*mails, **points)
    assert [line.points for line in lines] == found
    if points.get("ignored_after_days"):
        assert (lines[0].at, lines[0].what) == (
            NOW + timedelta(days=2), "case-mail of 2026-11-24: nothing came of it in 2 days",
        )


# Pages.


@pytest.mark.parametrize(("events", "counts"), [
    ([an_event(), read(4)], True),
    ([an_event(), read(4), read(7, minutes(1), "r2")], False),
    ([an_event(), read(10)], False),
    ([an_event()], False),
    ([an_event(), read(4), an_event("p2", at=minutes(29))], False),
    ([an_event(), read(4), an_event("p2", at=minutes(31))], True),
    ([an_event(), read(4), an_event("t1", type="track", name="Price List Viewed", at=minutes(1))], False),
    ([an_event(path="/about"), read(4, path="/about")], False),
    ([an_event(agent=GOOGLEBOT), read(4, agent=GOOGLEBOT)], False),
    ([an_event(), read(4), an_event("p2", at=minutes(1), visitor="jane-phone")], True),
    ([an_event(), *(read(odd, NOW, f"r{odd}") for odd in (True, "4", -4, 10**9, None))], False),
])
def test_a_visit_of_one_page_left_within_ten_seconds_takes_a_point_off(events: list[Event], counts: bool) -> None:
    assert bool(vain(*events)) is counts
    assert vain(*events, bounce=0) == []


def test_a_page_is_left_only_when_the_visit_cannot_go_on() -> None:
    profile = folded(an_event(), read(4, minutes(1)))
    assert profile.ignored["pumps"].total(minutes(30)) == 0
    assert profile.ignored["pumps"].total(minutes(31)) > 0


# Reading.


def test_what_is_settled_needs_no_moment_and_nobody_else_has_a_byte_more() -> None:
    quiet, later = folded(a_mail()), folded(a_mail(), an_event("p1", at=minutes(8 * DAY)))
    assert quiet.ignored["pumps"].settled == 0
    assert later.ignored["pumps"].waiting == ()
    assert later.ignored["pumps"].settled == quiet.ignored["pumps"].total(minutes(8 * DAY))
    for profile in (quiet, later):
        assert profile_from(profile.stored()) == profile
        assert Excerpt(profile.stored()).ignored == profile.ignored
    told = folded(an_event()).stored().told
    assert told.endswith("},{},{}]")


def test_a_flood_of_mails_leaves_a_profile_small() -> None:
    many = [a_mail(f"m{number}") for number in range(500)]
    ignored = folded(*many).ignored["pumps"]
    assert len(ignored.waiting) == MOST_WAITING
    assert ignored.total(minutes(8 * DAY)) == 500 * weight(1, minutes(7 * DAY), half_life=IGNORED_HALF_LIFE)


def test_a_list_with_a_date_to_come_settles_nothing() -> None:
    seminar = an_event("s1", Door.LIST, type="track", name="Seminar Attended", ids=[JANE], at=minutes(90 * DAY))
    assert folded(a_mail(), seminar).ignored["pumps"].settled == 0


def test_interest_is_never_less_than_nothing_and_lost_interest_comes_back_slowly() -> None:
    earned, lost = weight(3, NOW), Ignored(weight(1, NOW, half_life=IGNORED_HALF_LIFE))
    later = NOW + timedelta(days=30)
    assert remaining(earned, lost, NOW) == 2
    assert remaining(earned, lost, later) == round(1.5 - 2 ** (-30 / 180), 2)
    assert remaining(0, lost, later) == 0
    assert remaining(earned, None, later) == shown(earned, later)


def test_a_gate_asks_for_what_is_left() -> None:
    asked = Condition.model_validate({"interest": {"topic": "pumps", "at_least": 3}})
    earned, lost = {"pumps": weight(3, NOW)}, {"pumps": Ignored(weight(1, NOW, half_life=IGNORED_HALF_LIFE))}
    for profile, holds, found in (
        (a_profile(interest=earned), True, "3.00, 100.0% of all"),
        (a_profile(interest=earned, ignored=lost), False, "2.00, 100.0% of all"),
    ):
        answer = ask(asked, profile, NOW)
        assert (answer.holds, answer.found) == (holds, found)


LINES = st.lists(st.tuples(st.floats(0.01, 50), MOMENTS, st.booleans()), max_size=40)


@given(LINES, st.timedeltas(timedelta(0), timedelta(days=400)))
def test_the_lines_sum_exactly_to_the_number_shown_at_every_moment(
    told: list[tuple[float, datetime, bool]], later: timedelta
) -> None:
    at = max((when for _, when, off in told if not off), default=NOW) + later
    lines = [
        Line(when, "", "pumps", -points, -weight(points, when, half_life=IGNORED_HALF_LIFE), ignored=True) if off
        else Line(when, "", "pumps", points, weight(points, when))
        for points, when, off in told
    ]
    earned = sum(line.adds for line in lines if not line.ignored)
    lost = Ignored(-sum(line.adds for line in lines if line.ignored and line.at <= at))
    assert sum(each for _, each in summed(lines, at)) / 100 == remaining(earned, lost, at)
    assert all(not each for line, each in summed(lines, at) if line.ignored and line.at > at)


def test_a_line_says_why_it_counts_less() -> None:
    server = {"library": {"name": "analytics-node"}}
    lines = ledger([
        an_event("p1"), an_event("p2", at=minutes(1)), an_event("p3", at=minutes(2)),
        an_event("t1", type="track", name=names.FORM_SUBMITTED, context=server, at=minutes(3), agent=""),
    ], SITES)
    assert [(round(line.points, 2), line.why) for line in lines if not line.topic] == [
        (1, ""), (0.5, "1/2: page 2 of the topic in a visit"), (0.33, "1/3: page 3 of the topic in a visit"),
        (5, "half: probably a person"),
    ]


def test_a_score_that_nothing_made_has_no_line() -> None:
    assert summed([], NOW) == []
    assert score(0, NOW) == 0
