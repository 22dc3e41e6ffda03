"""What the door for lists needs of the State table: mappings, one writer a source, and whom we know already."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.errors import BadShape, TryAgain
from closedloop.events.times import iso
from closedloop.identity.persons import person_id
from closedloop.profiles.profile import Excerpt, Stored
from closedloop.sites.definition import version_of
from closedloop.store import schema
from closedloop.store.calls import CallFailed
from closedloop.store.table import Item, Table, key

BATCH = 100
ROUNDS = 20
# Longer than a function runs; who writes on asks again before each part.
CLAIMED_FOR = timedelta(minutes=20)


class Lists(Table):
    """Keeps mappings and claims, and looks up persons many at a time."""

    def put_mapping(self, site: str, mapping: ListMapping) -> str:
        """Declare how a source's files are read when they are dropped; gives back the version."""
        version = version_of(mapping)
        body = {"S": mapping.model_dump_json(exclude_unset=True)}
        self._put({**key(f"S#{site}", f"M#{mapping.kind}#{mapping.source}"), schema.BODY: body,
                   "version": {"S": version}})
        return version

    def mapping(self, site: str, kind: str, source: str) -> ListMapping | None:
        item = self._get(f"S#{site}", f"M#{kind}#{source}")
        return None if item is None else ListMapping.model_validate_json(item[schema.BODY]["S"])

    def claim(self, source: str, name: str, now: datetime) -> None:
        """Let one import of a source write, for a while; the same import may ask again.

        Errors: TryAgain.
        """
        try:
            self._dynamo.call("PutItem", {
                "TableName": self._table,
                "Item": {**key(f"C#{source}", "CLAIM"), "name": {"S": name}, "until": {"S": iso(now + CLAIMED_FOR)}},
                "ConditionExpression": "attribute_not_exists(#pk) OR #name = :name OR #until < :now",
                "ExpressionAttributeNames": {"#pk": schema.PK, "#name": "name", "#until": "until"},
                "ExpressionAttributeValues": {":name": {"S": name}, ":now": {"S": iso(now)}},
            })
        except CallFailed as error:
            if error.is_condition:
                raise TryAgain("another file of this source is being imported; try again when it is done") from error
            raise

    def release(self, source: str, name: str) -> None:
        """Let others write."""
        self._unless_changed({
            "TableName": self._table, "Key": key(f"C#{source}", "CLAIM"), "UpdateExpression": "SET #until = :none",
            "ConditionExpression": "#name = :name", "ExpressionAttributeNames": {"#name": "name", "#until": "until"},
            "ExpressionAttributeValues": {":name": {"S": name}, ":none": {"S": ""}},
        })

    def known(self, identifiers: Collection[str]) -> Mapping[str, str]:
        """The person of each identifier that is known, as they are called now."""
        asked = {person_id(identifier): identifier for identifier in identifiers}
        moved: dict[str, str] = {}
        looking: Collection[str] = asked
        while looking:
            items = self._profiles(looking, "moved_to")
            found = {name: item.get("moved_to", {}).get("S", name) for name, item in items}
            moved |= found
            # Whoever became one with another may have done so more than once.
            looking = {other for name, other in found.items() if other not in ("", name) and other not in moved}
        known = {}
        for person, identifier in asked.items():
            while moved.get(person, "") not in ("", person):
                person = moved[person]
            if moved.get(person):
                known[identifier] = person
        return known

    def addresses(self, persons: Collection[str]) -> Mapping[str, frozenset[str]]:
        """The identifiers of each person's addresses."""
        found = {}
        for person, item in self._profiles(persons, schema.BODY):
            try:
                nodes = Excerpt(Stored(item[schema.BODY]["S"], b"")).nodes
            except (BadShape, KeyError):
                continue
            found[person] = frozenset(node for node in nodes if node.startswith("email:"))
        return found

    def _profiles(self, persons: Collection[str], attribute: str) -> Iterator[tuple[str, Item]]:
        """The stored profiles of these persons, each with one attribute."""
        names = sorted(persons)
        for start in range(0, len(names), BATCH):
            yield from self._batch([key(f"P#{name}", "PROFILE") for name in names[start : start + BATCH]], attribute)

    def _batch(self, keys: Sequence[Mapping[str, Any]], attribute: str) -> Iterator[tuple[str, Item]]:
        for _ in range(ROUNDS):
            answer = self._dynamo.call("BatchGetItem", {"RequestItems": {self._table: {
                "Keys": keys, "ProjectionExpression": "#pk, #attribute",
                "ExpressionAttributeNames": {"#pk": schema.PK, "#attribute": attribute},
            }}})
            for item in answer.get("Responses", {}).get(self._table, ()):
                yield item[schema.PK]["S"].removeprefix("P#"), item
            keys = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", ())
            if not keys:
                return
        raise CallFailed("UnprocessedKeys")
