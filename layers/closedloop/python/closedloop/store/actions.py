"""What is to be done once for a person, who took it, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from closedloop.events.times import iso, parse
from closedloop.loops.definition import MAIL
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.profiles import due_shard
from closedloop.store.questions import QUESTION, Asked, asked_of
from closedloop.store.table import Item, Table, key

OPEN = ("pending", "claimed")
# The longest time that a cap may look back.
COUNTED_FOR = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do once for a person: a campaign's mail, or what tells people of the company to act.

    Shapes: `kind` is mail, sales_notice or call_task; `campaign` is the campaign's name, or for what no
    campaign asks for a name that begins with ~; `about` says what it is about (see `outbox_item`); `status` is pending,
    claimed, sent, failed or unknown; `claimed_at` is None until somebody took it, in the run `claimed_by`.
    """

    person: str
    loop: str
    version: str
    campaign: str
    status: str
    at: datetime
    claimed_at: datetime | None = None
    kind: str = MAIL
    about: Mapping[str, Any] = field(default_factory=dict)
    claimed_by: str = ""

    @property
    def key(self) -> str:
        return f"{self.loop}#{self.version}#{self.campaign}"


@dataclass(frozen=True, slots=True)
class Mailed:
    """When an address was mailed lately, by the mails' keys, as read under a version."""

    identifier: str
    version: int
    sent: Mapping[str, datetime]


def outbox_item(
    facts: Mapping[str, Any], name: str, kind: str, now: datetime, about: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Something to do once for a person, as it is written with the decision that asks for it.

    Shapes: `facts` are those of every record of a decision: person, anchor, loop, loop_version, at, run. `name` is the
    campaign's, or for what no campaign asks for a name of its own that begins with ~, such as ~late-problem-3. `about`
    says why it is due: `gate` and `position`, where a verdict was written with it, or `why` as sentences by language,
    {"en": [...], "ja": [...]}; and where no campaign says it, `to` and `language` of a sales notice. It holds nothing
    about the person but what gates found.
    """
    person = facts["person"]["S"]
    item = {
        **key(f"P#{person}", f"A#{facts['loop']['S']}#{facts['loop_version']['S']}#{name}"),
        schema.KIND: {"S": "action"},
        **facts,
        "campaign": {"S": name},
        "outcome": {"S": "pending"},
        schema.DUE: {"S": due_shard(person)},
        schema.DUE_AT: {"S": iso(now)},
    }
    if kind != MAIL:
        item[schema.ACTION] = {"S": kind}
    if about:
        item[schema.BODY] = {"S": json.dumps(about, ensure_ascii=False, sort_keys=True)}
    return item


class Actions(Table):
    """Keeps the actions."""

    def actions(self, person: str) -> list[Action]:
        """What is still to be done for a person: pending, or claimed and not ended."""
        return self.to_do(person)[0]

    def to_do(self, person: str) -> tuple[list[Action], list[Asked]]:
        """The actions that are still to be done for a person, and the questions that are still to be asked."""
        actions, questions = [], []
        for item in self._query(f"P#{person}", "A#"):
            if item[schema.SK]["S"].startswith(QUESTION):
                questions.append(asked_of(item))
                continue
            actions.append(_action(item))
        return [one for one in actions if one.status in OPEN], [one for one in questions if one.status in OPEN]

    def action(self, person: str, key: str) -> Action | None:
        """One action of a person by its key, however it stands."""
        item = self._get(f"P#{person}", f"A#{key}")
        return None if item is None else _action(item)

    def action_status(self, person: str, key: str) -> str:
        """How an action stands under an id; empty when that id has no such action."""
        item = self._get(f"P#{person}", f"A#{key}")
        return "" if item is None else str(item["outcome"]["S"])

    def mailed(self, identifiers: Sequence[str]) -> tuple[Mailed, ...]:
        """When each address was mailed by loops that cap their mails."""
        found = []
        for identifier in identifiers:
            item = self._get(f"X#{identifier}", "MAILED")
            told = json.loads(item[schema.BODY]["S"]) if item else {}
            sent = {key: parse(at) for key, at in told.items()}
            found.append(Mailed(identifier, int(item["version"]["N"]) if item else 0, sent))
        return tuple(found)

    def claim(
        self, action: Action, identifiers: Sequence[str], now: datetime, mailed: Sequence[Mailed] = ()
    ) -> bool:
        """Take an action for oneself, on the condition that nobody did and that no address of it is suppressed.

        Shapes: false when it was claimed before or may not be done, or when an address was mailed since `mailed` was
        read; this mail is then counted there.
        """
        claim = {
            "Update": {
                "TableName": self._table,
                "Key": key(f"P#{action.person}", f"A#{action.key}"),
                "UpdateExpression": "SET #outcome = :claimed, claimed_at = :now",
                "ConditionExpression": "#outcome = :pending",
                "ExpressionAttributeNames": {"#outcome": "outcome"},
                "ExpressionAttributeValues": {
                    ":claimed": {"S": "claimed"},
                    ":pending": {"S": "pending"},
                    ":now": {"S": iso(now)},
                },
            }
        }
        free = [
            {
                "ConditionCheck": {
                    "TableName": self._table,
                    "Key": key(f"X#{identifier}", "SUPPRESSED"),
                    "ConditionExpression": "attribute_not_exists(#pk)",
                    "ExpressionAttributeNames": {"#pk": schema.PK},
                }
            }
            for identifier in identifiers
        ]
        try:
            counted = [self._counted(one, action.key, now) for one in mailed]
            self._dynamo.call("TransactWriteItems", {"TransactItems": [claim, *free, *counted]})
        except CallFailed as error:
            if error.is_condition:
                return False
            raise
        return True

    def _counted(self, mailed: Mailed, name: str, now: datetime) -> dict[str, Any]:
        kept = {one: iso(at) for one, at in {**mailed.sent, name: now}.items() if at > now - COUNTED_FOR}
        return self._put_if(
            {
                **key(f"X#{mailed.identifier}", "MAILED"), "version": {"N": str(mailed.version + 1)},
                schema.BODY: {"S": json.dumps(kept, sort_keys=True)},
                schema.TTL: {"N": str(int((now + COUNTED_FOR).timestamp()))},
            },
            "#version = :seen" if mailed.version else "attribute_not_exists(#version)",
            {"#version": "version"},
            {":seen": {"N": str(mailed.version)}} if mailed.version else None,
        )

    def take(self, action: Action, run: str, now: datetime) -> bool:
        """Take for a run what may safely be done again: what waits, or what nobody ended since it was seen claimed."""
        seen = {":seen": {"S": iso(action.claimed_at)}} if action.claimed_at else {}
        try:
            self._dynamo.call("UpdateItem", {
                "TableName": self._table,
                "Key": key(f"P#{action.person}", f"A#{action.key}"),
                "UpdateExpression": "SET #outcome = :claimed, claimed_at = :now, claimed_by = :run",
                "ConditionExpression": "#outcome = :status" + (" AND claimed_at = :seen" if seen else ""),
                "ExpressionAttributeNames": {"#outcome": "outcome"},
                "ExpressionAttributeValues": {
                    ":claimed": {"S": "claimed"}, ":status": {"S": action.status}, ":now": {"S": iso(now)},
                    ":run": {"S": run}, **seen,
                },
            })
        except CallFailed as error:
            if error.is_condition:
                return False
            raise
        return True

    def release(self, action: Action) -> None:
        """Give a claimed action back, when it is certain that nothing was done."""
        self._dynamo.call(
            "UpdateItem",
            {
                "TableName": self._table,
                "Key": key(f"P#{action.person}", f"A#{action.key}"),
                "UpdateExpression": "SET #outcome = :pending REMOVE claimed_at",
                "ConditionExpression": "#outcome = :claimed",
                "ExpressionAttributeNames": {"#outcome": "outcome"},
                "ExpressionAttributeValues": {":claimed": {"S": "claimed"}, ":pending": {"S": "pending"}},
            },
        )

    def postpone(self, action: Action, until: datetime) -> None:
        """Leave an action for later; whatever makes the person due makes it due too."""
        self._unless_changed({
            "TableName": self._table,
            "Key": key(f"P#{action.person}", f"A#{action.key}"),
            "UpdateExpression": f"SET {schema.DUE_AT} = :until",
            "ConditionExpression": "#outcome = :pending",
            "ExpressionAttributeNames": {"#outcome": "outcome"},
            "ExpressionAttributeValues": {":until": {"S": iso(until)}, ":pending": {"S": "pending"}},
        })

    def end(
        self, action: Action, outcome: str, anchor: str, reason: str, message: str, run: str, now: datetime,
        also: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Write how an action ended: sent, failed or unknown; written once, and no longer due; `also` goes with it.

        Shapes: nothing is written when the action is no longer as `action.status` says: who has claimed it ends it.
        """
        status = {
            "Update": {
                "TableName": self._table,
                "Key": key(f"P#{action.person}", f"A#{action.key}"),
                "UpdateExpression": f"SET #outcome = :outcome REMOVE {schema.DUE}, {schema.DUE_AT}",
                "ConditionExpression": "#outcome = :seen",
                "ExpressionAttributeNames": {"#outcome": "outcome"},
                "ExpressionAttributeValues": {":outcome": {"S": outcome}, ":seen": {"S": action.status}},
            }
        }
        record = self._once(
            {
                **key(f"P#{action.person}", f"M#{action.key}"),
                schema.KIND: {"S": "action"},
                "person": {"S": action.person},
                "anchor": {"S": anchor},
                "loop": {"S": action.loop},
                "loop_version": {"S": action.version},
                "campaign": {"S": action.campaign},
                "outcome": {"S": outcome},
                "reason": {"S": reason},
                "message": {"S": message},
                "at": {"S": iso(now)},
                "run": {"S": run},
            }
        )
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": [status, record, *also]})
        except CallFailed as error:
            if not error.is_condition:
                raise


def _action(item: Item) -> Action:
    claimed = item.get("claimed_at")
    return Action(
        item["person"]["S"], item["loop"]["S"], item["loop_version"]["S"], item["campaign"]["S"], item["outcome"]["S"],
        parse(item["at"]["S"]), parse(claimed["S"]) if claimed else None,
        item.get(schema.ACTION, {}).get("S", MAIL),
        json.loads(item[schema.BODY]["S"]) if schema.BODY in item else {},
        item.get("claimed_by", {}).get("S", ""),
    )
