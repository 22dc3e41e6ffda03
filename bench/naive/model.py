"""The events as the peers check them: the fields and types of `closedloop.capture.wire.WireEvent`, no more."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator


def _text_id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


TextId = Annotated[str, BeforeValidator(_text_id)]


class Event(BaseModel):
    type: Literal["track", "page", "screen", "identify", "group", "alias"]
    messageId: TextId
    anonymousId: TextId | None = None
    userId: TextId | None = None
    previousId: TextId | None = None
    groupId: TextId | None = None
    event: str | None = None
    name: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: datetime | None = None
    originalTimestamp: datetime | None = None
    sentAt: datetime | None = None


class Batch(BaseModel):
    batch: list[Event]
    sentAt: datetime | None = None
    writeKey: str | None = None
    context: dict[str, Any] | None = None


def is_known(batch: Batch, origin: str | None) -> bool:
    """Whether key and origin are those of the settings; our side reads its own from the table."""
    return batch.writeKey == os.environ["WRITE_KEY"] and origin in os.environ["ORIGINS"].split(",")


def items(batch: Batch, visitor: str) -> list[dict[str, Any]]:
    """One item for each event, as a first version would store it."""
    received = datetime.now(UTC)
    return [
        {
            "pk": f"V#demo#{visitor or event.anonymousId}",
            "sk": f"{received.isoformat()}#{event.messageId}",
            "site": "demo",
            "received_at": received.isoformat(),
            "expires_at": int((received + timedelta(days=396)).timestamp()),
            "body": json.dumps(
                {
                    "id": event.messageId, "type": event.type, "name": event.event or event.name or "",
                    "visitor": visitor or event.anonymousId, "at": str(event.timestamp or received),
                    "properties": event.properties, "traits": event.traits, "context": event.context,
                },
                ensure_ascii=False,
            ),
        }
        for event in batch.batch
    ]
