"""Deciding: one step at a time, written only when it is news, explained by its own record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from closedloop.events.times import iso
from closedloop.loops.decide import Decision, Position, as_json, decide
from closedloop.loops.definition import BESIDE_THE_PATH, EXCLUDED, Loop
from closedloop.loops.experiments import REVERSE_SALT, SALT, UNIVERSAL_SALT, Arm, draw
from closedloop.loops.gates import HoldKind, Outcome
from closedloop.profiles.profile import DealState, Profile

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def a_loop(*, holdout: float = 0.0, reverse: float = 0.0, kept_out: float = 0.0) -> Loop:
    """Research, then a case by mail, then a seminar, then the purchase; a deal leads there from anywhere."""
    mail = {"subject": "A case", "text": "Read {{ link }}", "link": "https://a.example/case"}
    return Loop.model_validate({
        "loop": "autumn", "sites": ["demo"], "strategy": "Win water works", "currency": "JPY",
        "period": {"start": date(2026, 9, 1), "end": date(2027, 3, 31)},
        "objectives": [{"metric": "deals_won", "target": 5, "by": date(2027, 3, 31)}],
        "stages": ["research", "problem", "proposal", "customer"],
        "campaigns": [
            {"name": "guide", "stage": "research", "touchpoint": "form"},
            {"name": "case-mail", "stage": "problem", "touchpoint": "email", "mail": mail},
            {"name": "letter", "stage": "problem", "touchpoint": "dealer"},
            {"name": "seminar", "stage": "proposal", "touchpoint": "seminar"},
        ],
        "gates": [
            {"name": "interested", "from": "research", "to": "problem", "holdout": holdout,
             "reverse_holdout": reverse,
             "when": {"all": [{"fit": {"at_least": 60}}, {"attribute": {"industry": ["water"]}}]},
             "exclude": [{"when": {"attribute": {"industry": ["student"]}}, "reason": "studying, not buying"}]},
            {"name": "walk-in", "from": "research", "to": "customer", "when": {"deal": "won"}},
            {"name": "asks", "from": "problem", "to": "proposal", "when": {"fit": {"at_least": 70}}},
            {"name": "bought", "from": "proposal", "to": "customer", "when": {"deal": "won"}},
        ],
        "universal_holdout": kept_out,
    })


def a_profile(*, person: str = "p-ada", fit: int = 0, industry: str = "", deal: str = "") -> Profile:
    return Profile(
        person=person, group="demo", nodes=("email:ada",), first_at="2026-09-01T00:00:00.000Z",
        last_at="2026-11-01T00:00:00.000Z", events=3, fit=fit, attributes={"industry": industry} if industry else {},
        deals={"d1": DealState(deal, 1000, "JPY", "2026-11-01T00:00:00.000Z")} if deal else {},
    )


def at(stage: str, *, unit: str = "p-ada", standing: Mapping[str, str] | None = None, version: int = 1) -> Position:
    return Position("p-ada", "autumn", stage, version, unit, tuple(sorted((standing or {}).items())))


def held_out(gate: str = "interested", *, share: float = 0.2, want: bool = True) -> str:
    """A unit that is held out at a gate, or one that is not."""
    return next(unit for n in range(1000) if (draw(SALT, "autumn", gate, unit := f"p-{n}") < share) is want)


def told(decision: Decision) -> list[tuple[str, Outcome]]:
    return [(verdict.gate, verdict.outcome) for verdict in decision.verdicts]


def test_who_became_known_enters_at_the_first_stage() -> None:
    decision = decide(a_loop(), a_profile(), Position("p-ada", "autumn"), NOW)
    assert decision.after == Position("p-ada", "autumn", "research", 1, "p-ada", since=iso(NOW))
    assert (decision.changes, decision.verdicts, decision.campaigns, decision.reason) == (True, (), (), "became known")


def test_only_an_audience_is_mailed_and_everybody_moves() -> None:
    plain = a_loop().model_dump(by_alias=True)
    for campaign in plain["campaigns"]:
        if campaign["mail"]:
            campaign["audience"] = {"fit": {"at_least": 80}}
    loop = Loop.model_validate(plain)
    for fit, campaigns in ((79, ()), (80, ("case-mail",))):
        decision = decide(loop, a_profile(fit=fit, industry="water"), at("research"), NOW)
        assert (decision.after.stage, decision.campaigns) == ("problem", campaigns)


def test_the_unit_that_arms_are_drawn_by_is_that_of_the_first_entry() -> None:
    later = replace(Position("p-ada", "autumn"), unit="p-older")
    assert decide(a_loop(), a_profile(), later, NOW).after.unit == "p-older"


def test_who_passes_a_gate_advances_and_meets_the_mails_behind_it() -> None:
    decision = decide(a_loop(), a_profile(fit=80, industry="water"), at("research"), NOW)
    assert (decision.after.stage, decision.after.version) == ("problem", 2)
    assert told(decision) == [("walk-in", Outcome.HOLD), ("interested", Outcome.ADVANCE)]
    assert decision.campaigns == ("case-mail",)
    assert decision.reason == "all conditions of the gate hold"


def test_a_person_takes_one_step_a_decision() -> None:
    ready_for_two = a_profile(fit=80, industry="water")
    first = decide(a_loop(), ready_for_two, at("research"), NOW)
    second = decide(a_loop(), ready_for_two, first.after, NOW)
    third = decide(a_loop(), ready_for_two, second.after, NOW)
    fourth = decide(a_loop(), ready_for_two, third.after, NOW)
    steps = [(one.after.stage, one.changes) for one in (first, second, third, fourth)]
    assert steps == [("problem", True), ("proposal", True), ("proposal", True), ("proposal", False)]


def test_the_gate_that_leads_farthest_is_asked_first() -> None:
    decision = decide(a_loop(), a_profile(fit=80, industry="water", deal="won"), at("research"), NOW)
    assert (decision.after.stage, told(decision)) == ("customer", [("walk-in", Outcome.ADVANCE)])


def test_who_is_held_stays_and_is_told_once_why() -> None:
    first = decide(a_loop(), a_profile(fit=10), at("problem"), NOW)
    assert (first.after.stage, first.after.version, told(first)) == ("problem", 2, [("asks", Outcome.HOLD)])
    assert (first.verdicts[0].hold_kind, first.reason) == (HoldKind.FIT, "fit at least 70: 10")
    again = decide(a_loop(), a_profile(fit=11), first.after, NOW + timedelta(days=1))
    assert (again.changes, again.verdicts, again.reason) == (False, (), "nothing new")


def test_where_somebody_stays_they_have_stood_since_they_came_there() -> None:
    later = NOW + timedelta(days=1)
    moved = decide(a_loop(), a_profile(fit=80, industry="water"), at("research"), NOW).after
    stayed = decide(a_loop(), a_profile(fit=10), moved, later).after
    assert (moved.stage, moved.since, stayed.version, stayed.since) == ("problem", iso(NOW), 3, iso(NOW))


def test_another_kind_of_hold_is_news() -> None:
    first = decide(a_loop(), a_profile(), at("research"), NOW)
    assert [verdict.hold_kind for verdict in first.verdicts] == [HoldKind.ACTION, HoldKind.FIT]
    loop = a_loop(holdout=0.2)
    kept = decide(loop, a_profile(fit=80, industry="water"), replace(first.after, unit=held_out()), NOW)
    assert [(verdict.gate, verdict.hold_kind) for verdict in kept.verdicts] == [("interested", HoldKind.HOLDOUT)]


def test_who_is_excluded_leaves_the_path_with_the_reason_and_gets_no_mail() -> None:
    decision = decide(a_loop(), a_profile(fit=80, industry="student"), at("research"), NOW)
    assert (decision.after.stage, decision.reason, decision.campaigns) == (EXCLUDED, "studying, not buying", ())
    again = decide(a_loop(), a_profile(fit=80, industry="water"), decision.after, NOW)
    assert (again.changes, again.reason) == (False, "is excluded")


def test_the_holdout_is_held_with_its_arm_and_draw_and_stays_so() -> None:
    loop, unit = a_loop(holdout=0.2), held_out()
    ready = a_profile(fit=80, industry="water")
    kept = decide(loop, ready, at("research", unit=unit), NOW)
    verdict = kept.verdicts[-1]
    assert (kept.after.stage, kept.campaigns) == ("research", ())
    assert (verdict.outcome, verdict.hold_kind, verdict.arm) == (Outcome.HOLD, HoldKind.HOLDOUT, Arm.HOLDOUT)
    assert verdict.draw == draw(SALT, "autumn", "interested", unit)
    assert verdict.reason == "ready, but kept back to measure what the campaign adds"
    for days in (1, 30, 300):
        assert not decide(loop, ready, kept.after, NOW + timedelta(days=days)).changes


def test_who_is_not_held_out_advances_with_the_arm_recorded() -> None:
    unit = held_out(want=False)
    decision = decide(a_loop(holdout=0.2), a_profile(fit=80, industry="water"), at("research", unit=unit), NOW)
    assert (decision.after.stage, decision.verdicts[-1].arm) == ("problem", Arm.TREATED)
    assert decision.verdicts[-1].draw == draw(SALT, "autumn", "interested", unit)


def test_an_arm_is_drawn_only_when_somebody_is_ready() -> None:
    decision = decide(a_loop(holdout=0.2), a_profile(), at("research", unit=held_out()), NOW)
    assert [(verdict.arm, verdict.draw) for verdict in decision.verdicts] == [(None, None), (None, None)]


def test_who_is_held_out_and_buys_all_the_same_walks_in() -> None:
    loop, unit = a_loop(holdout=0.2), held_out()
    kept = decide(loop, a_profile(fit=80, industry="water"), at("research", unit=unit), NOW)
    bought = decide(loop, a_profile(fit=80, industry="water", deal="won"), kept.after, NOW)
    assert (bought.after.stage, told(bought)) == ("customer", [("walk-in", Outcome.ADVANCE)])


def drawn(salt: str, gate: str, share: float, *, want: bool = True) -> str:
    """A unit that is drawn into the smaller part of an experiment, or one that is not."""
    return next(unit for n in range(1000) if (draw(salt, "autumn", gate, unit := f"p-{n}") < share) is want)


def test_who_is_kept_out_of_a_loop_goes_through_its_stages_and_meets_no_campaign() -> None:
    loop, unit = a_loop(holdout=0.5, reverse=0.1, kept_out=0.1), drawn(UNIVERSAL_SALT, "", 0.1)
    ready = a_profile(fit=80, industry="water")
    entered = decide(loop, ready, replace(Position("p-ada", "autumn"), unit=unit), NOW)
    assert (entered.arm, entered.draw) == (Arm.HOLDOUT, draw(UNIVERSAL_SALT, "autumn", "", unit))
    decision = decide(loop, ready, entered.after, NOW)
    assert (decision.after.stage, decision.campaigns) == ("problem", ())
    assert {(verdict.arm, verdict.draw) for verdict in decision.verdicts} == {(Arm.KEPT_OUT, None)}
    waits = decide(loop, a_profile(), entered.after, NOW)
    assert {(verdict.outcome, verdict.arm) for verdict in waits.verdicts} == {(Outcome.HOLD, Arm.KEPT_OUT)}
    student = decide(loop, a_profile(industry="student"), entered.after, NOW)
    assert student.after.stage == EXCLUDED


def test_who_is_not_kept_out_meets_the_campaigns_and_enters_with_the_arm_recorded() -> None:
    loop, unit = a_loop(kept_out=0.1), drawn(UNIVERSAL_SALT, "", 0.1, want=False)
    ready = a_profile(fit=80, industry="water")
    entered = decide(loop, ready, replace(Position("p-ada", "autumn"), unit=unit), NOW)
    assert (entered.arm, entered.draw) == (Arm.TREATED, draw(UNIVERSAL_SALT, "autumn", "", unit))
    assert decide(loop, ready, entered.after, NOW).campaigns == ("case-mail",)
    plain = decide(a_loop(), ready, replace(Position("p-ada", "autumn"), unit=unit), NOW)
    assert (plain.arm, plain.draw) == (None, None)


def test_a_share_of_those_who_are_not_ready_is_let_through_and_meets_what_lies_behind() -> None:
    loop, unit = a_loop(reverse=0.1), drawn(REVERSE_SALT, "interested", 0.1)
    decision = decide(loop, a_profile(fit=10, industry="water"), at("research", unit=unit), NOW)
    verdict = decision.verdicts[-1]
    assert (decision.after.stage, decision.campaigns) == ("problem", ("case-mail",))
    assert (verdict.outcome, verdict.hold_kind, verdict.arm) == (Outcome.ADVANCE, None, Arm.LET_THROUGH)
    assert verdict.draw == draw(REVERSE_SALT, "autumn", "interested", unit)
    assert verdict.reason == "not ready (fit at least 60: 10), but let through to price the gate"
    assert '"found":"10"' in as_json(verdict)


def test_the_other_refused_wait_with_their_arm_and_pass_when_they_are_ready() -> None:
    loop, unit = a_loop(reverse=0.1), drawn(REVERSE_SALT, "interested", 0.1, want=False)
    waits = decide(loop, a_profile(fit=10, industry="water"), at("research", unit=unit), NOW)
    verdict = waits.verdicts[-1]
    assert (waits.after.stage, verdict.hold_kind, verdict.arm) == ("research", HoldKind.FIT, Arm.REFUSED)
    assert not decide(loop, a_profile(fit=11, industry="water"), waits.after, NOW).changes
    ready = decide(loop, a_profile(fit=80, industry="water"), waits.after, NOW)
    assert (ready.after.stage, ready.verdicts[-1].arm) == ("problem", None)


def test_who_is_excluded_or_held_out_is_never_let_through() -> None:
    unit = next(f"p-{n}" for n in range(10_000) if draw(REVERSE_SALT, "autumn", "interested", f"p-{n}") < 0.1
                and draw(SALT, "autumn", "interested", f"p-{n}") < 0.5)
    loop = a_loop(holdout=0.5, reverse=0.1)
    student = decide(loop, a_profile(industry="student"), at("research", unit=unit), NOW)
    assert student.after.stage == EXCLUDED
    kept = decide(loop, a_profile(fit=80, industry="water"), at("research", unit=unit), NOW)
    assert (kept.after.stage, kept.verdicts[-1].arm) == ("research", Arm.HOLDOUT)


@pytest.mark.parametrize("stage", ["exhibition", *BESIDE_THE_PATH])
def test_at_a_stage_that_the_loop_does_not_have_nothing_changes(stage: str) -> None:
    decision = decide(a_loop(), a_profile(fit=100, industry="water", deal="won"), at(stage), NOW)
    assert (decision.changes, decision.verdicts, decision.campaigns) == (False, (), ())
    assert decision.reason == f"is {stage}"


def test_the_last_stage_has_no_gate_and_nothing_changes() -> None:
    assert decide(a_loop(), a_profile(deal="won"), at("customer"), NOW).reason == "nothing new"


def test_a_verdict_says_as_json_what_it_rests_on() -> None:
    decision = decide(a_loop(), a_profile(fit=80, industry="water"), at("research"), NOW)
    assert json.loads(as_json(decision.verdicts[-1])) == {"holds": True, "question": "all of", "parts": [
        {"holds": True, "question": "fit at least 60", "found": "80"},
        {"holds": True, "question": "industry is water", "found": "industry water"},
    ]}


# From outside into the loop and through every stage, and once more for what is held at the last.
STEPS = 6
STAGES = st.sampled_from(["", "research", "problem", "proposal", "customer", "exhibition", *BESIDE_THE_PATH])
PEOPLE = st.builds(
    a_profile, fit=st.integers(0, 100), industry=st.sampled_from(["", "water", "student"]),
    deal=st.sampled_from(["", "opened", "won", "lost"]),
)


@settings(deadline=None)
@given(st.lists(PEOPLE, min_size=1, max_size=6), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 50), STAGES)
def test_whatever_becomes_of_somebody_the_path_is_followed_and_the_history_adds_up(
    life: list[Profile], holdout: float, unit: int, stage: str
) -> None:
    loop = a_loop(holdout=holdout)
    leads: dict[str, set[str]] = {"": {"research"}}
    for gate in loop.gates:
        leads.setdefault(gate.from_, set()).update({gate.to, EXCLUDED})
    start = Position("p-ada", "autumn", unit=f"p-{unit}")
    position = replace(start, stage=stage, version=7) if stage else start
    for profile in (profile for profile in life for _ in range(STEPS)):
        decision = decide(loop, profile, position, NOW)
        assert decision.before == position
        assert decision.changes is bool(decision.verdicts or decision.after.stage != position.stage)
        assert decision.after.version == (position.version + 1 if decision.changes else position.version)
        if decision.after.stage != position.stage:
            assert decision.after.stage in leads[position.stage]
        assert decision.after.unit == position.unit
        assert decision == decide(loop, profile, position, NOW)
        position = decision.after
    assert not decide(loop, life[-1], position, NOW).changes


@settings(deadline=None)
@given(PEOPLE, st.integers(0, 200))
def test_only_who_is_ready_is_in_an_arm(profile: Profile, unit: int) -> None:
    ready = profile.fit >= 60 and profile.attributes.get("industry") == "water"
    for verdict in decide(a_loop(holdout=0.5), profile, at("research", unit=f"p-{unit}"), NOW).verdicts:
        assert (verdict.arm is not None) is (ready and verdict.gate == "interested")


@settings(deadline=None)
@given(PEOPLE)
def test_a_verdict_is_another_one_only_by_outcome_kind_reason_of_exclusion_or_arm(profile: Profile) -> None:
    first, second = (decide(a_loop(), profile, at("research"), NOW) for _ in range(2))
    assert [one.digest for one in first.verdicts] == [one.digest for one in second.verdicts]
    for one in first.verdicts:
        assert replace(one, reason=f"{one.reason}!").digest == one.digest or one.outcome is Outcome.EXCLUDE
        assert replace(one, arm=Arm.HOLDOUT).digest != one.digest
