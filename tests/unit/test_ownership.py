"""What somebody owns: derived from what was said of their deals, taken back with them, and judged by its age."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.events.event import Door, Event
from closedloop.events.times import iso
from closedloop.profiles.fold import fold
from closedloop.profiles.ownership import (
    MOST_THINGS,
    Catalogue,
    Thing,
    age_of,
    newest,
    quintiles,
    replaced_within,
    replacements,
    things_of,
)
from closedloop.profiles.profile import profile_from
from closedloop.sites.definition import LifeCurve, ProductClass, product_key
from tests.builders import JANE, NOW, SITE, a_deal, a_packet, a_profile, a_site, minutes

VECTORS = json.loads(Path("tests/vectors/customers.json").read_text())
PUMPS = {
    "pump": {
        "names": ["NP-200", "NP-400"], "topics": ["pumps"], "life": {"k": 3, "years": 8, "source": "service desk"},
    },
    "valve": {"names": ["NV-15"]},
}
SITES = {SITE: a_site(products=PUMPS)}
CATALOGUE = Catalogue(SITES.values())


def said(name: str = "Order Completed", at: float = 0, door: Door = Door.DEAL, deal: str = "O-1", **told: Any) -> Event:
    """Something said of an order."""
    record = a_deal(name, f"{name}-{at}-{deal}", deal, None, at=minutes(at), ids=[JANE])
    record["properties"] = told
    return a_packet(record, door=door).events[0]


def owned(*events: Event) -> list[tuple[str, int]]:
    things = things_of(events, SITES)
    assert things == things_of([*reversed(events), *events], SITES)
    return [(thing.product, thing.quantity) for thing in things]


def years_ago(years: float, product: str = "NP-200", deal: str = "northwind/O-1") -> Thing:
    return Thing(product, iso(NOW - timedelta(days=365.25 * years)), deal)


@pytest.mark.parametrize(("events", "things"), [
    ([said(product="NP-200", quantity=2)], [("NP-200", 2)]),
    ([said("Deal Won", product="NP-200")], [("NP-200", 1)]),
    ([said("Deal Opened", product="NP-200")], []),
    ([said("Deal Opened", product="NP-200"), said("Deal Won", 1)], [("NP-200", 1)]),
    ([said("Deal Won", product="NP-200"), said("Deal Changed", 1, product="NP-400")], [("NP-400", 1)]),
    ([said("Deal Won", product="NP-200"), said("Deal Lost", 1)], []),
    ([said(product="NP-200"), said("Order Cancelled", 1)], []),
    ([said(product="NP-200", amount_minor=500), said("Order Refunded", 1)], []),
    ([said(product="NP-200", amount_minor=500), said("Order Refunded", 1, amount_minor=500)], []),
    ([said(product="NP-200", amount_minor=500), said("Order Refunded", 1, amount_minor=100)], [("NP-200", 1)]),
    ([said(product="NP-200"), said("Order Refunded", 1)], []),
    (
        [
            said(products=[{"sku": "NP-200", "name": "A pump", "quantity": 3}, {"name": "Oil"}], amount_minor=500),
            said("Order Refunded", 1, products=[{"sku": "NP-200", "quantity": 2}], amount_minor=200),
        ],
        [("NP-200", 1), ("Oil", 1)],
    ),
    ([said(products=[{"product_id": 7}, "junk", {}, {"name": " "}, {"name": "Oil", "quantity": -1}])],
     [("7", 1), ("Oil", 1)]),
    ([said("Deal Paid", product="NP-200")], []),
    ([said("Order Completed", door=Door.DEAL)], []),
])
def test_what_was_won_and_not_given_back_is_owned(events: list[Event], things: list[tuple[str, int]]) -> None:
    assert owned(*events) == things


def test_since_when_and_from_whom_it_was_bought_is_known() -> None:
    dealer = said(at=1, door=Door.LIST, product="NP-200", seller="Kanto Dealer", list="dealer", deal="O-1")
    listed = said(at=2, door=Door.LIST, product="NP-200", list="group-company", deal="O-2")
    shop = said(at=3, products=[{"name": "Oil"}], affiliation="Web shop", deal="O-3")
    crm = said("Deal Won", 4, Door.LIST, product="NP-400", list="crm", deal="O-4")
    late = said("Deal Changed", 9, Door.LIST, list="crm", deal="O-4")
    things = things_of([dealer, listed, shop, crm, late], SITES)
    assert [(thing.seller, thing.since, thing.deal) for thing in things] == [
        ("Kanto Dealer", iso(minutes(1)), "northwind/O-1"), ("group-company", iso(minutes(2)), "northwind/O-2"),
        ("Web shop", iso(minutes(3)), "northwind/O-3"), ("", iso(minutes(4)), "northwind/O-4"),
    ]


STEPS = st.lists(st.builds(
    said, st.sampled_from(["Order Completed", "Order Updated", "Order Cancelled", "Order Refunded", "Deal Won"]),
    st.integers(0, 20), deal=st.sampled_from(["O-1", "O-2"]), product=st.sampled_from(["NP-200", "NV-15"]),
    quantity=st.integers(1, 3),
), max_size=8, unique_by=lambda event: event.id)


@given(STEPS, st.randoms(), st.data())
def test_no_order_and_no_copy_changes_what_is_owned(events: list[Event], chance: Any, data: st.DataObject) -> None:
    mixed = [*events, *(data.draw(st.lists(st.sampled_from(events), max_size=4)) if events else [])]
    chance.shuffle(mixed)
    assert things_of(mixed, SITES) == things_of(events, SITES)


def test_a_profile_keeps_what_is_owned_and_without_it_is_as_it_was() -> None:
    profile = fold([said(product="NP-200", quantity=2), said("Deal Changed", 5)], [JANE], SITES)
    assert profile is not None
    assert profile.owned == (Thing("NP-200", iso(NOW), "northwind/O-1", "", 2),)
    assert profile.deals["northwind/O-1"].won_at == iso(NOW)
    assert profile_from(profile.stored()) == profile
    assert not {"owned", "referred", "won_at"} & set(a_profile().as_text().split('"'))


def test_no_more_than_two_hundred_things_are_kept_the_newest() -> None:
    things = things_of([said(at=n, product=f"P-{n}", deal=f"O-{n}") for n in range(MOST_THINGS + 5)], SITES)
    assert len(things) == MOST_THINGS
    assert things[-1].product == f"P-{MOST_THINGS + 4}"


# Life curves.


@pytest.mark.parametrize("case", VECTORS["replacement"])
def test_the_chance_of_replacement_is_the_published_one(case: dict[str, float]) -> None:
    life = LifeCurve(k=case["k"], years=case["years"], source="the vector")
    assert replaced_within(case["within"], case["age"], life) == pytest.approx(case["chance"], abs=5e-4)


@given(
    st.floats(0.05, 20), st.floats(0.05, 200), st.floats(0, 150), st.floats(0, 50), st.floats(0, 50)
)
def test_a_chance_is_a_chance_and_grows_with_the_time_looked_ahead(
    k: float, years: float, age: float, near: float, more: float
) -> None:
    life = LifeCurve(k=k, years=years, source="x")
    assert 0 <= replaced_within(near, age, life) <= replaced_within(near + more, age, life) <= 1


def test_a_window_opens_for_the_fifth_of_the_owners_that_is_likeliest_to_replace() -> None:
    owners = [(f"p{age}", [years_ago(age)]) for age in range(1, 11)]
    found = replacements(owners, CATALOGUE, NOW)
    assert [(one.owner, one.open) for one in found] == [(f"p{age}", age > 8) for age in range(10, 0, -1)]
    assert found[0].why == "26.5% in six months, fifth 5 of 10 owners"
    assert found[3].next_year == pytest.approx(0.281, abs=1e-3)


def test_one_owner_alone_and_owners_all_alike_have_no_window_without_a_declared_chance() -> None:
    assert not any(one.open for one in replacements([("p1", [years_ago(9)])], CATALOGUE, NOW))
    assert not any(one.open for one in replacements([(f"p{n}", [years_ago(9)]) for n in range(9)], CATALOGUE, NOW))


def test_a_declared_chance_opens_the_window_whoever_else_owns_one() -> None:
    life = {"k": 3, "years": 8, "source": "service desk", "window": 0.15}
    catalogue = Catalogue([a_site(products={"pump": {"names": ["NP-200"], "life": life}})])
    (one,) = replacements([("p1", [years_ago(8)])], catalogue, NOW)
    assert (one.open, one.why) == (True, "18.1% in six months, the window opens at 15.0%")
    (young,) = replacements([("p1", [years_ago(1)])], catalogue, NOW)
    assert not young.open


def test_whoever_bought_again_has_replaced_and_what_is_bought_later_is_not_owned_yet() -> None:
    things = [years_ago(9), years_ago(1, "NP-400", "northwind/O-2"), years_ago(-1, "NP-400", "northwind/O-3")]
    (one,) = replacements([("p1", things)], CATALOGUE, NOW)
    assert (one.thing.deal, round(one.age, 6)) == ("northwind/O-2", 1.0)
    assert newest(things, CATALOGUE)["pump"].deal == "northwind/O-3"
    assert age_of(things[2], NOW) == 0


def test_things_of_no_class_or_of_a_class_without_a_curve_have_no_window() -> None:
    assert replacements([("p1", [years_ago(9, "NV-15"), years_ago(9, "Something")])], CATALOGUE, NOW) == []


def test_a_product_is_the_same_however_its_name_is_written() -> None:
    assert product_key("  ｎｐ-200 ") == product_key("NP-200")
    assert CATALOGUE.class_of(years_ago(1, "ｎｐ-400")) == "pump"


def test_a_thing_is_judged_by_its_own_site_first_and_by_the_group_otherwise() -> None:
    of_a = a_site("aqua", group="g", products={"pump": {"names": ["X-1"]}, "washer": {"names": ["W-1"]}})
    of_b = a_site("brook", group="g", products={"valve": {"names": ["X-1"]}})
    catalogue = Catalogue([of_b, of_a])
    called = [catalogue.called(Thing(name, "", deal)) for name, deal in (
        ("X-1", "aqua/1"), ("X-1", "brook/1"), ("W-1", "brook/1"), ("X-1", "other/1"), ("Z", "brook/1"),
    )]
    assert called == ["pump", "valve", "washer", "pump", "Z"]


def test_a_sites_products_are_read_as_they_stand() -> None:
    assert a_site(products=PUMPS).products["pump"] == ProductClass.model_validate(PUMPS["pump"])


# Fifths.


def test_fifths_share_the_average_rank_of_equal_values() -> None:
    assert quintiles([1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]
    assert quintiles([5, 5, 1, 1, 1, 1, 1, 1, 1, 1]) == [5, 5, 3, 3, 3, 3, 3, 3, 3, 3]
    assert quintiles([7]) == quintiles([7, 7])[:1] == [3]
    assert quintiles([]) == []


@given(st.lists(st.integers(0, 9), max_size=60))
def test_fifths_follow_the_values_and_hold_no_more_than_their_share_where_nothing_is_equal(values: list[int]) -> None:
    fifths = quintiles(values)
    assert all(1 <= fifth <= 5 for fifth in fifths)
    pairs = sorted(zip(values, fifths, strict=True))
    assert [fifth for _, fifth in pairs] == sorted(fifths)
    assert len(set(pairs)) == len(set(values))
    different = [value * 100 + place for place, value in enumerate(values)]
    assert quintiles(different).count(5) <= -(-len(values) // 5)


def test_moments_of_things_are_read_in_utc() -> None:
    assert datetime.fromisoformat(years_ago(1).since).tzinfo is not None
