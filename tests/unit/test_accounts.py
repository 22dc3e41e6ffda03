"""Accounts: what says which company a person buys for, who belongs together, who is touched, how keen they are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.events.event import Event, EventType
from closedloop.identity.accounts import (
    WEIGHTS,
    Keys,
    Member,
    accounts_of,
    company_facts,
    corporate_number,
    coverage_of,
    interest_of,
    keys_of,
    missing_roles,
    near,
)
from closedloop.identity.roles import UNKNOWN
from closedloop.sites.definition import ROLES
from tests.builders import HASHER, an_event, minutes

# Numbers whose check digit fits: the National Tax Agency, Toyota, Sony Group.
NTA, TOYOTA, SONY = "7000012050002", "1180301018771", "5010401067252"


def a_call(group: str, at: float = 0, **words: Any) -> Event:
    return replace(an_event(f"group/{group}/{at}"), type=EventType.GROUP, group=group, occurred_at=minutes(at), **words)


def told(number: object, at: float = 0) -> Event:
    return replace(an_event(f"number/{number}/{at}"), traits={"corporate_number": number}, occurred_at=minutes(at))


# What says which company it is.


@pytest.mark.parametrize(("stated", "number"), [
    (NTA, NTA), ("７０００-0120-50002", NTA), (int(TOYOTA), TOYOTA), (" 7000012050002 ", NTA), ("7000012050003", ""),
    ("123", ""), ("", ""), (None, ""), (True, ""), (7.0, ""), (["7000012050002"], ""), ("abc", ""),
])
def test_a_corporate_number_counts_when_its_check_digit_fits(stated: object, number: str) -> None:
    assert corporate_number(stated) == number


def test_the_latest_of_each_kind_counts_whatever_the_order() -> None:
    events = [told(NTA, 1), told(TOYOTA, 2), told("123", 3), a_call("a-1", 1), a_call("b-2", 5), a_call("null", 9)]
    for order in itertools.permutations(events, len(events)):
        assert company_facts([*order, *order], ["k@acme.co.jp", "k@beta.co.jp", "k@gmail.com"]) == {
            "corporate_number": TOYOTA, "company_id": "b-2", "company_domain": "beta.co.jp",
        }


def test_who_says_nothing_of_a_company_has_no_account() -> None:
    assert company_facts([an_event("seen")], ["k@gmail.com", "k@docomo.ne.jp", "none"]) == {}
    assert keys_of({"email": "k@gmail.com", "company": "Acme"}, lambda: HASHER) == ()


def test_keys_are_hashes_the_strongest_first() -> None:
    contact = {"company_domain": "acme.co.jp", "corporate_number": NTA, "company_id": "a-1", "email": "k@acme.co.jp"}
    keys = keys_of(contact, lambda: HASHER)
    assert [key.partition(":")[0] for key in keys] == ["group", "number", "domain"]
    assert not any(word in "".join(keys) for word in ("acme", NTA, "a-1"))
    assert keys_of({"company_domain": "acme.co.jp"}, lambda: HASHER) == keys[2:]


# Who belongs together.

G, H, N, M, D, E = "group:g", "group:h", "number:n", "number:m", "domain:d", "domain:e"


@pytest.mark.parametrize(("persons", "accounts"), [
    ({"a": (D,), "b": (D,)}, {D: ("a", "b")}),
    ({"a": (D,), "b": (E,)}, {D: ("a",), E: ("b",)}),
    # Of whom less is known goes with the colleagues of whom more is.
    ({"a": (N, D), "b": (D,), "c": (D,)}, {N: ("a", "b", "c")}),
    ({"a": (G, D), "b": (N, D), "c": (G, N)}, {G: ("a", "b", "c")}),
    ({"a": (N, D), "b": (N, E), "c": (D,), "d": (E,)}, {N: ("a", "b", "c", "d")}),
    # What most say counts; one consultant carries nobody away.
    ({"a": (N, D), "b": (N, D), "c": (M, D), "d": (D,)}, {M: ("c",), N: ("a", "b", "d")}),
    ({"a": (G, D), "b": (H, D), "c": (D,)}, {G: ("a",), H: ("b",), D: ("c",)}),
    # A number follows a group before a domain asks.
    ({"a": (G, N), "b": (N, D), "c": (G, D), "d": (D,)}, {G: ("a", "b", "c", "d")}),
    ({"a": ()}, {}),
    ({}, {}),
])
def test_persons_of_one_company_are_one_account(persons: Mapping[str, Keys], accounts: Mapping[str, Any]) -> None:
    assert accounts_of(persons) == dict(sorted(accounts.items()))


def some_keys() -> st.SearchStrategy[dict[str, Keys]]:
    keys = [(G, H, None), (N, M, None), (D, E, None)]
    one = st.tuples(*map(st.sampled_from, keys)).map(lambda found: tuple(key for key in found if key))
    return st.dictionaries(st.sampled_from("abcdefgh"), one)


@given(some_keys(), st.randoms())
def test_the_order_in_which_persons_came_changes_nothing_and_nobody_is_lost_or_twice(
    persons: dict[str, Keys], random: Any
) -> None:
    order = list(persons)
    random.shuffle(order)
    accounts = accounts_of(persons)
    assert accounts_of({person: persons[person] for person in order}) == accounts
    assert sorted(itertools.chain(*accounts.values())) == sorted(person for person, keys in persons.items() if keys)
    for account, members in accounts.items():
        # Somebody of it says so, and nobody who says more strongly is of another.
        assert any(account in persons[member] for member in members)
        assert all(persons[one][0] == account for one in members if persons[one][0].startswith("group:"))


@given(some_keys(), st.sampled_from([G, H, N, M, D, E]))
def test_what_is_near_an_account_says_the_same_of_it_as_everybody(persons: dict[str, Keys], key: str) -> None:
    def members(one: str) -> list[tuple[str, Keys]]:
        return [(person, keys) for person, keys in persons.items() if one in keys]

    whole = accounts_of(persons)
    some = accounts_of(near(key, members, 100))
    assert some.items() <= whole.items()
    assert {one for one, keys in persons.items() if key in keys} <= set(itertools.chain(*some.values()))


def test_a_person_who_changes_company_moves_and_moves_back() -> None:
    before = {"a": (D,), "b": (D,)}
    assert accounts_of({**before, "a": (E,)}) == {D: ("b",), E: ("a",)}
    assert accounts_of(before) == {D: ("a", "b")}


# How keen they are.


def a_member(person: str, role: str = UNKNOWN, score: float = 0, **stages: Sequence[str]) -> Member:
    return Member(person, role, "", score, stages)


def test_interest_is_as_the_reference_computes_it() -> None:
    members = [a_member("d", "decision_maker", 30), a_member("u", "user", 8), a_member("x", UNKNOWN, 3)]
    found = interest_of(members, 10)
    assert (found.total, found.breadth, found.depth) == (40.1, 3, 3)
    assert [(line.member.person, line.counted, line.weight, line.adds) for line in found.lines] == [
        ("d", 20, 1.5, 30.0), ("u", 8, 1.0, 8.0), ("x", 3, 0.7, 2.1),
    ]


def test_one_heavy_reader_imitates_no_group() -> None:
    one = interest_of([a_member("a", "user", 10_000)], 10)
    assert (one.total, one.breadth) == (20, 1)
    assert interest_of([], 10).total == 0


@given(st.lists(st.tuples(st.sampled_from(list(WEIGHTS)), st.floats(0, 1e6)), max_size=30), st.floats(0.1, 1000))
def test_the_ledgers_lines_sum_to_the_interest(people: list[tuple[str, float]], threshold: float) -> None:
    members = [a_member(f"p{place}", role, score) for place, (role, score) in enumerate(people)]
    found = interest_of(members, threshold)
    assert sum(round(line.adds * 100) for line in found.lines) == round(found.total * 100)
    assert interest_of(members[::-1], threshold) == found


# Who is touched, and who is missing.


def test_coverage_names_the_roles_touched_at_each_stage_and_those_missing() -> None:
    members = [
        a_member("d", "decision_maker", autumn=["research"]),
        a_member("u", "user", autumn=["research", "problem", "proposal"]), a_member("x", autumn=["research"]),
    ]
    stages = {"autumn": ["research", "problem", "proposal", "customer"], "spring": ["research"]}
    found = [
        (one.stage, dict(one.roles), one.missing, one.share) for one in coverage_of(members, stages, ROLES)
    ]
    assert found == [
        ("research", {"decision_maker": 1, "unknown": 1, "user": 1}, ("influencer", "buyer"), 0.5),
        ("problem", {"user": 1}, ("decision_maker", "influencer", "buyer"), 0.25),
        ("proposal", {"user": 1}, ("decision_maker", "influencer", "buyer"), 0.25),
    ]
    assert missing_roles(members, ROLES) == ["influencer", "buyer"]


def test_of_a_role_that_no_account_needs_nothing_is_missed() -> None:
    members = [a_member("d", "decision_maker", autumn=["research"]), a_member("u", "user", autumn=["research"])]
    [touched] = coverage_of(members, {"autumn": ["research"]}, ["decision_maker"])
    assert (touched.missing, touched.share) == ((), 1.0)
    [touched] = coverage_of(members[1:], {"autumn": ["research"]}, ["decision_maker"])
    assert (touched.missing, touched.share) == (("decision_maker",), 0.0)
