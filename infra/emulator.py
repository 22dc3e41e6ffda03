"""Starts the emulator, under its own interpreter, with two of its defects mended.

It takes a body for text or binary by its content type alone, so a body packed with gzip and called JSON, as Segment's
SDK for Python sends it, loses its bytes. API Gateway documents that binary bodies are handed on in base64.

It judges what one of its services hands to another by the connection of whoever asked. In AWS, buckets and queues
refuse what comes without TLS, and services speak it among themselves; here loopback stands for it.
"""

from __future__ import annotations

from typing import Any

GZIP = b"\x1f\x8b"
TEXTS = ("application/json", "text/")


def main() -> None:
    """Run the emulator until it is told to end."""
    from ministack import app

    decode = app._decode_aws_chunked_body

    def whole(body: bytes, headers: dict[str, Any]) -> Any:
        plain = decode(body, headers)
        if plain.startswith(GZIP) and str(headers.get("content-type", "")).startswith(TEXTS):
            headers["content-type"] = "application/octet-stream"
        return plain

    app._decode_aws_chunked_body = whole
    pin = app.pin_request_origin
    app.pin_request_origin = lambda address, _: pin(address, True)
    app.main()


if __name__ == "__main__":
    main()
