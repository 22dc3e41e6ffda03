"""A web server's access log as page events: history from before the tracker, or from pages without it.

Reads the combined format of Apache and nginx. Every line ends as one of three things, so that the counts balance: a
page event in Segment's shape, a request that is no page, or a line that cannot be read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from closedloop.events.times import iso
from closedloop.sites.definition import Site

LINE_CHARS = 65_536
QUOTED = r'"((?:[^"\\]|\\.)*)"'
# Address, identity, user, [time], "request", status, bytes, then "referrer" and "agent" where the format has them.
COMBINED = re.compile(
    rf"(\S+) \S+ [^\[]*\[([^\]]*)\] {QUOTED} (\d{{3}}) (?:\d+|-)(?: {QUOTED} {QUOTED}(?: .*)?)?\s*\Z", re.DOTALL
)
TIME = re.compile(r"(\d{1,2})/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z")
REQUEST = re.compile(r"([A-Z]{3,20}) (\S.*?)(?: HTTP/[\d.]+)?\Z", re.DOTALL)
# Named here because a month's name in a log is English whatever the machine speaks.
MONTHS = {
    "Jan": 1, "Feb": 2, "Mar": 3, "Apr": 4, "May": 5, "Jun": 6,
    "Jul": 7, "Aug": 8, "Sep": 9, "Oct": 10, "Nov": 11, "Dec": 12,
}
ESCAPE = re.compile(r'\\x([0-9a-fA-F]{2})|\\(["\\])|\\[bfnrtv]')
CONTROL = re.compile("[\x00-\x1f\x7f]")
SURROGATE = re.compile("[\ud800-\udfff]")
PAGE_STATUS = frozenset(("200", "304"))
PAGE_ENDINGS = frozenset((
    "html", "htm", "xhtml", "shtml", "php", "php3", "php5", "phtml", "asp", "aspx", "jsp", "jspx", "do", "cgi", "cfm",
    "action",
))
# An ending of letters is a file's; "keynav-0.5" ends in a version and is a page.
FILE_ENDING = re.compile(r"\.([a-z][a-z0-9]{0,9}|7z|3gp)\Z")
NOT_PAGES = re.compile(
    r"/(?:robots\.txt|favicon\.ico|sitemap[^/]*\.xml|\.well-known/.*|apple-touch-icon[^/]*|wp-json/.*)\Z", re.IGNORECASE
)
FEED = re.compile(r"/(?:feed|feeds|rss|rss2|atom|rdf)/?\Z|\.(?:rss|rss2|atom|rdf)\Z", re.IGNORECASE)
FEED_QUERY = re.compile(r"(?:\A|&)(?:flav|feed|format|alt|type|view)=(?:rss|atom|rdf|feed)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Record:
    """One page that was asked for, as a Segment page event.

    Units: `line` counts from 1.
    """

    line: int
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A request that is no page view, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Bad:
    """A line that is not of the format, and what is wrong with it."""

    line: int
    reason: str


def read(
    lines: Iterable[str], site: Site, *, visitor_of: Callable[[str, str], str]
) -> Iterator[Record | Skipped | Bad]:
    """Read a log: each line becomes exactly one result, and the same log read twice gives the same ids.

    Shapes: `visitor_of` names the visitor behind a network address and an agent; the address itself goes no further.
    A crawler's page is a record as well: its agent is kept, and who is a machine is judged later.
    Source: Apache HTTP Server, mod_log_config, "combined"; the escapes of its "Security considerations".
    """
    seen: Counter[bytes] = Counter()
    for number, line in enumerate(lines, 1):
        yield _read_line(number, line.rstrip("\r\n"), site, visitor_of, seen)


def _read_line(
    number: int, line: str, site: Site, visitor_of: Callable[[str, str], str], seen: Counter[bytes]
) -> Record | Skipped | Bad:
    if len(line) > LINE_CHARS:
        return Bad(number, f"longer than {LINE_CHARS} characters")
    if not line.strip():
        return Skipped(number, "an empty line")
    fields = COMBINED.match(line)
    if not fields:
        return Bad(number, "not of the combined log format")
    address, time, request, status, referrer, agent = fields.groups(default="")
    moment = _time(time)
    if moment is None:
        return Bad(number, "the time cannot be read")
    asked = REQUEST.match(request)
    if not asked:
        return Skipped(number, "not an HTTP request")
    method, target = asked.groups()
    path, query = _path(_plain(target))
    if reason := _why_no_page(method, status, path, query):
        return Skipped(number, reason)
    agent, referrer = _or_nothing(_plain(agent)), _or_nothing(_plain(referrer))
    search = f"?{query}" if query else ""
    return Record(number, {
        "type": "page",
        "messageId": _message_id(line, seen),
        "anonymousId": visitor_of(_plain(address), agent),
        "timestamp": iso(moment),
        "context": {
            "page": {
                "path": path, "referrer": referrer, "search": search, "title": "",
                "url": f"{site.origins[0]}{path}{search}",
            },
            "userAgent": agent,
            "library": {"name": "access-log"},
        },
    })


def _message_id(line: str, seen: Counter[bytes]) -> str:
    """The content of the line, and which of its equals it is: equal lines are several requests."""
    digest = hashlib.sha256(line.encode("utf-8", "surrogatepass")).digest()[:16]
    seen[digest] += 1
    return hashlib.sha256(digest + str(seen[digest]).encode()).hexdigest()[:32]


def _time(text: str) -> datetime | None:
    found = TIME.match(text)
    if not found or found[2] not in MONTHS:
        return None
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        # A leap second is written as 60.
        moment = datetime(int(year), MONTHS[month], int(day), int(hour), int(minute), min(int(second), 59), tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _path(target: str) -> tuple[str, str]:
    """Path and query of what was asked for, which may be a whole address when a proxy asks."""
    target = target.partition("#")[0]
    if target[:7].lower() == "http://" or target[:8].lower() == "https://":
        rest = target.partition("://")[2]
        start = re.search(r"[/?]", rest)
        target = rest[start.start():] if start else "/"
    path, _, query = target.partition("?")
    return path or "/", query


def _why_no_page(method: str, status: str, path: str, query: str) -> str:
    if method != "GET":
        return f"method {method}" if method in ("HEAD", "POST", "OPTIONS", "PUT", "DELETE") else "another method"
    if status not in PAGE_STATUS:
        return f"status {status}"
    if not path.startswith("/"):
        return "not a path"
    if FEED.search(path) or FEED_QUERY.search(query):
        return "a feed"
    if NOT_PAGES.search(path):
        return "a file for machines"
    ending = FILE_ENDING.search(path.rpartition("/")[2].lower())
    if ending and ending[1] not in PAGE_ENDINGS:
        return "a file, not a page"
    return ""


def _or_nothing(text: str) -> str:
    return "" if text == "-" else text


def _plain(text: str) -> str:
    r"""A quoted field without its escapes: `\xhh` becomes `%hh`, and waits for somebody who knows the charset."""
    text = CONTROL.sub(" ", ESCAPE.sub(lambda found: f"%{found[1]}" if found[1] else found[2] or " ", text))
    if text.isascii():
        return text
    # Bytes that the file's reader kept as surrogates are bytes as well; any other half of a pair is nothing.
    return SURROGATE.sub(
        lambda found: f"%{ord(found[0]) - 0xDC00:02X}" if "\udc80" <= found[0] <= "\udcff" else "\ufffd", text
    )
