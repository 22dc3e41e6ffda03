"""Gates: what is asked of a person, what was found, and an explanation that agrees with the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from closedloop.events.times import iso
from closedloop.loops.definition import Condition, Did, Gate
from closedloop.loops.gates import Answer, HoldKind, Outcome, ask, judge
from closedloop.profiles.around import Around
from closedloop.profiles.interest import weight
from closedloop.profiles.ownership import Thing
from closedloop.profiles.profile import DealState, Excerpt, Profile, Seen
from closedloop.sites.definition import Site

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
VECTORS: list[dict[str, Any]] = json.loads(Path("tests/vectors/gates.json").read_text(encoding="utf-8"))


def a_profile(
    *, interest: Mapping[str, float] | None = None, engagement: float = 0, fit: int = 0,
    visited: Mapping[str, Sequence[str]] | None = None, did: Mapping[str, Sequence[str]] | None = None,
    deals: Sequence[str] = (), attributes: Mapping[str, Any] | None = None, consent: Mapping[str, str] | None = None,
    owned: Sequence[Sequence[Any]] = (), clicked: Mapping[str, Sequence[str]] | None = None,
) -> Profile:
    """A person as of now: points as they are worth now, moments as days."""
    return Profile(
        person="p-ada", group="demo", nodes=("email:ada",), first_at="2026-09-01T00:00:00.000Z", last_at=iso(NOW),
        events=9, interest={topic: weight(points, NOW) for topic, points in (interest or {}).items()},
        engagement=weight(engagement, NOW), fit=fit, attributes=attributes or {}, visited=seen(visited or {}),
        did=seen(did or {}), clicked=seen(clicked or {}), consent=consent or {},
        owned=tuple(Thing(*one) for one in owned),
        deals={f"d{place}": DealState(state, 1000, "JPY", iso(NOW)) for place, state in enumerate(deals)},
    )


def found(
    profile: Mapping[str, Any], sites: Sequence[Mapping[str, Any]] = (), contact: Mapping[str, str] | None = None,
    since: str = "",
) -> Excerpt:
    """A person as the workflow finds them: what is stored, and what is around."""
    around = Around([Site.model_validate(site) for site in sites], lambda: contact or {}, since)
    return Excerpt(a_profile(**profile).stored(), around)


def seen(moments: Mapping[str, Sequence[str]]) -> dict[str, Seen]:
    return {
        what: Seen(len(days), tuple(day if "T" in day else f"{day}T06:00:00.000Z" for day in days))
        for what, days in moments.items()
    }


def a_condition(**questions: Any) -> Condition:
    return Condition.model_validate(questions)


def a_gate(when: Mapping[str, Any], *, exclude: Sequence[Mapping[str, Any]] = ()) -> Gate:
    return Gate.model_validate({
        "name": "interested", "from": "research", "to": "problem", "when": when, "exclude": list(exclude),
    })


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["story"])
def test_a_condition_is_answered_in_words(vector: dict[str, Any]) -> None:
    answer = ask(a_condition(**vector["when"]), found(vector["profile"], **vector.get("around", {})), NOW)
    assert (answer.holds, answer.question, answer.found, answer.about.value) == (
        vector["holds"], vector["question"], vector["found"], vector["about"],
    )


# The window is as long as it says, both ends included: what happened at its first instant counts.
WINDOWS = (
    (timedelta(days=7), True), (timedelta(days=7, milliseconds=1), False), (timedelta(0), True),
    (timedelta(days=6, hours=23), True), (timedelta(days=400), False), (timedelta(minutes=-5), True),
)


@pytest.mark.parametrize(("ago", "counts"), WINDOWS)
def test_a_window_counts_up_to_its_edge(ago: timedelta, counts: bool) -> None:
    person = a_profile(did={"Demo Asked": [iso(NOW - ago)]}, visited={"/demo": [iso(NOW - ago)]})
    assert ask(a_condition(did={"event": "Demo Asked", "within_days": 7}), person, NOW).holds is counts
    assert ask(a_condition(visited={"path": "/demo", "within_days": 7}), person, NOW).holds is counts


def test_without_a_window_everything_counts_even_what_is_too_old_to_be_kept_by_moment() -> None:
    person = a_profile()
    often = Profile(**{
        **{name: getattr(person, name) for name in Profile.__slots__}, "did": {"Login": Seen(500, (iso(NOW),))},
    })
    assert ask(a_condition(did={"event": "Login", "times": 500}), often, NOW).holds
    assert not ask(a_condition(did={"event": "Login", "times": 2, "within_days": 1}), often, NOW).holds


def test_a_score_of_just_now_passes_a_gate_that_asks_for_it_a_moment_later() -> None:
    person = a_profile(interest={"pumps": 10}, engagement=10)
    soon, later = NOW + timedelta(minutes=5), NOW + timedelta(days=1)
    for question in ({"interest": {"topic": "pumps", "at_least": 10}}, {"engagement": {"at_least": 10}}):
        assert [ask(a_condition(**question), person, at).holds for at in (soon, later)] == [True, False]


def test_an_open_is_no_proof_so_no_gate_can_ask_for_one() -> None:
    with pytest.raises(ValidationError, match="an opened mail proves nothing"):
        Did(event="Email Opened")
    assert Did(event="Email Link Clicked").event == "Email Link Clicked"


def test_who_is_excluded_is_excluded_however_ready() -> None:
    gate = a_gate({"fit": {"at_least": 10}}, exclude=[
        {"when": {"attribute": {"industry": ["student"]}}, "reason": "studying, not buying"},
        {"when": {"fit": {"at_least": 90}}, "reason": "never asked, the first fits"},
    ])
    found = judge(gate, a_profile(fit=100, attributes={"industry": "student"}), NOW)
    assert (found.outcome, found.reason, found.hold_kind) == (Outcome.EXCLUDE, "studying, not buying", None)
    assert found.why == {"holds": True, "question": "industry is student", "found": "industry student"}


REASONS: tuple[tuple[dict[str, Any], HoldKind, str], ...] = (
    ({"fit": {"at_least": 60}}, HoldKind.FIT, "fit at least 60: 0"),
    ({"all": [{"engagement": {"at_least": 0}}, {"deal": "won"}]}, HoldKind.ACTION, "a deal is won: no deal"),
    ({"any": [{"did": {"event": "Demo Asked", "within_days": 60}}, {"deal": "opened"}]}, HoldKind.ACTION,
     "did Demo Asked within 60 days: 0 times, or a deal is opened: no deal"),
    ({"not": {"engagement": {"at_least": 0}}}, HoldKind.INTEREST, "not engagement at least 0: 0.00"),
    ({"not": {"any": [{"engagement": {"at_least": 0}}, {"deal": "won"}]}}, HoldKind.INTEREST,
     "not any of (engagement at least 0: 0.00, a deal is won: no deal)"),
)


@pytest.mark.parametrize(("when", "kind", "reason"), REASONS)
def test_a_hold_names_what_is_missing(when: dict[str, Any], kind: HoldKind, reason: str) -> None:
    found = judge(a_gate(when), a_profile(), NOW)
    assert (found.outcome, found.hold_kind, found.reason) == (Outcome.HOLD, kind, reason)


def test_an_advance_keeps_what_it_rests_on() -> None:
    found = judge(a_gate({"all": [{"fit": {"at_least": 60}}, {"not": {"deal": "lost"}}]}), a_profile(fit=70), NOW)
    assert found.outcome is Outcome.ADVANCE
    assert found.why == {"holds": True, "question": "all of", "parts": [
        {"holds": True, "question": "fit at least 60", "found": "70"},
        {"holds": True, "question": "not", "parts": [
            {"holds": False, "question": "a deal is lost", "found": "no deal"},
        ]},
    ]}


# Whatever is asked of whomever.

POINTS = st.integers(0, 40).map(lambda halves: halves / 2)
DAYS = st.integers(0, 60).map(lambda days: iso(NOW - timedelta(days=days)))
SINGLE = st.one_of(
    st.builds(lambda topic, least, part: {"interest": {"topic": topic, "at_least": least, "share": part}},
              st.sampled_from(["pumps", "valves"]), POINTS, st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    st.builds(lambda least: {"engagement": {"at_least": least}}, POINTS),
    st.builds(lambda least: {"fit": {"at_least": least}}, st.integers(0, 100)),
    st.builds(lambda path, times, days: {"visited": {"path": path, "times": times, "within_days": days}},
              st.sampled_from(["/", "/products", "/careers"]), st.integers(1, 5), st.none() | st.integers(1, 60)),
    st.builds(lambda event, times, days: {"did": {"event": event, "times": times, "within_days": days}},
              st.sampled_from(["Demo Asked", "Login"]), st.integers(1, 5), st.none() | st.integers(1, 60)),
    st.builds(lambda campaign, times, days: {"clicked": {"campaign": campaign, "times": times, "within_days": days}},
              st.sampled_from(["case-mail", "offer"]), st.integers(1, 5), st.none() | st.integers(1, 60)),
    st.sampled_from(["opened", "won", "lost"]).map(lambda state: {"deal": state}),
    st.builds(lambda words: {"attribute": {"industry": words}},
              st.lists(st.sampled_from(["water", "student", "NO"]), min_size=1)),
)
CONDITIONS = st.recursive(SINGLE, lambda below: st.one_of(
    st.lists(below, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
    st.lists(below, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
    below.map(lambda part: {"not": part}),
), max_leaves=6).map(Condition.model_validate)
PROFILES = st.builds(
    a_profile, interest=st.dictionaries(st.sampled_from(["pumps", "valves", "careers"]), POINTS), engagement=POINTS,
    fit=st.integers(0, 100),
    visited=st.dictionaries(st.sampled_from(["/", "/products/a", "/careers"]), st.lists(DAYS, min_size=1, max_size=4)),
    did=st.dictionaries(st.sampled_from(["Demo Asked", "Login"]), st.lists(DAYS, min_size=1, max_size=4)),
    clicked=st.dictionaries(st.just("case-mail"), st.lists(DAYS, min_size=1, max_size=4)),
    deals=st.lists(st.sampled_from(["opened", "won", "lost"]), max_size=2),
    attributes=st.dictionaries(st.just("industry"), st.text(max_size=5) | st.sampled_from(["water", "No"])
                               | st.integers(-10**400, 10**400) | st.booleans() | st.floats()),
)


def every(answer: Answer) -> list[Answer]:
    return [answer, *(below for part in answer.parts for below in every(part))]


@settings(deadline=None)
@given(CONDITIONS, PROFILES)
def test_the_explanation_agrees_with_the_answer_at_every_node(condition: Condition, profile: Profile) -> None:
    for node in every(ask(condition, profile, NOW)):
        held = [part.holds for part in node.parts]
        assert node.holds is {
            "all of": all(held), "any of": any(held), "not": not any(held),
        }.get(node.question, node.holds)
        assert bool(node.found) is not bool(node.parts)


@settings(deadline=None)
@given(CONDITIONS, PROFILES)
def test_the_record_says_the_same_as_the_answer(condition: Condition, profile: Profile) -> None:
    def holds(node: dict[str, Any]) -> bool:
        parts = [holds(part) for part in node.get("parts", ())]
        by = {"all of": all(parts), "any of": any(parts), "not": not any(parts)}
        return by.get(node["question"], node["holds"])

    record = json.loads(json.dumps(ask(condition, profile, NOW).as_json()))
    assert holds(record) is record["holds"] is ask(condition, profile, NOW).holds


@settings(deadline=None)
@given(CONDITIONS, PROFILES)
def test_not_turns_an_answer_round(condition: Condition, profile: Profile) -> None:
    turned = Condition.model_validate({"not": condition})
    assert ask(turned, profile, NOW).holds is not ask(condition, profile, NOW).holds
    assert ask(Condition.model_validate({"not": turned}), profile, NOW).holds is ask(condition, profile, NOW).holds


@settings(deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=4), CONDITIONS, PROFILES)
def test_another_condition_makes_all_no_easier_and_any_no_harder(
    parts: list[Condition], another: Condition, profile: Profile
) -> None:
    def held(joined: str, conditions: list[Condition]) -> bool:
        return ask(Condition.model_validate({joined: conditions}), profile, NOW).holds

    assert held("all", [*parts, another]) <= held("all", parts)
    assert held("any", [*parts, another]) >= held("any", parts)


@settings(deadline=None)
@given(POINTS, POINTS, st.sampled_from(["pumps", "valves"]), PROFILES)
def test_asking_for_less_lets_nobody_fall_back(more: float, less: float, topic: str, profile: Profile) -> None:
    assume(less <= more)
    for name in ("engagement", "fit"):
        strict, mild = (a_condition(**{name: {"at_least": least}}) for least in (more, less))
        assert ask(strict, profile, NOW).holds <= ask(mild, profile, NOW).holds
    strict, mild = (a_condition(interest={"topic": topic, "at_least": least}) for least in (more, less))
    assert ask(strict, profile, NOW).holds <= ask(mild, profile, NOW).holds


@settings(deadline=None)
@given(CONDITIONS, CONDITIONS, PROFILES)
def test_a_gate_has_one_outcome_and_a_reason_in_words(when: Condition, not_wanted: Condition, profile: Profile) -> None:
    gate = Gate.model_validate({
        "name": "g", "from": "a", "to": "b", "when": when, "exclude": [{"when": not_wanted, "reason": "not wanted"}],
    })
    found = judge(gate, profile, NOW)
    assert found.reason
    assert (found.hold_kind is not None) is (found.outcome is Outcome.HOLD)
    excluded, ready = ask(not_wanted, profile, NOW).holds, ask(when, profile, NOW).holds
    assert found.outcome is (Outcome.EXCLUDE if excluded else Outcome.ADVANCE if ready else Outcome.HOLD)
