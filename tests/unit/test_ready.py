"""Ready: the quick question and the explained decision never differ; a profile's text is read no further than asked."""

from __future__ import annotations

import math
import zlib
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from closedloop.errors import BadShape
from closedloop.events.times import iso
from closedloop.loops.decide import Position, decide
from closedloop.loops.definition import BESIDE_THE_PATH, Loop
from closedloop.loops.ready import Ready
from closedloop.profiles.around import Around
from closedloop.profiles.interest import LANDMARK, least_total, shown, weight
from closedloop.profiles.ownership import Thing
from closedloop.profiles.profile import DealState, Excerpt, Profile, Seen, Stored, profile_from
from closedloop.sites.definition import Site

NOW = datetime(2026, 11, 24, 6, 0, 0, 123_456, tzinfo=UTC)
TOPICS, EVENTS, PATHS = ["pumps", "valves"], ["Demo Asked", "Login"], ["/", "/products", "/products/a", "/careers"]
WORDS = ["water", "student", "NO"]

TIMES = st.sampled_from([NOW, NOW + timedelta(hours=7), NOW.replace(microsecond=0), datetime(2026, 1, 1, tzinfo=UTC)])
POINTS = st.sampled_from([0.0, 0.01, 1.0, 7.5, 10.0, 33.33])
WITHIN = st.none() | st.integers(1, 9)
SINGLE = st.one_of(
    st.fixed_dictionaries({"topic": st.sampled_from(TOPICS), "at_least": POINTS,
                           "share": st.sampled_from([0.0, 0.333, 0.5, 1.0])}).map(lambda asked: {"interest": asked}),
    POINTS.map(lambda least: {"engagement": {"at_least": least}}),
    st.integers(0, 4).map(lambda fit: {"fit": {"at_least": fit}}),
    st.fixed_dictionaries({"path": st.sampled_from(PATHS), "times": st.integers(1, 4), "within_days": WITHIN}).map(
        lambda asked: {"visited": asked}),
    st.fixed_dictionaries({"event": st.sampled_from(EVENTS), "times": st.integers(1, 4), "within_days": WITHIN}).map(
        lambda asked: {"did": asked}),
    st.sampled_from(["opened", "won", "lost"]).map(lambda state: {"deal": state}),
    st.dictionaries(
        st.sampled_from(["industry", "role"]), st.lists(st.sampled_from(WORDS), min_size=1), min_size=1,
    ).map(lambda asked: {"attribute": asked}),
    st.sampled_from([
        {"consent": "marketing"}, {"kind": ["customer"]}, {"kind": ["studying", "looking"]}, {"role": ["buyer"]},
        {"owns": {"product": "pump"}}, {"owns": {"product": "pump", "replaced_soon": 0.1}},
        {"in_stage": {"at_least_days": 2}}, {"clicked": {"campaign": "guide"}},
    ]),
)
SITES = (Site.model_validate({
    "site": "demo", "title": "Demo", "write_key": "pk_demo_12345678", "origins": ["https://a.example"],
    "kinds": {"purposes": [{"path": "/products", "purpose": "price"}], "much": 2},
    "accounts": {"titles": [{"words": ["water"], "role": "buyer"}]},
    "products": {"pump": {"names": ["P1"], "life": {"k": 3, "years": 8, "source": "statistics"}}},
}),)
CONDITIONS = st.recursive(SINGLE, lambda below: st.one_of(
    st.lists(below, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
    st.lists(below, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
    below.map(lambda part: {"not": part}),
), max_leaves=6)
GATES = st.lists(
    st.fixed_dictionaries({
        "way": st.sampled_from([("research", "problem"), ("research", "customer"), ("problem", "customer")]),
        "when": CONDITIONS, "holdout": st.sampled_from([0.0, 0.5]),
        "reverse_holdout": st.sampled_from([0.0, 0.1]),
        "exclude": st.lists(CONDITIONS.map(lambda when: {"when": when, "reason": "not wanted"}), max_size=1),
    }),
    max_size=3,
)


def a_loop(gates: list[dict[str, Any]], kept_out: float = 0.0) -> Loop:
    """Three stages, with the gates given and one to each stage, so that all can be reached."""
    impossible = {"all": [{"deal": "won"}, {"not": {"deal": "won"}}]}
    ways = [
        {"name": "on", "from": "research", "to": "problem", "when": impossible},
        {"name": "out", "from": "problem", "to": "customer", "when": impossible},
        *({"name": f"g{place}", "from": gate["way"][0], "to": gate["way"][1], "when": gate["when"],
           "holdout": gate["holdout"], "reverse_holdout": gate["reverse_holdout"],
           "exclude": gate["exclude"]} for place, gate in enumerate(gates)),
    ]
    return Loop.model_validate({
        "loop": "autumn", "sites": ["demo"], "strategy": "Win water works", "currency": "JPY",
        "period": {"start": date(2026, 9, 1), "end": date(2027, 3, 31)},
        "objectives": [{"metric": "deals_won", "target": 5, "by": date(2027, 3, 31)}],
        "stages": ["research", "problem", "customer"],
        "campaigns": [{"name": "guide", "stage": "research", "touchpoint": "form"},
                      {"name": "talk", "stage": "customer", "touchpoint": "call"}], "gates": ways,
        "universal_holdout": kept_out,
    })


# Moments at the borders of windows too, to the millisecond.
MOMENTS = st.builds(
    lambda days, ms: iso(NOW - timedelta(days=days, milliseconds=ms)), st.integers(0, 9), st.sampled_from([-1, 0, 1]),
)
SEEN = st.builds(lambda moments, more: Seen(len(moments) + more, tuple(moments)),
                 st.lists(MOMENTS, min_size=1, max_size=5), st.sampled_from([0, 0, 3]))
TOTALS = st.builds(lambda points, off: weight(points, NOW) + off, POINTS, st.integers(-2_000_000, 2_000_000))
DEALS = st.builds(DealState, st.sampled_from(["opened", "won", "lost"]), st.integers(0, 10**15), st.just("JPY"),
                  MOMENTS, st.sampled_from([0, 700]))
VALUES = st.one_of(
    st.sampled_from([*WORDS, " Ｗａｔｅｒ ", "no", "line\nbreak\u2028"]),
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.integers(-10**400, 10**400), st.booleans(), st.floats(allow_nan=False, allow_infinity=False),
)
PROFILES = st.builds(
    Profile, person=st.just("p-ada"), group=st.just("demo"), nodes=st.just(("email:ada", "user:製造")),
    first_at=MOMENTS, last_at=MOMENTS, events=st.integers(0, 9),
    interest=st.dictionaries(st.sampled_from([*TOPICS, "careers"]), TOTALS), engagement=TOTALS, fit=st.integers(0, 4),
    attributes=st.dictionaries(st.sampled_from(["industry", "role", "size", "title"]), VALUES),
    visited=st.dictionaries(st.sampled_from(PATHS), SEEN), did=st.dictionaries(st.sampled_from(EVENTS), SEEN),
    deals=st.dictionaries(st.sampled_from(["d1", "d2"]), DEALS),
    first_source=st.dictionaries(st.just("channel"), st.text(st.characters(codec="utf-8"), max_size=3)),
    active_days=st.integers(0, 3), clicked=st.dictionaries(st.sampled_from(["guide", "offer"]), SEEN),
    suppressed=st.sampled_from(["", "bounced"]),
    consent=st.dictionaries(st.just("marketing"), st.sampled_from(["denied", "granted"])),
    owned=st.lists(st.builds(
        Thing, st.sampled_from(["P1", "V1"]), st.sampled_from(["2015-01-01T00:00:00.000Z", iso(NOW)]),
        st.just("demo/d"),
    ), max_size=2).map(tuple),
)
PLACES = st.sampled_from(["", "research", "problem", "customer", "exhibition", *BESIDE_THE_PATH])


@settings(max_examples=300, deadline=None)
@given(GATES, PROFILES, PROFILES, PLACES, st.integers(0, 29), TIMES, st.sampled_from([0.0, 0.2]))
def test_who_is_said_to_stay_is_whom_deciding_leaves_and_nobody_else(
    gates: list[dict[str, Any]], profile: Profile, later: Profile, stage: str, unit: int, now: datetime,
    kept_out: float,
) -> None:
    loop = a_loop(gates, kept_out)
    since = iso(now - timedelta(days=2, milliseconds=unit - 9)) if stage else ""
    ready, position = Ready(loop, now), Position(
        "p-ada", "autumn", stage, 1 if stage else 0, f"p-{unit}", since=since
    )
    # Every step of the one, which leaves verdicts standing, and then of what became of them.
    for read in (profile, later, profile):
        known, excerpt = (Excerpt(read.stored(), Around(SITES)) for _ in range(2))
        for _ in range(len(loop.stages) + 2):
            known.around.since = excerpt.around.since = position.since
            decision = decide(loop, known, position, now)
            gates = ready.news(known, position)
            assert (gates is not None) is decision.changes
            assert ready.news(excerpt, position) == gates
            for person in (known, excerpt):
                assert decide(loop, person, position, now, gates) == decide(loop, person, position, now) == decision
            position = decision.after
        for odd in (replace(position, standing=()), replace(position, standing=(("g0", "another"), ("gone", "x")))):
            gates = ready.news(excerpt, odd)
            assert (gates is not None) is decide(loop, known, odd, now).changes
            assert decide(loop, excerpt, odd, now, gates) == decide(loop, known, odd, now)


@settings(deadline=None)
@given(PROFILES)
def test_a_profile_is_what_is_stored_and_an_excerpt_says_the_same(profile: Profile) -> None:
    stored = profile.stored()
    assert profile_from(stored) == profile
    assert profile_from(stored).as_text() == profile.as_text()
    excerpt = Excerpt(stored)
    for name in ("person", "group", "interest", "engagement", "fit", "attributes"):
        assert getattr(excerpt, name) == getattr(profile, name)
    assert tuple(excerpt.nodes) == profile.nodes
    assert excerpt.deal_states() == profile.deal_states()
    for event in EVENTS:
        assert excerpt.done(event) == profile.done(event)
    for path in PATHS:
        assert sorted(excerpt.pages(path), key=str) == sorted(profile.pages(path), key=str)


def test_a_moment_is_written_as_far_as_it_differs_from_the_one_before() -> None:
    days = ("2026-11-15T06:28:27.551Z", "2026-11-15T06:29:53.551Z", "2026-11-15T06:29:55.020Z",
            "2026-11-15T07:29:55.020Z", "2026-11-16T07:29:55.020Z")
    profile = Profile("p-ada", "demo", ("email:ada",), days[0], days[4], 9, did={"Login": Seen(9, days)})
    assert profile.as_text() == (
        '["p-ada","demo",["email:ada"],{},0,0,{},{},'
        '{"Login":"9 2026-11-15T06:28:27.551Z 29:53.551Z 55.020Z 07:29:55.020Z 2026-11-16T07:29:55.020Z"}]\n'
        '{"events":9,"first_at":"2026-11-15T06:28:27.551Z","last_at":"2026-11-16T07:29:55.020Z"}'
    )


def told(deals: str = "{}", did: str = "{}") -> str:
    return f'["p","demo",[],{{}},0,0,{{}},{deals},{did}]'


MORE = zlib.compress(b'{"first_at":"","last_at":"","events":0,"visited":{"/a":7}}', wbits=-15)
BROKEN = (
    Stored("", MORE), Stored("{}", MORE), Stored("[]", MORE), Stored(told('{"d":[]}'), MORE),
    Stored(told('{"d":5}'), MORE), Stored(told('{"d":[[]]}'), MORE), Stored(told(did='{"Login":"x"}'), MORE),
    Stored(told(did="[]"), MORE), Stored(told(), MORE), Stored(told(), b""), Stored(told(), b"no zlib"),
    Stored(told(), zlib.compress(b"[]", wbits=-15)), Stored(told("\ud800"), MORE),
)


@pytest.mark.parametrize("stored", BROKEN, ids=range(len(BROKEN)))
def test_what_cannot_be_read_is_refused_when_it_is_asked_for(stored: Stored) -> None:
    with pytest.raises(BadShape):
        profile_from(stored)

    def all_of_it() -> None:
        excerpt = Excerpt(stored)
        excerpt.deal_states()
        excerpt.done("Login")
        excerpt.pages("/a")

    with pytest.raises(BadShape):
        all_of_it()


@settings(deadline=None)
@given(st.floats(0, 1_000_000), st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1)), st.integers(0, 3))
@example(0.0, datetime(2026, 1, 1), 0)
@example(1_000_000.0, datetime(9999, 1, 1), 0)
@example(1_000_000.0, datetime(1, 1, 1), 0)
def test_the_least_sum_is_the_border_of_what_is_shown(points: float, at: datetime, more: int) -> None:
    moment = at.replace(tzinfo=UTC)
    least = least_total(points, moment)
    assume(math.isfinite(shown(least, moment)))
    assert shown(least + more, moment) >= points
    assert shown(least - 1 - more, moment) < points


def test_at_the_landmark_half_a_hundredth_less_shows_the_points() -> None:
    # The floats nearest to 9.995 and to -0.005 lie just below them.
    assert (least_total(10, LANDMARK), least_total(0, LANDMARK)) == (9_995_001, -4_999)
