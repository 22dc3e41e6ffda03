"""Where a visit came from: one reading of a page's address, its referrer and its campaign words.

The rules are data (`sources_table.json`), written from facts about the engines; this module only reads it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

DIRECT = "Direct"
INTERNAL = "internal"
UNASSIGNED = "Unassigned"

RULE_CAMPAIGN = "campaign words"
RULE_CLICK_ID = "click id"
RULE_INTERNAL = "internal"
RULE_IGNORED = "ignored referrer"
RULE_REFERRER = "referrer"
RULE_DIRECT = "no referrer"

WORD_CHARS = 200
CLICK_ID_CHARS = 500
URL_CHARS = 16_384
PARAMETERS = 500

# Names that senders use for a charset. Only these are looked up: a codec's name out of a URL may name anything.
CHARSETS = {
    "utf-8": "utf-8", "utf8": "utf-8", "unicode": "utf-8",
    "shift_jis": "cp932", "shift-jis": "cp932", "sjis": "cp932", "x-sjis": "cp932", "cp932": "cp932",
    "windows-31j": "cp932", "ms932": "cp932",
    "euc-jp": "euc_jp", "euc_jp": "euc_jp", "eucjp": "euc_jp", "x-euc-jp": "euc_jp", "ujis": "euc_jp",
    "iso-2022-jp": "iso2022_jp", "jis": "iso2022_jp",
    "gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5hkscs",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "cp949": "cp949",
    "windows-1251": "cp1251", "cp1251": "cp1251", "koi8-r": "koi8_r",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "windows-1252": "cp1252",
}
# Japanese EUC read as Shift_JIS turns into such runs; nobody searches in them by choice where kana are at hand.
HALF_WIDTH = re.compile("[\uff61-\uff9f]")
JOINER = "\u200d"
HALF_WIDTH_RUN = re.compile("[\uff61-\uff9f]{2}")
# The replacement sign, and the characters that no standard assigns but cp932 and gb18030 give for stray bytes.
UNREADABLE = re.compile("[\ufffd\ue000-\uf8ff]")
HOST = re.compile(r"[\w.:-]{1,253}\Z")
# Endings that '*' stands for: a country, a generic ending, or a country's second level.
ENDING = re.compile(r"(?:com|net|cat|(?:com?|net?|org?|gen|info)\.[a-z]{2}|[a-z]{2})\Z")
UTM = ("source", "medium", "campaign", "term", "content")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a visit came from, and by which rule we say so.

    Shapes: an empty text is "not known"; `channel` is a name of the default channel grouping, or "internal", which is
    no arrival; `click_id` is parameter and value, as "gclid=abc"; `term` is the paid keyword or the search word.
    """

    channel: str
    medium: str
    source: str
    term: str
    campaign: str
    content: str
    click_id: str
    rule: str


@dataclass(frozen=True, slots=True)
class Referrer:
    """What a host is to us: its kind, its name, and where it puts the search word."""

    kind: str
    engine: str
    query: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    charset: str = "utf-8"
    nested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClickId:
    parameter: str
    channel: str
    medium: str
    source: str
    shared_with: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Rule:
    channel: str
    kind: str
    source: re.Pattern[str] | None
    medium: re.Pattern[str] | None
    campaign: re.Pattern[str] | None


@dataclass(frozen=True, slots=True)
class Table:
    """The data file, ready to be asked."""

    alone: Mapping[str, Referrer]
    below: Mapping[str, Referrer]
    names: Mapping[str, Referrer]
    kinds: Mapping[str, tuple[str, str]]
    click_ids: tuple[ClickId, ...]
    rules: tuple[Rule, ...]

    def of_host(self, host: str) -> Referrer | None:
        """What a host is: the longest pattern that fits on whole labels; nothing when it is unknown.

        Source: RFC 1034, section 3.1: labels are the unit, so notgoogle.com is not Google.
        """
        labels = host.split(".")
        for start in range(len(labels)):
            rest = labels[start:]
            names = [".".join(rest), *(
                ".".join([*rest[:cut], "*"])
                for cut in range(max(1, len(rest) - 2), len(rest)) if ENDING.match(".".join(rest[cut:]))
            )]
            for name in names:
                found = (self.alone.get(name) if start == 0 else None) or self.below.get(name)
                if found:
                    return found
        return None

    def of_name(self, source: str) -> Referrer | None:
        """What a utm_source means: a known name, or a host."""
        return self.names.get(source) or (self.of_host(source) if "." in source else None)


@lru_cache(maxsize=1)
def table() -> Table:
    """The table of sources, read once."""
    from importlib.resources import files

    data = json.loads(files(__package__).joinpath("sources_table.json").read_text("utf-8"))
    alone: dict[str, Referrer] = {}
    below: dict[str, Referrer] = {}
    names: dict[str, Referrer] = {}
    for row in data["referrers"]:
        referrer = Referrer(
            row["kind"], row["engine"], tuple(row.get("query", ())), tuple(row.get("declared", ())),
            row.get("charset", "utf-8"), tuple(row.get("nested", ())),
        )
        for host in row["hosts"]:
            (alone if host.startswith("=") else below)[host.removeprefix("=")] = referrer
        for name in (row["engine"], *row.get("names", ())):
            names.setdefault(name, referrer)
    return Table(
        alone, below, names,
        {kind: (row["channel"], row["medium"]) for kind, row in data["kinds"].items()},
        tuple(
            ClickId(
                row["parameter"], row["channel"], row["medium"], row["source"],
                tuple(row.get("shared_with", ())), row.get("note", ""),
            )
            for row in data["click_ids"]
        ),
        tuple(
            Rule(row["channel"], row.get("kind", ""), *(
                re.compile(f"(?:{row[part]})\\Z", re.DOTALL) if part in row else None
                for part in ("source", "medium", "campaign")
            ))
            for row in data["rules"]
        ),
    )


def source_of(url: str, referrer: str, campaign: Mapping[str, Any], own_hosts: frozenset[str]) -> Source:
    """Say where a visit came from: campaign words first, then click ids, then the referrer, else nothing.

    Shapes: `url` is the page's address with its query; `campaign` is Segment's context.campaign and fills what the
    address lacks; `own_hosts` are the site's hosts, with a port where they have one. Never raises on outside text.
    Source: Google Analytics, "Default channel group"; RFC 3986.
    """
    page, came = _split(url), _split(referrer)
    known = table()
    query = parameters(page.query) if page else []
    words = _campaign_words(query, campaign)
    click, click_text = _click_id(query, known)
    host = _host(came)
    found = known.of_host(host) if host else None
    word = search_word(came, found) if came and found and found.kind == "search" else ""

    if words["source"] or words["medium"] or words["campaign"]:
        name, medium = words["source"], words["medium"]
        if click and not medium:
            # The tagger left the medium out, but the click id says that somebody paid.
            medium, name = click.medium, name or click.source
        return Source(
            channel_of(name, medium, words["campaign"]), medium, name, words["term"] or word, words["campaign"],
            words["content"], click_text, RULE_CAMPAIGN,
        )

    def source(channel: str, medium: str, name: str, rule: str) -> Source:
        return Source(channel, medium, name, words["term"] or word, "", words["content"], click_text, rule)

    if click:
        # Some networks share one parameter; the referrer then says which of them it was.
        name = found.engine if found and found.engine in click.shared_with else click.source
        note = f" ({click.note})" if click.note else ""
        return source(click.channel, click.medium, name, f"{RULE_CLICK_ID} {click.parameter}{note}")
    if not host:
        return source(DIRECT, "", "", RULE_DIRECT)
    if _is_own(came, page, own_hosts):
        return source(INTERNAL, "", "", RULE_INTERNAL)
    if found is None:
        channel, medium = known.kinds["website"]
        return source(channel, medium, host.removeprefix("www."), RULE_REFERRER)
    if found.kind == "ignored":
        return source(DIRECT, "", "", RULE_IGNORED)
    channel, medium = known.kinds[found.kind]
    return source(channel, medium, found.engine, RULE_REFERRER)


def channel_of(source: str, medium: str, campaign: str) -> str:
    """The channel of campaign words, by the first rule of the table that fits; Unassigned when none does.

    Shapes: all three as `normal` gives them.
    Source: Google Analytics, "Default channel group".
    """
    known = table()
    kind = found.kind if source and (found := known.of_name(source)) else ""
    for rule in known.rules:
        if (
            (not rule.kind or rule.kind == kind)
            and (rule.source is None or rule.source.match(source))
            and (rule.medium is None or rule.medium.match(medium))
            and (rule.campaign is None or rule.campaign.match(campaign))
        ):
            return rule.channel
    return UNASSIGNED


def normal(text: str) -> str:
    """A campaign word in the one form that we compare: NFKC, trimmed, lower case, at most 200 characters."""
    # Lower case may leave the normal form again, so it is made twice.
    lowered = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _printable(text)[: 4 * WORD_CHARS]).lower())
    return lowered.strip()[:WORD_CHARS].strip()


def parameters(query: str) -> list[tuple[str, str]]:
    """The names and raw values of a query, still percent-encoded, in order; `name[]` and `name[0]` count as `name`.

    Source: WHATWG URL, application/x-www-form-urlencoded.
    """
    pairs = []
    for part in query.split("&", PARAMETERS)[:PARAMETERS]:
        name, _, value = part.partition("=")
        if name:
            plain = _bytes(name).decode("utf-8", "replace")
            pairs.append((plain.partition("[")[0] or plain, value))
    return pairs


def search_word(referrer: SplitResult, engine: Referrer) -> str:
    """The word that was searched for, as the referrer carries it; an empty text when it does not.

    Source: each engine's own result pages; browsers mostly send the origin only, and then there is no word.
    """
    pairs = parameters(referrer.query)
    for name in engine.nested:
        # Google's old image pages carry the search as an address inside an address.
        for value in _values(pairs, (name,)):
            pairs = pairs + parameters(_bytes(value).decode("utf-8", "replace").partition("?")[2])
    declared = next(iter(_values(pairs, engine.declared)), "")
    for value in _values(pairs, engine.query):
        word = read_word(value, _charset(declared), engine.charset)
        # A redirect's target in the word's place is no word.
        if word and not word.lower().startswith(("http://", "https://")):
            return word
    return ""


def read_word(value: str, declared: str = "", usual: str = "") -> str:
    """Read percent-encoded text whose charset nobody is sure of.

    Shapes: `declared` is what the address says, `usual` what the engine is known for: Python's codec names, or empty.
    Source: strict UTF-8 is practically never met by chance; Shift_JIS and EUC-JP are, hence the look at the result.
    """
    raw = _bytes(value)
    try:
        return _word(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        # An address that was cut off in the middle of a character is still UTF-8.
        if error.reason == "unexpected end of data" and not raw[: error.start].isascii():
            return _word(raw[: error.start].decode("utf-8"))
    readings = []
    for charset in (declared, usual, "cp932", "euc_jp"):
        try:
            if charset and charset != "utf-8":
                readings.append(raw.decode(charset))
        except UnicodeDecodeError:
            continue
    # The first of the least suspicious; one with signs in place of characters would be a guess at the rest.
    clean = [reading for reading in readings if not UNREADABLE.search(reading)]
    return _word(min(clean, key=_suspicion)) if clean else ""


def _suspicion(reading: str) -> int:
    """How much a reading looks like EUC-JP read as Shift_JIS: half-width katakana, in a run or among other letters."""
    return 2 if HALF_WIDTH_RUN.search(reading) else 1 if HALF_WIDTH.search(reading) else 0


def _word(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", _printable(text)[: 4 * WORD_CHARS]).split())[:WORD_CHARS].strip()


def _printable(text: str) -> str:
    """Without control characters and halves of surrogate pairs, which no store takes, and without what nobody sees.

    A word with a mark inside that turns or joins letters looks like another; only a joiner of signs may stay.
    """
    return "".join(
        c if c.isprintable() or c == JOINER else "" if unicodedata.category(c) == "Cf" else _shown(c) for c in text
    )


def _shown(sign: str) -> str:
    return " " if unicodedata.category(sign) in ("Cc", "Cs") else sign


def _bytes(value: str) -> bytes:
    return unquote_to_bytes(value.replace("+", " ").encode("utf-8", "replace"))


def _values(pairs: Iterable[tuple[str, str]], names: tuple[str, ...]) -> list[str]:
    pairs = list(pairs)
    return [value for wanted in names for name, value in pairs if name == wanted and value]


def _charset(name: str) -> str:
    return CHARSETS.get(_bytes(name).decode("ascii", "replace").strip().lower(), "")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url[:URL_CHARS].strip())
    except ValueError:
        return None
    return parts if parts.netloc or parts.query else None


def _host(parts: SplitResult | None) -> str:
    if parts is None or parts.scheme not in ("http", "https", "android-app"):
        return ""
    host = (parts.hostname or "").rstrip(".")
    return host if HOST.match(host) else ""


def _is_own(came: SplitResult | None, page: SplitResult | None, own_hosts: frozenset[str]) -> bool:
    """Whether a referrer is the site itself: a listed host, the page's own, or either with or without www."""
    if came is None:
        return False
    names = {came.netloc.rpartition("@")[2].lower(), _host(came)}
    own = {host.lower() for host in own_hosts} | ({_host(page)} - {""})
    return any(name.removeprefix("www.") == host.removeprefix("www.") for name in names for host in own)


def _campaign_words(query: list[tuple[str, str]], campaign: Mapping[str, Any]) -> dict[str, str]:
    words = dict.fromkeys((*UTM, "id"), "")
    for name, value in query:
        # Whoever pastes an address out of a page's source leaves the & as &amp;.
        prefix, _, part = name.strip().lower().removeprefix("amp;").partition("_")
        if prefix == "utm" and part in words and not words[part]:
            # A tag that nobody can read is still a tag: better a word with signs in it than an untagged visit.
            words[part] = normal(read_word(value) or _bytes(value).decode("utf-8", "replace"))
    given = campaign if isinstance(campaign, Mapping) else {}
    for part in words:
        words[part] = words[part] or _text(given.get("name" if part == "campaign" else part))
    # The id names the campaign when nothing else does.
    words["campaign"] = words["campaign"] or words["id"]
    return words


def _text(value: object) -> str:
    """A campaign word of any type as text; what is no text or number says nothing."""
    if isinstance(value, list | tuple):
        value = value[0] if value else ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        return normal(str(value))
    except ValueError:
        # An integer of more digits than Python prints is no campaign.
        return ""


def _click_id(query: list[tuple[str, str]], known: Table) -> tuple[ClickId | None, str]:
    for click in known.click_ids:
        for name, value in query:
            if name == click.parameter and value:
                text = _printable(_bytes(value).decode("utf-8", "replace")).strip()[:CLICK_ID_CHARS]
                if text:
                    return click, f"{click.parameter}={text}"
    return None, ""
