"""What was told to the company's people, and the calls that they are to make."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from closedloop.errors import NotFound, Refused
from closedloop.events.times import iso, parse
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.table import Item, Table, key

if TYPE_CHECKING:
    from closedloop.loops.handover import Delivery
    from closedloop.store.actions import Action


@dataclass(frozen=True, slots=True)
class Task:
    """A call to make.

    Shapes: `status` is open or done; `outcome` is one of `outcomes`, empty while open; times are ISO.
    """

    person: str
    loop: str
    version: str
    campaign: str
    at: str
    until: str
    outcomes: tuple[str, ...]
    status: str = "open"
    outcome: str = ""
    done_at: str = ""

    @property
    def id(self) -> str:
        """What a seller ends it by."""
        return task_id(self.loop, self.campaign, self.person, self.version)


def task_id(loop: str, campaign: str, person: str, version: str) -> str:
    return "/".join((loop, campaign, person, version))


class Notices(Table):
    """Keeps deliveries and calls, each loop's in a place of its own."""

    def take_delivery(self, told: Delivery, now: datetime, lease: timedelta) -> str:
        """Take a delivery for oneself; how it stands.

        Shapes: mine when it may be made now, taken while somebody else is at it, delivered or failed once it ended.
        """
        try:
            self._dynamo.call("UpdateItem", {
                "TableName": self._table, "Key": _delivery_key(told),
                "UpdateExpression": "SET #outcome = :claimed, claimed_at = :now, #loop = :loop, channel = :channel, "
                                    "campaign = :campaign, person = :person",
                "ConditionExpression": "attribute_not_exists(#outcome) OR #outcome = :unknown OR "
                                       "(#outcome = :claimed AND claimed_at < :lost)",
                "ExpressionAttributeNames": {"#outcome": "outcome", "#loop": "loop"},
                "ExpressionAttributeValues": {
                    ":claimed": {"S": "claimed"}, ":unknown": {"S": "unknown"}, ":now": {"S": iso(now)},
                    ":lost": {"S": iso(now - lease)}, ":loop": {"S": told.loop}, ":channel": {"S": told.channel},
                    ":campaign": {"S": told.campaign}, ":person": {"S": told.person},
                },
            })
        except CallFailed as error:
            if not error.is_condition:
                raise
            where = _delivery_key(told)
            item = self._get(where[schema.PK]["S"], where[schema.SK]["S"])
            outcome = item["outcome"]["S"] if item else ""
            return outcome if outcome in ("delivered", "failed") else "taken"
        return "mine"

    def end_delivery(self, told: Delivery, outcome: str, reason: str, now: datetime) -> None:
        """Write how a delivery ended; one that was made stays made."""
        self._unless_changed({
            "TableName": self._table, "Key": _delivery_key(told),
            "UpdateExpression": "SET #outcome = :outcome, reason = :reason, ended_at = :now",
            "ConditionExpression": "#outcome = :claimed",
            "ExpressionAttributeNames": {"#outcome": "outcome"},
            "ExpressionAttributeValues": {
                ":outcome": {"S": outcome}, ":reason": {"S": reason}, ":now": {"S": iso(now)},
                ":claimed": {"S": "claimed"},
            },
        })

    def deliveries(self, loop: str) -> Iterator[dict[str, str]]:
        """Every notice of a loop, the earliest first, with where it went and how it stands."""
        for item in self._query(f"NOTICE#{loop}"):
            row = {name: _text(item, name) for name in ("person", "campaign", "channel", "outcome", "reason")}
            yield {"at": item[schema.SK]["S"].partition("#")[0], **row, "ended_at": _text(item, "ended_at")}

    def task_write(self, action: Action, outcomes: Sequence[str], until: datetime) -> dict[str, Any]:
        """The write that sets a call, to go with the end of the action that asked for it."""
        return self._once({
            **key(f"TASK#{action.loop}", f"{action.person}#{action.campaign}#{action.version}"),
            "at": {"S": iso(action.at)}, "until": {"S": iso(until)}, "outcome": {"S": ""},
            schema.BODY: {"S": json.dumps(list(outcomes), ensure_ascii=False)},
        })

    def tasks(self, loop: str) -> list[Task]:
        """The calls of a loop, the one that is due first before the others."""
        found = [_task(loop, item) for item in self._query(f"TASK#{loop}")]
        return sorted(found, key=lambda task: (task.until, task.id))

    def task(self, name: str) -> Task:
        """One call by its id.

        Errors: NotFound.
        """
        parts = name.split("/")
        if len(parts) == 4:
            loop, campaign, person, version = parts
            item = self._get(f"TASK#{loop}", f"{person}#{campaign}#{version}")
            if item is not None:
                return _task(loop, item)
        raise NotFound(f"no call {name!r} is to be made; `closedloop task list LOOP` shows those that are")

    def end_task(self, task: Task, outcome: str, now: datetime) -> Task:
        """Write how a call ended; the same again changes nothing; the call as it stands then.

        Errors: Refused when it ended otherwise before.
        """
        self._unless_changed({
            "TableName": self._table,
            "Key": key(f"TASK#{task.loop}", f"{task.person}#{task.campaign}#{task.version}"),
            "UpdateExpression": "SET #outcome = :outcome, done_at = :now",
            "ConditionExpression": "#outcome = :open",
            "ExpressionAttributeNames": {"#outcome": "outcome"},
            "ExpressionAttributeValues": {":outcome": {"S": outcome}, ":now": {"S": iso(now)}, ":open": {"S": ""}},
        })
        ended = self.task(task.id)
        if ended.outcome != outcome:
            raise Refused(f"this call ended as {ended.outcome!r} on {parse(ended.done_at):%Y-%m-%d %H:%M} UTC")
        return ended


def _delivery_key(told: Delivery) -> dict[str, Any]:
    return key(f"NOTICE#{told.loop}", f"{told.at}#{told.person}#{told.campaign}#{told.version}#{told.channel}")


def _text(item: Item, name: str) -> str:
    return str(item[name]["S"]) if name in item else ""


def _task(loop: str, item: Item) -> Task:
    person, campaign, version = item[schema.SK]["S"].split("#")
    outcome = _text(item, "outcome")
    return Task(
        person, loop, version, campaign, _text(item, "at"), _text(item, "until"),
        tuple(json.loads(item[schema.BODY]["S"])), "done" if outcome else "open", outcome, _text(item, "done_at"),
    )
