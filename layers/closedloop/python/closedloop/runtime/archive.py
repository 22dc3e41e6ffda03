"""How the archiver carries one batch of either stream to the lake."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from closedloop.events.erased import is_past
from closedloop.events.times import iso
from closedloop.lake import layout
from closedloop.lake.archive import archive_packets, archive_rows
from closedloop.runtime import doors, stream
from closedloop.store import schema
from closedloop.store.decisions import decision_row
from closedloop.store.ledger import failed_of


def archive(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Write what a batch holds; it is delivered again whole when the lake does not take it."""
    records = list(stream.images(event))
    if not records:
        return stream.response(())
    first = records[0][0]
    kinds = [(image.get(schema.KIND, {}).get("S", ""), image) for _, image in records]
    batch = stream.Batch(records, "archive_events")
    lake, tombstones = doors.lake(), doors.tombstones()

    def write(part: Sequence[stream.Arrival]) -> int:
        return archive_packets([packet for _, packet, _ in part], batch.sites, part[0][0], lake, tombstones)

    count = sum(batch.carry(write))
    decisions = [
        row for kind, image in kinds if kind in schema.DECISION_KINDS
        # An erasure wrote those that were not there yet, under a random name.
        if not is_past((row := decision_row(image))["person"], row["at"], tombstones)
    ]
    archive_rows(layout.DECISIONS, decisions, first, lake)
    failures = [_failed_row(image) for kind, image in kinds if kind == schema.FAILED]
    archive_rows(layout.FAILED, failures, first, lake)
    stream.told(context, "archived", batch, events=count, decisions=len(decisions), failed=len(failures))
    return stream.response(())


def _failed_row(image: Mapping[str, Any]) -> dict[str, Any]:
    failed = failed_of([image])
    return {
        "at": iso(failed.received_at), "id": image[schema.SK]["S"], "kind": failed.kind.value, "site": failed.site,
        "door": failed.door, "reason": failed.reason, "handler": failed.handler, "code_version": failed.code_version,
        "payload": base64.b64encode(failed.payload).decode(),
    }
