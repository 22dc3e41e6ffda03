"""The page and the tables keep their manners whatever stands in the fields."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from closedloop.reports.charts import draw
from closedloop.reports.page import TEMPLATES
from closedloop.reports.tables import harmless
from closedloop.reports.words import TEXTS, Language, Words
from tests.hostile import FORMULA, HOSTILE, a_hostile_lake
from tests.unit.test_report import AS_OF, LATEST, VERSION, a_small_loop, built
from tests.unit.test_report_rows import DAY, a_deal, the_loop

LINK = re.compile(
    r"#\w+|\.\./version=20261124T030000000Z-[0-9a-f]{8}/(index(\.ja)?\.html|proposal\.yaml|human/\w+(\.ja)?\.csv)"
)
CSP = ("default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'none'; base-uri 'none'; "
       "form-action 'none'")


class Seen(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = a_small_loop(tmp_path_factory.mktemp("kind"))
    return built(folder)[1]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A report in which every field that a stranger can fill holds something hostile."""
    return built(a_hostile_lake(tmp_path_factory.mktemp("hostile")), the_loop(strategy=HOSTILE[0]))[1]


@pytest.mark.parametrize("name", ["index.html", "index.ja.html"])
def test_hostile_text_stays_text(hostile: dict[str, bytes], name: str) -> None:
    page = hostile[LATEST + name].decode()
    seen = Seen(page)
    tags = {tag for tag, _ in seen.elements}
    assert not tags & {"script", "img", "iframe", "object", "form", "link", "base", "use", "image"}
    for _, attributes in seen.elements:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("href", "src", "xlink:href", "action"):
            value = attributes.get(key)
            assert value is None or LINK.fullmatch(value)
    assert "&lt;/script&gt;" in page and "{{7*7}}" in page and "window.ran" in page


def test_no_spreadsheet_takes_a_stranger_s_text_for_a_formula(hostile: dict[str, bytes]) -> None:
    for key, body in hostile.items():
        if "/human/" in key:
            for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")):
                for cell in row:
                    number = re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)
                    # The relation of a check is our own word.
                    assert number or not re.match("[ \u3000\ufeff]*[=+\\-@%|\t\r\n＝＋－＠]", cell), (key, cell)


def test_machines_get_the_text_as_it_is(hostile: dict[str, bytes]) -> None:
    body = hostile["curated_csv/funnel_daily/site=demo/autumn-pumps.part-2026.csv"].decode()
    assert FORMULA in {row["source"] for row in csv.DictReader(io.StringIO(body, newline=""))}


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "%x", "|x", "\tx", "\rx", "\nx", " =1", "　=1", "\ufeff=1",
                                  "＝1", "＋1", "－1", "＠x"])
def test_what_begins_like_a_formula_gets_a_mark(text: str) -> None:
    assert harmless(text) == "'" + text


@pytest.mark.parametrize("text", ["", "pump", "a=b", "1+1", "東京", "'=1"])
def test_other_text_is_left_alone(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize("name", ["index.html", "index.ja.html"])
def test_a_page_stands_by_itself(pages: dict[str, bytes], name: str) -> None:
    body = pages[LATEST + name]
    page = body.decode()
    assert len(body) < 2_000_000
    assert f'content="{CSP}"' in page
    # The names of SVG's own language look like addresses and are never fetched.
    names = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not set(re.findall(r"\w+://[^\"'\s<)]+", page)) - names
    assert re.search(rf'href="[^"]*/{"index.ja.html" if name == "index.html" else "index.html"}"', page)
    for word in ("prefers-color-scheme: dark", "size: A4", "max-width: 560px"):
        assert word in page


def test_the_first_screen_says_how_each_objective_will_likely_end(pages: dict[str, bytes]) -> None:
    for name, line in (("index.html", r"likely [¥\d,]+ by then \([¥\d,]+ to [¥\d,]+\), P\(met\) \d+%"),
                       ("index.ja.html", r"期限までの見込み [¥\d,]+\([¥\d,]+〜[¥\d,]+\)、達成確率 \d+%")):
        first, _, _ = pages[LATEST + name].decode().partition("<nav")
        assert len(re.findall(line, first)) == 3


def test_every_chart_is_named_and_has_its_numbers_beside_it(pages: dict[str, bytes]) -> None:
    page = pages[LATEST + "index.html"].decode()
    drawings = re.findall(r"<svg[^>]*>", page)
    assert len(drawings) >= 6
    assert all('role="img"' in drawing and "aria-label=" in drawing for drawing in drawings)
    for table in ("objectives", "figures", "stages", "weeks", "credit", "checks"):
        assert f"/human/{table}.csv" in page and f"{VERSION}human/{table}.csv" in pages
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_drawing_is_the_same_text_however_often_it_is_drawn() -> None:
    spec: dict[str, Any] = {
        "data": {"values": [{"a": "</script><b>", "b": 1}]}, "mark": {"type": "bar", "clip": True},
        "encoding": {"x": {"field": "b", "type": "quantitative"}, "y": {"field": "a", "type": "nominal"}},
    }
    one, two = draw("one", spec, 'say "hi" <now>'), draw("one", spec, 'say "hi" <now>')
    assert one == two and "</script>" not in one and 'aria-label="say &quot;hi&quot; &lt;now&gt;"' in one
    assert 'id="one-0"' in one and "url(#one-0)" in one


@pytest.mark.parametrize("sign", ["\x00", "\x01", "\x1f", "\ufffe", "\ud800", "\u2028", "\u2029"])
def test_signs_that_have_no_place_in_a_drawing_are_drawn_as_unknown(sign: str) -> None:
    spec = {
        "data": {"values": [{f"a{sign}": f"x{sign}y"}]}, "mark": "text",
        "encoding": {"text": {"field": f"a{sign}", "type": "nominal"}},
    }
    assert "x\ufffdy" in draw("one", spec, sign)


def test_a_drawing_loads_nothing() -> None:
    spec = {"data": {"url": "https://evil.example/data.csv"}, "mark": "bar"}
    with pytest.raises(ValueError, match=r'evil\.example|allowed'):
        draw("x", spec, "x")


def test_both_languages_say_everything_with_the_same_values() -> None:
    for key, (english, japanese) in TEXTS.items():
        assert sorted(re.findall(r"{(\w+)}", english)) == sorted(re.findall(r"{(\w+)}", japanese)), key
        assert bool(english) == bool(japanese), key


def test_every_word_that_the_page_asks_for_is_there() -> None:
    asked = set(re.findall(r'w\.get\("([^"]+)"[,)]', (TEMPLATES / "report.html.j2").read_text(encoding="utf-8")))
    assert asked and asked <= set(TEXTS)


@pytest.mark.parametrize(("minor", "currency", "text"), [
    (1234567, "JPY", "¥1,234,567"), (1234567, "USD", "$12,345.67"), (-5, "EUR", "−€0.05"), (1500, "KWD", "1.500 KWD"),
    (None, "JPY", "—"),
])
def test_money_is_written_with_its_currency_s_decimals(minor: int | None, currency: str, text: str) -> None:
    assert Words(Language.EN).money(minor, currency) == text


def test_a_loop_in_dollars_shows_dollars(tmp_path: Path) -> None:
    extra = (a_deal("x1", "Deal Won", "bob", 123456, at=DAY + timedelta(days=9), deal="d2", currency="USD"),)
    files = built(a_small_loop(tmp_path, extra=extra), the_loop(currency="USD"), AS_OF)[1]
    assert "$1,234.56" in files[LATEST + "index.html"].decode()
    rows = files[VERSION + "human/credit.csv"].decode("utf-8-sig")
    assert "1234.56" in rows and "(USD)" in rows
