"""Fit: how much somebody is like the wanted people, whatever they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from closedloop.sites.definition import Site, TargetAttribute


def fit_ledger(attributes: Mapping[str, Any], site: Site) -> Iterator[tuple[str, int]]:
    """Each wanted attribute that somebody has, in words, with its points."""
    for target in site.target_attributes:
        value = attributes.get(target.attribute)
        if value is not None and _has(value, target):
            yield f"{target.attribute} is {value}", target.points


def fit_of(attributes: Mapping[str, Any], site: Site) -> int:
    """The sum of the points, kept between 0 and 100."""
    return max(0, min(100, sum(points for _, points in fit_ledger(attributes, site))))


def _has(value: Any, target: TargetAttribute) -> bool:
    if target.at_least is None:
        return str(value).strip().lower() in (wanted.lower() for wanted in target.is_one_of)
    try:
        return float(value) >= target.at_least
    except (TypeError, ValueError, OverflowError):
        return False
