"""Who somebody is at the company they buy for, from what they state and from titles in Japanese and English."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.identity.roles import UNKNOWN, role_of
from closedloop.sites.definition import ROLES
from tests.builders import a_site

VECTORS = json.loads(Path("tests/vectors/roles.json").read_text("utf-8"))
TITLED = {"accounts": {"titles": [
    {"words": ["課長"], "role": "decision_maker"}, {"words": ["Engineer", "技術"], "role": "influencer"},
]}}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: json.dumps(vector["attributes"], ensure_ascii=False))
def test_a_title_means_a_role(vector: dict[str, Any]) -> None:
    assert role_of(vector["attributes"], a_site()).role == vector["role"]


@pytest.mark.parametrize(("title", "role"), [
    ("課長", "decision_maker"), ("Sales Engineer", "influencer"), ("ＥＮＧＩＮＥＥＲ", "influencer"),
    ("Engineering Manager", "influencer"), ("購買課長", "decision_maker"), ("部長", "decision_maker"), ("主任", "user"),
])
def test_the_sites_own_rules_go_before_the_table(title: str, role: str) -> None:
    assert role_of({"job_title": title}, a_site(**TITLED)).role == role


def test_what_somebody_states_goes_before_every_rule() -> None:
    assert role_of({"role": "buyer", "job_title": "課長"}, a_site(**TITLED)) == ("buyer", "role is buyer")


def test_a_role_says_by_what_it_is_known() -> None:
    known = role_of({"job_title": "主任", "department": "購買部", "industry": "water"}, a_site())
    assert known == ("buyer", "job_title is 主任, department is 購買部")


@given(st.dictionaries(
    st.sampled_from(["role", "job_title", "部署", "department"]),
    st.text(max_size=30) | st.integers() | st.floats() | st.booleans(),
))
def test_whatever_a_title_is_the_role_is_one_that_we_know(attributes: dict[str, Any]) -> None:
    assert role_of(attributes, a_site(**TITLED)).role in (*ROLES, UNKNOWN)
