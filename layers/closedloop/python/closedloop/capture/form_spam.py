"""What gives a robot away in a form. It gets the same answer as everybody; what it sent is kept apart.

The time token says when the page asked for it, under our signature; a page without script has none, and is taken as
well unless its form says `needs_script`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from closedloop.events.identifiers import normal_address

HONEYPOT = "cl_website"
SOONEST = timedelta(seconds=3)
LATEST = timedelta(hours=24)
MOST_LINKS = 2
LINK = re.compile(r"https?://(?:www\.)?|\bwww\.", re.IGNORECASE)
TOKEN = re.compile(r"[0-9]{13}\.[0-9a-f]{32}\Z")


def time_token(pepper: bytes, site: str, form: str, now: datetime) -> str:
    """Says that a page with this form was open now."""
    return _signed(pepper, site, form, f"{int(now.timestamp() * 1000):013d}")


def _signed(pepper: bytes, site: str, form: str, stamp: str) -> str:
    return f"{stamp}.{hmac.digest(pepper, f'form time|{site}|{form}|{stamp}'.encode(), 'sha256').hex()[:32]}"


def hurry(token: str, pepper: bytes, site: str, form: str, now: datetime) -> str:
    """What the time token gives away; empty when a person may have filled in the form meanwhile."""
    stamp = token.partition(".")[0]
    good = TOKEN.match(token) and hmac.compare_digest(_signed(pepper, site, form, stamp).encode(), token.encode())
    if not good:
        return "its time token is not ours"
    took = timedelta(milliseconds=int(now.timestamp() * 1000) - int(stamp))
    if took < SOONEST:
        return "it was sent within 3 seconds"
    return "its page was open for over a day" if took > LATEST else ""


def giveaway(sent: Mapping[str, str], email: str) -> str:
    """What the fields give away; empty when they could be a person's."""
    if sent.get(HONEYPOT):
        return "the honeypot was filled"
    if any(len(LINK.findall(value)) > MOST_LINKS for value in sent.values()):
        return f"a field holds more than {MOST_LINKS} links"
    return "its address is of a domain for throwing away" if _is_disposable(email) else ""


def _is_disposable(email: str) -> bool:
    """Whether a domain, or one above it, is on the list of those whose addresses live for minutes."""
    from disposable_email_domains import blocklist

    labels = (normal_address(email) or "").rpartition("@")[2].split(".")
    return any(".".join(labels[place:]) in blocklist for place in range(len(labels) - 1))
