"""Serves the example pages on this machine, with the system's address put into them."""

from __future__ import annotations

import mimetypes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

PLACE = b"{{ endpoint }}"


def serve(folder: Path, endpoint: str, port: int) -> ThreadingHTTPServer:
    """Serve a folder's pages at http://localhost:PORT until `shutdown` and `server_close` are called.

    Shapes: port 0 takes any free one, told by `server_port`; `/products/pumps` is `products/pumps.html`.
    Errors: OSError when the port is taken.
    """
    root = folder.resolve()
    address = endpoint.rstrip("/").encode()

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = _page(root, unquote(urlsplit(self.path).path))
            if page is None:
                self.send_error(404)
                return
            content = page.read_bytes()
            kind = mimetypes.guess_type(page.name)[0] or "application/octet-stream"
            if kind.startswith("text/"):
                content, kind = content.replace(PLACE, address), f"{kind}; charset=utf-8"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody waits for a line per page."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Pages)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def _page(root: Path, path: str) -> Path | None:
    """The file behind a path, never one outside the folder."""
    try:
        asked = (root / path.strip("/")).resolve()
        if not asked.is_relative_to(root):
            return None
        for candidate in (asked, asked / "index.html", asked.with_name(f"{asked.name}.html")):
            if candidate.is_file():
                return candidate
    except (OSError, ValueError):
        # A path that no file system can hold leads to no page.
        return None
    return None
