"""Where visits come from: real referrers and tags with a story each, and text that nobody meant well."""

from __future__ import annotations

import json
import random
import re
import string
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.events import sources
from closedloop.events.sources import Source, channel_of, normal, read_word, source_of, table
from tests.yardstick import megabytes_of_json

DATA = json.loads((Path(__file__).parents[1] / "vectors" / "sources.json").read_text("utf-8"))
GROUPING = json.loads((Path(__file__).parents[1] / "vectors" / "ga4_channels.json").read_text("utf-8"))
OWN = frozenset(DATA["own_hosts"])
CHANNELS = {
    "Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video", "Display", "Paid Other",
    "Organic Shopping", "Organic Social", "Organic Video", "Organic Search", "Referral", "Email", "Affiliates", "Audio",
    "SMS", "Mobile Push Notifications", "Unassigned", "AI Assistant",
}
JAPANESE = (
    "展示会", "マーケティング", "見込み客 育成",
    "ひらがな", "株式会社", "製造業 事例", "会社", "営業支援システム", "価格",
)


@pytest.mark.parametrize("vector", DATA["vectors"], ids=[row["story"] for row in DATA["vectors"]])
def test_a_visit_is_read_as_its_story_says(vector: dict[str, Any]) -> None:
    found = source_of(vector["url"], vector["referrer"], vector.get("campaign", {}), OWN)
    assert asdict(found) == vector["want"]


def test_each_story_is_told_once() -> None:
    stories = [row["story"] for row in DATA["vectors"]]
    assert len(set(stories)) == len(stories)


def test_every_channel_of_the_table_is_one_of_the_grouping() -> None:
    known = table()
    named = {rule.channel for rule in known.rules} | {channel for channel, _ in known.kinds.values()}
    assert named | {click.channel for click in known.click_ids} <= CHANNELS
    assert CHANNELS - named == {"Unassigned"}


@pytest.mark.parametrize(("channel", "source", "medium", "campaign"), GROUPING["published"] + GROUPING["differs"])
def test_tags_have_the_channel_of_the_default_grouping(channel: str, source: str, medium: str, campaign: str) -> None:
    assert channel_of(source, medium, campaign) == channel


def test_each_channel_of_the_grouping_is_asked_for() -> None:
    assert {row[0] for row in GROUPING["published"]} == CHANNELS - {"AI Assistant"}


def test_every_kind_of_a_referrer_has_its_channel() -> None:
    known = table()
    referrers = [*known.alone.values(), *known.below.values()]
    assert {referrer.kind for referrer in referrers} <= set(known.kinds)


def test_no_host_stands_in_the_table_twice() -> None:
    text = Path(sources.__file__).with_name("sources_table.json").read_text("utf-8")
    hosts = [host for row in json.loads(text)["referrers"] for host in row["hosts"]]
    assert sorted(host for host in set(hosts) if hosts.count(host) > 1) == []


def test_no_name_means_two_sources() -> None:
    text = Path(sources.__file__).with_name("sources_table.json").read_text("utf-8")
    names = [name for row in json.loads(text)["referrers"] for name in {row["engine"], *row.get("names", ())}]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_every_charset_of_the_table_is_one_that_python_reads() -> None:
    assert all("x".encode(referrer.charset) == b"x" for referrer in table().names.values())


@pytest.mark.parametrize("host", sorted({*table.__wrapped__().below}))
def test_a_host_that_only_ends_like_a_known_one_is_a_stranger(host: str) -> None:
    real = host.replace("*", "com")
    assert table().of_host(real) is not None
    assert table().of_host(f"{real}.evil.example") is None


@pytest.mark.parametrize("word", JAPANESE)
@pytest.mark.parametrize("charset", ["utf-8", "cp932", "euc_jp"])
@pytest.mark.parametrize("declared", [True, False])
def test_a_japanese_word_is_read_in_every_charset_of_the_web(word: str, charset: str, declared: bool) -> None:
    assert read_word(quote(word.encode(charset)), charset if declared else "", "utf-8") == word


@pytest.mark.parametrize("name", ["zlib", "rot13", "unicode_escape", "idna", "punycode", "undefined", "mbcs", "\x00"])
def test_a_declared_charset_off_our_list_is_not_looked_up(name: str) -> None:
    referrer = f"https://search.yahoo.co.jp/search?p={quote('営業'.encode('cp932'))}&ei={quote(name)}"
    assert source_of("https://shop.example/", referrer, {}, OWN).term == "営業"


def test_a_word_in_half_width_katakana_by_choice_stays_one_in_utf_8() -> None:
    assert read_word(quote("ｶﾒﾗ ﾚﾝﾀﾙ")) == "カメラ レンタル"


def test_the_words_of_a_tag_are_normal_once_and_for_all() -> None:
    assert normal("  ＡＢＣ\tＤ\x00 ") == "abc d"
    assert normal(normal("İstanbul ﬁne")) == normal("İstanbul ﬁne")


def test_the_page_itself_is_its_own_host_though_nobody_lists_it() -> None:
    assert source_of("https://new.example/b", "https://new.example/a", {}, frozenset()).channel == "internal"


HOSTILE = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="?&=[]%+utm_sourcegclid/:@.#\x00\udcff", max_size=300).map("https://www.google.com/search?q=".__add__),
    st.binary(max_size=100).map(lambda raw: "https://search.yahoo.co.jp/search?ei=EUC-JP&p=" + quote(raw)),
    st.text(max_size=60).map(lambda text: f"https://{text}/?utm_source={text}&utm_campaign[]={text}&gclid={text}"),
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5,
)


@given(HOSTILE, HOSTILE, st.dictionaries(st.sampled_from(["source", "medium", "name", "term", "content", "id"]), ANY))
def test_no_text_from_outside_breaks_the_reading(url: str, referrer: str, campaign: dict[str, Any]) -> None:
    found = source_of(url, referrer, campaign, OWN)
    assert isinstance(found, Source)
    assert found.channel in CHANNELS | {"internal"}
    for word in (found.medium, found.source, found.term, found.campaign, found.content):
        assert len(word) <= 253
    for word in asdict(found).values():
        # What a store and a report can take: text without control characters and without half characters.
        assert not re.search("[\x00-\x1f\x7f\ud800-\udfff]", word)


@given(st.text(), st.text(), st.text())
def test_every_tag_has_a_channel(source: str, medium: str, campaign: str) -> None:
    assert channel_of(normal(source), normal(medium), normal(campaign)) in CHANNELS


@given(st.binary(max_size=60), st.sampled_from(["", "cp932", "euc_jp", "gb18030", "cp1251"]))
def test_a_word_never_holds_a_sign_for_what_could_not_be_read(raw: bytes, declared: str) -> None:
    if "\ufffd".encode() not in raw and b"\x84\x31\xa4\x37" not in raw:
        assert "\ufffd" not in read_word(quote(raw), declared)


def test_an_integer_too_long_to_print_is_no_campaign() -> None:
    assert source_of("", "", {"source": 10**5000}, OWN).channel == "Direct"


def test_a_campaign_that_is_no_mapping_says_nothing() -> None:
    assert source_of("https://shop.example/", "", None, OWN).channel == "Direct"  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [
    "https://" + "a." * 8000 + "com/", "https://x.example/?" + "&" * 16000,
    "https://x.example/?" + "utm_source=a&" * 1200,
    "https://www.google.com/?q=" + "%e3" * 5000, "https://www.google.com/?" + "prev=%3Fq%3Da&" * 1000,
    "https://x.example/?utm_campaign=" + "shop" * 4000,
])
def test_a_long_address_costs_little(text: str) -> None:
    assert megabytes_of_json(lambda: source_of(text, text, {}, OWN)) < 9


def test_the_order_of_other_parameters_says_nothing() -> None:
    draw = random.Random(7)
    pairs = ["utm_source=google", "utm_medium=cpc", "utm_campaign=x", "gclid=abc"]
    pairs += [f"{letter}={letter}" for letter in string.ascii_lowercase]
    expected = source_of("https://shop.example/?" + "&".join(pairs), "", {}, OWN)
    for _ in range(20):
        draw.shuffle(pairs)
        assert source_of("https://shop.example/?" + "&".join(pairs), "", {}, OWN) == expected


def test_the_table_is_not_read_by_importing() -> None:
    import subprocess
    import sys

    code = "import closedloop.events.sources as s, closedloop.events.agents as a;"
    code += "assert not s.table.cache_info().currsize and not a.lists.cache_info().currsize;"
    code += "import sys; assert 'crawleruseragents' not in sys.modules"
    where = str(Path(sources.__file__).parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": where}, timeout=60)


def test_an_engine_is_found_by_each_of_its_hosts() -> None:
    for pattern, referrer in table().alone.items():
        host = pattern.replace("*", "co.jp")
        assert urlsplit(f"https://{host}/").hostname == host
        assert table().of_host(host) == referrer
