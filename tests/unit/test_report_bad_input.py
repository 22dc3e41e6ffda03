"""A report of little, odd or contradicting input: it is made, it reconciles, and it says what is missing."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from closedloop.reports.metrics import Report
from tests.unit.test_report import LATEST, NO_NUMBER, a_small_loop, built
from tests.unit.test_report_rows import DAY, a_deal, a_form, a_page, an_event, the_loop, write


def read(folder: Path, loop: Any = None) -> tuple[Report, str, str]:
    """The report, and the words of its English and its Japanese page."""
    report, files, _ = built(folder, loop)
    assert report.reconciles

    def words(name: str) -> str:
        page = re.sub(r"<style>.*?</style>|<meta[^>]*>|<svg.*?</svg>", "", files[LATEST + name].decode(), flags=re.S)
        text = unescape(re.sub(r"<[^>]+>", " ", page))
        assert not NO_NUMBER.search(text)
        return text

    return report, words("index.html"), words("index.ja.html")


def test_no_event_at_all_names_the_site_that_is_silent(tmp_path: Path) -> None:
    report, english, japanese = read(tmp_path)
    assert report.quality.counted == 0 and report.people.unique_users == 0
    assert "No event has come in from demo: " in english and "demo からのイベントがまだありません" in japanese
    assert "not enough evidence" in english.lower()


def test_one_event_is_one_user_and_no_deal(tmp_path: Path) -> None:
    report, english, japanese = read(write(tmp_path, [a_page("e1", "ada")]))
    assert (report.people.unique_users, report.people.known, report.people.page_views) == (1, 0, 1)
    assert "No deal has been told" in english and "商談がまだ報告されていません" in japanese
    assert "No event has come in" not in english


def test_a_campaign_without_a_cost_is_named_and_has_no_cost_per_deal(tmp_path: Path) -> None:
    report, english, _ = read(a_small_loop(tmp_path))
    free = {one.campaign for one in report.campaigns if one.of_loop and one.cost_minor is None}
    assert free and "search-ads" not in free
    (said,) = re.findall(r"No cost is known of (.*?):", english)
    assert set(said.split(", ")) == free
    for one in report.campaigns:
        if one.campaign in free:
            assert one.cost_per_new_person_minor is one.cost_per_deal_minor is one.revenue_per_cost is None


def test_nothing_is_divided_by_nothing(tmp_path: Path) -> None:
    free = an_event("c", "Campaign Cost Reported", door="import", properties={
        "campaign": "search-ads", "day": "2026-10-05", "amount_minor": 0, "currency": "JPY"})
    lost = a_deal("l", "Deal Lost", "", None, at=DAY + timedelta(days=2))
    report, _, _ = read(write(tmp_path, [
        a_page("e", "ada"), a_form("f", "ada", "ada"), a_deal("o", "Deal Opened", "ada", 0), lost, free,
    ]))
    ads = next(one for one in report.campaigns if one.campaign == "search-ads")
    assert (ads.cost_minor, ads.cost_per_deal_minor, ads.revenue_per_cost, ads.paid_back_on) == (0, None, None, None)
    assert report.money.return_on_cost is None and report.money.revenue_minor == 0
    assert all(gate.advance_rate is None for gate in report.gates)


@pytest.mark.parametrize("currency", ["XQZ", "円"])
def test_an_unknown_currency_stands_apart_and_is_called_so(tmp_path: Path, currency: str) -> None:
    odd = a_deal("x", "Deal Won", "bob", 999, at=DAY + timedelta(days=9), deal="d2", currency=currency)
    report, english, _ = read(a_small_loop(tmp_path, extra=(odd,)))
    assert (report.money.revenue_minor, report.money.deals_won) == (300, 1)
    assert [(one.currency, one.revenue_minor) for one in report.foreign] == [(currency, 999)]
    assert f"{currency} is no currency of ISO 4217" in english


def test_a_loop_in_many_currencies_adds_up_its_own_alone_and_names_the_others(tmp_path: Path) -> None:
    odd = [
        a_deal(f"x{n}", "Deal Won", "bob", 10**n, at=DAY + timedelta(days=9), deal=f"x{n}", currency=currency)
        for n, currency in enumerate(("USD", "EUR", "BHD", "USD", "JPY"))
    ]
    costs = [
        an_event(f"c{n}", "Campaign Cost Reported", door="import", properties={
            "campaign": "search-ads", "day": "2026-10-05", "amount_minor": 7, "currency": currency})
        for n, currency in enumerate(("USD", "EUR"))
    ]
    report, english, japanese = read(a_small_loop(tmp_path, extra=(*odd, *costs)))
    assert (report.money.revenue_minor, report.money.deals_won, report.money.cost_minor) == (10_300, 2, 120)
    assert {one.currency: (one.deals_won, one.revenue_minor, one.cost_minor) for one in report.foreign} == {
        "USD": (2, 1001, 7), "EUR": (1, 10, 7), "BHD": (1, 100, 0)}
    for currency in ("USD", "EUR", "BHD"):
        assert f"{currency} is not the loop" in english and f"{currency} はループの通貨ではない" in japanese
    assert "ISO 4217" not in english


def test_a_loop_whose_own_currency_sees_no_deal_says_so_in_its_sums(tmp_path: Path) -> None:
    report, english, _ = read(a_small_loop(tmp_path), the_loop(currency="USD"))
    assert report.money.revenue_minor == 0 and [one.currency for one in report.foreign] == ["JPY"]
    assert "JPY is not the loop" in english
