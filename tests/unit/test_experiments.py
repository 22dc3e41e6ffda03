"""Holdouts: the same unit is in the same arm for ever, and the arms are as large as they were meant to be."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.loops.experiments import Arm, arm, draw


# Analytics reference 4.1: salt s1, loop L1, gate G1.
@pytest.mark.parametrize(("unit", "digits", "shown"), [
    ("p-0001", "56253490d7ecb21b", 0.33651), ("a-77", "5310a945241303a8", 0.32447),
])
def test_a_draw_is_that_of_the_reference(unit: str, digits: str, shown: float) -> None:
    place = draw("s1", "L1", "G1", unit)
    assert place == int(digits, 16) / 2**64
    assert round(place, 5) == shown


@pytest.mark.parametrize(("place", "holdout", "expected"), [
    (0.0, 0.2, Arm.HOLDOUT), (0.19999, 0.2, Arm.HOLDOUT), (0.2, 0.2, Arm.TREATED), (0.99, 0.2, Arm.TREATED),
    (0.0, 0.0, Arm.TREATED),
])
def test_the_first_part_of_the_line_is_held_out(place: float, holdout: float, expected: Arm) -> None:
    assert arm(place, holdout) is expected


def beyond(n: int, share: float, least: int) -> float:
    """How often a fair draw holds out at least so many, or at most as many fewer: both tails of the binomial."""
    mean = n * share
    distance = abs(least - mean)
    return sum(
        comb(n, k) * share**k * (1 - share)**(n - k) for k in range(n + 1) if abs(k - mean) >= distance - 1e-9
    )


@pytest.mark.parametrize("holdout", [0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("gate", ["interested", "asks", "opportunity", "入口"])
def test_the_share_held_out_is_one_that_chance_gives(gate: str, holdout: float) -> None:
    units = 1000
    held = sum(arm(draw("closed-loop", "autumn", gate, f"p-{n:04}"), holdout) is Arm.HOLDOUT for n in range(units))
    # 16 draws that never change: none of them is rarer than one in ten thousand.
    assert beyond(units, holdout, held) > 1e-4


def test_being_held_out_at_one_gate_says_nothing_of_the_next() -> None:
    units = [f"p-{n}" for n in range(4000)]
    both = sum(draw("closed-loop", "autumn", "a", unit) < 0.5 and draw("closed-loop", "autumn", "b", unit) < 0.5
               for unit in units)
    # A quarter of 4,000, within four standard deviations of 27.4.
    assert abs(both - 1000) < 110


@settings(deadline=None)
@given(st.text(), st.text(), st.text(), st.floats(0, 0.5), st.floats(0, 0.5))
def test_the_same_unit_stays_in_its_arm_and_a_larger_holdout_lets_nobody_out(
    loop: str, gate: str, unit: str, small: float, large: float
) -> None:
    place = draw("closed-loop", loop, gate, unit)
    assert 0 <= place <= 1
    assert draw("closed-loop", loop, gate, unit) == place
    if small <= large and arm(place, small) is Arm.HOLDOUT:
        assert arm(place, large) is Arm.HOLDOUT
