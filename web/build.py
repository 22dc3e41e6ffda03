"""Make what pages load from its readable source: `python -m web.build`.

The tracker goes beside the handler that serves it and is not committed. The loader and the gtag adapter are pasted
into pages or hosted by the site, so they are printed when asked for: `python -m web.build snippet`, or `gtag`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from rjsmin import jsmin  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "web"
TRACKER = ROOT / "functions" / "serve_tracker" / "t.js"

_UNSTAMPED = "const VERSION = '0.0.0';"


@dataclass(frozen=True, slots=True)
class Script:
    """One minified script.

    Units: `text` is ASCII, so a page in any charset reads it alike.
    """

    text: str

    @property
    def gzipped_bytes(self) -> int:
        return len(gzip.compress(self.text.encode("ascii"), mtime=0))

    @property
    def integrity(self) -> str:
        """The value of an `integrity` attribute, for those who pin a copy."""
        digest = hashlib.sha384(self.text.encode("ascii")).digest()
        return "sha384-" + base64.b64encode(digest).decode("ascii")


def tracker() -> Script:
    """The script behind /t.js, stamped with the version of the product."""
    source = (SOURCES / "tracker.js").read_text(encoding="ascii")
    if _UNSTAMPED not in source:
        raise ValueError("tracker.js no longer has the line that carries the version")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return _minified(source.replace(_UNSTAMPED, f"const VERSION = '{project['version']}';"))


def snippet() -> Script:
    """The loader that pages paste inline or host as a file."""
    return _minified((SOURCES / "snippet.js").read_text(encoding="ascii"))


def gtag() -> Script:
    """The adapter that hears what a page tells gtag."""
    return _minified((SOURCES / "gtag.js").read_text(encoding="ascii"))


def build() -> Path:
    """Write the tracker beside its handler. Building again, or twice at once, changes nothing."""
    part = TRACKER.with_name(f"t.js.{os.getpid()}")
    part.write_text(tracker().text, encoding="ascii")
    return part.replace(TRACKER)


def _minified(source: str) -> Script:
    return Script(str(jsmin(source)).strip() + "\n")


def main(arguments: list[str]) -> None:
    printed = {"snippet": snippet, "gtag": gtag}
    for name in arguments:
        print(printed[name]().text, end="")
    if arguments:
        return
    path, script = build(), tracker()
    print(f"{path.relative_to(ROOT)}: {len(script.text)} bytes, {script.gzipped_bytes} gzipped, {script.integrity}")


if __name__ == "__main__":
    main(sys.argv[1:])
