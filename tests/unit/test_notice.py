"""The notice of external transmission: every field that the tracker sends, in both languages, safe to publish."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from closedloop.sites.definition import Site
from closedloop.sites.notice import NoticeFormat, NoticeLanguage, notice
from tests.builders import a_site

TRACKER = (Path(__file__).resolve().parents[2] / "web/tracker.js").read_text()
ENDPOINT = "https://c.northwind.example"
BOTH = pytest.mark.parametrize("language", list(NoticeLanguage))


def a_full_site(**changes: object) -> Site:
    fields = [{"name": "email", "kind": "email", "required": True, "label": "メール | <b>"}]
    box = {"name": "news", "texts": {"2026-11": "Write to me."}}
    other = {"name": "share", "purpose": "third-party", "texts": {"2026-11": "Tell your dealers."}}
    form = {"fields": fields, "thanks": "/thanks", "consents": [box, other], "turnstile": True}
    return a_site(title="Northwind <script>", forms={"contact": form}, **changes)


def sent_by_the_tracker() -> set[str]:
    """The names under which the tracker sends anything, read from its source."""
    names: set[str] = set()
    for function in ("pageNow", "describe", "count", "summarise", "clicked", "addHiddenFields"):
        body = re.search(rf"function {function}\(.*?\n  }}\n", TRACKER, re.DOTALL)
        assert body, function
        code = re.sub(r"//.*", "", body[0])
        names |= set(re.findall(r"[{,(]\s*(\w+):", code)) | set(re.findall(r"properties\.(\w+) =", code))
        names |= set(re.findall(r"hidden\.(\w+) =", code))
    # What only holds others, or is the library's own name and version.
    return names - {"page", "context", "properties", "name", "version"}


def test_the_tracker_sends_what_the_test_believes() -> None:
    assert {"url", "anonymousId", "engaged_seconds", "cl_time", "href", "consent"} <= sent_by_the_tracker()


@BOTH
def test_every_field_that_the_tracker_sends_is_named(language: NoticeLanguage) -> None:
    text = notice(a_full_site(), ENDPOINT, language, NoticeFormat.MARKDOWN)
    assert not [name for name in sorted(sent_by_the_tracker()) if not re.search(rf"\b{name}\b", text)]


@BOTH
@pytest.mark.parametrize("as_", list(NoticeFormat))
def test_it_says_to_whom_why_and_how_to_refuse(language: NoticeLanguage, as_: NoticeFormat) -> None:
    text = notice(a_full_site(), ENDPOINT, language, as_)
    for word in ("c.northwind.example", "Cloudflare", "_cl_vid", "third-party", "1 Quay, Yokohama", "/contact"):
        assert word in text
    assert {NoticeLanguage.JA: "停止の方法", NoticeLanguage.EN: "How to refuse"}[language] in text
    assert "<script>" not in text and "<b>" not in text


def test_what_a_site_does_not_have_is_not_claimed() -> None:
    text = notice(a_site(mail_sender=None), ENDPOINT, NoticeLanguage.EN, NoticeFormat.MARKDOWN)
    assert "Cloudflare" not in text and "mail holds a link" not in text and "Ask what is held" not in text


@pytest.mark.parametrize(("mode", "words"), [
    ("opt_in", "Nothing but a count is sent before you agree."), ("notice", "sent until you object"),
])
def test_the_consent_mode_decides_what_is_said_of_silence(mode: str, words: str) -> None:
    assert words in notice(a_full_site(consent=mode), ENDPOINT, NoticeLanguage.EN, NoticeFormat.MARKDOWN)


@BOTH
def test_the_table_has_four_cells_in_every_row(language: NoticeLanguage) -> None:
    lines = notice(a_full_site(), ENDPOINT, language, NoticeFormat.MARKDOWN).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) > 10
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


@BOTH
def test_the_page_closes_what_it_opens_and_loads_nothing(language: NoticeLanguage) -> None:
    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.linked: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.linked += [name for name, _ in attrs if name in ("src", "href")]
            if tag != "meta":
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    tags = Tags()
    tags.feed(notice(a_full_site(), ENDPOINT, language, NoticeFormat.HTML))
    assert (tags.open, tags.linked) == ([], [])
