"""The State table: what is derived from the ledger or declared by owners.

| pk            | sk                          | what                                                      |
|---------------|-----------------------------|-----------------------------------------------------------|
| S#site        | CURRENT                     | a site's definition                                       |
| S             | site                        | which sites there are                                     |
| K#key-hash    | SITE                        | whose write key this is, and whether it is secret         |
| O#origin      | SITE                        | that pages of this origin belong to a site                |
| L#loop        | CURRENT, V#version          | a loop's definition, each version for ever                |
| L             | loop                        | which loops there are                                     |
| N#node        | E#strong or E#node          | evidence that two nodes belong together                   |
| P#person      | PROFILE                     | the fold, with the mark that a decision is due; or the id |
|               |                             | that the person moved to, when two became one             |
| P#person      | CONTACT                     | name and address, the only clear ones                     |
| P#person      | POS#loop                    | where the person stands                                   |
| P#person      | T#loop#n, V#loop#n#gate     | transitions and verdicts, written once                    |
| P#person      | A#loop#version#campaign     | an action: pending, claimed, sent, failed, unknown        |
| P#person      | M#loop#version#campaign     | how the action ended                                      |
| G#group#shard | person                      | which persons a customer list holds                       |
| X#identifier  | SUPPRESSED                  | nobody mails this address again                           |
| RUN#run       | RUN                         | what a run of the workflow did                            |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from closedloop.errors import BadShape, ProfileMoved, StageMoved
from closedloop.events.identifiers import is_strong
from closedloop.events.times import iso, parse
from closedloop.identity.evidence import EvidenceKind, Link
from closedloop.loops.decide import Decision, Position, Verdict, as_json, standing_from, standing_text
from closedloop.loops.definition import Loop
from closedloop.profiles.profile import Profile, Stored, profile_from
from closedloop.sites.definition import Site, key_hash, version_of
from closedloop.store import schema
from closedloop.store.calls import CallFailed, Dynamo, binary

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile with the version under which it was read; version 0 was never written.

    Shapes: `moved_to` is the id that the person has now, when this one became one with another; such an id never
    has a profile again. A profile that cannot be read is None under its version: the next fold writes over it.
    """

    version: int
    profile: Profile | None
    moved_to: str = ""


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do once for a person: a campaign's mail.

    Shapes: `status` is pending, claimed, sent, failed or unknown; `claimed_at` is None until somebody took it.
    """

    person: str
    loop: str
    version: str
    campaign: str
    status: str
    at: datetime
    claimed_at: datetime | None = None

    @property
    def key(self) -> str:
        return f"{self.loop}#{self.version}#{self.campaign}"


def _key(pk: str, sk: str) -> dict[str, Any]:
    return {schema.PK: {"S": pk}, schema.SK: {"S": sk}}


def _stored(item: Mapping[str, Any]) -> Stored:
    return Stored(item[schema.BODY]["S"], binary(item[schema.MORE]) if schema.MORE in item else b"")


def due_shard(person: str) -> str:
    """The partition of the due index that a person waits in."""
    return f"DUE#{int(hashlib.sha256(person.encode()).hexdigest()[:8], 16) % schema.DUE_SHARDS}"


class State:
    """Reads and writes all that is derived or declared.

    Errors: CallFailed when DynamoDB refuses; ProfileMoved and StageMoved when somebody was faster.
    """

    def __init__(self, dynamo: Dynamo, table: str) -> None:
        self._dynamo = dynamo
        self._table = table

    # Every read and write of the table goes through these.

    def _get(self, pk: str, sk: str, *, consistent: bool = True) -> Item | None:
        answer = self._dynamo.call(
            "GetItem", {"TableName": self._table, "Key": _key(pk, sk), "ConsistentRead": consistent}
        )
        return answer.get("Item")

    def _put(self, item: dict[str, Any]) -> None:
        self._dynamo.call("PutItem", {"TableName": self._table, "Item": item})

    def _query(self, pk: str, prefix: str = "", *, consistent: bool = True) -> Iterator[Item]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": consistent,
            "KeyConditionExpression": "#pk = :pk",
            "ExpressionAttributeNames": {"#pk": schema.PK},
            "ExpressionAttributeValues": {":pk": {"S": pk}},
        }
        if prefix:
            query["KeyConditionExpression"] += " AND begins_with(#sk, :sk)"
            query["ExpressionAttributeNames"]["#sk"] = schema.SK
            query["ExpressionAttributeValues"][":sk"] = {"S": prefix}
        yield from self._pages(query)

    def _pages(self, query: dict[str, Any]) -> Iterator[Item]:
        while True:
            answer = self._dynamo.call("Query", query)
            yield from answer.get("Items", ())
            if not answer.get("LastEvaluatedKey"):
                return
            query = {**query, "ExclusiveStartKey": answer["LastEvaluatedKey"]}

    # What owners declare.

    def put_site(self, site: Site, secret_keys: Iterable[str] = ()) -> None:
        """Declare a site; its keys are stored as hashes only."""
        body = site.model_dump_json(by_alias=True)
        self._put({**_key(f"S#{site.site}", "CURRENT"), schema.BODY: {"S": body}, "version": {"S": version_of(site)}})
        self._put({**_key("S", site.site), "list": {"S": site.list_name}})
        for key, kind in ((site.write_key, "public"), *((key, "secret") for key in secret_keys)):
            self._put(
                {
                    **_key(f"K#{key_hash(key)}", "SITE"),
                    "site": {"S": site.site},
                    "use": {"S": kind},
                    schema.BODY: {"S": body},
                }
            )

        for origin in site.origins:
            self._put({**_key(f"O#{origin}", "SITE"), "site": {"S": site.site}})

    def site_of_origin(self, origin: str) -> str | None:
        """The name of the site that pages of this origin belong to."""
        item = self._get(f"O#{origin}", "SITE", consistent=False)
        return None if item is None else str(item["site"]["S"])

    def site(self, name: str) -> Site | None:
        item = self._get(f"S#{name}", "CURRENT", consistent=False)
        return None if item is None else Site.model_validate_json(item[schema.BODY]["S"])

    def sites(self) -> dict[str, Site]:
        """Every site of the installation, by name."""
        found = (self.site(item[schema.SK]["S"]) for item in self._query("S", consistent=False))
        return {site.site: site for site in found if site is not None}

    def site_of_key(self, hashed: str) -> tuple[Site, bool] | None:
        """The site that a write key belongs to, and whether the key is the secret one."""
        item = self._get(f"K#{hashed}", "SITE", consistent=False)
        if item is None:
            return None
        return Site.model_validate_json(item[schema.BODY]["S"]), item["use"]["S"] == "secret"

    def put_loop(self, loop: Loop, now: datetime) -> str:
        """Declare a loop; the same words are the same version, other words a new one beside it."""
        version = version_of(loop)
        body = {"S": loop.model_dump_json(by_alias=True)}
        try:
            self._dynamo.call(
                "PutItem",
                {
                    "TableName": self._table,
                    "ConditionExpression": "attribute_not_exists(#pk)",
                    "ExpressionAttributeNames": {"#pk": schema.PK},
                    "Item": {**_key(f"L#{loop.loop}", f"V#{version}"), schema.BODY: body, "at": {"S": iso(now)}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise
        self._put({**_key(f"L#{loop.loop}", "CURRENT"), schema.BODY: body, "version": {"S": version}})
        self._put(_key("L", loop.loop))
        return version

    def loop(self, name: str) -> Loop | None:
        item = self._get(f"L#{name}", "CURRENT", consistent=False)
        return None if item is None else Loop.model_validate_json(item[schema.BODY]["S"])

    def loops(self) -> list[Loop]:
        """Every loop that was declared, in its current version."""
        found = (self.loop(item[schema.SK]["S"]) for item in self._query("L", consistent=False))
        return [loop for loop in found if loop is not None]

    # Who is who.

    def links(self, node: str) -> list[Link]:
        """The evidence that touches a node."""
        links = []
        for item in self._query(f"N#{node}", "E#"):
            other, forward = item["other"]["S"], item["forward"]["BOOL"]
            links.append(
                Link(
                    node if forward else other,
                    other if forward else node,
                    EvidenceKind(item["evidence"]["S"]),
                    parse(item["at"]["S"]),
                    item["event"]["S"],
                )
            )
        return links

    def put_link(self, link: Link) -> None:
        """Keep a piece of evidence, the earliest of its kind, readable from both its ends."""
        puts = [
            self._put_if(
                {
                    **_key(f"N#{node}", f"E#{link.kind}#{other}"),
                    "other": {"S": other},
                    "forward": {"BOOL": forward},
                    "evidence": {"S": link.kind.value},
                    "at": {"S": iso(link.at)},
                    "event": {"S": link.event},
                    "since": {"S": (since := f"{iso(link.at)}#{link.event}")},
                },
                "attribute_not_exists(#pk) OR #since > :since",
                {"#pk": schema.PK, "#since": "since"},
                {":since": {"S": since}},
            )
            for node, other, forward in ((link.node, link.strong, True), (link.strong, link.node, False))
        ]
        # Two strong nodes must see each other from both ends or from none, or one person would have two ids at once;
        # a browser seen from one end alone is seen whole when its packet comes again.
        calls: list[tuple[str, dict[str, Any]]] = (
            [("TransactWriteItems", {"TransactItems": puts})]
            if is_strong(link.node)
            else [("PutItem", put["Put"]) for put in puts]
        )
        for operation, parameters in calls:
            try:
                self._dynamo.call(operation, parameters)
            except CallFailed as error:
                if not error.is_condition:
                    raise

    # Profiles.

    def unread_profile(self, person: str) -> tuple[int, Stored | None]:
        """A profile's version and what is stored of it; None where none was written or the id moved."""
        item = self._get(f"P#{person}", "PROFILE")
        if item is None:
            return 0, None
        return int(item["version"]["N"]), None if "moved_to" in item else _stored(item)

    def profile(self, person: str) -> StoredProfile:
        item = self._get(f"P#{person}", "PROFILE")
        if item is None:
            return StoredProfile(0, None)
        version = int(item["version"]["N"])
        if "moved_to" in item:
            return StoredProfile(version, None, item["moved_to"]["S"])
        try:
            return StoredProfile(version, profile_from(_stored(item)))
        except BadShape:
            return StoredProfile(version, None)

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
                **_key(f"P#{profile.person}", "PROFILE"),
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
            writes.append(self._put_contact(profile.person, contact))
        for person, version in (former or {}).items():
            moved = {"moved_to": {"S": profile.person}}
            writes.append(
                self._put_if(
                    {**_key(f"P#{person}", "PROFILE"), "version": {"N": str(version + 1)}, **moved},
                    "#version = :seen" if version else "attribute_not_exists(#version)",
                    {"#version": "version"},
                    {":seen": {"N": str(version)}} if version else None,
                )
            )
            if version:
                writes.append(self._put_contact(person, {}))
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
            raise

    def _member(self, group: str, person: str) -> dict[str, Any]:
        shard = due_shard(person).partition("#")[2]
        return _key(f"G#{group}#{shard}", person)

    def _put_contact(self, person: str, contact: Mapping[str, str]) -> dict[str, Any]:
        return {
            "Put": {
                "TableName": self._table,
                "Item": {
                    **_key(f"P#{person}", "CONTACT"),
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
                    "Item": {**_key(f"X#{identifier}", "SUPPRESSED"), "reason": {"S": reason}, "at": {"S": iso(now)}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise

    # Decisions.

    def due(self, now: datetime) -> Iterator[str]:
        """Everybody for whom a decision or an action is due, each once for each thing that is."""
        for shard in range(schema.DUE_SHARDS):
            yield from (
                item[schema.PK]["S"].removeprefix("P#")
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
                    "Key": _key(f"P#{person}", "PROFILE"),
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
                    "Key": _key(f"P#{person}", "PROFILE"),
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

    def position(self, person: str, loop: str) -> Position:
        """Where an id stands on a loop by itself; its former ids may stand elsewhere (see loops/flow.py)."""
        item = self._get(f"P#{person}", f"POS#{loop}")
        if item is None:
            return Position(person, loop)
        return Position(
            person,
            loop,
            item["stage"]["S"],
            int(item["version"]["N"]),
            item["unit"]["S"],
            standing_from(item["standing"]["S"]),
        )

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
            **_key(f"P#{after.person}", f"POS#{loop.loop}"),
            "stage": {"S": after.stage},
            "version": {"N": str(after.version)},
            "unit": {"S": after.unit},
            "standing": {"S": standing_text(after.standing)},
            "since": {"S": iso(now)},
        }
        writes = [
            self._put_if(
                position,
                "attribute_not_exists(#version)" if before.version == 0 else "#version = :seen",
                {"#version": "version"},
                {":seen": {"N": str(before.version)}} if before.version else None,
            )
        ]
        profile: dict[str, Any] = {"TableName": self._table, "Key": _key(f"P#{after.person}", "PROFILE")}
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
                        **_key(f"P#{after.person}", f"V#{loop.loop}#{after.version:06d}#{verdict.gate}"),
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
                        **_key(f"P#{after.person}", f"T#{loop.loop}#{after.version:06d}"),
                        schema.KIND: {"S": "transition"},
                        **facts,
                        "from_stage": {"S": before.stage},
                        "to_stage": {"S": after.stage},
                        "reason": {"S": decision.reason},
                        "unit": {"S": after.unit},
                        "gate": {"S": decision.verdicts[-1].gate if decision.verdicts else ""},
                    }
                )
            )
        for campaign in decision.campaigns:
            writes.append(
                self._once(
                    {
                        **_key(f"P#{after.person}", f"A#{loop.loop}#{version}#{campaign}"),
                        schema.KIND: {"S": "action"},
                        **facts,
                        "campaign": {"S": campaign},
                        "outcome": {"S": "pending"},
                        schema.DUE: {"S": due_shard(after.person)},
                        schema.DUE_AT: {"S": iso(now)},
                    }
                )
            )
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": writes})
        except CallFailed as error:
            if error.is_condition:
                raise StageMoved(after.person) from error
            raise

    def _put_if(
        self, item: dict[str, Any], condition: str, names: dict[str, str], values: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
        }
        if values:
            put["ExpressionAttributeValues"] = values
        return {"Put": put}

    def _once(self, item: dict[str, Any]) -> dict[str, Any]:
        return self._put_if(item, "attribute_not_exists(#pk)", {"#pk": schema.PK})

    def decisions(self, person: str) -> list[dict[str, Any]]:
        """Every verdict, transition and action of a person, as they were written."""
        found = []
        for prefix in ("T#", "V#", "A#", "M#"):
            for item in self._query(f"P#{person}", prefix):
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

    # Actions.

    def actions(self, person: str) -> list[Action]:
        """What is still to be done for a person: pending, or claimed and not ended."""
        actions = []
        for item in self._query(f"P#{person}", "A#"):
            claimed = item.get("claimed_at")
            actions.append(
                Action(
                    person,
                    item["loop"]["S"],
                    item["loop_version"]["S"],
                    item["campaign"]["S"],
                    item["outcome"]["S"],
                    parse(item["at"]["S"]),
                    parse(claimed["S"]) if claimed else None,
                )
            )
        return [action for action in actions if action.status in ("pending", "claimed")]

    def action_status(self, person: str, key: str) -> str:
        """How an action stands under an id; empty when that id has no such action."""
        item = self._get(f"P#{person}", f"A#{key}")
        return "" if item is None else str(item["outcome"]["S"])

    def claim(self, action: Action, identifiers: Sequence[str], now: datetime) -> bool:
        """Take an action for oneself, on the condition that nobody did and that no address of it is suppressed.

        Shapes: false when it was claimed before or may not be done.
        """
        claim = {
            "Update": {
                "TableName": self._table,
                "Key": _key(f"P#{action.person}", f"A#{action.key}"),
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
                    "Key": _key(f"X#{identifier}", "SUPPRESSED"),
                    "ConditionExpression": "attribute_not_exists(#pk)",
                    "ExpressionAttributeNames": {"#pk": schema.PK},
                }
            }
            for identifier in identifiers
        ]
        try:
            self._dynamo.call("TransactWriteItems", {"TransactItems": [claim, *free]})
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
                "Key": _key(f"P#{action.person}", f"A#{action.key}"),
                "UpdateExpression": "SET #outcome = :pending REMOVE claimed_at",
                "ConditionExpression": "#outcome = :claimed",
                "ExpressionAttributeNames": {"#outcome": "outcome"},
                "ExpressionAttributeValues": {":claimed": {"S": "claimed"}, ":pending": {"S": "pending"}},
            },
        )

    def suppressed(self, identifiers: Iterable[str]) -> str:
        """Why one of these addresses may not be mailed; empty when all may."""
        for identifier in identifiers:
            item = self._get(f"X#{identifier}", "SUPPRESSED")
            if item is not None:
                return str(item["reason"]["S"])
        return ""

    def end(
        self, action: Action, outcome: str, anchor: str, reason: str, message: str, run: str, now: datetime
    ) -> None:
        """Write how an action ended: sent, failed or unknown; written once, and no longer due.

        Shapes: nothing is written when the action is no longer as `action.status` says: who has claimed it ends it.
        """
        status = {
            "Update": {
                "TableName": self._table,
                "Key": _key(f"P#{action.person}", f"A#{action.key}"),
                "UpdateExpression": f"SET #outcome = :outcome REMOVE {schema.DUE}, {schema.DUE_AT}",
                "ConditionExpression": "#outcome = :seen",
                "ExpressionAttributeNames": {"#outcome": "outcome"},
                "ExpressionAttributeValues": {":outcome": {"S": outcome}, ":seen": {"S": action.status}},
            }
        }
        record = self._once(
            {
                **_key(f"P#{action.person}", f"M#{action.key}"),
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
            self._dynamo.call("TransactWriteItems", {"TransactItems": [status, record]})
        except CallFailed as error:
            if not error.is_condition:
                raise

    # Runs.

    def begin_run(self, run: str, selected: int, now: datetime) -> None:
        """Note that a run began; the selection of a run that is begun again counts until it is closed."""
        try:
            self._dynamo.call(
                "UpdateItem",
                {
                    "TableName": self._table,
                    "Key": _key(f"RUN#{run}", "RUN"),
                    "UpdateExpression": "SET began_at = if_not_exists(began_at, :now), selected = :selected",
                    "ConditionExpression": "attribute_not_exists(closed_at)",
                    "ExpressionAttributeValues": {":now": {"S": iso(now)}, ":selected": {"N": str(selected)}},
                },
            )
        except CallFailed as error:
            if not error.is_condition:
                raise

    def close_run(self, run: str, counts: Mapping[str, int], now: datetime) -> None:
        self._dynamo.call(
            "UpdateItem",
            {
                "TableName": self._table,
                "Key": _key(f"RUN#{run}", "RUN"),
                "UpdateExpression": "SET counts = :counts, closed_at = :now",
                "ExpressionAttributeValues": {
                    ":counts": {"S": json.dumps(counts, sort_keys=True)},
                    ":now": {"S": iso(now)},
                },
            },
        )

    def run(self, run: str) -> dict[str, Any] | None:
        """What a run did: when it began and ended, and its counts."""
        item = self._get(f"RUN#{run}", "RUN")
        if item is None:
            return None
        return {
            "run": run,
            "began_at": item["began_at"]["S"],
            "selected": int(item["selected"]["N"]),
            "closed_at": item.get("closed_at", {}).get("S"),
            "counts": json.loads(item.get("counts", {}).get("S", "{}")),
        }


def _verdict_facts(verdict: Verdict) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gate": {"S": verdict.gate},
        "outcome": {"S": verdict.outcome.value},
        "reason": {"S": verdict.reason},
        "hold_kind": {"S": verdict.hold_kind.value if verdict.hold_kind else ""},
        "arm": {"S": verdict.arm.value if verdict.arm else ""},
        "detail": {"S": as_json(verdict)},
    }
    if verdict.draw is not None:
        facts["draw"] = {"S": repr(verdict.draw)}
    return facts


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
