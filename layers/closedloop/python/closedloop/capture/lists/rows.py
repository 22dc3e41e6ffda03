"""A row of a list as the fact that it states, under an id that its source and its words make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from closedloop.capture.crm.told import NAMES as STEPS
from closedloop.capture.form_fields import readable
from closedloop.capture.lists import cells
from closedloop.capture.lists.cells import BadCell
from closedloop.capture.lists.mapping import NAMES as NAMING
from closedloop.capture.lists.mapping import NEEDS, Column
from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.capture.lists.reading import Reject, Row
from closedloop.errors import BadShape
from closedloop.events.event import COST_REPORTED, ORDER_COMPLETED, EventType
from closedloop.events.identifiers import Hasher, deal_node
from closedloop.events.times import iso
from closedloop.sites.definition import NAMED_KINDS, Site
from closedloop.sites.words import listed

Value = str | int | datetime
CONSENTS = ("granted", "denied")
# Fields of which hardly any two rows say the same.
ONE_EACH = frozenset(("email", "customer_number", "phone", "order", "deal", "amount"))
PROPERTIES = ("campaign", "topic", "title", "product", "seller", "quantity")
TRAITS = ("corporate_number",)
_as_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
TYPES = {"people": EventType.IDENTIFY}


@dataclass(frozen=True, slots=True)
class Fact:
    """What a row states, ready for the ledger.

    Shapes: `key` names the row in its source and stays while its words change; `node` is whose partition it lies in;
    `address`, `customer` and `phone` are what names a person, empty where it names none; `record` and `contact`
    are as a packet keeps them.
    """

    line: int
    key: str
    node: str
    address: str
    customer: str
    phone: str
    record: Mapping[str, Any]
    contact: Mapping[str, Mapping[str, str]]

    @property
    def id(self) -> str:
        return str(self.record["id"])


@dataclass(slots=True)
class _Told:
    """What the cells of one row say, and what is wrong with them."""

    row: Row
    values: dict[str, Value] = field(default_factory=dict)
    wrong: list[Reject] = field(default_factory=list)

    def text(self, name: str) -> str:
        return str(self.values.get(name, ""))

    def refuse(self, column: str, reason: str) -> None:
        self.wrong.append(Reject(self.row.line, column, reason))


class _Cell(NamedTuple):
    """One field: where its cell stands, how it is read, and what stands for a cell that says nothing."""

    name: str
    column: str
    place: int
    read: Callable[[str], Value]
    otherwise: Value
    needed: bool


class RowReader:
    """Reads the rows of one file, for one site, as its mapping says.

    Shapes: `header` says where each column stands.
    Errors: BadShape.
    """

    def __init__(
        self, mapping: ListMapping, site: Site, hasher: Hasher, header: Mapping[str, int], now: datetime
    ) -> None:
        self._mapping, self._site, self._hasher, self._header, self._now = mapping, site, hasher, header, now
        self._zone = ZoneInfo(site.time_zone)
        self._empty = frozenset(readable(word) for word in mapping.empty)
        self._columns = mapping.columns
        self._contact, self._properties = (
            [name for name in names if name in self._columns] for names in (NAMED_KINDS, PROPERTIES)
        )
        self._traits = [*mapping.attributes, *(name for name in TRAITS if name in self._columns)]
        everything = (*self._columns.items(), *mapping.attributes.items())
        self._cells = [self._cell(name, column) for name, column in everything]

    def fact(self, row: Row) -> Fact | list[Reject]:
        """The fact that a row states, or everything that is wrong with it."""
        told = _Told(row)
        for cell in self._cells:
            self._take(told, cell)
        self._check(told)
        key = self._key(told)
        return told.wrong or self._stated(told, key)

    def _cell(self, name: str, column: Column) -> _Cell:
        """How a field is read, and the value of rows that say nothing of it.

        Errors: BadShape when the mapping's own value is none.
        """
        plain = self._reading(name, column)
        meanings = {readable(theirs): ours for theirs, ours in column.values.items()}
        try:
            otherwise = plain(column.value) if column.value else ""
        except BadCell as problem:
            raise BadShape(f"the mapping's value of {name}: {problem}") from problem
        read = (lambda cell: cells.meant_by(cell, meanings)) if meanings else plain
        if name not in ONE_EACH:
            # Companies, products, days and words come again and again.
            read = lru_cache(maxsize=4096)(read)
        place = self._header[column.column] if column.column else -1
        needed = column.required or name in NEEDS[self._mapping.kind]
        return _Cell(name, column.column or name, place, read, otherwise, needed)

    def _reading(self, name: str, column: Column) -> Callable[[str], Value]:
        if name not in self._columns:
            return lambda cell: cells.text_of(cell, "attribute", self._site.region)
        if name == "at":
            return lambda cell: cells.moment_of(cell, column.dates, self._zone, self._now)
        if name in ("customer_number", "order", "deal"):
            return cells.number_of
        if name == "corporate_number":
            return cells.corporate_number_of
        if name == "quantity":
            return cells.whole_of
        if name == "amount":
            # Read once the currency is known.
            return readable
        kind = name if name in NAMED_KINDS else "attribute"
        return lambda cell: cells.text_of(cell, kind, self._site.region)

    def _take(self, told: _Told, cell: _Cell) -> None:
        name, column, place, read, value, needed = cell
        text = told.row.cells[place].strip() if place >= 0 else ""
        if text and (not self._empty or readable(text) not in self._empty):
            try:
                value = read(text)
            except BadCell as problem:
                told.refuse(column, str(problem))
                return
        if value != "":
            told.values[name] = value
        elif needed:
            told.refuse(column, "is needed")

    def _check(self, told: _Told) -> None:
        """What no cell shows by itself: who is named, which currency, what a stage means."""
        values, kind = told.values, self._mapping.kind
        if kind in ("people", "attendance", "purchases") and not set(NAMING) & set(values):
            told.refuse("", "names nobody: expected an e-mail address, a customer number or a phone number")
        if told.text("marketing") and told.text("marketing") not in CONSENTS:
            told.refuse(self._place("marketing"), f"expected {listed(CONSENTS)}")
        if kind == "deals" and "stage" in values:
            stage = told.text("stage")
            values["stage"] = self._site.webhooks.deal_stages.get(stage, stage)
            if values["stage"] not in STEPS:
                known = (*STEPS, *self._site.webhooks.deal_stages)
                told.refuse(self._place("stage"), f"expected {listed(known)}, or what the mapping says is one of these")
        if values.get("stage") == "paid" and "amount" not in values:
            told.refuse(self._place("stage"), "a payment needs its amount")
        if "amount" in values:
            currency = told.text("currency") or self._mapping.currency or self._site.currency or ""
            try:
                values["amount"] = cells.money_of(told.text("amount"), currency.upper())
                values["currency"] = currency.upper()
            except BadCell as problem:
                told.refuse(self._place("amount"), str(problem) if currency else
                            "names no currency, nor does the mapping or the site's file")

    def _place(self, name: str) -> str:
        return self._columns[name].column or name

    def _key(self, told: _Told) -> tuple[str, ...]:
        key = tuple(readable(told.row.cells[self._header[name]]) for name in self._mapping.key)
        for name, cell in zip(self._mapping.key, key, strict=True):
            if not cell or cell in self._empty:
                told.refuse(name, "is needed, since it names the row")
        return key

    def _stated(self, told: _Told, key: Sequence[str]) -> Fact:
        mapping, kind = self._mapping, self._mapping.kind
        email, number, phone = told.text("email"), told.text("customer_number"), told.text("phone")
        address = (self._hasher.address(email) if email else "") or ""
        # Without a system of its own, the number is the site's user id.
        user = (self._hasher.user(self._numbered(number)) if number else "") or ""
        customer = self._hasher.customer(number, mapping.namespace) or "" if number and mapping.namespace else user
        identifiers = [one for one in (address, user) if one]
        contact = {name: str(told.values[name]) for name in self._contact if name in told.values}
        traits = {name: told.values[name] for name in self._traits if name in told.values}
        properties: dict[str, Any] = {"list": mapping.source}
        properties.update((name, told.values[name]) for name in self._properties if name in told.values)
        if "amount" in told.values:
            properties |= {"amount_minor": told.values["amount"], "currency": told.values["currency"]}
        at = told.values["at"]
        assert isinstance(at, datetime)
        record: dict[str, Any] = {
            "type": TYPES.get(kind, EventType.TRACK).value, "name": self._name(told), "at": iso(at), "ids": identifiers,
            "properties": properties, "traits": traits,
        }
        if kind == "deals":
            step = told.text("stage")
            properties["stage"] = step
            if step in ("opened", "changed"):
                properties["stage_is_open"] = True
            if step == "refunded":
                # The amount of a CRM's deal is its price: a stage that means refunded gives back all of it.
                properties.pop("amount_minor", None)
        if kind == "costs":
            properties["day"] = f"{at.astimezone(self._zone):%Y-%m-%d}"
        consent = told.text("marketing")
        if consent:
            said = {"marketing": consent, "source": f"list {mapping.source}", "version": mapping.consent_version or ""}
            record["context"] = {"consent": {name: word for name, word in said.items() if word}}
        words = _as_json([record, contact])
        row = self._digest("row", "\x1f".join(key) or words)
        if kind in ("purchases", "deals"):
            record["deal"] = told.text("deal") or self._numbered(told.text("order")) or f"{mapping.source}-{row}"
            words += record["deal"]
        # The words are those of an earlier version, so that what it imported is known again.
        called = (self._hasher.phone(phone) if phone else "") or ""
        identifiers = record["ids"] = [one for one in (address, customer, called) if one]
        record["id"] = f"{self._site.site}/list/{row}-{self._digest('words', words)[:16]}"
        if "deal" in record:
            node = deal_node(self._site.site, record["deal"])
        else:
            node = identifiers[0] if identifiers else f"cost:{self._site.site}"
        held = {identifiers[0]: contact} if identifiers and contact else {}
        return Fact(told.row.line, row, node, address, customer, called, record, held)

    def _name(self, told: _Told) -> str:
        kind = self._mapping.kind
        if kind == "attendance":
            return told.text("event")
        if kind == "deals":
            return STEPS[told.text("stage")]
        return {"purchases": ORDER_COMPLETED, "costs": COST_REPORTED}.get(kind, "")

    def _numbered(self, number: str) -> str:
        """A number in its source's namespace, since two companies may give one number to two customers."""
        return f"{self._mapping.namespace}:{number}" if number and self._mapping.namespace else number

    def _digest(self, what: str, words: str) -> str:
        return self._hasher.digest(f"{what}|{self._mapping.kind}|{self._mapping.source}|{words}")[:24]

