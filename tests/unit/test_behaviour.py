"""What a person cannot have done is a machine's: by pace, and by how the links of a mail were followed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.events import behaviour as rules
from closedloop.events import event as names
from closedloop.events.agents import Evidence, Grade, grade_event
from closedloop.events.behaviour import Act, act_of, behaviour, graded, mail_of
from closedloop.events.event import Door, Event
from closedloop.profiles.fold import fold, ledger
from closedloop.world import files
from closedloop.world.generate import generate
from tests.builders import CHROME, GOOGLEBOT, JANE, NOW, SITE, a_site, an_event
from tests.yardstick import megabytes_of_json

HUMAN, LIKELY, MACHINE = Grade
SITES = {SITE: a_site()}
BROWSER, MAIL = "jane-laptop", {"loop": "autumn", "campaign": "guide"}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def pages(seconds: Iterable[float], **more: Any) -> list[Event]:
    return [an_event(f"p{number}", at=after(at), visitor=BROWSER, **more) for number, at in enumerate(seconds)]


def mailed(
    name: str, seconds: float, id: str = "", door: Door = Door.LINK, agent: str = CHROME, **properties: Any
) -> Event:
    browser = {"visitor": BROWSER} if name == names.EMAIL_CLICKED and door is Door.LINK else {}
    return an_event(
        id or f"{name} {seconds}", door, agent=agent, type="track", name=name, at=after(seconds), ids=[JANE],
        properties={**MAIL, **properties}, **browser,
    )


def clicked(seconds: float, **more: Any) -> Event:
    return mailed(names.EMAIL_CLICKED, seconds, **more)


def evidence(*events: Event) -> dict[str, Evidence]:
    return {event.id.rpartition("/")[2]: told for event, told in graded(events)}


def found(*events: Event) -> set[str]:
    own = {
        event.id: grade_event(
            event.name, event.context["agent"], event.context, event.properties, door=event.door.value
        )
        for event in events
    }
    return {told.reason for event, told in graded(events) if told != own[event.id]}


DELIVERED = mailed(names.EMAIL_DELIVERED, 0, door=Door.EMAIL)


# Pace.


def test_more_than_a_page_a_second_for_twenty_seconds_is_a_machine() -> None:
    rush = pages(0.95 * number for number in range(30))
    assert {told.grade for told in evidence(*rush).values()} == {MACHINE}
    assert found(*rush) == {rules.RUSHED.reason}


@pytest.mark.parametrize("seconds", [
    [0.1 * number for number in range(20)], [2 * number + 0.9 * (number % 3) for number in range(60)],
    [0.1 * number for number in range(20)] + [60 + 0.1 * number for number in range(20)],
], ids=["twenty tabs at once", "quick reading", "twenty tabs twice"])
def test_a_pace_that_a_person_can_keep_says_nothing(seconds: list[float]) -> None:
    assert found(*pages(seconds)) == set()


def test_only_the_rush_is_the_machines_and_only_in_its_browser() -> None:
    before, later = an_event("before", at=after(-600)), an_event("later", at=after(600))
    other = an_event("other", at=after(5), visitor="jane-phone")
    told = evidence(*pages(0.5 * number for number in range(30)), before, later, other)
    assert {id for id, one in told.items() if one.grade is HUMAN} == {"before", "later", "other"}


def test_a_queue_stamped_when_it_was_sent_says_nothing_of_pace() -> None:
    assert found(*pages([0] * 200)) == set()


def test_a_server_with_its_secret_key_has_its_own_pace() -> None:
    assert found(*pages((0.1 * number for number in range(50)), context={"grade": "server"})) == set()


def test_many_events_on_one_page_are_a_pages_own_work() -> None:
    tracks = [
        an_event(f"t{number}", type="track", name="Product Viewed", at=after(0.05 * number)) for number in range(400)
    ]
    assert found(*tracks) == set()


def test_more_than_ten_events_a_second_for_a_minute_is_a_machine() -> None:
    tracks = [an_event(f"t{number}", type="track", name="Tick", at=after(0.09 * number)) for number in range(601)]
    assert found(*tracks) == {rules.FLOODED.reason}
    assert found(*tracks[:600]) == set()


@pytest.mark.parametrize(("gap", "machine"), [(5, True), (60, True), (600, True), (601, False), (86_400, False)])
def test_pages_at_even_intervals_are_a_clocks_within_a_visit(gap: float, machine: bool) -> None:
    told = found(*pages(number * gap + 0.03 * gap * (number % 3) for number in range(21)))
    assert told == ({rules.CLOCKED.reason} if machine and gap < 600 else set())


def test_a_readers_gaps_differ_and_twenty_even_ones_are_few_enough() -> None:
    reader = random.Random(5)
    moments, at = [], 0.0
    for _ in range(500):
        at += 1.2 + reader.lognormvariate(3, 0.8)
        moments.append(at)
    assert found(*pages(moments)) == set()
    assert found(*pages(number * 7 for number in range(20))) == set()


@pytest.mark.parametrize("seed", [1, 7])
def test_of_a_worlds_visitors_the_disguised_are_found_and_no_person_is_taken_for_one(seed: int, tmp_path: Path) -> None:
    files.write(generate(150, seed, NOW), tmp_path)
    sent = list(files.read_lines(tmp_path, files.EVENTS))
    bots = {bot["visitor"]: bot["kind"] for bot in json.loads((tmp_path / files.TRUTH).read_bytes())["bots"]}
    whose = {event["messageId"]: event["anonymousId"] for event in sent}
    told = behaviour(
        Act(
            event["messageId"], datetime.fromisoformat(event["timestamp"]), event.get("event", ""),
            event["type"] == "page", event["anonymousId"], "", "", False, HUMAN,
        )
        for event in sent
    )
    assert {whose[id] for id in told} <= set(bots)
    disguised = {visitor for visitor, kind in bots.items() if kind == "disguised"}
    assert disguised
    assert {id for id, visitor in whose.items() if visitor in disguised} <= set(told)


# Mails.


@pytest.mark.parametrize(("seconds", "machine"), [(-61, False), (-60, True), (0, True), (5, True), (5.1, False)])
def test_a_click_at_the_moment_of_delivery_is_a_scanners(seconds: float, machine: bool) -> None:
    page = an_event("page", at=after(seconds + 2))
    assert (rules.AT_DELIVERY.reason in found(DELIVERED, clicked(seconds), page)) is machine


def test_an_opening_at_the_moment_of_delivery_is_a_scanners() -> None:
    assert found(DELIVERED, mailed(names.EMAIL_OPENED, 2)) == {rules.AT_DELIVERY.reason}
    assert found(DELIVERED, mailed(names.EMAIL_OPENED, 60)) == set()


def test_the_delivery_of_another_mail_or_to_somebody_else_says_nothing() -> None:
    page = an_event("page", at=after(3))
    assert found(mailed(names.EMAIL_DELIVERED, 0, door=Door.EMAIL, campaign="offer"), clicked(1), page) == set()
    assert found(mailed(names.EMAIL_DELIVERED, 0, door=Door.EMAIL, loop="spring"), clicked(1), page) == set()


def by_provider(seconds: Sequence[float], links: Sequence[str]) -> list[Event]:
    return [
        clicked(at, door=Door.EMAIL, id=f"c{number}", link=link, campaign="", message_id="m-1")
        for number, (at, link) in enumerate(zip(seconds, links, strict=True))
    ]


@pytest.mark.parametrize(("seconds", "links", "machine"), [
    ([10, 11, 13], "abc", {"c0", "c1", "c2"}), ([10, 11, 13.1], "abc", set()), ([10, 10, 10], "aab", set()),
    ([10, 11, 12, 15, 60], "abcda", {"c0", "c1", "c2"}), ([10, 12, 14, 15], "abcd", {"c1", "c2", "c3"}),
])
def test_three_links_in_three_seconds_are_more_than_a_hand_can_follow(
    seconds: list[float], links: str, machine: set[str]
) -> None:
    told = evidence(*by_provider(seconds, links))
    assert {id for id, one in told.items() if one == rules.MANY_LINKS} == machine


def test_links_of_two_mails_are_not_one_burst() -> None:
    one, two, three = by_provider([1, 2, 3], "abc")
    other = clicked(3, door=Door.EMAIL, id="c2", link="c", campaign="", message_id="m-2")
    assert found(one, two, other) == set()
    assert found(one, two, three) == {rules.MANY_LINKS.reason}


def hidden(seconds: float) -> Event:
    return mailed(names.EMAIL_CLICKED, seconds, id="hidden", hidden=True)


def test_the_link_that_no_person_sees_is_followed_by_machines() -> None:
    (told,) = evidence(hidden(0)).values()
    assert (told.grade, told.reason) == (MACHINE, "followed a link of a mail that no person sees")


def test_who_follows_the_hidden_link_followed_the_others_too() -> None:
    told = found(hidden(0), clicked(599), mailed(names.EMAIL_OPENED, -599), an_event("page", at=after(700)))
    assert rules.SCANNED.reason in told


def test_behind_a_scanner_a_person_who_reads_on_is_one() -> None:
    later, page = clicked(3600), an_event("page", at=after(3602))
    assert found(hidden(0), later, page) == set()
    assert found(hidden(0), later) == {rules.ALL_SCANNED.reason}
    assert found(hidden(0), later, an_event("page", at=after(3602), agent=GOOGLEBOT)) == {rules.ALL_SCANNED.reason}


def test_a_page_cannot_say_that_a_mails_hidden_link_was_followed() -> None:
    forged = an_event("x", type="track", name=names.EMAIL_CLICKED, ids=[JANE], properties={**MAIL, "hidden": True})
    assert graded([forged])[0][1].grade is HUMAN
    assert found(forged, clicked(20), an_event("page", at=after(21))) == set()


def test_a_click_without_a_page_after_it_is_only_likely() -> None:
    (told,) = evidence(clicked(100)).values()
    assert told == rules.NO_PAGE
    assert told.grade is LIKELY
    for at, grade in ((101, HUMAN), (41, HUMAN), (1900, HUMAN), (1901, LIKELY), (39, LIKELY)):
        assert evidence(clicked(100, id="c"), an_event("page", at=after(at)))["c"].grade is grade
    assert evidence(clicked(100, id="c"), an_event("page", at=after(101), visitor="another"))["c"].grade is LIKELY


def test_no_page_after_a_click_says_less_than_a_crawlers_name() -> None:
    assert found(clicked(100, agent=GOOGLEBOT)) == set()


def test_where_no_browser_is_named_no_page_can_be_missed() -> None:
    assert found(clicked(100, door=Door.EMAIL)) == set()


def test_what_a_scanners_browser_shows_is_the_scanners() -> None:
    told = evidence(DELIVERED, clicked(1, id="c"), *pages([2, 30, 62]))
    assert [told[id] for id in ("p0", "p1")] == [rules.BROUGHT, rules.BROUGHT]
    assert told["p2"].grade is HUMAN


def test_a_mail_without_campaign_goes_by_the_providers_id() -> None:
    assert mail_of("s", "a", "l", "c", "m") == mail_of("s", "a", "l", "c", "other")
    assert mail_of("s", "a", None, None, "m") != mail_of("s", "a", None, None, "n")
    assert mail_of("s", "a", None, "", "") == mail_of("s", "", None, "c", "m") == ""


# The algebra.

NAMES = ["", names.EMAIL_CLICKED, names.EMAIL_OPENED, names.EMAIL_DELIVERED]
ACTS = st.lists(st.builds(
    lambda id, at, name, browser, mail, link, hide, grade: Act(
        str(id), after(at), name, name == "", browser, mail if name else "", link, hide and name == NAMES[1], grade
    ),
    st.integers(0, 10_000), st.integers(0, 120).map(lambda at: at / 2), st.sampled_from(NAMES),
    st.sampled_from(["", "b", "c"]), st.sampled_from(["", "m", "n"]), st.sampled_from("abcd"), st.booleans(),
    st.sampled_from(list(Grade)),
), max_size=80, unique_by=lambda act: act.id)


@settings(max_examples=300, deadline=None)
@given(ACTS, st.randoms(use_true_random=False))
def test_no_order_changes_what_is_found_and_no_grade_gets_better(acts: list[Act], rng: random.Random) -> None:
    told = behaviour(acts)
    assert behaviour(rng.sample(acts, len(acts))) == told
    own = {act.id: act.grade for act in acts}
    assert all(list(Grade).index(one.grade) > list(Grade).index(own[id]) for id, one in told.items())


def test_a_hundred_thousand_events_are_judged_in_a_moment() -> None:
    acts = [
        Act(str(n), after(n / 50), NAMES[n % 4], n % 4 == 0, "b", "m" if n % 4 else "", str(n % 7), n % 40 == 1, HUMAN)
        for n in range(100_000)
    ]
    assert megabytes_of_json(lambda: behaviour(acts)) < 110


# The profile.


def test_a_profile_keeps_how_many_events_were_a_machines_and_why() -> None:
    events = [DELIVERED, clicked(1), an_event("g", agent=GOOGLEBOT, visitor="google")]
    profile = fold(events, [JANE], SITES)
    assert profile is not None
    assert profile.machine == {rules.AT_DELIVERY.reason: 1, evidence(events[2])["g"].reason: 1}
    assert profile.events == 3
    assert profile.engagement == 0
    assert names.EMAIL_CLICKED not in profile.did


def test_a_page_that_comes_late_gives_the_click_its_whole_worth() -> None:
    click, page = clicked(100), an_event("page", at=after(101))
    assert [line.points for line in ledger([click], SITES)] == [SITES[SITE].points.click / 2]
    assert SITES[SITE].points.click in [line.points for line in ledger([page, click], SITES)]


def test_an_opened_mail_alone_is_no_act_of_a_person() -> None:
    page = an_event("page")
    opened = mailed(names.EMAIL_OPENED, 86_400)
    with_it, without = fold([page, opened], [JANE], SITES), fold([page], [JANE], SITES)
    assert with_it is not None and without is not None
    assert (with_it.last_at, with_it.active_days, with_it.did) == (without.last_at, without.active_days, without.did)
    assert with_it.machine == {}


def test_an_event_is_read_as_an_act_once() -> None:
    click = clicked(5)
    act = act_of(click, Evidence(HUMAN, ""))
    assert act == Act(
        click.id, after(5), names.EMAIL_CLICKED, False, f"{SITE} {BROWSER}", f"{SITE} {JANE} autumn guide", "", False,
        HUMAN,
    )
