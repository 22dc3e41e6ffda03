"""The archiver: everything that arrived is written to the lake before the ledger lets it go."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from closedloop.events.erased import Tombstones, gone
from closedloop.events.packet import Packet
from closedloop.events.times import parse
from closedloop.lake import layout
from closedloop.lake.erase import anonymous
from closedloop.lake.files import Files
from closedloop.lake.rows import event_row
from closedloop.sites.definition import Site


def archive_packets(
    packets: Sequence[Packet], sites: Mapping[str, Site], first: str, files: Files,
    tombstones: Tombstones = MappingProxyType({}),
) -> int:
    """Write the events of a delivered batch, without contact data; how many there were.

    Shapes: `first` names the batch; the same batch delivered again overwrites itself, an overlapping one is harmless,
    since readers take each event once.
    """
    days: dict[Any, list[Mapping[str, Any]]] = {}
    for packet in packets:
        site = sites.get(packet.site)
        if site is not None:
            rows = days.setdefault(packet.received_at.date(), [])
            for event in packet.events:
                row = event_row(event, site, packet.schema)
                # Whoever was erased is counted still, as nobody.
                missing = gone(event, tombstones)
                rows.append(anonymous(row, missing, {}, sites.values()) if missing else row)
    for day, rows in days.items():
        files.put_rows(layout.archived(layout.EVENTS, day, first), rows)
    return sum(len(rows) for rows in days.values())


class Archived:
    """The ids that the lake holds; asked again, it reads only the objects that are new."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._ids: dict[str, dict[str, set[str]]] = {}

    def count(self, prefix: str) -> int:
        """How many distinct events or decisions lie under a prefix now."""
        seen = self._ids.setdefault(prefix, {})
        for key in self._files.keys(prefix):
            if key not in seen:
                seen[key] = {json.loads(line)["id"] for line in gzip.decompress(self._files.get(key)).splitlines()}
        return len(set().union(*seen.values()))


def archive_rows(prefix: str, rows: Sequence[Mapping[str, Any]], first: str, files: Files) -> None:
    """Write decisions or failed events of a delivered batch, under the day they were made.

    Shapes: each row has its time in `at`.
    """
    days: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        days.setdefault(parse(row["at"]).date(), []).append(row)
    for day, kept in days.items():
        files.put_rows(layout.archived(prefix, day, first), kept)
