"""What every room of the State table stands on: reads, queries and conditional writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from closedloop.store import schema
from closedloop.store.calls import CallFailed, Dynamo

Item = Mapping[str, Any]


def key(pk: str, sk: str) -> dict[str, Any]:
    return {schema.PK: {"S": pk}, schema.SK: {"S": sk}}


def shard_of(name: str) -> str:
    """Which of the shards of an index something lies in, by its name."""
    return str(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % schema.DUE_SHARDS)


class Table:
    """One table, over one way to call DynamoDB.

    Errors: CallFailed when DynamoDB refuses.
    """

    def __init__(self, dynamo: Dynamo, table: str) -> None:
        self._dynamo = dynamo
        self._table = table

    def _get(self, pk: str, sk: str, *, consistent: bool = True) -> Item | None:
        answer = self._dynamo.call(
            "GetItem", {"TableName": self._table, "Key": key(pk, sk), "ConsistentRead": consistent}
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

    def _pages(self, query: dict[str, Any], operation: str = "Query") -> Iterator[Item]:
        while True:
            answer = self._dynamo.call(operation, query)
            yield from answer.get("Items", ())
            if not answer.get("LastEvaluatedKey"):
                return
            query = {**query, "ExclusiveStartKey": answer["LastEvaluatedKey"]}

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

    def _unless_changed(self, update: dict[str, Any]) -> None:
        """Change an item as long as it is what its condition says; somebody else's change stands."""
        try:
            self._dynamo.call("UpdateItem", update)
        except CallFailed as error:
            if not error.is_condition:
                raise
