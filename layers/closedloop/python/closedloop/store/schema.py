"""Every key, index and attribute name of the two tables; the only place where they are spelt."""

from __future__ import annotations

from datetime import timedelta

PK = "pk"
SK = "sk"
TTL = "expires_at"

BY_DUE = "by_due"
DUE = "due"
DUE_AT = "due_at"
DUE_SHARDS = 8

EVENTS_TTL = timedelta(days=396)
FAILED_TTL = timedelta(days=30)

# Attributes of a packet; a profile has the first and what goes beyond it.
BODY = "body"
MORE = "more"
# What is to be done, where it is not a campaign's mail.
ACTION = "action"
KIND = "kind"
PACKET = "packet"
FAILED = "failed"
# Further bytes of a failed event; no stream is read for them.
FAILED_PART = "failed_part"
# What is left of a packet about somebody who was erased before it came; no stream is read for it.
EMPTIED = "emptied"

# Kinds of State items that are facts and go to the lake: history, verdicts and claims.
DECISION_KINDS = ("transition", "verdict", "action")
