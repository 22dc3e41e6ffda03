"""Deals: the same standing in whatever order it was told, and money that loses no minor unit on its way."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from closedloop.errors import BadShape
from closedloop.events.deals import Standing, Word, day_of, fold_deal, teller
from closedloop.events.money import MOST_MINOR, minor_units
from closedloop.profiles.profile import DealState

DAY = datetime(2026, 11, 24, tzinfo=UTC)
OPENED, CHANGED, WON, LOST, PAID, REFUNDED = (
    f"Deal {word}" for word in ("Opened", "Changed", "Won", "Lost", "Paid", "Refunded")
)


def word(name: str, hour: int, amount: int | None = None, currency: str = "JPY", **more: Any) -> Word:
    return Word(
        DAY + timedelta(hours=hour), f"{name} {hour} {amount} {currency}", name, amount,
        currency if amount is not None else "", **more,
    )


def standing(*said: Word) -> Standing:
    folded = fold_deal(said)
    assert folded is not None
    assert folded == fold_deal([*reversed(said), *said])
    return folded


WORDS = some.lists(
    some.builds(
        Word, at=some.integers(0, 5).map(lambda hour: DAY + timedelta(hours=hour)), event=some.uuids().map(str),
        name=some.sampled_from([
            OPENED, CHANGED, WON, LOST, PAID, REFUNDED, "Order Completed", "Order Updated", "Order Cancelled",
            "Order Refunded", "Something Else",
        ]),
        amount_minor=some.none() | some.integers(0, 10**9), currency=some.sampled_from(["", "JPY", "USD"]),
        open=some.booleans(), teller=some.sampled_from(["", "deal", "list books"]),
    ),
    max_size=10,
)


@given(WORDS, some.randoms(), some.data())
def test_no_order_and_no_copy_changes_how_a_deal_stands(said: list[Word], chance: Any, data: some.DataObject) -> None:
    copies = data.draw(some.lists(some.sampled_from(said), max_size=5)) if said else []
    mixed = [*said, *copies]
    chance.shuffle(mixed)
    assert fold_deal(mixed) == fold_deal(said)


@given(WORDS)
def test_a_deal_brings_no_less_than_nothing(said: list[Word]) -> None:
    folded = fold_deal(said)
    if folded is not None:
        assert 0 <= folded.refunded_minor <= folded.amount_minor
        assert folded.opened_at <= folded.at
        assert (folded.won_at is not None, folded.lost_at is not None) == (
            folded.state == "won", folded.state == "lost"
        )


@pytest.mark.parametrize(
    ("said", "state", "amount", "refunded", "paid"),
    [
        ([word(OPENED, 1, 500)], "opened", 500, 0, 0),
        ([word(OPENED, 1, 500), word(CHANGED, 2, 400)], "opened", 400, 0, 0),
        ([word(OPENED, 1, 500), word(WON, 2)], "won", 500, 0, 0),
        ([word(WON, 1, 500), word(OPENED, 2)], "won", 500, 0, 0),
        ([word(WON, 1, 500), word(CHANGED, 2, 600)], "won", 600, 0, 0),
        ([word(WON, 1, 500), word(CHANGED, 2, open=True)], "opened", 500, 0, 0),
        ([word(WON, 1, 500), word(LOST, 2, 0)], "lost", 500, 0, 0),
        ([word(LOST, 1), word(CHANGED, 2, 500)], "lost", 500, 0, 0),
        ([word(LOST, 1), word(CHANGED, 2, open=True)], "opened", 0, 0, 0),
        ([word(LOST, 1), word(OPENED, 2, 500)], "opened", 500, 0, 0),
        ([word(LOST, 1), word(WON, 2, 500)], "won", 500, 0, 0),
        ([word(WON, 3, 500), word(REFUNDED, 4, 100)], "won", 500, 100, 0),
        ([word(WON, 3, 500), word(REFUNDED, 1, 100), word(REFUNDED, 5, 50)], "won", 500, 150, 0),
        ([word(WON, 3, 500), word(REFUNDED, 4)], "won", 500, 500, 0),
        ([word(WON, 3, 500), word(REFUNDED, 4), word(REFUNDED, 5, 100)], "won", 500, 500, 0),
        ([word(WON, 3, 500), word(REFUNDED, 4, 600)], "won", 500, 500, 0),
        ([word(WON, 3, 500), word(PAID, 2, 200), word(PAID, 4, 100)], "won", 500, 0, 300),
        ([word("Order Completed", 1, 500), word("Order Refunded", 2, 100)], "won", 500, 100, 0),
        ([word("Order Completed", 1, 500), word("Order Updated", 2, 450)], "won", 450, 0, 0),
        ([word("Order Completed", 1, 500), word("Order Cancelled", 2)], "lost", 500, 0, 0),
    ],
)
def test_a_deal_is_as_its_words_leave_it(said: list[Word], state: str, amount: int, refunded: int, paid: int) -> None:
    deal = standing(*said)
    assert (deal.state, deal.amount_minor, deal.refunded_minor, deal.paid_minor) == (state, amount, refunded, paid)
    assert (deal.currency, deal.mixed) == ("JPY" if amount else "", False)


def by(teller: str, said: Word, day: int = 0) -> Word:
    return said._replace(event=f"{teller} {said.event}", teller=teller, day=(DAY + timedelta(days=day)).date())


def test_a_payment_told_by_a_crm_and_again_by_a_list_is_one() -> None:
    hook, books = by("deal", word(PAID, 9, 300)), by("list books", word(PAID, 0, 300))
    assert standing(word(WON, 1, 900), hook, books).paid_minor == 300
    # Told twice by one of them it is two, and another day or sum is another payment.
    again = by("deal", word(PAID, 11, 300))
    assert standing(word(WON, 1, 900), hook, again, books).paid_minor == 600
    assert standing(word(WON, 1, 900), hook, by("list books", word(PAID, 0, 300), day=1)).paid_minor == 600
    assert standing(word(WON, 1, 900), hook, by("list books", word(PAID, 0, 200))).paid_minor == 500


def test_a_refund_told_by_a_crm_and_by_two_lists_is_one_whatever_its_name() -> None:
    told = [
        by("deal", word(REFUNDED, 9, 300)), by("beacon", word("Order Refunded", 3, 300)),
        by("list books", word(REFUNDED, 0, 300)), by("list dealer", word(REFUNDED, 0, 300)),
    ]
    assert standing(word(WON, 1, 900), *told).refunded_minor == 300


def test_the_day_of_a_payment_is_the_sites_own() -> None:
    midnight = datetime(2026, 11, 1, 15, tzinfo=UTC)
    assert day_of(midnight, "Asia/Tokyo") == day_of(midnight + timedelta(hours=23), "Asia/Tokyo") == date(2026, 11, 2)
    assert (teller("deal", "x"), teller("list", "books")) == ("deal", "list books")


def test_money_of_a_deal_that_nobody_told_is_no_deal() -> None:
    assert fold_deal([word(REFUNDED, 1, 100), word(PAID, 2, 100)]) is None


def test_two_words_of_one_moment_are_ordered_by_their_ids() -> None:
    first, last = Word(DAY, "a", WON, 100, "JPY"), Word(DAY, "b", LOST)
    assert standing(last, first).state == "lost"
    assert standing(last._replace(event="a"), first._replace(event="b")).state == "won"


def test_the_last_sum_counts_in_its_own_currency_and_the_change_is_marked() -> None:
    deal = standing(word(OPENED, 1, 500, "EUR"), word(WON, 2, 600, "USD"))
    assert (deal.amount_minor, deal.currency, deal.mixed) == (600, "USD", True)


def test_a_refund_in_another_currency_is_not_taken_off_but_marked() -> None:
    deal = standing(word(WON, 1, 500, "USD"), word(REFUNDED, 2, 100, "JPY"), word(PAID, 2, 300, "JPY"))
    assert (deal.refunded_minor, deal.paid_minor, deal.mixed) == (0, 0, True)


def test_another_currency_without_a_sum_changes_no_money_but_is_marked() -> None:
    deal = standing(word(WON, 1, 500), Word(DAY + timedelta(hours=2), "c", CHANGED, None, "USD"))
    assert (deal.amount_minor, deal.currency, deal.mixed) == (500, "JPY", True)


@pytest.mark.parametrize(
    ("paid", "refunded", "standing"),
    [(0, 0, "won"), (1, 0, "partly paid"), (500, 0, "paid"), (500, 1, "partly refunded"), (0, 500, "refunded")],
)
def test_where_a_deal_stands_is_told_with_its_money(paid: int, refunded: int, standing: str) -> None:
    assert DealState("won", 500, "JPY", "", refunded, paid).standing == standing


MONEY = json.loads(Path("tests/vectors/money.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", MONEY, ids=lambda case: f"{case['stated']!r} {case['currency']}")
def test_money_becomes_whole_minor_units(case: dict[str, Any]) -> None:
    if case["minor"] is None:
        with pytest.raises(BadShape):
            minor_units(case["stated"], case["currency"], "total")
    else:
        assert minor_units(case["stated"], case["currency"], "total") == case["minor"]


@given(some.integers(0, MOST_MINOR), some.sampled_from([("JPY", 0), ("USD", 2), ("BHD", 3), ("CLF", 4)]))
def test_every_amount_that_json_can_say_comes_back_to_the_minor_unit(minor: int, currency: tuple[str, int]) -> None:
    name, digits = currency
    written = f"{Decimal(minor).scaleb(-digits):f}"
    assert minor_units(json.loads(written), name, "total") == minor
    assert minor_units(float(written), name, "total") == minor
    assert minor_units(written, name, "total") == minor


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e300, 10**40, 10**4000])
def test_what_is_no_number_is_no_money(number: float) -> None:
    with pytest.raises(BadShape, match="total"):
        minor_units(number, "JPY", "total")
