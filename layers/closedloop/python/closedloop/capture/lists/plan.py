"""What an import of a file would change: which rows are new, corrected or known already, and whom each is about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from closedloop.capture.lists.reading import Reject, Row
from closedloop.capture.lists.rows import Fact, RowReader

CHUNK = 1000
Change = Literal["new", "corrected", "unchanged", "doubled"]
CHANGES = ("new", "corrected")
NOBODY = "nobody was known by it yet"


@dataclass(frozen=True, slots=True)
class Version:
    """What the ledger holds of a row: the fact's id, its partition, and whom or what it touches."""

    id: str
    node: str
    ids: tuple[str, ...]
    deal: str | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """One row of the plan.

    Shapes: `was` is the version that a correction replaces; `person` is whom the row is about as we know them now,
    empty where nobody is known; `why` says by what.
    """

    fact: Fact
    change: Change
    was: Version | None = None
    person: str = ""
    why: str = ""


class People(Protocol):
    """Whom we know already."""

    def known(self, identifiers: Collection[str]) -> Mapping[str, str]:
        """The person of each identifier that is known."""
        ...

    def addresses(self, persons: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The identifiers of each person's addresses."""
        ...


class _Seen:
    """What stands in the rows above, so that one file never says two things of one thing."""

    def __init__(self, kind: str) -> None:
        self._rows: dict[str, tuple[str, int]] = {}
        self._holders: dict[str, tuple[str, int]] = {}
        self._orders: dict[str, int] | None = {} if kind == "purchases" else None

    def doubles(self, fact: Fact) -> bool | str:
        """Whether the row stands above already; if other words stand there, or it contradicts a row, why it may not."""
        before = self._rows.get(fact.key)
        if before is not None:
            return before[0] == fact.id or f"line {before[1]} says other things under the same key"
        if fact.customer and fact.address:
            address, line = self._holders.setdefault(fact.customer, (fact.address, fact.line))
            if address != fact.address:
                return f"line {line} gives this customer number another address"
        if self._orders is not None:
            line = self._orders.setdefault(str(fact.record["deal"]), fact.line)
            if line != fact.line:
                return (f"line {line} has this order already; where an order has several rows, leave the field order "
                        "out of the mapping")
        self._rows[fact.key] = fact.id, fact.line
        return False


def plan(
    rows: Iterable[Row | Reject], reader: RowReader, kind: str, before: Mapping[str, Version], people: People
) -> Iterator[Planned | Reject]:
    """What becomes of each row, in the order of the file.

    Shapes: `before` is the version that stands of each row, by the row's key.
    """
    waiting, seen = iter(rows), _Seen(kind)
    while chunk := list(islice(waiting, CHUNK)):
        facts: list[Planned | Reject] = []
        for row in chunk:
            told = [row] if isinstance(row, Reject) else reader.fact(row)
            if isinstance(told, list):
                facts.extend(told)
                continue
            doubled = seen.doubles(told)
            if isinstance(doubled, str):
                facts.append(Reject(told.line, "", doubled))
                continue
            was = before.get(told.key)
            same = was is not None and was.id == told.id
            change: Change = "doubled" if doubled else "unchanged" if same else "corrected" if was else "new"
            facts.append(Planned(told, change, was if change == "corrected" else None))
        yield from _matched(facts, people)


def _matched(facts: list[Planned | Reject], people: People) -> Iterator[Planned | Reject]:
    changed = [one for one in facts if isinstance(one, Planned) and one.change in CHANGES]
    known = people.known({name for one in changed for name in one.fact.record["ids"]})
    # Only a customer number that is somebody's could bring a second address to them.
    asked = {
        known[one.fact.customer] for one in changed
        if one.fact.address and known.get(one.fact.customer, "") not in ("", known.get(one.fact.address))
    }
    addresses = people.addresses(asked) if asked else {}
    for one in facts:
        asks = isinstance(one, Planned) and one.change in CHANGES
        yield _with_person(one, known, addresses) if asks and isinstance(one, Planned) else one


def _with_person(
    one: Planned, known: Mapping[str, str], addresses: Mapping[str, frozenset[str]]
) -> Planned | Reject:
    fact = one.fact
    by_address, by_number = known.get(fact.address, ""), known.get(fact.customer, "")
    if fact.address and by_number not in ("", by_address):
        # What only the row's own former words said is no other person.
        others = addresses.get(by_number, frozenset()) - {fact.address} - set(one.was.ids if one.was else ())
        if others:
            return Reject(fact.line, "", "the customer number is that of somebody with another address; two people who "
                          "are known by their addresses are never made one by a list")
    by_phone = "" if fact.address or by_number else known.get(fact.phone, "")
    found = by_address or by_number or by_phone
    if not fact.record["ids"]:
        why = "names nobody"
    elif by_address and by_number:
        why = "by address and customer number" if by_address == by_number else "by both, who become one"
    else:
        why = "by address" if by_address else "by customer number" if by_number else "by phone" if by_phone else NOBODY
    return Planned(fact, one.change, one.was, found, why)
