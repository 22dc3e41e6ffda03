"""Reads and writes objects of the lake and of the reports."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any


class Files:
    """One bucket, through an S3 client that is handed in.

    Errors: what botocore raises; an object that must exist and does not is a bug or an outage.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self.bucket = bucket

    def put(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        """Write one object; the same key again replaces it whole."""
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType=content_type)

    def replace(self, key: str, body: bytes) -> None:
        """Write one object anew, of the same kind as it was."""
        head = self._s3.head_object(Bucket=self.bucket, Key=key)
        self.put(key, body, head.get("ContentType", "application/octet-stream"))

    def former(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Every version of an object that another one took the place of, by key and version."""
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from ((one["Key"], one["VersionId"]) for one in page.get("Versions", ()) if not one["IsLatest"])

    def get_former(self, key: str, version: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=key, VersionId=version)["Body"].read())

    def remove_former(self, key: str, version: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=key, VersionId=version)

    def get(self, key: str) -> bytes:
        return bytes(self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def put_json(self, key: str, content: Any) -> None:
        self.put(key, json.dumps(content, ensure_ascii=False, sort_keys=True).encode(), "application/json")

    def get_json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def put_rows(self, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows as compressed JSON lines; the same rows are the same bytes."""
        text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
        self.put(key, gzip.compress(text.encode(), mtime=0), "application/x-ndjson")

    def keys(self, prefix: str) -> Iterator[str]:
        """Every object under a prefix, in order of name."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", ()))

    def keys_since(self, prefix: str, moment: datetime) -> Iterator[str]:
        """Every object under a prefix that was written since, in order of name."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from (entry["Key"] for entry in page.get("Contents", ()) if entry["LastModified"] >= moment)

    def get_rows(self, key: str) -> list[dict[str, Any]]:
        """The rows that `put_rows` wrote."""
        return [json.loads(line) for line in gzip.decompress(self.get(key)).splitlines()]

    def fetch(self, prefixes: Iterable[str], into: Path) -> int:
        """Copy every object under the prefixes to a folder, under its own name; how many there were."""
        count = 0
        for prefix in prefixes:
            for key in self.keys(prefix):
                target = into / key
                target.parent.mkdir(parents=True, exist_ok=True)
                self._s3.download_file(self.bucket, key, str(target))
                count += 1
        return count
