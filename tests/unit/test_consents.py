"""Consent for each purpose and company, with its proof: read from facts, withdrawals beside what they took back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.events import event as names
from closedloop.events.event import Door, Event, distinct
from closedloop.profiles.consents import Proof, changes, proofs_of, standing
from closedloop.profiles.consents import said as last_words
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import profile_from
from tests.builders import JANE, SITE, a_form, a_packet, a_record, a_site, minutes

OTHER = "contoso"
SITES = {SITE: a_site(group="both"), OTHER: a_site(OTHER, group="both")}
HASH = "5f" * 32


def said(at: float, door: Door = Door.FORM, site: str = SITE, boxes: Any = (), **consent: str) -> Event:
    """Jane says something of consent."""
    record = a_form(ids=[JANE], at=minutes(at)) if door is Door.FORM else a_record(ids=[JANE], at=minutes(at))
    record = {
        **record, "id": f"{site}/{door}/{at}", "context": {**record.get("context", {}), "consent": consent},
        "properties": {**record.get("properties", {}), "form": "contact", "consents": list(boxes)},
    }
    return a_packet(record, door=door, site=site).events[0]


def box(purpose: str, version: str = "2026-11") -> dict[str, str]:
    return {"purpose": purpose, "version": version, "text": HASH}


def left(at: float, name: str = names.EMAIL_UNSUBSCRIBED) -> Event:
    record = a_record(type="track", name=name, ids=[JANE], at=minutes(at))
    return a_packet({**record, "id": f"{SITE}/link/{at}"}, door=Door.LINK).events[0]


def stands(*events: Event) -> dict[tuple[str, str], str]:
    return {key: proof.word for key, proof in standing(proofs_of(distinct(events))).items()}


def test_a_proof_says_what_text_was_agreed_to_when_where_and_by_which_event() -> None:
    form = said(5, boxes=[box("marketing"), box("profiling", "2026-10")], marketing="granted", version="2026-11",
                source="form contact")
    assert proofs_of([form]) == [
        Proof(minutes(5), SITE, "marketing", "granted", "2026-11", HASH, "form contact", form.id),
        Proof(minutes(5), SITE, "profiling", "granted", "2026-10", HASH, "form contact", form.id),
    ]


def test_each_purpose_and_each_company_stands_by_itself() -> None:
    granted = said(1, boxes=[box("third-party")], marketing="granted")
    elsewhere = said(2, site=OTHER, marketing="denied")
    assert stands(granted, elsewhere) == {
        (SITE, "marketing"): "granted", (SITE, "third-party"): "granted", (OTHER, "marketing"): "denied",
    }


def test_a_withdrawal_takes_nothing_of_the_proof_away() -> None:
    granted, gone = said(1, marketing="granted"), left(9)
    assert [proof.word for proof in proofs_of([granted, gone])] == ["granted", "denied"]
    assert stands(granted, gone) == {(SITE, "marketing"): "denied"}


def test_until_the_address_confirms_nothing_is_granted_and_no_browser_says_otherwise() -> None:
    asked, browser = said(1, marketing="unconfirmed"), said(2, Door.BEACON, marketing="granted")
    assert stands(asked, browser) == {(SITE, "marketing"): "unconfirmed"}
    assert [proof.counts for proof in proofs_of([asked, browser])] == [True, False]
    confirmed = said(3, Door.LINK, boxes=[box("marketing")], marketing="granted")
    assert stands(asked, browser, confirmed) == {(SITE, "marketing"): "granted"}


def test_a_page_cannot_tick_the_boxes_of_a_form() -> None:
    assert proofs_of([said(1, Door.BEACON, boxes=[box("third-party")])]) == []


def test_the_profile_asks_the_company_that_writes_and_else_the_group() -> None:
    events = [said(1, marketing="granted"), said(2, site=OTHER, marketing="denied")]
    profile = fold(events, [JANE], SITES)
    assert profile is not None
    assert profile.consent == {"marketing": "denied"}
    assert profile.site_consent == {SITE: {"marketing": "granted"}}
    assert profile_from(profile.stored()) == profile
    assert [profile.consent_to("marketing", name) for name in (SITE, OTHER, "third")] == ["granted", "denied", "denied"]
    alone = fold(events[:1], [JANE], SITES)
    assert alone is not None
    assert alone.site_consent == {}


@given(st.lists(st.tuples(
    st.integers(0, 9), st.sampled_from((SITE, OTHER)), st.sampled_from(("granted", "denied", "unconfirmed")),
    st.sampled_from((Door.FORM, Door.BEACON, Door.LINK)),
), max_size=6, unique_by=lambda one: one[0]), st.randoms(use_true_random=False))
def test_in_any_order_and_told_twice_the_same_stands(words: Any, rng: Any) -> None:
    events = [said(at, door, site, marketing=word) for at, site, word, door in words]
    shuffled = events * 2
    rng.shuffle(shuffled)
    assert stands(*shuffled) == stands(*events)


@pytest.mark.parametrize(("happened", "suppressed"), [
    (["unsubscribed"], "unsubscribed"), (["unsubscribed", "allowed"], ""), (["manual", "allowed"], ""),
    (["complained", "allowed"], "complained"), (["bounced", "allowed"], "bounced"),
    (["unsubscribed", "complained", "allowed"], "complained"), (["manual", "allowed", "unsubscribed"], "unsubscribed"),
    (["allowed"], ""),
])
def test_an_operator_takes_back_what_people_may_change_their_minds_about(happened: list[str], suppressed: str) -> None:
    kinds = {
        "unsubscribed": (names.EMAIL_UNSUBSCRIBED, Door.LINK), "complained": (names.EMAIL_COMPLAINED, Door.EMAIL),
        "bounced": (names.EMAIL_BOUNCED, Door.EMAIL), "manual": (names.MAIL_SUPPRESSED, Door.OPERATOR),
        "allowed": (names.MAIL_ALLOWED, Door.OPERATOR),
    }
    events = []
    for at, what in enumerate(happened):
        name, door = kinds[what]
        record = {**a_record(type="track", name=name, ids=[JANE], at=minutes(at)), "id": f"{SITE}/{door}/{at}"}
        events.append(a_packet(record, door=door).events[0])
    profile = fold(events, [JANE], SITES)
    assert profile is not None
    assert profile.suppressed == suppressed


def test_a_page_that_claims_to_be_an_operator_lifts_nothing() -> None:
    lifted = a_packet(a_record(type="track", name=names.MAIL_ALLOWED, ids=[JANE], at=minutes(9))).events[0]
    profile = fold([left(1), lifted], [JANE], SITES)
    assert profile is not None
    assert profile.suppressed == "unsubscribed"


CHOICES = st.lists(st.tuples(
    st.sampled_from([Door.BEACON, Door.FORM, Door.LINK]), st.sampled_from([SITE, OTHER]),
    st.sampled_from(["granted", "denied", names.UNCONFIRMED]), st.booleans(), st.booleans(),
), max_size=4)


@settings(max_examples=400)
@given(CHOICES)
def test_pages_that_repeat_what_was_chosen_say_nothing_new(choices: list[tuple[Door, str, str, bool, bool]]) -> None:
    events = []
    for number, (door, site, word, boxed, goes) in enumerate(choices):
        told = said(number, door, site, [box("marketing")] if boxed else (), marketing=word)
        events.append(left(number) if goes and door is Door.LINK else told)
    for read in (last_words, lambda proofs: {key: proof.word for key, proof in standing(proofs).items()}):
        assert read(proofs_of(changes(events))) == read(proofs_of(events))
