"""Which persons have which account keys: an index that is written with the contact it is derived from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from closedloop.errors import MissingSetting
from closedloop.events.identifiers import Hasher
from closedloop.identity.accounts import Keys, keys_of
from closedloop.store import schema
from closedloop.store.calls import Dynamo
from closedloop.store.table import Table, key, shard_of


def _no_pepper() -> bytes:
    raise MissingSetting("SECRET_NAME")


class Accounts(Table):
    """Keeps who has which account key, under the pepper; clear names lie with the contact alone.

    Shapes: an entry says that a person has a key, and all keys that they have; entries of those who became another
    person may stay, so whoever reads them looks whether the person has a profile.
    """

    def __init__(self, dynamo: Dynamo, table: str, pepper: Callable[[], bytes] = _no_pepper) -> None:
        super().__init__(dynamo, table)
        self._pepper = pepper

    def members(self, account_key: str) -> Iterator[tuple[str, Keys]]:
        """Who has an account key, each with all their keys, the strongest first."""
        for item in self._query(f"A#{account_key}"):
            if "keys" in item:
                yield item[schema.SK]["S"], tuple(one["S"] for one in item["keys"]["L"])

    def account_keys(self, group: str) -> Iterator[str]:
        """Every account key of a customer list that anybody ever had."""
        for shard in range(schema.DUE_SHARDS):
            for item in self._query(f"GA#{group}#{shard}"):
                yield item[schema.SK]["S"]

    def _keys_of(self, contact: Mapping[str, str], group: str) -> Keys:
        # Most contacts say nothing of a company, and need no pepper.
        return keys_of(contact, lambda: Hasher(self._pepper(), group))

    def _joins(self, person: str, before: Keys, after: Keys, group: str, now: datetime) -> list[dict[str, Any]]:
        """The writes that bring a person's entries from some keys to others; none when they are the same.

        A list's keys are written at once: one that nobody has is of no account.
        """
        if before == after:
            return []
        for one in after:
            if one not in before:
                self._put(key(f"GA#{group}#{shard_of(one)}", one))
        held: dict[str, Any] = {"keys": {"L": [{"S": one} for one in after]}}
        # Nothing may delete: an entry of nobody says so until its time is over.
        gone: dict[str, Any] = {schema.TTL: {"N": str(int(now.timestamp()))}}
        entries = [*((one, held) for one in after), *((one, gone) for one in before if one not in after)]
        return [
            {"Put": {"TableName": self._table, "Item": {**key(f"A#{one}", person), **said}}} for one, said in entries
        ]
