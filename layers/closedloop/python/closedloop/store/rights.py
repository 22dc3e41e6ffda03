"""What people may ask for: to be mailed no more, to see what is held about them, to be forgotten.

| pk           | sk              | what                                                                     |
|--------------|-----------------|--------------------------------------------------------------------------|
| X#identifier | SUPPRESSED      | nobody mails this address; the reason                                    |
| X#identifier | FACT#at         | an operator's change of it: what, why, when; never changed               |
| X#identifier | ERASING         | an erasure that is not finished, with all it needs to go on              |
| ERASED       | tombstone       | an identifier that names nobody any more, and since when                 |
| ERASURES     | at#name         | an erasure that was done: when, why, how much; nothing about the person  |
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from closedloop.errors import BadShape, TryAgain
from closedloop.events.erased import tombstone_of
from closedloop.events.times import iso, parse
from closedloop.store import schema
from closedloop.store.calls import CallFailed, binary
from closedloop.store.table import Item, Table, key

# What no operator takes back.
FOR_GOOD = ("bounced", "complained", "erased")
ERASED, ERASURES, ERASING, SUPPRESSED = "ERASED", "ERASURES", "ERASING", "SUPPRESSED"


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that gets no mail, and why."""

    identifier: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """One person who is being erased: everything that is needed to go on after being cut off.

    Shapes: `names` gives each identifier of the person, and each browser that is theirs alone, the random name that
    stands for it from now on; `persons` the same for the ids of the person; `shared` are browsers and deals of others
    too; `words` are the person's clear address, phone and names, by which failed events and dropped files are found.
    """

    identifier: str
    name: str
    group: str
    person: str
    at: str
    why: str
    asked_by: str
    names: Mapping[str, str]
    persons: Mapping[str, str]
    shared: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    links: tuple[tuple[str, str, str, str, str], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def strong(self) -> frozenset[str]:
        return frozenset(node for node in self.names if not node.startswith("v:"))


class Rights(Table):
    """Keeps suppressions, erasures and tombstones, and goes through everything that State holds."""

    def suppressions(self) -> Iterator[Suppression]:
        """Every address that gets no mail, by a scan: for an operator alone."""
        for item in self.everything():
            if item[schema.SK]["S"] == SUPPRESSED:
                yield _suppression(item)

    def suppression(self, identifier: str) -> Suppression | None:
        item = self._get(f"X#{identifier}", SUPPRESSED)
        return None if item is None else _suppression(item)

    def suppression_facts(self, identifier: str) -> list[dict[str, str]]:
        """What operators changed about an address, oldest first."""
        return [
            {name: item[name]["S"] for name in ("at", "what", "why")}
            for item in self._query(f"X#{identifier}", "FACT#")
        ]

    def add_suppression(self, identifier: str, why: str, now: datetime) -> bool:
        """Let nobody mail an address again; false when that was so already."""
        item = {**key(f"X#{identifier}", SUPPRESSED), "reason": {"S": "manual"}, "at": {"S": iso(now)}}
        return self._changed(self._once(item), identifier, "added", why, now)

    def lift_suppression(self, identifier: str, why: str, now: datetime) -> bool:
        """Let an address be mailed again; false when it could be mailed anyway.

        Errors: BadShape for what nobody takes back: a dead address, a complaint, an erasure.
        """
        found = self.suppression(identifier)
        if found is None:
            return False
        if found.reason in FOR_GOOD:
            raise BadShape(f"this address {_SAID[found.reason]}; nobody takes that back")
        delete = {
            "TableName": self._table, "Key": key(f"X#{identifier}", SUPPRESSED),
            "ConditionExpression": "#reason = :reason", "ExpressionAttributeNames": {"#reason": "reason"},
            "ExpressionAttributeValues": {":reason": {"S": found.reason}},
        }
        return self._changed({"Delete": delete}, identifier, "removed", why, now)

    def _changed(self, write: dict[str, Any], identifier: str, what: str, why: str, now: datetime) -> bool:
        fact = {**key(f"X#{identifier}", f"FACT#{iso(now)}"), "at": {"S": iso(now)}, "what": {"S": what},
                "why": {"S": why}}
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": [write, self._once(fact)]})
        except CallFailed as error:
            if error.is_condition:
                return False
            raise
        return True

    def tombstones(self) -> dict[str, datetime]:
        """Every identifier that names nobody any more, by its tombstone, and since when."""
        return {
            item[schema.SK]["S"]: parse(item["at"]["S"]) for item in self._query(ERASED, consistent=False)
        }

    def erasing(self, identifier: str) -> Erasure | None:
        """The erasure of whom this identifier names that is not finished."""
        item = self._get(f"X#{identifier}", ERASING)
        if item is None:
            return None
        told = json.loads(item[schema.BODY]["S"])
        return Erasure(**{
            **told, "shared": tuple(told["shared"]), "links": tuple(tuple(link) for link in told["links"]),
            "words": {name: tuple(words) for name, words in told["words"].items()},
        })

    def begin_erasure(self, erasure: Erasure) -> None:
        """Note all that an erasure needs, before anything of it is done.

        Errors: TryAgain when another one of the same address has begun.
        """
        item = {
            **key(f"X#{erasure.identifier}", ERASING),
            schema.BODY: {"S": json.dumps(asdict(erasure), ensure_ascii=False, sort_keys=True)},
        }
        try:
            self._dynamo.call("PutItem", self._once(item)["Put"])
        except CallFailed as error:
            if error.is_condition:
                raise TryAgain("this person is being erased already; run the command again to go on with it") from error
            raise

    def bury(self, erasure: Erasure) -> None:
        """From now on these identifiers name nobody, and their addresses get no mail."""
        for node in (*erasure.names, *erasure.persons):
            item = {**key(ERASED, tombstone_of(node)), "at": {"S": erasure.at}}
            # A second erasure covers what came after the first.
            self._put(item)
        for node in erasure.strong:
            item = {**key(f"X#{node}", SUPPRESSED), "reason": {"S": "erased"}, "at": {"S": erasure.at}}
            self._put(item)

    def forget_person(self, person: str) -> None:
        """Take a person's profile away, so that whoever is folding them just now starts again; twice is as once."""
        try:
            self._dynamo.call("UpdateItem", {
                "TableName": self._table, "Key": key(f"P#{person}", "PROFILE"),
                "UpdateExpression": "SET #version = #version + :one, moved_to = :nobody "
                f"REMOVE #body, #more, {schema.DUE}, {schema.DUE_AT}",
                "ConditionExpression":
                    "attribute_exists(#version) AND (attribute_exists(#body) OR moved_to <> :nobody)",
                "ExpressionAttributeNames": {"#version": "version", "#body": schema.BODY, "#more": schema.MORE},
                "ExpressionAttributeValues": {":one": {"N": "1"}, ":nobody": {"S": ""}},
            })
        except CallFailed as error:
            if not error.is_condition:
                raise

    def everything(self) -> Iterator[Item]:
        """Every item of State, by a scan: for an operator alone."""
        yield from self._pages({"TableName": self._table, "ConsistentRead": True}, "Scan")

    def remove(self, item: Item) -> None:
        self._dynamo.call("DeleteItem", {"TableName": self._table, "Key": _key_of(item)})

    def rewrite(self, item: Item, text: Mapping[str, Any]) -> None:
        """Put other words into an item, if nobody changed it meanwhile.

        Errors: TryAgain.
        """
        names = {f"#n{number}": name for number, name in enumerate(sorted(text))}
        try:
            self._dynamo.call("PutItem", {
                "TableName": self._table, "Item": {**item, **text},
                "ConditionExpression": " AND ".join(f"{short} = {short.replace('#', ':')}" for short in names),
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": {short.replace("#", ":"): item[name] for short, name in names.items()},
            })
        except CallFailed as error:
            if error.is_condition:
                raise TryAgain("an item changed meanwhile; run the command again") from error
            raise

    def end_erasure(self, erasure: Erasure, now: datetime) -> None:
        """Put the record that an erasure was done in the place of what it needed; nothing of the person is in it."""
        record = {
            **key(ERASURES, f"{erasure.at}#{erasure.name}"), "group": {"S": erasure.group}, "why": {"S": erasure.why},
            "asked_by": {"S": erasure.asked_by}, "began_at": {"S": erasure.at}, "ended_at": {"S": iso(now)},
            "counts": {"S": json.dumps(dict(erasure.counts), sort_keys=True)},
        }
        self._dynamo.call("TransactWriteItems", {"TransactItems": [
            {"Put": {"TableName": self._table, "Item": record}},
            {"Delete": {"TableName": self._table, "Key": key(f"X#{erasure.identifier}", ERASING)}},
        ]})

    def erasures(self) -> list[dict[str, Any]]:
        """Every erasure that was done, oldest first."""
        return [
            {
                "erasure": item[schema.SK]["S"].partition("#")[2],
                **{name: item[name]["S"] for name in ("group", "why", "asked_by", "began_at", "ended_at")},
                "counts": json.loads(item["counts"]["S"]),
            }
            for item in self._query(ERASURES)
        ]


_SAID = {"bounced": "does not exist", "complained": "complained of our mails", "erased": "was erased"}


def _suppression(item: Item) -> Suppression:
    return Suppression(item[schema.PK]["S"].removeprefix("X#"), item["reason"]["S"], item["at"]["S"])


def _key_of(item: Item) -> dict[str, Any]:
    return {name: item[name] for name in (schema.PK, schema.SK)}


def is_of(item: Item, erasing: Collection[str]) -> bool:
    """Whether an item of State lies under one of these nodes or persons, by either part of its key."""
    parts = (*item[schema.PK]["S"].split("#"), *item[schema.SK]["S"].split("#"))
    return any(part in erasing for part in parts)


def kept_of_erased(item: Item) -> bool:
    """Whether an item is what an erasure itself leaves: that nobody mails the address, and what it is doing."""
    return item[schema.PK]["S"].startswith("X#") and item[schema.SK]["S"] in (SUPPRESSED, ERASING)


def reworded(item: Item, names: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of an item in which one of these names stands, with the random one instead."""
    changed = {}
    for attribute, value in item.items():
        if attribute in (schema.PK, schema.SK):
            continue
        text = json.dumps(value, ensure_ascii=False, default=_no_text)
        other = renamed(text, names)
        if other != text:
            changed[attribute] = json.loads(other)
    return changed


def packed_mentions(item: Item, names: Collection[str]) -> bool:
    """Whether the packed part of a profile names one of these."""
    if schema.MORE not in item:
        return False
    try:
        text = zlib.decompress(binary(item[schema.MORE]), -zlib.MAX_WBITS).decode()
    except (zlib.error, UnicodeDecodeError):
        return False
    return any(f'"{name}"' in text for name in names)


def _no_text(value: object) -> str:
    return "" if isinstance(value, bytes) else str(value)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A text of JSON, in which JSON may be quoted again, with names replaced wherever they are a whole string."""
    for old, new in names.items():
        if old in text:
            for quote in ('"', '\\"', '\\\\\\"'):
                text = text.replace(f"{quote}{old}{quote}", f"{quote}{new}{quote}")
    return text
