"""The profiles, who is due for a decision, the customer lists, the clear addresses and who gets no mail."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from closedloop.errors import BadShape, ProfileMoved, Unstorable
from closedloop.events.times import iso
from closedloop.profiles.profile import Profile, Stored, profile_from
from closedloop.store import schema
from closedloop.store.accounts import Accounts
from closedloop.store.calls import CallFailed, binary
from closedloop.store.table import key, shard_of

# So many a transaction of DynamoDB holds.
MOST_WRITES = 100


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile with the version under which it was read; version 0 was never written.

    Shapes: `moved_to` is the id that the person has now, when this one became one with another; such an id never
    has a profile again. A profile that cannot be read is None under its version: the next fold writes over it.
    """

    version: int
    profile: Profile | None
    moved_to: str = ""


def stored_of(item: Mapping[str, Any]) -> Stored:
    """What is stored of a profile, not yet read."""
    return Stored(item[schema.BODY]["S"], binary(item[schema.MORE]) if schema.MORE in item else b"")


def person_of(item: Mapping[str, Any]) -> str:
    """The id of the person whose item it is."""
    return str(item[schema.PK]["S"]).removeprefix("P#")


def due_shard(person: str) -> str:
    """The partition of the due index that a person waits in."""
    return f"DUE#{shard_of(person)}"


class Profiles(Accounts):
    """Keeps what is known of each person, and with it whom their accounts have.

    Errors: ProfileMoved when somebody was faster.
    """

    def profile(self, person: str) -> StoredProfile:
        item = self._get(f"P#{person}", "PROFILE")
        if item is None:
            return StoredProfile(0, None)
        version = int(item["version"]["N"])
        if "moved_to" in item:
            return StoredProfile(version, None, item["moved_to"]["S"])
        try:
            return StoredProfile(version, profile_from(stored_of(item)))
        except BadShape:
            return StoredProfile(version, None)

    def present_id(self, person: str) -> str:
        """The id that somebody has now, who may have become one with another since."""
        while moved_to := self.profile(person).moved_to:
            person = moved_to
        return person

    def living(self, person: str) -> StoredProfile:
        """The profile of somebody under the id that they have now."""
        stored = self.profile(person)
        while stored.moved_to:
            stored = self.profile(stored.moved_to)
        return stored

    def put_profile(
        self,
        profile: Profile,
        seen: int,
        due_at: datetime,
        contact: Mapping[str, str] | None = None,
        former: Mapping[str, int] | None = None,
    ) -> None:
        """Store a fold on the condition that nobody stored another since it was read, and mark the person due.

        Shapes: `contact` is given only when it changed; `former` are ids that this person has no longer, each with the
        version seen (0 for one that never was), and each becomes a sign to this one. All is written or nothing.
        Errors: ProfileMoved.
        """
        if seen == 0:
            self._put(self._member(profile.group, profile.person))
        stored = profile.stored()
        put = self._put_if(
            {
                **key(f"P#{profile.person}", "PROFILE"),
                "version": {"N": str(seen + 1)},
                schema.BODY: {"S": stored.told},
                schema.MORE: {"B": stored.more},
                schema.DUE: {"S": due_shard(profile.person)},
                schema.DUE_AT: {"S": iso(due_at)},
            },
            "#version = :seen" if seen else "attribute_not_exists(#version)",
            {"#version": "version"},
            {":seen": {"N": str(seen)}} if seen else None,
        )
        writes = [put]
        if contact is not None:
            # Read after the version: whoever changes it meanwhile makes this write fail.
            before = self._keys_of(self.contact(profile.person), profile.group) if seen else ()
            after = self._keys_of(contact, profile.group)
            writes.append(self._put_contact(profile.person, contact))
            writes += self._joins(profile.person, before, after, profile.group, due_at)
        room = MOST_WRITES - len(writes) - 3 * len(former or {})
        for person, version in (former or {}).items():
            moved = {"moved_to": {"S": profile.person}}
            writes.append(
                self._put_if(
                    {**key(f"P#{person}", "PROFILE"), "version": {"N": str(version + 1)}, **moved},
                    "#version = :seen" if version else "attribute_not_exists(#version)",
                    {"#version": "version"},
                    {":seen": {"N": str(version)}} if version else None,
                )
            )
            if version:
                # An entry that stays for want of room is one of a person without a profile.
                left = self._joins(
                    person, self._keys_of(self.contact(person), profile.group), (), profile.group, due_at
                )[:max(room, 0)]
                room -= len(left)
                writes += [*left, self._put_contact(person, {})]
                writes.append(
                    {"Put": {"TableName": self._table, "Item": {**self._member(profile.group, person), **moved}}}
                )
        try:
            if len(writes) == 1:
                self._dynamo.call("PutItem", put["Put"])
            else:
                self._dynamo.call("TransactWriteItems", {"TransactItems": writes})
        except CallFailed as error:
            if error.is_condition:
                raise ProfileMoved(profile.person) from error
            if error.is_permanent:
                raise Unstorable(f"the profile of {profile.person} is more than the table takes") from error
            raise

    def enlist(self, group: str, person: str) -> None:
        """Put somebody back on a customer list, whose id was another's for a while."""
        self._put(self._member(group, person))

    def drop_profile(self, person: str, seen: int, now: datetime, group: str = "") -> None:
        """Nothing is known of this person any more; with the group of their list, contact, place and accounts go too.

        Errors: ProfileMoved.
        """
        nobody = {"moved_to": {"S": ""}}
        writes = [self._put_if(
            {**key(f"P#{person}", "PROFILE"), "version": {"N": str(seen + 1)}, **nobody},
            "#version = :seen", {"#version": "version"}, {":seen": {"N": str(seen)}},
        )]
        if group:
            writes += self._joins(person, self._keys_of(self.contact(person), group), (), group, now)
            writes.append(self._put_contact(person, {}))
            writes.append({"Put": {"TableName": self._table, "Item": {**self._member(group, person), **nobody}}})
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": writes})
        except CallFailed as error:
            if error.is_condition:
                raise ProfileMoved(person) from error
            raise

    def _member(self, group: str, person: str) -> dict[str, Any]:
        return key(f"G#{group}#{shard_of(person)}", person)

    def _put_contact(self, person: str, contact: Mapping[str, str]) -> dict[str, Any]:
        return {
            "Put": {
                "TableName": self._table,
                "Item": {
                    **key(f"P#{person}", "CONTACT"),
                    schema.BODY: {"S": json.dumps(contact, ensure_ascii=False, sort_keys=True)},
                },
            }
        }

    def people(self, group: str) -> Iterator[str]:
        """Everybody on a customer list."""
        for shard in range(schema.DUE_SHARDS):
            for item in self._query(f"G#{group}#{shard}"):
                if "moved_to" not in item:
                    yield item[schema.SK]["S"]

    def contact(self, person: str) -> dict[str, str]:
        """The clear name and address of a person; empty when none is held."""
        item = self._get(f"P#{person}", "CONTACT")
        return {} if item is None else dict(json.loads(item[schema.BODY]["S"]))

    def suppress(self, identifier: str, reason: str, now: datetime) -> None:
        """Nobody mails this address again; the first reason stays."""
        try:
            self._dynamo.call(
                "PutItem",
                {
                    "TableName": self._table,
                    "ConditionExpression": "attribute_not_exists(#pk)",
                    "ExpressionAttributeNames": {"#pk": schema.PK},
                    "Item": {**key(f"X#{identifier}", "SUPPRESSED"), "reason": {"S": reason}, "at": {"S": iso(now)}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise

    def suppressed(self, identifiers: Iterable[str]) -> str:
        """Why one of these addresses may not be mailed; empty when all may."""
        for identifier in identifiers:
            item = self._get(f"X#{identifier}", "SUPPRESSED")
            if item is not None:
                return str(item["reason"]["S"])
        return ""

    def due(self, now: datetime) -> Iterator[str]:
        """Everybody for whom a decision or an action is due, each once for each thing that is."""
        for shard in range(schema.DUE_SHARDS):
            yield from (
                person_of(item)
                for item in self._pages(
                    {
                        "TableName": self._table,
                        "IndexName": schema.BY_DUE,
                        "KeyConditionExpression": "#due = :shard AND #at <= :now",
                        "ExpressionAttributeNames": {"#due": schema.DUE, "#at": schema.DUE_AT},
                        "ExpressionAttributeValues": {":shard": {"S": f"DUE#{shard}"}, ":now": {"S": iso(now)}},
                    }
                )
            )

    def mark_due(self, person: str, now: datetime) -> None:
        """Ask for a decision about somebody whose facts did not change, as when a loop is new."""
        try:
            self._dynamo.call(
                "UpdateItem",
                {
                    "TableName": self._table,
                    "Key": key(f"P#{person}", "PROFILE"),
                    "UpdateExpression": "SET #due = :shard, #at = :now",
                    "ConditionExpression": "attribute_exists(#body)",
                    "ExpressionAttributeNames": {"#due": schema.DUE, "#at": schema.DUE_AT, "#body": schema.BODY},
                    "ExpressionAttributeValues": {":shard": {"S": due_shard(person)}, ":now": {"S": iso(now)}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise

    def settle(self, person: str, seen: int, now: datetime) -> bool:
        """Take the due mark off, unless the profile changed since it was decided on or was marked after `now`."""
        try:
            self._dynamo.call(
                "UpdateItem",
                {
                    "TableName": self._table,
                    "Key": key(f"P#{person}", "PROFILE"),
                    "UpdateExpression": "REMOVE #due, #at",
                    "ConditionExpression": "#version = :seen AND #at <= :now",
                    "ExpressionAttributeNames": {"#due": schema.DUE, "#at": schema.DUE_AT, "#version": "version"},
                    "ExpressionAttributeValues": {":seen": {"N": str(seen)}, ":now": {"S": iso(now)}},
                },
            )
        except CallFailed as error:
            if error.is_condition:
                return False
            raise
        return True
