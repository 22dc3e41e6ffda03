"""Consents that wait for their address: the mail that is to be sent once, and how often an address was asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from closedloop.events.confirmations import OF_A_NETWORK, OF_AN_ADDRESS, Question, Quota, free_at
from closedloop.events.times import iso, parse
from closedloop.identity.persons import person_id
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.profiles import due_shard
from closedloop.store.table import Item, Table, key

# No loop has this name, so questions lie among a person's actions and one read brings both.
QUESTION = "A#~question#"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with how it stands: pending, claimed, sent, failed or unknown; and why it failed."""

    question: Question
    status: str
    claimed_at: datetime | None = None
    reason: str = ""

    @property
    def person(self) -> str:
        """The id under which it was put; the person may have another by now."""
        return person_id(self.question.identifier)

    @property
    def name(self) -> str:
        return hashlib.sha256(self.question.submission.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Window:
    """When questions were asked of one address or network, as read under a version."""

    pk: str
    quotas: Sequence[Quota]
    version: int
    sent: Mapping[str, datetime]

    @property
    def span(self) -> timedelta:
        return max(quota.span for quota in self.quotas)


class Questions(Table):
    """Keeps the questions."""

    def ask(self, question: Question) -> None:
        """Put a question once, due at once; the same submission told again puts nothing more."""
        asked = Asked(question, "pending")
        put = self._once({
            **key(f"P#{asked.person}", f"{QUESTION}{asked.name}"),
            "site": {"S": question.site}, "form": {"S": question.form}, "identifier": {"S": question.identifier},
            "submission": {"S": question.submission}, "consent_version": {"S": question.version},
            "text": {"S": question.text}, "network": {"S": question.network}, "at": {"S": iso(question.at)},
            "outcome": {"S": "pending"},
            schema.DUE: {"S": due_shard(asked.person)}, schema.DUE_AT: {"S": iso(question.at)},
        })
        try:
            self._dynamo.call("PutItem", put["Put"])
        except CallFailed as error:
            if not error.is_condition:
                raise

    def questions(self, identifier: str) -> list[Asked]:
        """Everything that an address was to be asked, oldest first, and what became of it."""
        found = map(asked_of, self._query(f"P#{person_id(identifier)}", QUESTION))
        return sorted(found, key=lambda asked: (asked.question.at, asked.name))

    def free_at(self, asked: Asked, now: datetime) -> tuple[datetime, datetime]:
        """When the address, and when the network, may be asked next; now where they may be asked now."""
        address, network = self._windows(asked)
        return (
            free_at(address.sent, asked.name, address.quotas, now),
            free_at(network.sent, asked.name, network.quotas, now) if network else now,
        )

    def _windows(self, asked: Asked) -> tuple[_Window, _Window | None]:
        question = asked.question
        address = self._window(f"X#{question.identifier}", OF_AN_ADDRESS)
        return address, self._window(f"W#{question.network}", OF_A_NETWORK) if question.network else None

    def _window(self, pk: str, quotas: Sequence[Quota]) -> _Window:
        item = self._get(pk, "ASKED")
        if item is None:
            return _Window(pk, quotas, 0, {})
        sent = {name: parse(at) for name, at in json.loads(item[schema.BODY]["S"]).items()}
        return _Window(pk, quotas, int(item["version"]["N"]), sent)

    def claim_question(self, asked: Asked, identifiers: Sequence[str], now: datetime) -> bool:
        """Take a question for oneself: nobody else did, quotas allow it, and no address of the person is suppressed.

        Shapes: false when one of these is not so; all of it is one transaction, so quotas hold whoever else asks.
        """
        windows = [window for window in self._windows(asked) if window is not None]
        if any(free_at(window.sent, asked.name, window.quotas, now) > now for window in windows):
            return False
        writes = [
            {"Update": self._change(asked, "SET #outcome = :new, claimed_at = :now", "pending", "claimed", now)},
            *(self._note(window, asked.name, now) for window in windows),
            *(
                {
                    "ConditionCheck": {
                        "TableName": self._table, "Key": key(f"X#{identifier}", "SUPPRESSED"),
                        "ConditionExpression": "attribute_not_exists(#pk)",
                        "ExpressionAttributeNames": {"#pk": schema.PK},
                    }
                }
                for identifier in identifiers
            ),
        ]
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": writes})
        except CallFailed as error:
            if error.is_condition:
                return False
            raise
        return True

    def _note(self, window: _Window, name: str, now: datetime) -> dict[str, Any]:
        kept = {one: iso(at) for one, at in {**window.sent, name: now}.items() if at > now - window.span}
        return self._put_if(
            {
                **key(window.pk, "ASKED"), "version": {"N": str(window.version + 1)},
                schema.BODY: {"S": json.dumps(kept, sort_keys=True)},
                schema.TTL: {"N": str(int((now + window.span).timestamp()))},
            },
            "#version = :seen" if window.version else "attribute_not_exists(#version)",
            {"#version": "version"},
            {":seen": {"N": str(window.version)}} if window.version else None,
        )

    def release_question(self, asked: Asked) -> None:
        """Give a claimed question back, when it is certain that nothing was sent; it counts once when it is asked."""
        self._unless_changed(self._change(asked, "SET #outcome = :new REMOVE claimed_at", "claimed", "pending"))

    def postpone_question(self, asked: Asked, until: datetime) -> None:
        """Leave a question for later."""
        change = self._change(asked, f"SET #outcome = :new, {schema.DUE_AT} = :now", "pending", "pending", until)
        self._unless_changed(change)

    def end_question(self, asked: Asked, outcome: str, reason: str, message: str, now: datetime) -> None:
        """Write how a question ended: sent, failed or unknown, and why; nothing when somebody else has it by now."""
        change = self._change(
            asked, f"SET #outcome = :new, ended_at = :now, reason = :reason, message = :message "
            f"REMOVE {schema.DUE}, {schema.DUE_AT}", asked.status, outcome, now,
        )
        change["ExpressionAttributeValues"] |= {":reason": {"S": reason}, ":message": {"S": message}}
        self._unless_changed(change)

    def _change(self, asked: Asked, update: str, seen: str, new: str, now: datetime | None = None) -> dict[str, Any]:
        """A change of a question that is still as it was seen."""
        values: dict[str, Any] = {":seen": {"S": seen}, ":new": {"S": new}}
        if now is not None:
            values[":now"] = {"S": iso(now)}
        return {
            "TableName": self._table, "Key": key(f"P#{asked.person}", f"{QUESTION}{asked.name}"),
            "UpdateExpression": update, "ConditionExpression": "#outcome = :seen",
            "ExpressionAttributeNames": {"#outcome": "outcome"}, "ExpressionAttributeValues": values,
        }


def asked_of(item: Item) -> Asked:
    """A question as it was put."""
    question = Question(
        item["site"]["S"], item["form"]["S"], item["identifier"]["S"], item["submission"]["S"],
        item["consent_version"]["S"], item["text"]["S"], parse(item["at"]["S"]), item["network"]["S"],
    )
    claimed = item.get("claimed_at")
    reason = item.get("reason", {}).get("S", "")
    return Asked(question, item["outcome"]["S"], parse(claimed["S"]) if claimed else None, reason)
