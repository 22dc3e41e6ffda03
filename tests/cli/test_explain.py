"""What is asked line by line on standard input is answered line by line, whatever somebody sends."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable

import pytest

from closedloop.cli.main import main

Explained = Callable[[str, bytes], str]


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Explained:
    def explain(what: str, given: bytes) -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        with pytest.raises(SystemExit) as ended:
            main(["explain", what])
        assert ended.value.code in (0, None)
        return capsys.readouterr().out

    return explain


HOSTILE = [
    {"url": "https://a.example/?utm_source=\ud800&utm_medium=e\u202email", "referrer": "\x00\udfff"},
    {"url": 5, "referrer": ["https://www.google.com/"]}, {"url": None, "referrer": None}, {"url": {}, "more": [[[]]]},
    {"url": "https://[", "referrer": "https://search.yahoo.co.jp/search?p=%B1%C4%B6%C8"}, {"url": "a\x85b\u2028c"},
]


def test_each_line_has_one_answer_however_hostile(explained: Explained) -> None:
    given = "\ufeff" + "".join(json.dumps(one) + "\r\n" for one in HOSTILE)
    said = explained("source", given.encode("utf-8"))
    found = [json.loads(line) for line in said.splitlines()]
    assert [list(one) for one in found] == [["channel", "medium", "source", "term", "campaign", "rule"]] * len(HOSTILE)
    assert (found[0]["channel"], found[4]["term"]) == ("Email", "営業")
    assert all(isinstance(value, str) and value.isprintable() for one in found for value in one.values())


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\r"])
def test_only_a_line_feed_ends_an_agent(explained: Explained, end: str) -> None:
    said = explained("agent", f"Mozilla/5.0 {end}x\nGooglebot/2.1\n".encode())
    assert len(said.splitlines()) == 2
