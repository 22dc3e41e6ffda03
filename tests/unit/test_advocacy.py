"""Who brings others: the same tree in whatever order it was told, never a circle, and a score that adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from closedloop.events.event import REFERRAL_FOLLOWED, Door, Event
from closedloop.events.times import iso
from closedloop.profiles.advocacy import (
    MOST_REFERRALS,
    Growth,
    Parent,
    Referral,
    Referred,
    advocates,
    growth,
    referrals_of,
    tree,
)
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import profile_from
from tests.builders import JANE, KEN, SITE, a_packet, a_record, a_site, address, minutes

VECTOR = json.loads(Path("tests/vectors/customers.json").read_text())["word_of_mouth"]


def followed(by: str = KEN, at: float = 0, id: str = "r1", door: Door = Door.LINK) -> Event:
    """Jane's browser follows somebody's link."""
    record = a_record(id, "track", REFERRAL_FOLLOWED, minutes(at), visitor="jane-laptop", properties={"referrer": by})
    return a_packet(record, door=door).events[0]


def person(name: str, *by: tuple[str, int], bought: int | None = None) -> tuple[str, Referred]:
    referrals = tuple(Referral(iso(minutes(at)), f"{one}-{name}", f"email:{one}") for one, at in by)
    return name, Referred((f"email:{name}",), referrals, () if bought is None else (iso(minutes(bought)),))


def test_the_first_time_of_each_link_is_kept_oldest_first() -> None:
    events = [followed(KEN, 3, "a"), followed(JANE, 2, "b"), followed(KEN, 1, "c"), followed("x", 0, "d", Door.BEACON)]
    assert [(one.by, one.at) for one in referrals_of(events)] == [(KEN, iso(minutes(1))), (JANE, iso(minutes(2)))]
    many = [followed(address(f"a{n}@x.example"), n, f"r{n}") for n in range(20)]
    assert len(referrals_of(many)) == MOST_REFERRALS


def test_a_profile_keeps_who_brought_the_person() -> None:
    profile = fold([followed()], [JANE], {SITE: a_site()})
    assert profile is not None
    assert [one.by for one in profile.referred] == [KEN]
    assert profile_from(profile.stored()) == profile


def test_the_first_to_bring_somebody_has_brought_them() -> None:
    people = dict([person("ann"), person("bob"), person("cy", ("bob", 2), ("ann", 1))])
    assert tree(people) == {"cy": Parent("ann", iso(minutes(1)))}


def test_nobody_is_brought_by_themselves_or_by_whom_they_brought() -> None:
    people = dict([person("ann", ("cy", 3)), person("bob", ("ann", 1)), person("cy", ("bob", 2), ("cy", 0))])
    assert {name: parent.person for name, parent in tree(people).items()} == {"bob": "ann", "cy": "bob"}
    # Where the first would close a circle, the next who is known counts.
    people = dict([
        person("ann", ("bob", 2), ("gone", 3), ("dan", 4)), person("bob", ("ann", 1)), person("dan"),
    ])
    assert {name: parent.person for name, parent in tree(people).items()} == {"bob": "ann", "ann": "dan"}


def test_people_who_become_one_have_the_tree_that_follows() -> None:
    apart = dict([person("ann"), person("bob"), person("cy", ("bob", 1))])
    one = Referred(("email:ann", "email:bob"), (), ())
    assert tree(apart)["cy"].person == "bob"
    assert tree({"ann": one, "cy": apart["cy"]})["cy"].person == "ann"


NAMES = "abcdef"
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 5)), max_size=25)


def people_of(edges: list[tuple[str, str, int]]) -> dict[str, Referred]:
    told: dict[str, list[tuple[str, int]]] = {name: [] for name in NAMES}
    for child, by, at in edges:
        told[child].append((by, at))
    return dict(person(name, *by, bought=3) for name, by in told.items())


@given(EDGES, st.randoms())
@example([("a", "b", 0), ("b", "a", 0)], None)
def test_any_order_of_arrival_gives_the_same_tree_and_never_a_circle(
    edges: list[tuple[str, str, int]], chance: Any
) -> None:
    found = tree(people_of(edges))
    mixed = [*edges, *edges[:3]]
    if chance is not None:
        chance.shuffle(mixed)
    people = people_of(mixed)
    assert tree(dict(reversed(people.items()))) == found
    for name in found:
        seen = []
        while name in found:
            assert name not in seen
            seen.append(name)
            name = found[name].person
    # Everybody is brought by who first did so, unless that one was brought by them.
    for child, by, at in edges:
        if child != by and child not in found:
            above = [by]
            while above[-1] in found:
                above.append(found[above[-1]].person)
            assert child in above, (child, by, at)


@given(EDGES)
def test_every_score_is_the_sum_of_its_lines(edges: list[tuple[str, str, int]]) -> None:
    people = people_of(edges)
    parents = tree(people)
    for one in advocates(people):
        assert one.score == sum(line.adds for line in one.lines)
        assert one.brought == sum(parent.person == one.person for parent in parents.values())
        for line in one.lines:
            above = line.person
            for _ in range(line.depth):
                above = parents[above].person
            assert above == one.person
            assert line.adds == 0.5 ** (line.depth - 1)
            assert line.bought_at >= parents[line.person].at


def test_those_below_who_bought_after_they_were_brought_count_half_as_much_at_each_step() -> None:
    people = dict([
        person("ann", bought=0), person("bob", ("ann", 1), bought=2), person("cy", ("bob", 3), bought=5),
        person("dan", ("ann", 4)), person("eve", ("ann", 5), bought=4),
    ])
    best, second = advocates(people)
    assert (best.person, best.score, best.brought, best.influencer) == ("ann", 1.5, 3, True)
    assert best.words == "brought 3; 2 of those below bought: 1.5 = 1 + 0.5"
    assert (second.person, second.score, second.influencer) == ("bob", 1.0, False)
    assert [one.words for one in advocates(dict([person("ann"), person("bob", ("ann", 1))]))] == [
        "brought 1, of whom nobody has bought yet"
    ]


def test_an_influencer_is_in_the_top_tenth_of_those_who_brought_somebody() -> None:
    crowd = [person(f"a{n}") for n in range(20)]
    crowd += [person(f"b{n}-{m}", (f"a{n}", 1), bought=2) for n in range(20) for m in range(1 if n < 17 else 2)]
    crowd += [person("b19-3", ("a19", 1), bought=2)]
    assert [one.person for one in advocates(dict(crowd)) if one.influencer] == ["a19", "a17", "a18"]
    assert advocates({}) == []


def test_what_word_of_mouth_adds_is_the_published_figure() -> None:
    told = Growth(VECTOR["customers"], VECTOR["invites"], VECTOR["converted"])
    assert told.k == pytest.approx(VECTOR["k"])
    assert told.multiplier == pytest.approx(VECTOR["multiplier"], abs=5e-4)
    assert (Growth(0, 0, 0).k, Growth(0, 0, 0).multiplier) == (None, None)
    assert (Growth(5, 0, 0).k, Growth(5, 0, 0).multiplier) == (0.0, 1.0)
    assert (Growth(1, 2, 2).k, Growth(1, 2, 2).multiplier) == (2.0, None)


def test_only_whom_customers_bring_are_their_invites() -> None:
    people = dict([
        person("ann", bought=0), person("bob", ("ann", 1), bought=2), person("cy", ("ann", 1)), person("dan"),
        person("eve", ("dan", 1), bought=2),
    ])
    assert growth(people) == Growth(customers=3, invites=2, converted=1)
