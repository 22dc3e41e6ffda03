"""The lake's rows, hand-written, and what the questions answer about them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from closedloop.events.times import iso, parse
from closedloop.identity.persons import person_id
from closedloop.lake.queries import engine, gather
from closedloop.loops.definition import Loop
from closedloop.reports.facts import Facts
from closedloop.sites.definition import Site

ROOT = Path(__file__).parents[2]
DAY = datetime.fromisoformat("2026-10-05T03:00:00+00:00")


def the_loop(**changes: Any) -> Loop:
    read = YAML(typ="safe", pure=True).load((ROOT / "examples/loops/autumn-pumps.yaml").read_text(encoding="utf-8"))
    return Loop.model_validate({**read, **changes})


def the_site() -> Site:
    read = YAML(typ="safe", pure=True).load((ROOT / "examples/sites/demo.yaml").read_text(encoding="utf-8"))
    return Site.model_validate(read)


def an_event(id_: str, name: str = "", *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    properties = changes.pop("properties", {})
    traits = changes.pop("traits", {})
    row = {
        "id": id_, "packet": "pk", "schema": 1, "site": "demo", "door": "beacon", "type": "track" if name else "page",
        "name": name, "visitor": "", "ids": [], "deal": "", "occurred_at": iso(at),
        "received_at": iso(at + timedelta(seconds=1)), "late": False, "channel": "internal", "medium": "", "source": "",
        "term": "", "campaign": "", "source_rule": "", "host": "", "path": "/", "title": "", "topic": "",
        "grade": "human", "grade_reason": "", "consent": "{}",
        "amount_minor": properties.get("amount_minor"), "currency": properties.get("currency", ""),
        "properties": json.dumps(properties), "traits": json.dumps(traits),
    }
    return {**row, **changes}


def a_page(id_: str, visitor: str, *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    return an_event(id_, at=at, visitor=f"v:demo:{visitor}" if visitor else "", **changes)


def a_form(id_: str, visitor: str, email: str, *, at: datetime = DAY, form: str = "guide", **traits: Any) -> dict[str, Any]:
    return an_event(id_, "Form Submitted", at=at, door="form", visitor=f"v:demo:{visitor}", ids=[f"email:{email}"],
                    properties={"form": form}, traits=traits)


def a_deal(id_: str, name: str, email: str, amount: int | None, *, at: datetime = DAY, deal: str = "d1",
           currency: str = "JPY", **changes: Any) -> dict[str, Any]:
    properties = {} if amount is None else {"amount_minor": amount, "currency": currency}
    return an_event(id_, name, at=at, door="deal", deal=f"deal:demo:{deal}", ids=[f"email:{email}"] if email else [],
                    properties=properties, grade="likely", **changes)


def a_move(id_: str, email: str, from_stage: str, to_stage: str, *, gate: str = "", at: datetime = DAY) -> dict[str, Any]:
    return a_decision(id_, "transition", email, from_stage=from_stage, to_stage=to_stage, gate=gate, at=at)


def a_verdict(id_: str, email: str, gate: str, outcome: str, *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    return a_decision(id_, "verdict", email, gate=gate, outcome=outcome, at=at, **changes)


def a_decision(id_: str, kind: str, email: str, *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    anchor = f"email:{email}"
    row = {
        "id": id_, "kind": kind, "person": person_id(anchor), "anchor": anchor, "loop": "autumn-pumps", "version": "v1",
        "gate": "", "campaign": "", "from_stage": "", "to_stage": "", "outcome": "", "hold_kind": "", "reason": "",
        "arm": "", "draw": None, "at": iso(at), "run": "r1", "detail": "{}",
    }
    return {**row, **changes}


def write(folder: Path, events: Iterable[Mapping[str, Any]], decisions: Iterable[Mapping[str, Any]] = ()) -> Path:
    for prefix, rows, moment in (("events", events, "received_at"), ("decisions", decisions, "at")):
        days: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            days.setdefault(row[moment][:10], []).append(row)
        for day, listed in days.items():
            target = folder / prefix / f"dt={day}" / "batch.ndjson.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed)
            target.write_bytes(gzip.compress(text.encode()))
    return folder
