"""Who somebody is at the company they buy for: the role they state, else what their title and department say.

What a form or a list states as a role goes first, then the site's own rules, then the product's table in its order, of
which the first rule that fits counts: a president decides, a head of procurement buys, a department head decides. What
only sounds like a rank, as the president's office or an assistant to a director, is left out before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple
from unicodedata import normalize

from closedloop.sites.definition import Site

STATED = ("role", "buying_role", "役割", "立場")
TITLES = ("job_title", "title", "position", "役職", "肩書", "職種", "department", "division", "部署", "所属")
UNKNOWN = "unknown"


class KnownRole(NamedTuple):
    """A role, and what says so; of whoever says nothing it is unknown."""

    role: str
    why: str


def role_of(attributes: Mapping[str, Any], site: Site) -> KnownRole:
    """The role of a person of these attributes, by the rules of a site."""
    for name in STATED:
        role = _stated().get(_plain(attributes.get(name, "")).replace("_", " "), "")
        if role:
            return KnownRole(role, f"{name} is {attributes[name]}")
    told = {name: str(attributes[name]) for name in TITLES if attributes.get(name)}
    text = " / ".join(map(_plain, told.values()))
    role = next((rule.role for rule in site.accounts.titles if _words(rule.words).search(text)), "") if text else ""
    role = role or _by_table(text)
    return KnownRole(role, ", ".join(f"{name} is {value}" for name, value in told.items())) if role else NOBODY


NOBODY = KnownRole(UNKNOWN, "")


@lru_cache(maxsize=4096)
def _by_table(text: str) -> str:
    only_sounds, rules = _table()
    left = only_sounds.sub(" ", text)
    return next((role for role, words in rules if words.search(left)), "")


def _plain(text: Any) -> str:
    """A text without the differences of width, case and spaces; between Japanese signs no space means anything."""
    plain = " ".join(normalize("NFKC", str(text)).casefold().split())
    return re.sub(r"(?<=[^\x00-\x7f]) (?=[^\x00-\x7f])", "", plain)


@lru_cache(maxsize=256)
def _words(words: Iterable[str]) -> re.Pattern[str]:
    """Finds any of these words: Japanese ones anywhere, all others whole, since a director is in no directory."""
    found = (
        re.escape(plain) if re.search(r"[^\x00-\x7f]", plain) else rf"(?<![a-z]){re.escape(plain)}(?![a-z])"
        for plain in map(_plain, words)
    )
    return re.compile("|".join(found))


# Read when the first title comes.


@cache
def _read() -> dict[str, Any]:
    return dict(json.loads(files(__package__).joinpath("roles_table.json").read_text("utf-8")))


@cache
def _stated() -> dict[str, str]:
    return {_plain(word).replace("_", " "): role for role, words in _read()["stated"].items() for word in words}


@cache
def _table() -> tuple[re.Pattern[str], list[tuple[str, re.Pattern[str]]]]:
    table = _read()
    rules = [(rule["role"], _words(tuple(rule["words"]))) for rule in table["rules"]]
    return re.compile("|".join(table["only_sounds"])), rules
