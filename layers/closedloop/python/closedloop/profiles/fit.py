"""Fit: how much somebody is like the wanted people, whatever they do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from unicodedata import normalize

from closedloop.sites.definition import Site, TargetAttribute

GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$|,))", re.ASCII)
NUMBER = re.compile(r"[-+]?\d{1,30}(?:\.\d{1,30})?", re.ASCII)


def fit_ledger(attributes: Mapping[str, Any], site: Site) -> Iterator[tuple[str, int]]:
    """Each wanted attribute that somebody has, in words, with its points."""
    for target in site.target_attributes:
        value = attributes.get(target.attribute)
        if value is not None and _has(value, target):
            yield f"{target.attribute} is {value}", target.points


def fit_sum(attributes: Mapping[str, Any], site: Site) -> list[tuple[str, int]]:
    """The lines that sum to the fit: those of the ledger, and what was left off at an end of the scale."""
    lines = list(fit_ledger(attributes, site))
    over = fit_of(attributes, site) - sum(points for _, points in lines)
    return [*lines, ("fit is from 0 to 100", over)] if over else lines


def best_site(attributes: Mapping[str, Any], sites: Iterable[Site]) -> Site:
    """The site whose wanted people somebody is most like."""
    return max(sorted(sites, key=lambda site: site.site), key=lambda site: fit_of(attributes, site))


def fit_of(attributes: Mapping[str, Any], site: Site) -> int:
    """The sum of the points, kept between 0 and 100."""
    return max(0, min(100, sum(points for _, points in fit_ledger(attributes, site))))


def is_one_of(value: Any, wanted: Iterable[str]) -> bool:
    """Whether an attribute is one of the values, whatever its width, case and spaces; what is not known is none."""
    return value is not None and _plain(value) in (_plain(one) for one in wanted)


def _plain(value: Any) -> str:
    # People type the same word in half and full width.
    return normalize("NFKC", str(value)).strip().casefold()


def _has(value: Any, target: TargetAttribute) -> bool:
    if target.at_least is None:
        return is_one_of(value, target.is_one_of)
    number = _number(value)
    return number is not None and number >= target.at_least


def _number(value: Any) -> float | None:
    """What an attribute counts, None when it counts nothing: 250, "250", "1,200" and "２５０" do, true does not."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, int | float):
        return value
    plain = GROUPED.sub("", normalize("NFKC", str(value)).strip())
    return float(plain) if NUMBER.fullmatch(plain) else None
