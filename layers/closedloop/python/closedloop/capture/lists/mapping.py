"""The mapping of a source system: which column of its files is which of our fields, and how its cells are written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from closedloop.sites.definition import (
    NAMED_KINDS,
    Currency,
    Definition,
    Flag,
    Name,
    Place,
    Text,
    Version,
    Whole,
    refuse,
)
from closedloop.sites.words import listed

Kind = Literal["people", "attendance", "purchases", "deals", "costs"]
KINDS: tuple[Kind, ...] = ("people", "attendance", "purchases", "deals", "costs")
# Who a row is about; the first three are what a person is known by.
NAMES = ("email", "customer_number", "phone")
WHO = (*NAMES, *(kind for kind in NAMED_KINDS if kind not in NAMES), "corporate_number", "marketing")
MONEY = ("amount", "currency")
HOLDS: dict[Kind, tuple[str, ...]] = {
    "people": (*WHO, "at"),
    "attendance": (*WHO, "at", "event", "campaign", "topic", "title"),
    "purchases": (*WHO, *MONEY, "at", "product", "order", "quantity", "seller", "topic"),
    "deals": (*NAMES, *MONEY, "at", "deal", "stage", "product"),
    "costs": (*MONEY, "at", "campaign"),
}
NEEDS: dict[Kind, tuple[str, ...]] = {
    "people": ("at",), "attendance": ("at", "event"), "purchases": ("at", "product"),
    "deals": ("at", "deal", "stage"), "costs": ("at", "campaign", "amount"),
}


class Column(Definition):
    """Where a field comes from: a column of the file, or the same value in every row.

    Shapes: `values` says in our words what the source's own words mean, and other words are refused; `value` beside a
    column stands where a cell is empty; `dates` is the order in which the source writes dates: year first, 24/11/2026
    (dmy), 11/24/2026 (mdy), or the number that Excel counts days by.
    """

    column: Text | None = None
    value: Text | None = None
    values: dict[Text, Text] = Field(default_factory=dict)
    dates: Literal["ymd", "dmy", "mdy", "excel"] = "ymd"
    required: Flag = False

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Column:
        if self.column is None and self.value is None:
            raise ValueError("expected a column of the file, or a value for every row")
        return self


def _short(stated: Any) -> Any:
    return {"column": stated} if isinstance(stated, str) else stated


Mapped = Annotated[Column, BeforeValidator(_short)]


class Fields(Definition):
    """Our fields, each with where it comes from; a bare word is a column's name."""

    email: Mapped | None = None
    customer_number: Mapped | None = None
    phone: Mapped | None = None
    name: Mapped | None = None
    last_name: Mapped | None = None
    first_name: Mapped | None = None
    name_kana: Mapped | None = None
    last_name_kana: Mapped | None = None
    first_name_kana: Mapped | None = None
    company: Mapped | None = None
    corporate_number: Mapped | None = None
    marketing: Mapped | None = None
    at: Mapped | None = None
    event: Mapped | None = None
    campaign: Mapped | None = None
    topic: Mapped | None = None
    title: Mapped | None = None
    product: Mapped | None = None
    order: Mapped | None = None
    quantity: Mapped | None = None
    seller: Mapped | None = None
    deal: Mapped | None = None
    stage: Mapped | None = None
    amount: Mapped | None = None
    currency: Mapped | None = None


class Mapping(Definition):
    """How the files of one source system are read.

    Shapes: `key` are the columns that name a row in the source: a row that comes again under its key with other words
    is a correction and replaces the former; without a key, other words are another fact. `namespace` tells whose
    customer and order numbers these are; without one they are the site's own user ids and orders. `empty` are cells
    that say nothing. `attributes` become what is known of the person; nothing that names them belongs there.
    """

    source: Name
    kind: Kind
    encoding: Literal["auto", "utf-8", "cp932"] = "auto"
    separator: Literal["auto", "comma", "semicolon", "tab"] = "auto"
    skip_lines: Annotated[Whole, Field(ge=0, le=100)] = 0
    key: tuple[Text, ...] = ()
    namespace: Name | None = None
    currency: Currency | None = None
    consent_version: Version | None = None
    empty: tuple[Text, ...] = ()
    fields: Fields
    attributes: dict[Text, Mapped] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _hangs_together(self) -> Mapping:
        given = self.fields.model_fields_set
        holds, problems = HOLDS[self.kind], list[tuple[Place, str]]()
        problems.extend(
            (("fields", name), f"a list of {self.kind} has no such field; expected {listed(holds)}")
            for name in sorted(given - set(holds))
        )
        missing = [name for name in NEEDS[self.kind] if name not in given]
        if missing:
            problems.append((("fields",), f"a list of {self.kind} needs {listed(missing, 'and')}"))
        if self.kind in ("people", "attendance", "purchases") and not given & set(NAMES):
            problems.append((("fields",), f"nobody is named: expected {listed(NAMES)}"))
        if self.attributes and self.kind in ("deals", "costs"):
            problems.append((("attributes",), f"a list of {self.kind} says nothing of persons"))
        problems.extend(
            (("attributes", name), "is a field of its own; map it under fields")
            for name in self.attributes if name in Fields.model_fields
        )
        marketing = self.fields.marketing
        if marketing and not set(marketing.values.values()) <= {"granted", "denied"}:
            problems.append((("fields", "marketing", "values"), "expected each word to mean granted or denied"))
        refuse("mapping", problems)
        return self

    @property
    def columns(self) -> dict[str, Column]:
        """Every field that is mapped, by its name."""
        named = ((name, getattr(self.fields, name)) for name in Fields.model_fields)
        return {name: column for name, column in named if column is not None}

    @property
    def headers(self) -> frozenset[str]:
        """Every column of the file that is read."""
        mapped = (*self.columns.values(), *self.attributes.values())
        return frozenset((*self.key, *(column.column for column in mapped if column.column)))
