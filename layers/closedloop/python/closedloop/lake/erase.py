"""Goes through everything that the lake holds: finds what is about one person, and takes the person out of it.

A row that a report counts stays, under a random name instead of the person's, with nothing of what they said or typed:
so every total stays. What is no row of a report goes altogether.
"""

from __future__ import annotations

import base64
import binascii
import csv
import gzip
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from closedloop.events.event import Door, Event, EventType
from closedloop.events.times import parse
from closedloop.lake import layout
from closedloop.lake.files import Files
from closedloop.profiles.fit import fit_ledger
from closedloop.sites.definition import Site

# Every folder that may hold something about a person, in the order in which it is gone through.
FOLDERS = (
    layout.EVENTS, layout.DECISIONS, layout.FAILED, layout.RUNS, layout.SPILL, layout.IMPORTS, layout.IMPORTED,
)
# What a report or the product itself reads of an event; everything else is the person's own words.
COUNTED = frozenset((
    "form", "campaign", "loop", "message_id", "link", "hidden", "day", "stage", "stage_is_open", "retracts",
    "amount_minor", "currency", "list", "import", "incentive", "soft", "product", "products", "quantity", "seller",
    "order", "referrer",
))
ENCODINGS = ("utf-8", "cp932")


@dataclass(frozen=True, slots=True)
class About:
    """Who is looked for in the lake, and by what.

    Shapes: `gone` are the nodes of an event that are this person's, all of them where the whole event is; `names` are
    the random names by node and by person's id; `is_theirs` says of an item of the ledger what stays of it, None where
    nothing of it goes; `mentions` says whether outside bytes are about the person, and `cell_of` which cells
    of a dropped file are.
    """

    gone: Callable[[Event], Set[str]]
    names: Mapping[str, str]
    sites: Mapping[str, Site]
    is_theirs: Callable[[Mapping[str, Any]], list[dict[str, Any]] | None]
    mentions: Callable[[bytes, str], bool]
    cell_of: Callable[[str], Callable[[str], bool]]


@dataclass(slots=True)
class Found:
    """What of the lake is about a person: rows by folder, and the ids of those that have a random name by now."""

    rows: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)

    def note(self, folder: str, key: str, row: Mapping[str, Any]) -> None:
        self.rows.setdefault(folder, []).append({"object": key, **row})


def event_of_row(row: Mapping[str, Any]) -> Event:
    """An event again from its row of the lake, as far as it says who is who."""
    site = str(row["site"])
    return Event(
        id=row["id"], site=site, type=EventType(row["type"]), name=row["name"],
        visitor=str(row["visitor"]).removeprefix(f"v:{site}:") or None, identifiers=tuple(row["ids"] or ()),
        deal=str(row["deal"]).removeprefix(f"deal:{site}:") or None, occurred_at=parse(row["occurred_at"]),
        received_at=parse(row["received_at"]), door=Door(row["door"]), packet=str(row.get("packet") or ""),
        properties={}, traits={}, context={},
    )


def anonymous(
    row: Mapping[str, Any], gone: Set[str], names: Mapping[str, str], sites: Collection[Site]
) -> dict[str, Any]:
    """A row as it stays without the person: counted as before, and saying nothing of who it was.

    Shapes: a node without a random name is left out, as of an event that came in after its person was erased.
    """
    def named(node: str) -> str:
        return names.get(node, "") if node in gone else node

    properties = {
        name: value for name, value in _object(row["properties"]).items()
        if name in COUNTED and not (name == "referrer" and str(value) in gone)
    }
    return {
        **row, "visitor": named(row["visitor"]) if row["visitor"] else "",
        "ids": [name for node in row["ids"] or () if (name := named(node))],
        "term": "", "path": "", "title": "", "consent": "{}",
        "properties": json.dumps(properties, ensure_ascii=False, sort_keys=True),
        "traits": json.dumps(_fitting(_object(row["traits"]), sites), ensure_ascii=False, sort_keys=True),
    }


def _object(text: str | None) -> dict[str, Any]:
    read = json.loads(text or "{}")
    return read if isinstance(read, dict) else {}


def _fitting(traits: Mapping[str, Any], sites: Collection[Site]) -> dict[str, Any]:
    """Of what somebody is like, only how well it fits the wanted people: a site's own word or threshold for it."""
    kept: dict[str, Any] = {}
    for name, value in traits.items():
        targets = [target for site in sites for target in site.target_attributes if target.attribute == name]
        stated = [word for target in targets for word in (*target.is_one_of, target.at_least) if word is not None]
        worth = _worth(name, value, sites)
        alike = next((word for word in stated if any(worth) and _worth(name, word, sites) == worth), None)
        if alike is not None:
            kept[name] = alike
    return kept


def _worth(name: str, value: Any, sites: Collection[Site]) -> list[list[int]]:
    return [[points for _, points in fit_ledger({name: value}, site)] for site in sites]


def go_through(
    files: Files, about: About, *, rewrite: bool, progress: Callable[[str, int, int], None] = lambda what, n, of: None
) -> Found:
    """Find all that the lake holds about a person, and with `rewrite` take them out of it; twice is as once."""
    found = Found()
    for folder in FOLDERS:
        keys = list(files.keys(folder))
        for number, key in enumerate(keys, 1):
            body = files.get(key)
            changed = _READS[folder](key, body, about, found)
            if rewrite and changed is not None and changed != body:
                files.replace(key, changed)
            progress(folder, number, len(keys))
        for key, version in list(files.former(folder)) if rewrite else ():
            # What a bucket still holds of before can be read as well.
            body = files.get_former(key, version)
            if _READS[folder](key, body, about, Found()) not in (None, body):
                files.remove_former(key, version)
    return found


def _events(key: str, body: bytes, about: About, found: Found) -> bytes | None:
    def read(row: dict[str, Any]) -> dict[str, Any]:
        if not {row["visitor"], *(row["ids"] or ())}.isdisjoint(renamed):
            found.ids.add(row["id"])
            return row
        gone = about.gone(event_of_row(row))
        if not gone:
            # Others may tell who brought them.
            told = str(row["properties"] or "")
            return {**row, "properties": other} if (other := renamed_in(told, about.names)) != told else row
        found.ids.add(row["id"])
        found.note(layout.EVENTS, key, row)
        # A browser that is others' too stays theirs.
        return anonymous(row, gone & about.names.keys(), about.names, about.sites.values())

    renamed = set(about.names.values())
    return _each_row(body, read)


def _decisions(key: str, body: bytes, about: About, found: Found) -> bytes | None:
    def read(row: dict[str, Any]) -> dict[str, Any]:
        if row["person"] in renamed:
            found.ids.add(row["id"])
            return row
        if row["person"] not in about.names and row["anchor"] not in about.names:
            return row
        found.note(layout.DECISIONS, key, row)
        row = anonymous_decision(row, about.names)
        found.ids.add(row["id"])
        return row

    renamed = set(about.names.values())
    return _each_row(body, read)


def anonymous_decision(row: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A decision as it stays: who was led where and when, by which arm, without what was known of them."""
    person = names.get(row["person"], row["person"])
    return {
        **row, "person": person, "anchor": names.get(row["anchor"], row["anchor"]), "detail": "",
        "id": row["id"].replace(row["person"], person, 1),
        # Reports count exclusions by their reason, which is the loop's own words.
        "reason": row["reason"] if row["outcome"] == "exclude" else "",
    }


def _failed(key: str, body: bytes, about: About, found: Found) -> bytes | None:
    def read(row: dict[str, Any]) -> dict[str, Any]:
        try:
            payload = base64.b64decode(row["payload"])
        except (binascii.Error, ValueError):
            payload = b""
        if not about.mentions(payload, row["site"]) and not about.mentions(row["reason"].encode(), row["site"]):
            return row
        found.note(layout.FAILED, key, row)
        return {**row, "payload": "", "reason": "erased"}

    return _each_row(body, read)


def _each_row(body: bytes, read: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes | None:
    rows = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    other = [read(row) for row in rows]
    if other == rows:
        return None
    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in other)
    return gzip.compress(text.encode(), mtime=0)


def _names(folder: str) -> Callable[[str, bytes, About, Found], bytes | None]:
    """Reads a file in which persons and nodes stand as whole strings of JSON."""

    def read(key: str, body: bytes, about: About, found: Found) -> bytes | None:
        packed = key.endswith(".gz")
        text = other = (gzip.decompress(body) if packed else body).decode("utf-8", "surrogateescape")
        other = renamed_in(other, about.names)
        if other == text:
            return None
        found.note(folder, key, {"mentions": sorted(old for old in about.names if f'"{old}"' in text)})
        raw = other.encode("utf-8", "surrogateescape")
        return gzip.compress(raw, mtime=0) if packed else raw

    return read


def renamed_in(text: str, names: Mapping[str, str]) -> str:
    """JSON in which names are replaced wherever they are a whole string."""
    for old, new in names.items():
        if old in text:
            text = text.replace(f'"{old}"', f'"{new}"')
    return text


def _spill(key: str, body: bytes, about: About, found: Found) -> bytes | None:
    items = json.loads(body)["items"]
    kept: list[Any] = []
    for item in items:
        left = about.is_theirs(item)
        kept += [item] if left is None else left
    if kept == items:
        return None
    found.note(layout.SPILL, key, {"items": len(items) - len(kept)})
    return json.dumps({"items": kept}, separators=(",", ":"), default=_base64).encode()


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode()


def _dropped(key: str, body: bytes, about: About, found: Found) -> bytes | None:
    """A dropped list without the person's rows; its other rows stay byte for byte."""
    kept, taken, is_theirs = bytearray(), False, about.cell_of(key)
    for raw, cells in csv_rows(body):
        if any(map(is_theirs, cells)):
            taken = True
            found.note(layout.IMPORTS, key, {"cells": cells})
        else:
            kept += raw
    return bytes(kept) if taken else None


def csv_rows(body: bytes) -> Iterator[tuple[bytes, list[str]]]:
    """The rows of a file as their bytes and their cells, whatever its encoding and separator; a row may have lines."""
    lines: list[bytes] = []
    for line in io.BytesIO(body):
        lines.append(line)
        raw = b"".join(lines)
        # A quote that is still open goes on in the next line, but never for long: it was never meant as one.
        if raw.count(b'"') % 2 and len(lines) < 100:
            continue
        yield raw, _cells(raw)
        lines = []
    if lines:
        yield b"".join(lines), _cells(b"".join(lines))


def _cells(raw: bytes) -> list[str]:
    text = next((text for encoding in ENCODINGS if (text := _decoded(raw, encoding)) is not None), "")
    text = text or raw.decode("utf-8", "replace")
    separator = max(",;\t", key=text.count)
    return [cell.strip() for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) for cell in row]


def _decoded(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


_READS: Mapping[str, Callable[[str, bytes, About, Found], bytes | None]] = {
    layout.EVENTS: _events, layout.DECISIONS: _decisions, layout.FAILED: _failed, layout.RUNS: _names(layout.RUNS),
    layout.SPILL: _spill, layout.IMPORTS: _dropped, layout.IMPORTED: _names(layout.IMPORTED),
}


def put_missing(
    files: Files, prefix: str, rows: Collection[Mapping[str, Any]], day_of: Callable[[Mapping[str, Any]], datetime],
    name: str,
) -> None:
    """Write rows that the lake does not hold yet, since what the tables held of them is about to go."""
    days: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        days.setdefault(day_of(row).date(), []).append(row)
    for day, kept in sorted(days.items()):
        files.put_rows(layout.archived(prefix, day, name), kept)
