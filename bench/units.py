"""What an item weighs in DynamoDB, and what writing it costs."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

UNIT = 1024


def item_bytes(item: Mapping[str, Any]) -> int:
    """The size of an item in DynamoDB's JSON.

    Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats".
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return (len(content.strip("-").replace(".", "")) + 1) // 2 + 1
    if kind == "B":
        return len(content if isinstance(content, bytes) else base64.b64decode(content))
    if kind in ("BOOL", "NULL"):
        return 1
    if kind == "M":
        return 3 + len(content) + item_bytes(content)
    if kind == "L":
        return 3 + len(content) + sum(map(_value_bytes, content))
    raise ValueError(f"no size is known for {kind}")


def write_units(size: int) -> int:
    """Write request units of one write: a started kilobyte is a whole one."""
    return -(-size // UNIT)
