"""The fold: the same profile from the same facts, in any order, any number of times, in any packing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.events import event as names
from closedloop.events.event import Door, Event
from closedloop.profiles.fold import PATHS, fold, ledger
from closedloop.profiles.interest import Ignored, weight
from closedloop.profiles.points import PAGE_ENGAGED
from closedloop.profiles.profile import DealState, Profile, Seen, profile_from
from tests.builders import (
    CHROME,
    GOOGLEBOT,
    JANE,
    NOW,
    SITE,
    a_deal,
    a_form,
    a_packet,
    a_record,
    a_site,
    an_event,
    minutes,
    user,
)

SITES = {SITE: a_site(), "contoso": a_site("contoso")}
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


def folded(*events: Event, nodes: Sequence[str] = (JANE,)) -> Profile:
    profile = fold(events, nodes, SITES)
    assert profile is not None
    return profile


def a_story() -> list[tuple[dict[str, Any], Door, str]]:
    """Thirty things that Jane did, and some that a machine did in her name."""
    rng = random.Random(7)
    story: list[tuple[dict[str, Any], Door, str]] = []
    for number in range(14):
        path = rng.choice(["/pumps/p-200", "/pumps/p-300", "/valves/v-1", "/about"])
        page = a_record(
            f"p{number}", at=minutes(rng.randint(0, 200)), visitor=rng.choice(["jane-laptop", "jane-phone"]), path=path
        )
        story.append((page, Door.BEACON, rng.choice([CHROME, SAFARI, GOOGLEBOT])))
    for number in range(6):
        track = a_record(
            f"t{number}",
            "track",
            rng.choice(["Catalogue Downloaded", names.FORM_SUBMITTED]),
            minutes(rng.randint(0, 200)),
            visitor="jane-laptop",
            ids=[JANE],
            traits={"industry": rng.choice(["manufacturing", "trade"]), "employees": number},
        )
        story.append((track, Door.FORM, CHROME))
    for number, name in enumerate([names.DEAL_OPENED, names.DEAL_CHANGED, names.DEAL_WON, names.DEAL_REFUNDED]):
        story.append((a_deal(name, f"d{number}", at=minutes(rng.randint(0, 200)), ids=[JANE]), Door.DEAL, ""))
    consent = {"consent": {"analytics": "granted", "marketing": "denied"}}
    story.append((a_record("c1", at=minutes(50), visitor="jane-laptop", context=consent), Door.BEACON, CHROME))
    story.append(
        (
            a_record("m1", "track", names.EMAIL_BOUNCED, minutes(90), ids=[JANE], properties={"soft": True}),
            Door.EMAIL,
            "",
        )
    )
    # A mail about pumps that she turns to, one about boilers that she does not, and a page that she leaves at once.
    for number, topic in enumerate(("pumps", "boilers", "boilers")):
        about = {"topic": topic, "campaign": "news", "message_id": f"<{number // 2}@mails>"}
        delivered = a_record(f"n{number}", "track", names.EMAIL_DELIVERED, minutes(20), ids=[JANE], properties=about)
        story.append((delivered, Door.EMAIL, ""))
    away = minutes(3_000)
    story.append((a_record("b1", at=away, visitor="jane-phone"), Door.BEACON, SAFARI))
    engaged = a_record(
        "b2", "track", PAGE_ENGAGED, away, visitor="jane-phone", properties={"engaged_seconds": 4},
        context={"page": {"path": "/pumps/p-200"}},
    )
    story.append((engaged, Door.BEACON, SAFARI))
    story.append((a_form("w1", at=away, properties={"incentive": True}), Door.FORM, CHROME))
    story.append((a_record("m2", "track", names.EMAIL_UNSUBSCRIBED, minutes(95), ids=[JANE]), Door.LINK, CHROME))
    return story


STORY = a_story()
TOLD = fold([a_packet(record, door=door, agent=agent).events[0] for record, door, agent in STORY], [JANE], SITES)


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(len(STORY))), st.lists(st.integers(0, len(STORY) - 1), max_size=20), st.integers(1, 6))
def test_no_order_no_copy_and_no_packing_changes_a_byte(order: list[int], copies: list[int], most: int) -> None:
    events: list[Event] = []
    waiting: list[int] = []

    def send() -> None:
        _, door, agent = STORY[waiting[0]]
        packet = a_packet(
            *(STORY[number][0] for number in waiting),
            subject=f"V#{SITE}#any",
            door=door,
            agent=agent,
            received_at=NOW + timedelta(seconds=len(events)),
        )
        events.extend(packet.events)
        waiting.clear()

    for number in [*order, *copies]:
        if waiting and (STORY[number][1:] != STORY[waiting[0]][1:] or len(waiting) == most):
            send()
        waiting.append(number)
    send()
    profile = fold(events, [JANE], SITES)
    assert TOLD is not None
    assert profile is not None
    assert profile.as_text() == TOLD.as_text()
    assert profile.events == len(STORY)


def test_of_two_copies_that_differ_the_one_received_first_counts_in_any_order() -> None:
    first, second = (
        an_event("p1", path=path, received_at=minutes(number))
        for number, path in enumerate(["/pumps/p-200", "/valves/v-1"])
    )
    assert folded(first, second) == folded(second, first) == folded(first)


def test_a_profile_is_its_text() -> None:
    assert TOLD is not None
    assert profile_from(TOLD.stored()) == TOLD
    assert profile_from(TOLD.stored()).as_text() == TOLD.as_text()


def test_of_nothing_there_is_no_profile() -> None:
    assert fold([], [JANE], SITES) is None
    assert fold([an_event()], [JANE], {"contoso": SITES["contoso"]}) is None


# Points.


def test_the_ledgers_lines_sum_to_the_profile() -> None:
    events = [a_packet(record, door=door, agent=agent).events[0] for record, door, agent in STORY]
    lines = ledger([*events, *events], SITES)
    assert TOLD is not None
    assert sum(line.adds for line in lines if not line.topic) == TOLD.engagement
    for topic in {line.topic for line in lines} - {""}:
        own = [line for line in lines if line.topic == topic]
        assert sum(line.adds for line in own if not line.ignored) == TOLD.interest.get(topic, 0)
        lost = TOLD.ignored.get(topic, Ignored(0)).total(minutes(40_000))
        assert -sum(line.adds for line in own if line.ignored) == lost
    assert set(TOLD.ignored) == {"boilers", "pumps"}
    for part in (False, True):
        moments = [line.at for line in lines if line.ignored is part]
        assert moments == sorted(moments)


def test_the_third_page_of_a_topic_in_one_sitting_counts_a_third() -> None:
    events = [an_event(f"p{number}", at=minutes(number)) for number in range(3)]
    assert [round(line.points, 6) for line in ledger(events, SITES) if line.topic] == [1, 0.5, 0.333333]


@pytest.mark.parametrize(
    ("second", "points"),
    [
        ({"at": minutes(31)}, 1),
        ({"at": minutes(30)}, 0.5),
        ({"at": minutes(5), "visitor": "jane-phone"}, 1),
        ({"at": minutes(5), "path": "/valves/v-1"}, 1),
        ({"at": minutes(5), "path": "/pumps/p-300"}, 0.5),
    ],
)
def test_a_new_sitting_a_new_browser_and_a_new_topic_count_whole(second: dict[str, Any], points: float) -> None:
    lines = ledger([an_event("p1"), an_event("p2", **second)], SITES)
    assert [line.points for line in lines if not line.topic] == [1, points]


def test_a_machine_adds_nothing_but_is_counted_as_an_event() -> None:
    profile = folded(an_event(), an_event("p2", agent=GOOGLEBOT, at=minutes(1), path="/valves/v-1"))
    assert profile.events == 2
    assert profile.engagement == weight(1, NOW)
    assert set(profile.visited) == {"/pumps/p-200"}
    assert profile.last_at == "2026-11-24T06:00:00.000Z"


def test_a_machine_between_two_pages_does_not_make_the_second_count_less() -> None:
    events = [an_event("p1"), an_event("p2", agent=GOOGLEBOT, at=minutes(1)), an_event("p3", at=minutes(2))]
    assert [line.points for line in ledger(events, SITES) if line.topic] == [1, 0.5]


def test_a_form_counts_ten_and_a_mail_that_was_delivered_nothing() -> None:
    form = an_event("f1", Door.FORM, type="track", name=names.FORM_SUBMITTED, context={"topic": "pumps"})
    delivered = an_event("m1", Door.EMAIL, type="track", name=names.EMAIL_DELIVERED, ids=[JANE])
    profile = folded(form, delivered)
    assert profile.engagement == profile.interest["pumps"] == weight(10, NOW)


# Where somebody came from.


def came(number: int, referrer: str, query: str = "") -> Event:
    page = {"path": "/pumps", "url": f"https://www.northwind.example/pumps{query}", "referrer": referrer}
    return an_event(f"p{number}", at=minutes(60 * number), context={"page": page})


@pytest.mark.parametrize("referrer", [
    "", "-", "https://www.northwind.example/valves", "https://checkout.stripe.com/pay", "https://accounts.google.com/",
    "https://www.paypay.ne.jp/", "https://access.line.me/oauth2",
])
def test_a_direct_visit_a_payment_and_a_login_overwrite_no_source(referrer: str) -> None:
    mail = came(1, "", "?utm_source=news&utm_medium=email&utm_campaign=guide")
    search = came(2, "https://search.yahoo.co.jp/search?p=%E5%B1%95%E7%A4%BA%E4%BC%9A")
    profile = folded(came(0, referrer), mail, search, came(3, referrer))
    assert (profile.first_source["channel"], profile.first_source["campaign"]) == ("Email", "guide")
    assert (profile.last_source["source"], profile.last_source["term"]) == ("yahoo_japan", "展示会")
    assert folded(came(0, referrer)).first_source == {}


# Deals.

OPENED, WON = a_deal(names.DEAL_OPENED, "d1", at=minutes(1)), a_deal(names.DEAL_WON, "d2", at=minutes(2))


def the_deal(*records: dict[str, Any]) -> DealState:
    profile = folded(*(a_packet(record, door=Door.DEAL).events[0] for record in records))
    return profile.deals[f"{SITE}/D-7"]


@pytest.mark.parametrize(
    ("records", "state", "refunded"),
    [
        ([OPENED], "opened", 0),
        ([WON, OPENED], "won", 0),
        ([WON], "won", 0),
        ([a_deal(names.DEAL_WON, "d2", at=minutes(0)), OPENED], "won", 0),
        ([WON, a_deal(names.DEAL_CHANGED, "d3", at=minutes(3))], "won", 0),
        ([WON, a_deal(names.DEAL_LOST, "d3", at=minutes(3))], "lost", 0),
        ([a_deal(names.DEAL_LOST, "d3", at=minutes(1)), WON], "won", 0),
        ([WON, a_deal(names.DEAL_REFUNDED, "d3", amount_minor=100_000, at=minutes(3))], "won", 100_000),
        ([WON, a_deal(names.DEAL_REFUNDED, "d3", amount_minor=100_000, at=minutes(0))], "won", 100_000),
        ([WON, a_deal(names.DEAL_REFUNDED, "d3", amount_minor=None, at=minutes(3))], "won", 500_000),
        (
            [WON, *(a_deal(names.DEAL_REFUNDED, f"r{n}", amount_minor=1_000, at=minutes(3 + n)) for n in range(3))],
            "won",
            3_000,
        ),
    ],
)
def test_a_deal_is_as_its_newest_word_leaves_it(records: list[dict[str, Any]], state: str, refunded: int) -> None:
    for order in (records, records[::-1]):
        deal = the_deal(*order)
        assert (deal.state, deal.amount_minor, deal.currency, deal.refunded_minor) == (state, 500_000, "JPY", refunded)


def test_an_amount_that_a_later_word_leaves_out_stays() -> None:
    assert the_deal(OPENED, a_deal(names.DEAL_WON, "d2", amount_minor=None, at=minutes(2))).amount_minor == 500_000


def test_one_id_on_two_sites_of_a_group_is_two_deals() -> None:
    ours = a_packet(a_deal(names.DEAL_WON, "d1", amount_minor=100), door=Door.DEAL).events[0]
    theirs = a_packet(a_deal(names.DEAL_LOST, "d2"), site="contoso", door=Door.DEAL).events[0]
    deals = folded(ours, theirs).deals
    assert {name: (deal.state, deal.amount_minor) for name, deal in deals.items()} == {
        f"{SITE}/D-7": ("won", 100), "contoso/D-7": ("lost", 0),
    }


def test_what_was_paid_and_named_in_two_currencies_is_stored_with_the_deal() -> None:
    paid = a_deal(names.DEAL_PAID, "d3", amount_minor=1, at=minutes(3))
    foreign = a_deal(names.DEAL_PAID, "d4", amount_minor=1, at=minutes(3)) | {"properties": {"currency": "USD"}}
    profile = folded(*(a_packet(one, door=Door.DEAL).events[0] for one in (WON, paid, foreign)))
    assert profile_from(profile.stored()) == profile
    deal = profile.deals[f"{SITE}/D-7"]
    assert (deal.paid_minor, deal.mixed, deal.standing) == (1, True, "partly paid")


def test_a_refund_of_a_deal_that_nobody_told_is_no_deal() -> None:
    refund = a_packet(a_deal(names.DEAL_REFUNDED, "d3"), door=Door.DEAL).events[0]
    assert folded(refund).deals == {}


# Mails and consent.


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ([names.EMAIL_UNSUBSCRIBED], "unsubscribed"),
        ([names.EMAIL_COMPLAINED], "complained"),
        ([names.EMAIL_BOUNCED], "bounced"),
        ([names.EMAIL_DELIVERED], ""),
        ([names.EMAIL_UNSUBSCRIBED, names.EMAIL_CLICKED, names.FORM_SUBMITTED], "unsubscribed"),
        ([names.EMAIL_BOUNCED, names.EMAIL_COMPLAINED], "bounced"),
    ],
)
def test_a_suppression_stands_whatever_comes_later(told: list[str], reason: str) -> None:
    events = [
        an_event(f"m{number}", Door.EMAIL, type="track", name=name, ids=[JANE], at=minutes(number))
        for number, name in enumerate(told)
    ]
    assert folded(*reversed(events)).suppressed == reason


def test_a_mailbox_that_was_full_for_a_day_is_mailed_again() -> None:
    soft = an_event("m1", Door.EMAIL, type="track", name=names.EMAIL_BOUNCED, ids=[JANE], properties={"soft": True})
    assert folded(soft).suppressed == ""


def test_the_last_word_on_consent_counts() -> None:
    words = [("granted", "granted"), ("denied", "granted"), ("perhaps", "denied")]
    events = [
        an_event(
            f"p{number}", at=minutes(number), context={"consent": {"analytics": analytics, "marketing": marketing}}
        )
        for number, (analytics, marketing) in enumerate(words)
    ]
    assert folded(*reversed(events)).consent == {"analytics": "denied", "marketing": "denied"}


# What a profile keeps.


def test_a_profile_is_named_after_its_least_address() -> None:
    profile = folded(an_event(), nodes=[user(), JANE])
    assert profile.nodes == (JANE, user())
    assert profile.anchor == JANE


def test_what_was_seen_is_counted_and_its_newest_moments_kept() -> None:
    events = [an_event(f"p{number}", at=minutes(number * 60)) for number in range(30)]
    seen = folded(*events).visited["/pumps/p-200"]
    assert seen.times == 30
    assert seen.moments == tuple(
        f"2026-11-{24 + (6 + hour) // 24:02d}T{(6 + hour) % 24:02d}:00:00.000Z" for hour in range(10, 30)
    )


def test_of_many_paths_the_newest_are_kept() -> None:
    events = [an_event(f"p{number}", at=minutes(number * 11), path=f"/pumps/{number}") for number in range(PATHS + 50)]
    assert set(folded(*events).visited) == {f"/pumps/{number}" for number in range(50, PATHS + 50)}


def test_no_flood_of_long_words_makes_a_profile_too_large_to_store() -> None:
    long = "製" * 200
    events = [
        an_event(
            f"t{number}",
            type="track",
            name=f"{long}{number}",
            at=minutes(number % 900),
            traits={f"{number}{long}": long * 100},
            context={"page": {"path": f"/{number}{long * 9}"}},
        )
        for number in range(1_500)
    ]
    events += [an_event(f"p{number}", path=f"/{number}{long * 9}", at=minutes(number)) for number in range(1_500)]
    events += [
        a_packet(a_deal(id=f"d{number}", deal=f"{long}{number}"), door=Door.DEAL).events[0] for number in range(1_500)
    ]
    assert len(folded(*events).as_text().encode()) < 380_000


@pytest.mark.parametrize("url", ["https://[", "http://[::1", "", "::::", "https://a.example:99999/x", "//"])
@pytest.mark.parametrize(
    "at", [datetime(1, 1, 2, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)]
)
def test_no_address_and_no_date_breaks_the_fold(url: str, at: datetime) -> None:
    page = {"url": url, "referrer": url, "search": url}
    profile = folded(an_event(at=at, path="", context={"page": page}), an_event("p2"))
    assert profile.events == 2


@pytest.mark.parametrize(
    "context", [{"page": "x"}, {"page": {"path": 7}}, {"topic": 7}, {"consent": "yes"}, {"campaign": [1]}]
)
def test_no_odd_context_breaks_the_fold(context: dict[str, Any]) -> None:
    assert folded(an_event(context=context, type="track", name="Odd")).events == 1
    assert folded(an_event(context=context, type="identify")).events == 1


@pytest.mark.parametrize("value", [10**400, -1, True, 1e300, "many", None, [1], {"a": 1}])
def test_no_odd_trait_breaks_the_fold(value: Any) -> None:
    site = a_site(target_attributes=[{"attribute": "employees", "at_least": 100, "points": 40}])
    profile = fold([an_event(type="identify", traits={"employees": value})], [JANE], {SITE: site})
    assert profile is not None
    assert profile_from(profile.stored()) == profile


def test_the_newest_trait_counts_and_fit_follows_it() -> None:
    events = [
        an_event(f"i{number}", type="identify", at=minutes(number), traits={"industry": industry})
        for number, industry in enumerate(["trade", "manufacturing"])
    ]
    profile = folded(*reversed(events))
    assert profile.attributes == {"industry": "manufacturing"}
    assert profile.fit == 60


def test_acts_are_kept_by_name() -> None:
    downloaded = an_event("t1", type="track", name="Catalogue Downloaded")
    assert folded(downloaded).did == {"Catalogue Downloaded": Seen(1, ("2026-11-24T06:00:00.000Z",))}


def test_clicks_in_mails_are_kept_by_campaign_and_a_scanner_clicked_none() -> None:
    def a_click(id: str, **more: Any) -> Event:
        return an_event(id, type="track", name="Email Link Clicked", ids=(JANE,), door=Door.LINK, **more)

    clicked = a_click("c1", properties={"campaign": "case-mail", "loop": "autumn"})
    nameless = a_click("c2", properties={"loop": "autumn"})
    scanned = a_click("c3", properties={"campaign": "offer", "hidden": True})
    assert folded(clicked, nameless, scanned).clicked == {"case-mail": Seen(1, ("2026-11-24T06:00:00.000Z",))}
    assert "clicked" not in folded(nameless).as_text()
