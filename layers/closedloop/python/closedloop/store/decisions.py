"""Where people stand on a loop, and every verdict and transition, written once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import structs

from closedloop.errors import StageMoved
from closedloop.events.times import iso
from closedloop.loops.decide import (
    Decision,
    Position,
    Verdict,
    as_json,
    over_service_level,
    standing_from,
    standing_text,
)
from closedloop.loops.definition import MAIL, SALES_NOTICE, Loop
from closedloop.profiles.profile import Stored
from closedloop.sites.definition import version_of
from closedloop.store import schema
from closedloop.store.actions import outbox_item
from closedloop.store.calls import CallFailed
from closedloop.store.profiles import stored_of
from closedloop.store.table import Item, Table, key

POSITION = "POS#"


@dataclass(frozen=True, slots=True)
class Unread:
    """One person as stored: the profile under its version, whether they are due, and the positions of this id.

    Shapes: `stored` is None where no profile was written or the id moved.
    """

    person: str
    version: int
    stored: Stored | None
    is_due: bool
    positions: Mapping[str, Item]

    def position(self, loop: str) -> Position:
        """Where this id stands on a loop by itself."""
        return _position(self.person, loop, self.positions.get(loop))


class Decisions(Table):
    """Keeps what was decided.

    Errors: StageMoved when somebody was faster.
    """

    def unread(self, person: str, *, consistent: bool) -> Unread:
        """What is stored of a person's profile and where the id stands on every loop, by one read.

        Who is merely looked at again is not read consistently, which costs half: what is decided is written on the
        condition that nothing changed since.
        """
        version, stored, is_due, positions = 0, None, False, {}
        query = {
            "TableName": self._table,
            "ConsistentRead": consistent,
            "KeyConditionExpression": "#pk = :pk AND #sk BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#pk": schema.PK, "#sk": schema.SK},
            "ExpressionAttributeValues": {
                ":pk": {"S": f"P#{person}"}, ":first": {"S": POSITION}, ":last": {"S": "PROFILE"},
            },
        }
        for item in self._pages(query):
            name = item[schema.SK]["S"]
            if name == "PROFILE":
                version, is_due = int(item["version"]["N"]), schema.DUE in item
                stored = None if "moved_to" in item else stored_of(item)
            elif name.startswith(POSITION):
                positions[name.removeprefix(POSITION)] = item
        return Unread(person, version, stored, is_due, positions)

    def position(self, person: str, loop: str) -> Position:
        """Where an id stands on a loop by itself; its former ids may stand elsewhere (see loops/flow.py)."""
        return _position(person, loop, self._get(f"P#{person}", POSITION + loop))

    def write_decision(
        self, decision: Decision, loop: Loop, anchor: str, run: str, now: datetime, seen: int | None = None
    ) -> None:
        """Write what was decided, all of it or nothing: verdicts, position, transition and actions.

        Shapes: `seen` is the version of the profile decided on; without one, the id must only not have moved.
        Errors: StageMoved when position or profile are no longer those decided on.
        """
        before, after = decision.before, decision.after
        version = version_of(loop)
        facts = {
            "person": {"S": after.person},
            "anchor": {"S": anchor},
            "loop": {"S": loop.loop},
            "loop_version": {"S": version},
            "at": {"S": iso(now)},
            "run": {"S": run},
        }
        position: dict[str, Any] = {
            **key(f"P#{after.person}", POSITION + loop.loop),
            "stage": {"S": after.stage},
            "version": {"N": str(after.version)},
            "unit": {"S": after.unit},
            "standing": {"S": standing_text(after.standing)},
            "since": {"S": after.since},
            **({"took_over": _texts(after.took_over), "own": _texts(after.own)} if after.took_over else {}),
        }
        writes = [
            self._put_if(
                position,
                "attribute_not_exists(#version)" if before.version == 0 else "#version = :seen",
                {"#version": "version"},
                {":seen": {"N": str(before.version)}} if before.version else None,
            )
        ]
        profile: dict[str, Any] = {"TableName": self._table, "Key": key(f"P#{after.person}", "PROFILE")}
        if seen is None:
            profile |= {"ConditionExpression": "attribute_not_exists(moved_to)"}
        else:
            profile |= {
                "ConditionExpression": "#version = :seen",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":seen": {"N": str(seen)}},
            }
        writes.append({"ConditionCheck": profile})
        for verdict in decision.verdicts:
            writes.append(
                self._once(
                    {
                        **key(f"P#{after.person}", f"V#{loop.loop}#{after.version:06d}#{verdict.gate}"),
                        schema.KIND: {"S": "verdict"},
                        **facts,
                        **_verdict_facts(verdict),
                    }
                )
            )
        if after.stage != before.stage:
            writes.append(
                self._once(
                    {
                        **key(f"P#{after.person}", f"T#{loop.loop}#{after.version:06d}"),
                        schema.KIND: {"S": "transition"},
                        **facts,
                        "from_stage": {"S": before.stage},
                        "to_stage": {"S": after.stage},
                        "reason": {"S": decision.reason},
                        "unit": {"S": after.unit},
                        "gate": {"S": decision.verdicts[-1].gate if decision.verdicts else ""},
                        **_drawn(decision),
                    }
                )
            )
        if (room := decision.room) is not None:
            writes.append(self._once(key(f"R#{loop.loop}#{room.stage}", f"{room.window}#{room.slot:07d}")))
        if decision.late:
            level = loop.service_levels[before.stage]
            about: dict[str, Any] = {
                "why": over_service_level(before.stage, level.days, before.since), "to": list(level.to),
                "language": level.language,
            }
            name = f"~late-{before.stage}-{before.since}"
            writes.append(self._once(outbox_item(facts, name, SALES_NOTICE, now, about)))
        kinds = {campaign.name: campaign.kind for campaign in loop.campaigns}
        for campaign in decision.campaigns:
            kind = kinds.get(campaign, MAIL)
            # A mail says nothing of why it is sent; whoever is to act asks first.
            gate = decision.verdicts[-1].gate if decision.verdicts else ""
            about = {} if kind == MAIL else {"gate": gate, "position": after.version}
            writes.append(self._once(outbox_item(facts, campaign, kind, now, about)))
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": writes})
        except CallFailed as error:
            if not error.is_condition:
                raise
            # Who comes to a stage for a second time has its actions already.
            new = tuple(
                campaign for campaign in decision.campaigns
                if self._get(f"P#{after.person}", f"A#{loop.loop}#{version}#{campaign}") is None
            )
            if new == decision.campaigns:
                raise StageMoved(after.person) from error
            self.write_decision(structs.replace(decision, campaigns=new), loop, anchor, run, now, seen)

    def slots_taken(self, loop: str, stage: str, window: str) -> int:
        """How many slots of a window of a stage's capacity are taken: the number of the last, as none is left out."""
        found = self._dynamo.call("Query", {
            "TableName": self._table, "ConsistentRead": True, "ScanIndexForward": False, "Limit": 1,
            "KeyConditionExpression": "#pk = :pk AND begins_with(#sk, :sk)",
            "ExpressionAttributeNames": {"#pk": schema.PK, "#sk": schema.SK},
            "ExpressionAttributeValues": {":pk": {"S": f"R#{loop}#{stage}"}, ":sk": {"S": f"{window}#"}},
        }).get("Items", ())
        return int(found[0][schema.SK]["S"].rpartition("#")[2]) if found else 0

    def verdict(self, person: str, loop: str, position: int, gate: str) -> tuple[dict[str, Any], str] | None:
        """What a gate found of somebody when it brought them to a position, and its reason; None where it asked not."""
        item = self._get(f"P#{person}", f"V#{loop}#{position:06d}#{gate}") if gate else None
        return None if item is None else (dict(json.loads(item["detail"]["S"])), item["reason"]["S"])

    def decisions(self, person: str) -> list[dict[str, Any]]:
        """Every verdict, transition and action of a person, as they were written."""
        found = []
        for prefix in ("T#", "V#", "A#", "M#"):
            for item in self._query(f"P#{person}", prefix):
                if schema.KIND in item:
                    found.append(decision_row(item))
        return sorted(found, key=lambda row: (row["at"], row["id"]))

    def every_decision(self) -> Iterator[dict[str, Any]]:
        """All verdicts, transitions and actions there are, by a scan: for an operator's checks alone."""
        names = {f":{kind}": {"S": kind} for kind in schema.DECISION_KINDS}
        scan: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "FilterExpression": f"#kind IN ({', '.join(names)})",
            "ExpressionAttributeNames": {"#kind": schema.KIND},
            "ExpressionAttributeValues": names,
        }
        while True:
            answer = self._dynamo.call("Scan", scan)
            yield from (decision_row(item) for item in answer.get("Items", ()))
            if not answer.get("LastEvaluatedKey"):
                return
            scan["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _texts(texts: tuple[str, ...]) -> dict[str, Any]:
    return {"L": [{"S": text} for text in texts]}


def _of_others(item: Item) -> tuple[tuple[str, ...], tuple[str, str, str]]:
    if "took_over" not in item:
        return (), ("", "", "")
    stage, unit, since = (text["S"] for text in item["own"]["L"])
    return tuple(text["S"] for text in item["took_over"]["L"]), (stage, unit, since)


def _position(person: str, loop: str, item: Item | None) -> Position:
    if item is None:
        return Position(person, loop)
    return Position(
        person,
        loop,
        item["stage"]["S"],
        int(item["version"]["N"]),
        item["unit"]["S"],
        standing_from(item["standing"]["S"]),
        item["since"]["S"],
        *_of_others(item),
    )


def _verdict_facts(verdict: Verdict) -> dict[str, Any]:
    return {
        "gate": {"S": verdict.gate},
        "outcome": {"S": verdict.outcome.value},
        "reason": {"S": verdict.reason},
        "hold_kind": {"S": verdict.hold_kind.value if verdict.hold_kind else ""},
        "detail": {"S": as_json(verdict)},
        **_drawn(verdict),
    }


def _drawn(by: Verdict | Decision) -> dict[str, Any]:
    facts = {"arm": {"S": by.arm.value if by.arm else ""}}
    return facts if by.draw is None else {**facts, "draw": {"S": repr(by.draw)}}


def decision_row(item: Item) -> dict[str, Any]:
    """A verdict, transition or action, from the table or its stream, as the lake's row."""

    def text(name: str) -> str:
        return str(item.get(name, {}).get("S", ""))

    draw = text("draw")
    return {
        "id": f"{item[schema.PK]['S']}|{item[schema.SK]['S']}",
        "kind": text(schema.KIND),
        "person": text("person"),
        "anchor": text("anchor"),
        "loop": text("loop"),
        "version": text("loop_version"),
        "gate": text("gate"),
        "campaign": text("campaign"),
        "from_stage": text("from_stage"),
        "to_stage": text("to_stage"),
        "outcome": text("outcome"),
        "hold_kind": text("hold_kind"),
        "reason": text("reason"),
        "arm": text("arm"),
        "draw": float(draw) if draw else None,
        "at": text("at"),
        "run": text("run"),
        "detail": text("detail") or text("message"),
    }
