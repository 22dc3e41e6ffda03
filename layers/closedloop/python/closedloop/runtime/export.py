"""All that is held about one person as one zip: each kind of thing once as JSON and once as CSV.

The same person as of the same moment gives the same bytes; what others did or said is not in it.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import msgspec

from closedloop.events.times import iso
from closedloop.lake import layout
from closedloop.lake.erase import event_of_row
from closedloop.profiles.consents import proofs_of
from closedloop.profiles.fold import fold
from closedloop.runtime import doors
from closedloop.runtime.rights import Held, Subject, as_record, own_events
from closedloop.sites.words import harmless
from closedloop.store import schema
from closedloop.store.calls import binary
from closedloop.store.decisions import decision_row
from closedloop.store.questions import QUESTION, asked_of
from closedloop.store.rights import ERASING, is_of
from closedloop.store.table import Item

Rows = Sequence[Mapping[str, Any]]
READ_ME = """\
Everything that is held about one person, as of {as_of}.
このファイルは {as_of} 現在、ご本人について保有しているすべての情報です。

Each file is there twice: .json for programs, .csv for spreadsheets.
各ファイルは .json と .csv の二つの形式で入っています。

{files}
"""


def export(subject: Subject, held: Held, as_of: datetime) -> bytes:
    """The zip of everything that is held about a person."""
    tables = tables_of(subject, held, as_of)
    listed = "\n".join(f"{name}: {len(rows)}" for name, rows in tables.items())
    files = {"README.txt": READ_ME.format(as_of=iso(as_of), files=listed).encode()}
    for name, rows in tables.items():
        files[f"{name}.json"] = (json.dumps(rows, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
        files[f"{name}.csv"] = _csv(rows)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, body in files.items():
            # The time is that of the export's moment, and the rights are the same on every machine.
            told = zipfile.ZipInfo(name, (as_of.year, as_of.month, as_of.day, as_of.hour, as_of.minute, as_of.second))
            told.compress_type, told.external_attr, told.create_system = zipfile.ZIP_DEFLATED, 0o600 << 16, 3
            packed.writestr(told, body)
    return out.getvalue()


def tables_of(subject: Subject, held: Held, as_of: datetime) -> dict[str, Rows]:
    """What there is, by its kind; each kind is there, if only to say that nothing is held."""
    events = own_events(held, as_of)
    erasure = subject.erasure
    profile = fold(events, sorted(erasure.strong), subject.sites)
    own = sorted(
        (item for item in held.state if is_of(item, subject.names) and _until(item, as_of)),
        key=lambda item: (item[schema.PK]["S"], item[schema.SK]["S"]),
    )
    decisions = [decision_row(item) for item in own if schema.KIND in item]
    packets = sorted(
        (one for one in held.packets if one.received_at <= as_of),
        key=lambda one: (one.received_at, one.subject, one.id),
    )
    contacts = [
        {"at": iso(packet.received_at), "identifier": identifier, **fields}
        for packet in packets for identifier, fields in packet.contact.items()
    ]
    rows = held.lake.rows
    return {
        "contact": contacts,
        "identifiers": [{"identifier": node, "kind": node.partition(":")[0]} for node in sorted(erasure.names)],
        "links": [dict(zip(("node", "identifier", "how", "at", "event"), link, strict=True)) for link in erasure.links
                  if link[1] in erasure.names and (link[0] in erasure.names or link[0] in erasure.shared)],
        "profile": [] if profile is None else [msgspec.to_builtins(profile)],
        "consents": [{**asdict(proof), "at": iso(proof.at)} for proof in proofs_of(events)],
        "events": [as_record(event) for event in events],
        "received": [{"at": iso(one.received_at), "site": one.site, "door": one.door.value, **one.headers}
                     for one in packets],
        "decisions": [row for row in decisions if row["kind"] != "action"],
        "mails": [row for row in decisions if row["kind"] == "action"],
        "questions": [_question(item) for item in own if item[schema.SK]["S"].startswith(QUESTION)],
        "suppression": _suppression(subject),
        "mailed_lately": [
            {"identifier": one.identifier, "mail": name, "at": iso(at)}
            for one in doors.state().mailed(sorted(node for node in erasure.strong if node.startswith("email:")))
            for name, at in sorted(one.sent.items()) if at <= as_of
        ],
        "lists": [row for name in (layout.IMPORTS, layout.IMPORTED) for row in rows.get(name, ())],
        "failed_events": [
            {
                "at": iso(one.received_at), "site": one.site, "door": one.door, "kind": one.kind.value,
                "reason": one.reason, "payload": one.payload.decode("utf-8", "backslashreplace"),
                "sent": dict(one.sent),
            } for one in sorted(held.failed, key=lambda one: (one.received_at, one.name)) if one.received_at <= as_of
        ],
        "archive": [
            row for row in rows.get(layout.EVENTS, ())
            if subject.is_own(event_of_row(row)) and row["received_at"] <= iso(as_of)
        ],
        "archived_decisions": [row for row in rows.get(layout.DECISIONS, ()) if row["at"] <= iso(as_of)],
        "other_files": [row for name in (layout.RUNS, layout.SPILL, layout.FAILED) for row in rows.get(name, ())],
        "state": [_plain(item) for item in own],
    }


def _until(item: Item, as_of: datetime) -> bool:
    at = item.get("at", {}).get("S", "")
    return item[schema.SK]["S"] != ERASING and (not at or at <= iso(as_of))


def _question(item: Item) -> dict[str, Any]:
    asked = asked_of(item)
    return {**asdict(asked.question), "at": iso(asked.question.at), "outcome": asked.status, "reason": asked.reason}


def _suppression(subject: Subject) -> list[dict[str, Any]]:
    state = doors.state()
    found = []
    for identifier in sorted(subject.erasure.strong):
        standing = state.suppression(identifier)
        if standing is not None:
            found.append({"identifier": identifier, "what": "stands", "why": standing.reason, "at": standing.at})
        found += [{"identifier": identifier, **fact} for fact in state.suppression_facts(identifier)]
    return found


def _plain(item: Item) -> dict[str, Any]:
    """An item as it lies in the table, its types left out; bytes are packed and stand elsewhere in the open."""
    plain: dict[str, Any] = {}
    for name, value in sorted(item.items()):
        (kind, content), = value.items()
        plain[name] = b64encode(binary(value)).decode() if kind == "B" else content
    return plain


def _csv(rows: Rows) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name, "")) for name in columns])
    return text.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, Mapping | list | tuple):
        return harmless(json.dumps(value, ensure_ascii=False, sort_keys=True))
    return value
