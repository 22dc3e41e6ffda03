"""Money as shops and CRMs write it, in whole minor units: 12.50 EUR are 1250, 1200 JPY are 1200."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal

from closedloop.errors import BadShape

# A double tells two amounts of up to 15 digits apart, so what JSON readers make of a number is still exact.
MOST_MINOR = 10**15
WRITTEN = re.compile(r"\d{1,16}(\.\d{1,12})?([eE]\+?\d{1,2})?", re.ASCII)


def minor_units(stated: object, currency: str, field: str) -> int:
    """An amount of money, as a number or as its text, in the currency's smallest unit.

    Units: half a unit is rounded up, since shops multiply prices in floats: 29.990000000000002 USD are 2999.
    Errors: BadShape names the field; a negative amount is none.
    Source: ISO 4217: the exponent of each currency, JPY 0, USD 2, BHD 3.
    """
    places = digits(currency)
    if places is None:
        raise BadShape("currency: expected a currency of ISO 4217, as three capital letters")
    refused = BadShape(f"{field}: expected an amount of money such as 1200.50, at most {MOST_MINOR} of the least unit")
    exact = None
    if isinstance(stated, int | float) and not isinstance(stated, bool) and 0 <= stated <= MOST_MINOR:
        # The shortest text of a float is what its sender wrote.
        exact = Decimal(repr(stated))
    elif isinstance(stated, str) and WRITTEN.fullmatch(stated):
        exact = Decimal(stated)
    if exact is None or exact > MOST_MINOR:
        raise refused
    whole = int(exact.scaleb(places).to_integral_value(ROUND_HALF_UP))
    if whole > MOST_MINOR:
        raise refused
    return whole


def digits(code: str) -> int | None:
    """How many digits a currency's smallest unit has behind the point; None when it is no currency of ISO 4217."""
    # 25 ms of reading a table, which only the first amount of a process pays; most of what a beacon says has none.
    from iso4217 import Currency

    try:
        return Currency(code).exponent
    except ValueError:
        return None
