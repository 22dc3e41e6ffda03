"""The journal of imports: what each wrote, so that a correction finds what it corrects and an import can be undone.

imported/site=SITE/kind=KIND/source=SOURCE/NAME/ holds head.json, rows.ndjson.gz, report.json and rejects.csv; none of
them repeats a cell of the file.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from closedloop.capture.lists.flow import Head
from closedloop.lake import layout
from closedloop.lake.files import Files

HEAD, ROWS = "head.json", "rows.ndjson.gz"


class Journal:
    """Keeps which imports there were; the same import writes the same names."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def heads(self, site: str = "", kind: str = "", source: str = "") -> list[Head]:
        """The imports of a source, a kind, a site, or all of them, in order of their time."""
        keys = self._files.keys(layout.imported(site, kind, source))
        found = [Head(**self._files.get_json(key)) for key in keys if key.endswith(f"/{HEAD}")]
        return sorted(found, key=lambda head: (head.received_at, head.name))

    def put_head(self, head: Head) -> None:
        self._files.put_json(_key(head, HEAD), asdict(head))

    def put_rows(self, head: Head, rows: Iterable[Mapping[str, Any]]) -> None:
        self._files.put_rows(_key(head, ROWS), rows)

    def rows(self, head: Head) -> Iterator[Mapping[str, Any]]:
        """What an import wrote, row by row."""
        with gzip.open(io.BytesIO(self._files.get(_key(head, ROWS))), "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def _key(head: Head, file: str) -> str:
    return layout.imported(head.site, head.kind, head.source, head.name, file)
