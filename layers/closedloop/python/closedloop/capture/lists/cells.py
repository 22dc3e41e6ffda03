"""One cell as the value that it says, or what is wrong with it, in words that never repeat the cell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from closedloop.capture.form_fields import WORDS, WrongValue, normal, readable
from closedloop.capture.wire import ADDRESS_LIKE
from closedloop.errors import BadShape
from closedloop.events.identifiers import legal, normal_address
from closedloop.events.money import minor_units
from closedloop.sites.definition import FormField
from closedloop.sites.words import listed

# What a spreadsheet would compute: nothing that a list of facts holds begins so.
FORMULA = re.compile(r"[=@|]|[+-](?=.*[(|!=])")
NO_ADDRESS = re.compile(r"[<>()\[\],;:\"\\、；]")
ONE = {kind: FormField(name=kind, kind=kind) for kind in (
    "email", "phone", "name", "last_name", "first_name", "name_kana", "last_name_kana", "first_name_kana", "company",
    "attribute",
)}

# Source: the cabinet orders of each era's beginning; Excel's day 0, as its calendar has a 29 February 1900.
ERAS = {"令和": date(2019, 5, 1), "R": date(2019, 5, 1), "平成": date(1989, 1, 8), "H": date(1989, 1, 8),
        "昭和": date(1926, 12, 25), "S": date(1926, 12, 25)}
ERA_ENDS = {"平成": date(2019, 4, 30), "H": date(2019, 4, 30), "昭和": date(1989, 1, 7), "S": date(1989, 1, 7)}
EXCEL_DAY_0 = date(1899, 12, 30)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
TIME = (
    r"(?: ?\([月火水木金土日]\))?(?:(?:T| ?)(?P<hour>\d{1,2})(?::|時)(?:(?P<minute>\d{1,2})(?:分|:(?P<second>\d{2})"
    r"(?:\.\d{1,6})?)?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?)?"
)
SIGN = r"(?:-|/|\.)"
YEAR_FIRST = re.compile(rf"(?P<y>\d{{4}})(?:{SIGN}|年)(?P<m>\d{{1,2}})(?:{SIGN}|月)(?P<d>\d{{1,2}})日?{TIME}", re.ASCII)
DIGITS = re.compile(rf"(?P<y>\d{{4}})(?P<m>\d{{2}})(?P<d>\d{{2}}){TIME}", re.ASCII)
ERA = re.compile(
    rf"(?P<era>令和|平成|昭和|[RHS])\.?(?P<y>\d{{1,2}}|元)(?:{SIGN}|年)(?P<m>\d{{1,2}})(?:{SIGN}|月)(?P<d>\d{{1,2}})日?{TIME}",
    re.ASCII,
)
DAY_FIRST = re.compile(rf"(?P<d>\d{{1,2}}){SIGN}(?P<m>\d{{1,2}}){SIGN}(?P<y>\d{{4}}){TIME}", re.ASCII)
MONTH_FIRST = re.compile(rf"(?P<m>\d{{1,2}}){SIGN}(?P<d>\d{{1,2}}){SIGN}(?P<y>\d{{4}}){TIME}", re.ASCII)
FORMS = {"ymd": (YEAR_FIRST, DIGITS, ERA), "dmy": (DAY_FIRST,), "mdy": (MONTH_FIRST,)}
EXAMPLES = {"ymd": "2026/11/24, 2026年11月24日 or 令和8年11月24日", "dmy": "24/11/2026", "mdy": "11/24/2026",
            "excel": "46350, as Excel counts days"}
MONEY = re.compile(
    r"(?P<before>[¥\\$€£]|[A-Z]{3})? ?(?P<sum>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?) ?(?P<after>円|€|[A-Z]{3})?",
    re.ASCII,
)
SYMBOLS = {"¥": ("JPY", "CNY"), "\\": ("JPY",), "円": ("JPY",), "€": ("EUR",), "£": ("GBP",)}


class BadCell(ValueError):
    """What is wrong with one cell."""


def meant_by(cell: str, meanings: Mapping[str, str]) -> str:
    """What a source's own word means in ours.

    Errors: BadCell for a word that the mapping does not translate.
    """
    text = readable(cell)
    if text and text not in meanings:
        raise BadCell(f"expected one of {listed(list(meanings))}")
    return meanings.get(text, "")


def text_of(cell: str, kind: str, region: str) -> str:
    """A cell of one of a form's kinds, in form.

    Errors: BadCell.
    """
    text = readable(cell)
    if FORMULA.match(text) and kind != "phone":
        raise BadCell("a formula; expected a value")
    if kind == "email":
        if text.count("@") > 1:
            raise BadCell("two addresses in one field; a row is about one person")
        if NO_ADDRESS.search(text):
            raise BadCell("expected an e-mail address")
    if kind == "attribute" and ADDRESS_LIKE.search(text):
        # These are archived as they are; only a person's contact may hold their address.
        raise BadCell("holds an e-mail address, which only the field email may")
    try:
        return normal(ONE[kind], text, region)
    except WrongValue as problem:
        raise BadCell(WORDS[problem.what][0].format(**problem.words)) from problem


def number_of(cell: str) -> str:
    """The number or name by which a source knows something.

    Errors: BadCell; "null" and its kin are none.
    """
    text = readable(cell)
    if FORMULA.match(text):
        raise BadCell("a formula; expected a value")
    if text and not legal(text):
        raise BadCell("a word that stands for nothing; it would make one person of many")
    if "@" in text and normal_address(text):
        raise BadCell("an e-mail address; map it to the field email")
    if len(text) > 200:
        raise BadCell("expected at most 200 characters")
    return text


def corporate_number_of(cell: str) -> str:
    """A Japanese company by its number of 13 digits.

    Source: Ministry of Finance ordinance on corporate numbers: the first digit checks the others.
    """
    from stdnum.exceptions import ValidationError
    from stdnum.jp import cn

    text = readable(cell)
    try:
        return str(cn.validate(text)) if text else ""
    except ValidationError as problem:
        raise BadCell("expected a corporate number of 13 digits; its check digit does not fit") from problem


def whole_of(cell: str) -> int:
    """A whole number, such as how many were bought.

    Errors: BadCell.
    """
    text = readable(cell).replace(",", "")
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise BadCell("expected a whole number, such as 12")
    return int(text)


def money_of(cell: str, currency: str) -> int:
    """An amount with or without separators of thousands, in the currency's least unit.

    Errors: BadCell; a negative amount is none, as money that went back is a refund.
    """
    text = readable(cell)
    found = MONEY.fullmatch(text)
    if found is None:
        raise BadCell("expected an amount of money, such as 1,200,000 or 1200.50")
    for sign in (found["before"], found["after"]):
        if sign and sign != "$" and currency not in SYMBOLS.get(sign, (sign,)):
            raise BadCell(f"the cell names another currency than {currency}")
    try:
        return minor_units(found["sum"].replace(",", ""), currency, "amount")
    except BadShape as problem:
        raise BadCell(problem.reason.partition(": ")[2]) from problem


def moment_of(cell: str, dates: str, zone: ZoneInfo, now: datetime) -> datetime:
    """When something was, in the site's own zone unless the cell names another; a day alone begins at its midnight.

    Errors: BadCell for a day that the calendar lacks, and for one before 1970 or in the future.
    """
    moment = _moment(readable(cell), dates, zone)
    if moment < EARLIEST:
        raise BadCell("the date lies before 1970")
    if moment > now:
        raise BadCell("the date lies in the future; only what has happened is a fact")
    return moment


@lru_cache(maxsize=4096)
def _moment(text: str, dates: str, zone: ZoneInfo) -> datetime:
    refused = BadCell(f"expected a date such as {EXAMPLES[dates]}")
    if dates == "excel":
        if not re.fullmatch(r"\d{1,6}(\.\d{1,12})?", text, re.ASCII):
            raise refused
        days = float(text)
        # To the second: what Excel keeps of a time is a fraction of a day.
        day = datetime.combine(EXCEL_DAY_0, time()) + timedelta(seconds=round(days * 86400))
        return day.replace(tzinfo=zone).astimezone(UTC)
    found = next((match for form in FORMS[dates] if (match := form.fullmatch(text))), None)
    if found is None:
        raise refused
    parts = found.groupdict()
    year = 1 if parts["y"] == "元" else int(parts["y"])
    era = parts.get("era")
    if era:
        year += ERAS[era].year - 1
    try:
        day = datetime(
            year, int(parts["m"]), int(parts["d"]), int(parts["hour"] or 0), int(parts["minute"] or 0),
            int(parts["second"] or 0), tzinfo=zone,
        )
    except ValueError as error:
        raise BadCell("the calendar has no such day or time") from error
    if era and not ERAS[era] <= day.date() <= ERA_ENDS.get(era, date.max):
        raise BadCell("the era of this date had not begun, or was over")
    stated = parts["zone"]
    if stated:
        there = "+00:00" if stated == "Z" else stated
        return datetime.fromisoformat(f"{day.replace(tzinfo=None).isoformat()}{there}").astimezone(UTC)
    return day.astimezone(UTC)
