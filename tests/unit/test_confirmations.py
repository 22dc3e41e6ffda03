"""How often an address may be asked to confirm, and what a consent is worth before it has."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.errors import BadShape
from closedloop.events.confirmations import OF_A_NETWORK, OF_AN_ADDRESS, Question, Quota, free_at, questions_of
from closedloop.events.event import CONSENT_CONFIRMED, FORM_SUBMITTED, Door, Event
from closedloop.loops.questions import compose_question
from closedloop.profiles.fold import fold
from closedloop.sites.definition import Site
from tests.builders import JANE, NOW, SITE, a_packet, a_record, a_site, minutes

HOUR = timedelta(hours=1)
TEXT = "お知らせを受け取ります <b>"
LETTERS = {
    "fields": [{"name": "email", "kind": "email"}],
    "thanks": "/",
    "double_opt_in": True,
    "consents": [{"name": "news", "texts": {"2026-11": TEXT}}],
}
ASKING = a_site(forms={"letters": LETTERS})
QUESTION = Question(SITE, "letters", JANE, f"{SITE}/form/s-1", "2026-11", "a hash", NOW, "203.0.113.0")


@pytest.mark.parametrize(
    ("sent_hours_ago", "free_in_hours"),
    [
        ([], 0),
        ([24], 0),
        ([23.5], 0.5),
        ([0], 24),
        ([25, 49], 0),
        ([25, 49, 73], 30 * 24 - 73),
        ([25, 49, 30 * 24], 0),
        ([1, 49, 73], 30 * 24 - 73),
    ],
)
def test_an_address_is_asked_once_a_day_and_three_times_a_month(
    sent_hours_ago: list[float], free_in_hours: float
) -> None:
    sent = {f"s-{hours}": NOW - hours * HOUR for hours in sent_hours_ago}
    assert free_at(sent, "new", OF_AN_ADDRESS, NOW) == NOW + free_in_hours * HOUR


def test_a_network_may_have_five_asked_an_hour() -> None:
    sent = {f"s-{number}": minutes(10 * number) for number in range(5)}
    assert free_at(sent, "new", OF_A_NETWORK, minutes(45)) == minutes(60)
    assert free_at(sent, "new", OF_A_NETWORK, minutes(60)) == minutes(60)
    assert free_at(sent, "s-3", OF_A_NETWORK, minutes(45)) == minutes(45), "asked again, a question counts once"


@given(
    st.lists(st.integers(0, 3000), max_size=60),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 500)), min_size=1, max_size=3),
)
def test_whoever_waits_as_told_never_exceeds_a_quota(steps: list[int], spans: list[tuple[int, int]]) -> None:
    quotas = [Quota(most, timedelta(minutes=span)) for most, span in spans]
    sent: dict[str, datetime] = {}
    for number, minute in enumerate(sorted(steps)):
        name = f"s-{number}"
        if free_at(sent, name, quotas, minutes(minute)) <= minutes(minute):
            sent[name] = minutes(minute)
    for quota in quotas:
        moments = sorted(sent.values())
        for first, last in zip(moments, moments[quota.most :], strict=False):
            assert last - first >= quota.span


@given(st.lists(st.integers(0, 3000), max_size=30), st.integers(0, 3000))
def test_the_moment_that_is_named_is_really_free_and_the_one_before_is_not(sent_at: list[int], now: int) -> None:
    sent = {f"s-{number}": minutes(minute) for number, minute in enumerate(sent_at) if minute <= now}
    free = free_at(sent, "new", OF_AN_ADDRESS, minutes(now))
    assert free_at(sent, "new", OF_AN_ADDRESS, free) == free
    if free > minutes(now):
        before = free - timedelta(microseconds=1)
        assert free_at(sent, "new", OF_AN_ADDRESS, before) == free


# What a packet asks.


def submitted(marketing: str = "unconfirmed", at: datetime = NOW, id: str = "s-1", **more: Any) -> dict[str, Any]:
    consent = {"marketing": marketing, "version": "2026-11", "source": "form letters"}
    words = {"ids": [JANE], "properties": {"form": "letters", "consents": [{"version": "2026-11", "text": "a hash"}]}}
    return a_record(id, "track", FORM_SUBMITTED, at, context={"consent": consent}, **{**words, **more})


def test_a_form_that_needs_a_confirmation_asks_for_it() -> None:
    packet = replace(a_packet(submitted(id="s-1"), door=Door.FORM), headers={"network": "203.0.113.0"})
    [question] = questions_of(packet, packet.events)
    assert question == Question(
        SITE, "letters", JANE, packet.events[0].id, "2026-11", "a hash", packet.received_at, "203.0.113.0"
    )


@pytest.mark.parametrize(
    ("record", "door"),
    [
        (submitted("granted"), Door.FORM),
        (submitted("denied"), Door.FORM),
        (submitted(), Door.BEACON),
        (submitted(ids=[], visitor="jane"), Door.FORM),
        ({**submitted(), "name": "Seen"}, Door.FORM),
        ({**submitted(), "context": {"consent": "unconfirmed"}}, Door.FORM),
        ({**submitted(), "context": {}}, Door.FORM),
    ],
)
def test_nothing_else_asks_anybody(record: dict[str, Any], door: Door) -> None:
    packet = a_packet(record, door=door)
    assert questions_of(packet, packet.events) == []


# What it is worth.


def consent_of(*told: tuple[dict[str, Any], Door]) -> dict[str, str]:
    events: list[Event] = []
    for record, door in told:
        events += a_packet(record, door=door).events
    profile = fold(events, [JANE], {SITE: ASKING})
    assert profile is not None
    return dict(profile.consent)


def said(marketing: str, minute: int, **context: Any) -> dict[str, Any]:
    consent = {"consent": {"analytics": "granted", "marketing": marketing}, **context}
    return a_record(f"c-{minute}", at=minutes(minute), visitor="v", ids=[JANE], context=consent)


FORM = (submitted(), Door.FORM)
CONFIRMED = (
    a_record(
        "confirmed", "track", CONSENT_CONFIRMED, minutes(30), ids=[JANE], context={"consent": {"marketing": "granted"}}
    ),
    Door.LINK,
)


@pytest.mark.parametrize(
    ("told", "marketing"),
    [
        ([FORM], "unconfirmed"),
        ([FORM, CONFIRMED], "granted"),
        ([CONFIRMED, FORM], "granted"),
        ([(said("granted", -60), Door.BEACON), FORM], "unconfirmed"),
        ([FORM, (said("granted", 60), Door.BEACON)], "unconfirmed"),
        ([FORM, (said("granted", 60, grade="server"), Door.BEACON)], "granted"),
        ([FORM, (said("granted", 60), Door.IMPORT)], "granted"),
        ([(submitted("granted", minutes(-9), "s-0"), Door.FORM), FORM], "granted"),
        ([FORM, (said("denied", 60), Door.BEACON)], "denied"),
        ([FORM, CONFIRMED, (said("denied", 60), Door.BEACON)], "denied"),
        ([(said("denied", -60), Door.BEACON), FORM], "denied"),
        ([(said("denied", -60), Door.BEACON), FORM, CONFIRMED], "granted"),
        ([(said("granted", 0), Door.BEACON)], "granted"),
    ],
)
def test_a_consent_counts_once_the_address_confirmed_it_whatever_a_browser_says(
    told: list[tuple[dict[str, Any], Door]], marketing: str
) -> None:
    assert consent_of(*told)["marketing"] == marketing
    assert consent_of(*reversed(told))["marketing"] == marketing


def test_what_is_asked_of_marketing_changes_nothing_of_analytics() -> None:
    assert consent_of((said("granted", -60), Door.BEACON), FORM)["analytics"] == "granted"


# The mail that asks.


def test_the_mail_asks_in_both_languages_and_names_the_sender() -> None:
    mail = compose_question(ASKING, QUESTION, "jane@acme.example", "https://c.example/c/t", "https://c.example/u/t")
    assert (mail.to, mail.sender) == ("jane@acme.example", "Northwind <hello@northwind.example>")
    assert "ご確認" in mail.subject
    assert "Please confirm" in mail.subject
    for words in (TEXT, "https://c.example/c/t", "7 日以内", "within 7 days", "Northwind", "1 Quay, Yokohama"):
        assert words in mail.text
    assert "&lt;b&gt;" in mail.html
    assert 'href="https://c.example/c/t"' in mail.html
    assert mail.headers["List-Unsubscribe"].startswith("<https://c.example/u/t>, <mailto:hello@northwind.example")
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.tags == {"site": SITE, "form": "letters"}


@pytest.mark.parametrize(
    "site",
    [
        a_site(),
        a_site(forms={"letters": {**LETTERS, "consents": [{"name": "news", "texts": {"2027-01": "Another"}}]}}),
        Site.model_construct(**{**dict(ASKING), "mail_sender": None}),
    ],
)
def test_what_the_site_asks_no_more_is_not_mailed(site: Site) -> None:
    with pytest.raises(BadShape):
        compose_question(site, QUESTION, "jane@acme.example", "https://c.example/c/t", "https://c.example/u/t")


def test_the_quotas_are_those_that_the_product_promises() -> None:
    assert (Quota(1, timedelta(hours=24)), Quota(3, timedelta(days=30))) == OF_AN_ADDRESS
    assert (Quota(5, timedelta(hours=1)),) == OF_A_NETWORK
    assert all(one.span < other.span for one, other in pairwise(OF_AN_ADDRESS))
