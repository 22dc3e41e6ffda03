"""What was accepted and then proved unusable: kept whole and typed, so that it can be looked at and told again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class FailedKind(StrEnum):
    """Why something failed, and so what would mend it."""

    # One of several events of a request has not the shape of one: the sender's data, or our reading of it.
    REFUSED = "refused"
    # A form looks like a robot's; only a person may let it in.
    QUARANTINED = "quarantined"
    # What lies in the ledger is no packet that this code can read: our code, or the site's file.
    UNREADABLE = "unreadable"
    # A packet that can be read breaks what works on it: our code.
    UNWORKABLE = "unworkable"
    # What a packet leads to is more than the table holds.
    UNSTORABLE = "unstorable"


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """Something accepted that proved unusable: its bytes, why, and which code said so.

    Shapes: `site` and `door` are empty where even they cannot be read; `payload` is the outside bytes or the stored
    item as JSON; `sent` is what else the door knew of the sender, for telling it again; `replayed_at` is set once it
    was told again with success.
    """

    kind: FailedKind
    reason: str
    site: str
    door: str
    handler: str
    code_version: str
    received_at: datetime
    payload: bytes
    sent: Mapping[str, str] = field(default_factory=dict)
    replayed_at: datetime | None = None

    @property
    def name(self) -> str:
        """The same bytes of the same site are the same failed event, whoever fails on them and however often."""
        return hashlib.sha256(self.site.encode() + b"\n" + self.payload).hexdigest()[:32]

    @property
    def id(self) -> str:
        """The day it was received and its name, as people write it."""
        return f"{self.received_at:%Y-%m-%d}.{self.name[:12]}"
