"""Batches as a DynamoDB stream hands them to a function."""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Mapping
from typing import Any


def a_batch(items: Iterable[Mapping[str, Any]], first: int = 1) -> dict[str, Any]:
    """Items, as boto3 reads them, as the new images of INSERT records, numbered from `first`."""
    return {
        "Records": [
            {
                "eventID": f"e-{number}",
                "eventName": "INSERT",
                "eventSource": "aws:dynamodb",
                "awsRegion": "eu-central-1",
                "eventSourceARN": "arn:aws:dynamodb:eu-central-1:123456789012:table/the-events/stream/x",
                "dynamodb": {
                    "Keys": {"pk": item["pk"], "sk": item["sk"]},
                    "NewImage": as_json(item),
                    "SequenceNumber": number_of(number),
                    "StreamViewType": "NEW_IMAGE",
                },
            }
            for number, item in enumerate(items, first)
        ]
    }


def number_of(number: int) -> str:
    return f"{number:021d}"


def as_json(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it travels: binary attributes are base64 text."""
    shaped = copy.deepcopy(dict(item))
    for attribute in shaped.values():
        if isinstance(attribute.get("B"), bytes):
            attribute["B"] = base64.b64encode(attribute["B"]).decode()
    return shaped


def ids(reply: Mapping[str, Any]) -> list[str]:
    """The records that a function asks for again."""
    return [failure["itemIdentifier"] for failure in reply["batchItemFailures"]]
