"""Starts the emulator, under its own interpreter, with three of its defects mended.

It takes a body for text or binary by its content type alone, so a body packed with gzip and called JSON, as Segment's
SDK for Python sends it, loses its bytes. API Gateway documents that binary bodies are handed on in base64.

It judges what one of its services hands to another by the connection of whoever asked. In AWS, buckets and queues
refuse what comes without TLS, and services speak it among themselves; here loopback stands for it.

It unpacks a function and its layers anew for each worker, some thousand files that are the same for all of them; that
was most of what a local run waited for. Here they are unpacked once and linked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import types
import zipfile
from pathlib import Path
from typing import Any

GZIP = b"\x1f\x8b"
TEXTS = ("application/json", "text/")


class UnpackedOnce(zipfile.ZipFile):
    """An archive whose files are written the first time, and linked wherever the same archive is wanted again."""

    _one_at_a_time = threading.Lock()

    def namelist(self) -> list[str]:
        # The emulator asks each name whether it leads out of the folder, which takes as long as unpacking.
        return [name for name in super().namelist() if name.startswith("/") or ".." in name.split("/")]

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        content = hash(tuple((entry.filename, entry.CRC, entry.file_size) for entry in self.infolist()))
        kept = Path(tempfile.gettempdir(), f"unpacked-{content & 0xFFFF_FFFF_FFFF_FFFF:016x}")
        with self._one_at_a_time:
            if not kept.exists():
                half = kept.with_suffix(".half")
                super().extractall(half, self.infolist())
                half.rename(kept)
        shutil.copytree(kept, path, copy_function=os.link, dirs_exist_ok=True)


def main() -> None:
    """Run the emulator until it is told to end."""
    from ministack import app
    from ministack.core import lambda_runtime

    decode = app._decode_aws_chunked_body

    def whole(body: bytes, headers: dict[str, Any]) -> Any:
        plain = decode(body, headers)
        if plain.startswith(GZIP) and str(headers.get("content-type", "")).startswith(TEXTS):
            headers["content-type"] = "application/octet-stream"
        return plain

    app._decode_aws_chunked_body = whole
    pin = app.pin_request_origin
    app.pin_request_origin = lambda address, _: pin(address, True)
    # Its except clause names an error that zipfile does not have.
    lambda_runtime.zipfile = types.SimpleNamespace(
        ZipFile=UnpackedOnce, BadZipFile=zipfile.BadZipFile, LargeFileError=zipfile.LargeZipFile
    )
    app.main()


if __name__ == "__main__":
    main()
