"""Reads and writes objects of the lake and of the reports."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

# How many objects are copied side by side.
AT_ONCE = 8


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

    def stamps(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Every object under a prefix, with what its content is known by, in order of name."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            yield from ((entry["Key"], entry["ETag"]) for entry in page.get("Contents", ()))

    def folders(self, prefix: str) -> Iterator[str]:
        """The folders right under a prefix."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/")
        for page in pages:
            yield from (entry["Prefix"] for entry in page.get("CommonPrefixes", ()))

    def metadata(self, key: str) -> Mapping[str, str]:
        """What is noted on an object."""
        return dict(self._s3.head_object(Bucket=self.bucket, Key=key)["Metadata"])

    def put_file(self, key: str, file: Path, metadata: Mapping[str, str]) -> None:
        """Write one object from a file, in one call; what is noted on it takes effect together with it."""
        with open(file, "rb") as body:
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata=dict(metadata),
                                ContentType="application/vnd.apache.parquet")

    def copy(self, keys: Iterable[str], into: Path) -> None:
        """Copy objects to a folder, each under its own name."""
        def take(key: str) -> None:
            _write(self._s3.get_object(Bucket=self.bucket, Key=key), into / key)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(take, keys):
                pass

    def copy_if(self, key: str, into: Path, name: str, value: str) -> bool:
        """Copy an object to a folder if this is noted on it; whether it was."""
        got = self._s3.get_object(Bucket=self.bucket, Key=key)
        if got["Metadata"].get(name) != value:
            got["Body"].close()
            return False
        _write(got, into / key)
        return True


def _write(got: Mapping[str, Any], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "wb") as file:
        shutil.copyfileobj(got["Body"], file)
