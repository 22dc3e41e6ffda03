"""An access log as page events: each line counts once, and the same log read twice says the same."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.capture.access_log import Bad, Record, Skipped, read
from closedloop.events.agents import Grade, grade_event
from closedloop.events.sources import source_of
from closedloop.sites.definition import Site
from tests.yardstick import megabytes_of_json

SITE = Site(
    site="semicomplete", title="Semicomplete", write_key="pk_semicomplete",
    origins=("http://www.semicomplete.com", "http://semicomplete.com"),
)
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "access_log.gz"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"


def a_visitor(address: str, agent: str) -> str:
    return hashlib.sha256(f"{address}|{agent}".encode("utf-8", "replace")).hexdigest()[:32]


def a_line(
    request: str = "GET /blog/ HTTP/1.1", *, address: str = "198.18.0.7", user: str = "-",
    when: str = "17/May/2015:10:05:03 +0000", status: str = "200", referrer: str = "-", agent: str = CHROME,
    tail: str = "",
) -> str:
    return f'{address} - {user} [{when}] "{request}" {status} 512 "{referrer}" "{agent}"{tail}\n'


def results(*lines: str) -> list[Record | Skipped | Bad]:
    return list(read(lines, SITE, visitor_of=a_visitor))


def the_page(line: str) -> dict[str, Any]:
    (found,) = results(line)
    assert isinstance(found, Record), found
    return found.event


def test_a_page_becomes_an_event_of_segments_shape() -> None:
    event = the_page(a_line("GET /blog/?a=1 HTTP/1.1", referrer="http://partner.example/"))
    assert event.pop("messageId")
    assert event == {
        "type": "page",
        "anonymousId": a_visitor("198.18.0.7", CHROME),
        "timestamp": "2015-05-17T10:05:03.000Z",
        "context": {
            "page": {
                "path": "/blog/", "referrer": "http://partner.example/", "search": "?a=1", "title": "",
                "url": "http://www.semicomplete.com/blog/?a=1",
            },
            "userAgent": CHROME,
            "library": {"name": "access-log"},
        },
    }


def test_the_address_goes_no_further_than_the_visitors_name() -> None:
    assert "198.18.0.7" not in json.dumps(the_page(a_line()))


def test_two_equal_lines_are_two_pages_and_the_same_file_again_is_none() -> None:
    def ids(*lines: str) -> list[str]:
        return [found.event["messageId"] for found in results(*lines) if isinstance(found, Record)]

    first, second = ids(a_line(), a_line())
    assert first != second
    assert ids(a_line(), a_line("GET /other"), a_line())[::2] == [first, second]


def test_line_endings_are_no_part_of_a_line() -> None:
    assert the_page(a_line()) == the_page(a_line().replace("\n", "\r\n")) == the_page(a_line().rstrip())


@pytest.mark.parametrize(("when", "expected"), [
    ("17/May/2015:10:05:03 +0900", "2015-05-17T01:05:03.000Z"),
    ("31/Dec/2016:23:59:60 +0000", "2016-12-31T23:59:59.000Z"),
    ("01/Jan/2024:00:00:00 -0330", "2024-01-01T03:30:00.000Z"),
])
def test_a_time_keeps_its_zone(when: str, expected: str) -> None:
    assert the_page(a_line(when=when))["timestamp"] == expected


@pytest.mark.parametrize(("request_line", "path", "search"), [
    ("GET / HTTP/1.1", "/", ""),
    ("GET /projects/keynav-0.5 HTTP/1.0", "/projects/keynav-0.5", ""),
    ("GET /index.php?id=3 HTTP/2.0", "/index.php", "?id=3"),
    ("GET http://www.semicomplete.com/a.html?b HTTP/1.1", "/a.html", "?b"),
    ("GET http://www.semicomplete.com HTTP/1.1", "/", ""),
    ("GET //double/slash HTTP/1.1", "//double/slash", ""),
    ("GET /old", "/old", ""),
    ("GET /a b c HTTP/1.1", "/a b c", ""),
    ("GET /caf\\xc3\\xa9 HTTP/1.1", "/caf%c3%a9", ""),
    ("GET /feedback HTTP/1.1", "/feedback", ""),
])
def test_what_is_a_page(request_line: str, path: str, search: str) -> None:
    page = the_page(a_line(request_line))["context"]["page"]
    assert (page["path"], page["search"]) == (path, search)


@pytest.mark.parametrize(("line", "reason"), [
    (a_line("GET /logo.png HTTP/1.1"), "a file, not a page"),
    (a_line("GET /style.css?v=2 HTTP/1.1"), "a file, not a page"),
    (a_line("GET /app.JS HTTP/1.1"), "a file, not a page"),
    (a_line("GET /font.woff2 HTTP/1.1"), "a file, not a page"),
    (a_line("GET /a/logstash-1.3.2.jar HTTP/1.1"), "a file, not a page"),
    (a_line("GET /robots.txt HTTP/1.1"), "a file for machines"),
    (a_line("GET /favicon.ico HTTP/1.1"), "a file for machines"),
    (a_line("GET /blog/index.rss HTTP/1.1"), "a feed"),
    (a_line("GET /blog/feed/ HTTP/1.1"), "a feed"),
    (a_line("GET /blog/tags/puppet?flav=rss20 HTTP/1.1"), "a feed"),
    (a_line("HEAD / HTTP/1.1"), "method HEAD"),
    (a_line("POST / HTTP/1.1"), "method POST"),
    (a_line("PROPFIND / HTTP/1.1"), "another method"),
    (a_line(status="404"), "status 404"),
    (a_line(status="206"), "status 206"),
    (a_line("-", status="408"), "not an HTTP request"),
    (a_line("\\x16\\x03\\x01", status="400"), "not an HTTP request"),
    (a_line("GET *.example HTTP/1.1"), "not a path"),
    ("\n", "an empty line"),
])
def test_what_is_no_page_is_counted_with_its_reason(line: str, reason: str) -> None:
    assert results(line) == [Skipped(1, reason)]


@pytest.mark.parametrize(("line", "reason"), [
    ("hello\n", "not of the combined log format"),
    (a_line().replace('"\n', "\n"), "not of the combined log format"),
    (a_line(when="yesterday"), "the time cannot be read"),
    (a_line(when="31/Feb/2015:10:05:03 +0000"), "the time cannot be read"),
    (a_line(when="17/Mai/2015:10:05:03 +0000"), "the time cannot be read"),
    (a_line(when="01/Jan/0001:00:00:00 +2300"), "the time cannot be read"),
    (a_line(agent="a" * 70_000), "longer than 65536 characters"),
])
def test_a_line_that_cannot_be_read_says_why(line: str, reason: str) -> None:
    assert results(line) == [Bad(1, reason)]


def test_a_line_may_have_an_address_of_ipv6_a_user_with_blanks_and_more_fields() -> None:
    event = the_page(a_line(address="2001:db8::1", user="Erika Muster", tail=' 0.123 "upstream"'))
    assert event["anonymousId"] == a_visitor("2001:db8::1", CHROME)


def test_the_common_format_without_referrer_and_agent_is_read_too() -> None:
    event = the_page('198.18.0.7 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 -\n')
    assert event["context"]["userAgent"] == ""
    assert event["context"]["page"]["referrer"] == ""


def test_escaped_quotes_belong_to_the_field() -> None:
    event = the_page(a_line(agent='My \\"Browser\\" \\\\ 1', referrer="http://partner.example/\\x22"))
    assert event["context"]["userAgent"] == 'My "Browser" \\ 1'
    assert event["context"]["page"]["referrer"] == "http://partner.example/%22"


def test_an_escaped_control_character_is_a_blank_and_a_dash_is_nothing() -> None:
    assert the_page(a_line(agent="My\\tBrowser"))["context"]["userAgent"] == "My Browser"
    context = the_page(a_line(agent="-", referrer="-"))["context"]
    assert (context["userAgent"], context["page"]["referrer"]) == ("", "")


def test_bytes_in_a_referrer_wait_for_who_knows_their_charset() -> None:
    raw = "見積".encode("euc_jp")
    escaped = "".join(f"\\x{byte:02x}" for byte in raw)
    kept = raw.decode("utf-8", "surrogateescape")
    for word in (escaped, kept):
        page = the_page(a_line(referrer=f"http://search.yahoo.co.jp/search?p={word}"))["context"]["page"]
        assert source_of(page["url"], page["referrer"], {}, SITE.own_hosts).term == "見積"


PIECE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(['"', "\\", '\\"', "[", "]", " - - ", "GET / HTTP/1.1", "\udcff", "\ud800", "\x00"]),
)


@given(st.lists(st.one_of(
    st.lists(PIECE, max_size=12).map("".join),
    st.builds(a_line, PIECE.map(lambda text: f"GET /{text}"), referrer=PIECE, agent=PIECE, address=PIECE, when=PIECE),
    st.builds(a_line, PIECE.map(lambda text: f"GET /{text}"), referrer=PIECE, agent=PIECE),
), max_size=12))
def test_every_line_counts_once_whatever_stands_in_it(lines: list[str]) -> None:
    found = results(*lines)
    assert [result.line for result in found] == list(range(1, len(lines) + 1))
    assert found == results(*lines)
    events = [result.event for result in found if isinstance(result, Record)]
    assert len({event["messageId"] for event in events}) == len(events)
    for event in events:
        # What a store takes: text without half characters and without control characters.
        json.dumps(event, ensure_ascii=False).encode()
        texts = [*event["context"]["page"].values(), event["context"]["userAgent"]]
        assert not re.search("[\x00-\x1f\x7f]", "".join(texts))


@pytest.mark.parametrize("line", [
    '"' * 60_000, "[" * 60_000, "\\" * 60_000, "a " * 30_000, a_line(agent='\\"' * 30_000), "1 - " + "x" * 60_000,
    a_line(request="GET " + " " * 60_000), a_line(tail=" " * 60_000 + "x"),
])
def test_a_hostile_line_costs_little(line: str) -> None:
    assert megabytes_of_json(lambda: results(line)) < 9


@pytest.fixture(scope="module")
def real_lines() -> list[str]:
    if not REAL.exists():
        reason = f"the access log is not beside the checkout (../shared/data/{REAL.name})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with gzip.open(REAL, "rt", encoding="utf-8", errors="surrogateescape") as file:
        return file.readlines()


@pytest.fixture(scope="module")
def real(real_lines: list[str]) -> list[Record | Skipped | Bad]:
    return results(*real_lines)


def graded(real: list[Record | Skipped | Bad]) -> list[tuple[dict[str, Any], Grade]]:
    events = [found.event for found in real if isinstance(found, Record)]
    return [(event, grade_event("", "", event["context"], {}, door="beacon").grade) for event in events]


@pytest.mark.real_input
def test_the_real_log_balances(real_lines: list[str], real: list[Record | Skipped | Bad]) -> None:
    assert len(real_lines) == len(real) == 10_000
    assert Counter(type(found).__name__ for found in real) == {"Record": 2_874, "Skipped": 7_125, "Bad": 1}
    # The one bad line breaks off in the middle of Googlebot's name.
    assert [found.line for found in real if isinstance(found, Bad)] == [
        number for number, line in enumerate(real_lines, 1) if not line.rstrip().endswith('"')
    ]


@pytest.mark.real_input
def test_the_real_log_read_twice_has_the_same_ids(real_lines: list[str], real: list[Record | Skipped | Bad]) -> None:
    assert results(*real_lines) == real
    ids = {found.event["messageId"] for found in real if isinstance(found, Record)}
    assert len(ids) == 2_874


@pytest.mark.real_input
def test_the_real_log_keeps_crawlers_apart(real: list[Record | Skipped | Bad]) -> None:
    pages = graded(real)
    assert Counter(grade for _, grade in pages) == {Grade.HUMAN: 1_577, Grade.MACHINE: 1_296, Grade.LIKELY: 1}
    for name in ("Googlebot", "bingbot", "Baiduspider", "YandexBot", "AhrefsBot", "MJ12bot", "Slurp", "Ezooms"):
        assert {grade for event, grade in pages if name in event["context"]["userAgent"]} == {Grade.MACHINE}, name
    for name in ("OPR/", "Opera/9.80", "Iceweasel", "PaleMoon", "GSA/", "Konqueror"):
        assert {grade for event, grade in pages if name in event["context"]["userAgent"]} <= {Grade.HUMAN}, name


@pytest.mark.real_input
def test_the_real_log_names_the_searches_that_its_referrers_carry(real: list[Record | Skipped | Bad]) -> None:
    words: Counter[tuple[str, str]] = Counter()
    channels: Counter[str] = Counter()
    for event, grade in graded(real):
        page = event["context"]["page"]
        found = source_of(page["url"], page["referrer"], {}, SITE.own_hosts)
        if grade is not Grade.MACHINE:
            channels[found.channel] += 1
            if found.term:
                words[found.source, found.term] += 1
    assert words == {
        ("google", "fpm packager"): 2, ("google", "http.//www..google"): 1, ("google", "xdotool command mac"): 1,
        ("google", "xdotool type speed"): 1, ("google", "java"): 1, ("google", "xdotool"): 1, ("bing", "xdotool"): 1,
        ("bing", "http vs https latency"): 1, ("baidu", "semicomplete.com-JordanSissel"): 1,
        ("baidu", "TSIG error with server: tsig indicates error"): 1,
    }
    assert channels["Organic Search"] == 465
    assert channels["internal"] == 479
    assert sum(channels.values()) == 1_578


@pytest.mark.real_input
def test_the_real_log_is_read_fast(real_lines: list[str]) -> None:
    assert megabytes_of_json(lambda: results(*real_lines)) < 190
