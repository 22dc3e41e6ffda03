"""How customers buy and stop to: the parameters of a made-up list are found again, and a small list says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from closedloop.profiles.loyalty import BetaGeometric, alive
from closedloop.reports.buying import LEAST_AGAIN, LEAST_CUSTOMERS, Bought, fitted

# The published parameters of CDNOW, in weeks.
CDNOW = BetaGeometric(0.243, 4.414, 0.793, 2.426)


def made_up(how: BetaGeometric, count: int, seed: int) -> list[Bought]:
    """Customers who buy at their own pace, and after each repeat purchase stop with their own chance."""
    rng = np.random.default_rng(seed)
    customers = []
    for _ in range(count):
        pace, stop, observed = rng.gamma(how.r, 1 / how.alpha), rng.beta(how.a, how.b), rng.uniform(27, 39)
        at, repeats, last = 0.0, 0, 0.0
        while True:
            at += rng.exponential(1 / pace) if pace > 0 else np.inf
            if at > observed:
                break
            repeats, last = repeats + 1, at
            if rng.random() < stop:
                break
        customers.append(Bought(repeats, float(last), float(observed)))
    return customers


@pytest.mark.parametrize("how", [CDNOW, BetaGeometric(1.5, 10, 2, 4)])
def test_the_parameters_of_a_made_up_list_are_found_again(how: BetaGeometric) -> None:
    customers = made_up(how, 6000, 7)
    found = fitted(customers)
    assert found is not None
    assert found.r == pytest.approx(how.r, rel=0.15)
    assert found.alpha == pytest.approx(how.alpha, rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(how.a / (how.a + how.b), rel=0.2)
    apart = [abs(alive(*one, found) - alive(*one, how)) for one in customers]
    assert max(apart) < 0.1
    assert fitted(list(reversed(customers))) == pytest.approx(found, rel=1e-3)


def test_a_list_of_few_or_of_few_who_came_back_says_nothing() -> None:
    assert fitted(made_up(CDNOW, LEAST_CUSTOMERS - 1, 1)) is None
    assert fitted([Bought(0, 0, 30)] * 1000 + [Bought(1, 2, 30)] * (LEAST_AGAIN - 1)) is None
