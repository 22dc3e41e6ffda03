"""The kinds of people that a loop must tell apart, each told from the facts as of a moment, with its reason."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from closedloop.events import event as names
from closedloop.events.event import Door, Event
from closedloop.profiles.fold import fold
from closedloop.profiles.kinds import TO_COME_BACK, Told, kinds_of
from closedloop.profiles.profile import profile_from
from closedloop.sites.definition import Site
from tests.builders import GOOGLEBOT, JANE, NOW, SITE, a_deal, a_packet, a_site, an_event, minutes

KINDS = {
    "purposes": [
        {"path": "/pumps/price-list", "purpose": "price"}, {"path": "/contact", "purpose": "contact"},
        {"path": "/careers", "purpose": "careers"}, {"event": "Demo Watched", "purpose": "demo"},
    ],
    "known": [
        {"kind": "job_seeker", "attribute": "occupation", "is_one_of": ["student", "学生"]},
        {"kind": "competitor", "attribute": "company_name", "is_one_of": ["Acme Pumps"]},
    ],
    "much": 6,
}
ACCOUNTS = {"own_domains": ["northwind.example"], "competitor_domains": ["rival.example"]}
A_DAY = timedelta(days=1)


def a_declared_site(**changes: Any) -> Site:
    return a_site(kinds=KINDS, accounts=ACCOUNTS, **changes)


def told(*events: Event, at: datetime = NOW + A_DAY, domain: str = "", site: Site | None = None) -> tuple[Told, ...]:
    site = site or a_declared_site()
    profile = fold(events, [JANE], {SITE: site})
    assert profile is not None
    assert profile_from(profile.stored()) == profile
    return kinds_of(profile, [site], at, domain)


def kinds(*events: Event, **more: Any) -> list[str]:
    return [one.kind for one in told(*events, **more)]


def pages(*paths: str, at: datetime = NOW) -> list[Event]:
    return [an_event(f"{path}{n}", path=path, at=at + timedelta(minutes=n)) for n, path in enumerate(paths)]


def a_prize(id: str = "f1", at: datetime = NOW, incentive: bool = True) -> Event:
    return an_event(
        id, Door.FORM, type="track", name=names.FORM_SUBMITTED, ids=[JANE], at=at, properties={"incentive": incentive}
    )


# Prize hunters.


def test_nobody_is_a_prize_hunter_before_thirty_days_have_passed() -> None:
    took = [an_event("p1", path="/campaign"), a_prize()]
    assert TO_COME_BACK.days == 30
    assert kinds(*took, at=NOW + TO_COME_BACK - timedelta(seconds=1)) == ["looking"]
    (one,) = told(*took, at=NOW + timedelta(days=31))
    assert (one.kind, one.reason) == ("prize_hunter", "took a prize on 2026-11-24, and nothing else in 31 days")
    assert one.evidence == (("first prize", "2026-11-24T06:00:00.000Z"),)


@pytest.mark.parametrize(("more", "hunter"), [
    ([], True),
    ([an_event("p2", at=NOW + timedelta(days=20))], False),
    ([an_event("p2", at=NOW + timedelta(days=45))], False),
    ([an_event("p2", at=NOW - timedelta(days=20))], False),
    ([an_event("p2", at=NOW + timedelta(days=20), agent=GOOGLEBOT)], True),
    # Until midnight in Tokyo it is the same day.
    ([an_event("p2", at=minutes(8 * 60 + 59))], True),
    ([an_event("p2", at=minutes(9 * 60 + 1))], False),
    ([a_prize("f2", at=NOW + timedelta(days=40))], True),
    ([a_prize("f2", at=minutes(1), incentive=False)], False),
    ([an_event("m1", Door.EMAIL, type="track", name=names.EMAIL_DELIVERED, ids=[JANE], at=NOW + A_DAY)], True),
    ([an_event("m1", Door.LINK, type="track", name=names.EMAIL_UNSUBSCRIBED, ids=[JANE], at=NOW + A_DAY)], True),
    ([an_event("m1", Door.EMAIL, type="track", name=names.EMAIL_OPENED, ids=[JANE], at=NOW + A_DAY)], True),
    ([an_event("s1", Door.LIST, type="track", name="Seminar Attended", ids=[JANE], at=NOW + A_DAY)], False),
])
def test_a_prize_hunter_did_nothing_else_on_any_other_day(more: list[Event], hunter: bool) -> None:
    assert ("prize_hunter" in kinds(a_prize(), *more, at=NOW + timedelta(days=100))) is hunter


# Just looking, just studying.


def test_much_reading_with_nothing_that_a_buyer_asks_for_is_studying_and_little_is_looking() -> None:
    (studying,) = told(*pages(*["/pumps/p-200", "/pumps/p-300", "/valves"] * 2))
    (looking,) = told(*pages("/pumps/p-200", "/pumps/p-300"))
    assert (studying.kind, studying.reason) == (
        "studying", "reads much, but 0 of 6 pages seen in 90 days are about prices, cases, contact or a demo",
    )
    assert (looking.kind, looking.evidence) == (
        "looking", (("/pumps/p-200", "1×"), ("/pumps/p-300", "1×")),
    )


@pytest.mark.parametrize(("paths", "found"), [
    (["/pumps/a"] * 9 + ["/pumps/price-list"], []),
    (["/pumps/a", "/pumps/b"] * 5 + ["/pumps/price-list"], ["studying"]),
    (["/pumps/a", "/contact/form"], []),
    (["/pumps/a", "/careers"], ["looking"]),
])
def test_a_tenth_of_what_is_read_tells_who_may_buy(paths: list[str], found: list[str]) -> None:
    assert kinds(*pages(*paths)) == found


def test_an_act_can_be_what_a_buyer_does() -> None:
    watched = an_event("t1", type="track", name="Demo Watched", at=NOW)
    assert kinds(*pages("/pumps/a", "/pumps/b"), watched) == []


def test_where_a_site_does_not_say_what_its_pages_are_for_nobody_is_called_a_student() -> None:
    assert kinds(*pages(*["/pumps/a"] * 20), site=a_site()) == []


def test_what_was_read_a_quarter_of_a_year_ago_says_nothing_any_more() -> None:
    read = pages(*["/pumps/a", "/pumps/b"] * 5)
    assert kinds(*read) == ["studying"]
    assert kinds(*read, at=NOW + timedelta(days=91)) == []


# Of the trade, and those who bought.


@pytest.mark.parametrize(("paths", "found"), [
    (["/careers", "/careers/graduates", "/careers/jobs", "/pumps/a"], ["job_seeker"]),
    (["/careers", "/careers/graduates"], ["looking"]),
    (["/careers/a", "/careers/b", "/careers/c", "/pumps/a", "/pumps/b", "/pumps/c", "/contact"], []),
])
def test_who_reads_mostly_about_careers_wants_a_job(paths: list[str], found: list[str]) -> None:
    assert kinds(*pages(*paths)) == found


@pytest.mark.parametrize(("domain", "found"), [
    ("northwind.example", ["employee"]), ("sales.northwind.example", ["employee"]), ("rival.example", ["competitor"]),
    ("notrival.example", []), ("", []),
])
def test_whose_address_it_is_tells_employees_and_competitors(domain: str, found: list[str]) -> None:
    assert kinds(*pages("/contact"), domain=domain) == found


@pytest.mark.parametrize(("traits", "found"), [
    ({"occupation": "Ｓｔｕｄｅｎｔ"}, ("job_seeker", "occupation is Ｓｔｕｄｅｎｔ")),
    ({"company_name": "acme pumps "}, ("competitor", "company_name is acme pumps ")),
    ({"occupation": "engineer"}, None),
])
def test_what_people_say_of_themselves_tells_too(traits: dict[str, str], found: tuple[str, str] | None) -> None:
    said = [(one.kind, one.reason) for one in told(an_event(type="identify", traits=traits), *pages("/contact"))]
    assert said == ([found] if found else [])


def deals(*records: dict[str, Any]) -> list[Event]:
    return [a_packet(record, door=Door.DEAL).events[0] for record in records]


def test_who_bought_is_a_customer_whatever_they_read_until_the_money_went_back() -> None:
    won, refund = a_deal(names.DEAL_WON), a_deal(names.DEAL_REFUNDED, "d2", amount_minor=None, at=minutes(5))
    read = pages(*["/pumps/a", "/pumps/b"] * 5)
    (one,) = told(*deals(won), *read)
    assert (one.kind, one.reason) == ("customer", "has bought: 1 deal won, the first by 2026-11-24")
    assert one.evidence == ((f"{SITE}/D-7", "won on 2026-11-24"),)
    assert kinds(*deals(won, refund), *read) == ["studying"]
    assert kinds(*deals(a_deal()), *read) == ["studying"]
    assert kinds(*deals(won), *read, domain="northwind.example") == ["customer", "employee"]


@pytest.mark.parametrize("wrong", [
    {"purposes": [{"purpose": "price"}]}, {"purposes": [{"path": "/a", "event": "b", "purpose": "price"}]},
    {"purposes": [{"path": "/a", "purpose": "price"}, {"path": "/a", "purpose": "careers"}]},
    {"known": [{"kind": "prize_hunter", "attribute": "a", "is_one_of": ["b"]}]}, {"much": 0},
])
def test_a_site_says_one_thing_of_one_page(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        a_site(kinds=wrong)
