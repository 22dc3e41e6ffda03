"""The statistics of a report: how sure we are, and when we refuse to say."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, isfinite, lgamma, log, sqrt
from statistics import NormalDist

Z_95 = NormalDist().inv_cdf(0.975)
Z_POWER_80 = NormalDist().inv_cdf(0.8)
SAMPLE_RATIO_REFUSES_BELOW = 0.001
SMALLEST_EXPECTED = 5.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A range that holds the true value in 95 of 100 cases."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def share(part: int, whole: int) -> float | None:
    """A part of a whole; nothing where there is no whole."""
    return part / whole if whole else None


def wilson(part: int, whole: int, z: float = Z_95) -> Interval | None:
    """How sure we are of a share; nothing where nobody was counted.

    Source: E. B. Wilson, JASA 1927; analytics reference 4.2.
    """
    if not whole:
        return None
    p = part / whole
    middle = p + z * z / (2 * whole)
    spread = z * sqrt(max(0.0, p * (1 - p)) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    return Interval(max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale))


def newcombe(part_1: int, whole_1: int, part_2: int, whole_2: int, z: float = Z_95) -> Interval | None:
    """How sure we are of the difference of two shares; nothing where an arm is empty.

    Source: R. G. Newcombe, Statistics in Medicine 1998, method 10; analytics reference 4.2.
    """
    one, two = wilson(part_1, whole_1, z), wilson(part_2, whole_2, z)
    if one is None or two is None:
        return None
    p_1, p_2 = part_1 / whole_1, part_2 / whole_2
    d = p_1 - p_2
    return Interval(d - sqrt((p_1 - one.low) ** 2 + (two.high - p_2) ** 2),
                    d + sqrt((one.high - p_1) ** 2 + (p_2 - two.low) ** 2))


def always_valid(
    part_1: int, whole_1: int, part_2: int, whole_2: int, *, effect: float = 0.03, alpha: float = 0.05
) -> Interval | None:
    """How sure we are of a difference at which we look again and again while it is measured.

    Units: `effect` is about the smallest difference of interest. Nothing where an arm is empty, or where both shares
    are 0 or 1 and their spread is therefore unknown.
    Source: Johari, Koomen, Pekelis, Walsh, Operations Research 2022; analytics reference 4.4, unequal arms.
    """
    if not whole_1 or not whole_2:
        return None
    p_1, p_2 = part_1 / whole_1, part_2 / whole_2
    variance = p_1 * (1 - p_1) / whole_1 + p_2 * (1 - p_2) / whole_2
    if variance == 0:
        return None
    mixture = effect * effect
    half = sqrt(
        (2 * log(1 / alpha) - log(variance / (variance + mixture))) * variance * (variance + mixture) / mixture
    )
    return Interval(p_1 - p_2 - half, p_1 - p_2 + half)


def always_valid_evidence(
    part_1: int, whole_1: int, part_2: int, whole_2: int, *, effect: float = 0.03
) -> float | None:
    """The likelihood ratio behind `always_valid`: how much better a difference explains the numbers than none."""
    if not whole_1 or not whole_2:
        return None
    p_1, p_2 = part_1 / whole_1, part_2 / whole_2
    variance = p_1 * (1 - p_1) / whole_1 + p_2 * (1 - p_2) / whole_2
    if variance == 0:
        return None
    mixture = effect * effect
    power = mixture * (p_1 - p_2) ** 2 / (2 * variance * (variance + mixture))
    # Beyond the largest float the evidence is as good as infinite; the cap keeps it a number.
    ratio = sqrt(variance / (variance + mixture)) * exp(min(power, 700.0))
    return ratio if isfinite(ratio) else None


def sample_ratio(treated: int, holdout: int, expected_holdout: float) -> float | None:
    """How likely so uneven arms are by chance alone; nothing where nobody was drawn.

    Chi-square with one degree of freedom, the exact binomial where an expected arm is smaller than 5.
    Source: analytics reference 4.1.
    """
    drawn = treated + holdout
    if not drawn or not 0 < expected_holdout < 1:
        return None
    expected_c, expected_t = drawn * expected_holdout, drawn * (1 - expected_holdout)
    if min(expected_c, expected_t) < SMALLEST_EXPECTED:
        return _binomial(holdout, drawn, expected_holdout)
    chi_square = (treated - expected_t) ** 2 / expected_t + (holdout - expected_c) ** 2 / expected_c
    return erfc(sqrt(chi_square / 2))


def _binomial(part: int, whole: int, p: float) -> float:
    """Two-sided: the sum of all outcomes that are no more likely than the one seen."""
    rare, often = log(min(p, 1 - p)), log(max(p, 1 - p))
    seen = part if p <= 0.5 else whole - part

    def weight(k: int) -> float:
        return exp(lgamma(whole + 1) - lgamma(k + 1) - lgamma(whole - k + 1) + k * rare + (whole - k) * often)

    here = weight(seen) * (1 + 1e-9)
    # Fewer than 5 are expected in the rare arm, so far beyond that nothing is left to add.
    return min(1.0, sum(w for w in map(weight, range(min(whole, 300) + 1)) if w <= here))


def detectable(whole_1: int, whole_2: int, base: float) -> float | None:
    """The smallest difference of shares that arms of these sizes show in 8 of 10 cases; nothing for empty arms.

    Source: analytics reference 4.5, at a significance of 0.05.
    """
    if not whole_1 or not whole_2:
        return None
    spread = base * (1 - base)
    return (Z_95 + Z_POWER_80) * sqrt(spread / whole_1 + spread / whole_2)
