"""Where a link of a mail may lead: only to hosts that the site lists, however it is dressed."""

from __future__ import annotations

import pytest

from closedloop.capture.links import CLICK, OPEN, UNSUBSCRIBE, Mailed, Tokens, may_lead_to
from closedloop.errors import NotFound
from closedloop.sites.definition import Site

SITE = Site.model_validate(
    {
        "site": "demo",
        "title": "Demo",
        "write_key": "pk_demo_12345678",
        "origins": ["https://www.example.com", "http://localhost:8000"],
        "link_hosts": ["docs.example.com"],
    }
)
MAILED = Mailed("demo", "email:00112233", "autumn", "case-mail", "2026-11-24T06:00:00.000Z", "https://www.example.com/")

# The evasions of open-redirect checks, as collected by OWASP and PortSwigger.
EVASIONS = (
    "https://evil.com",
    "//evil.com",
    "///evil.com",
    "https:///evil.com",
    "https:evil.com",
    "/\\evil.com",
    "\\\\evil.com",
    "https://www.example.com@evil.com",
    "https://www.example.com:x@evil.com/",
    "https://evil.com\\@www.example.com",
    "https://www.example.com.evil.com",
    "https://evil.com/https://www.example.com",
    "https://evil.com?www.example.com",
    "https://evil.com#www.example.com",
    "https://www.example.com%2eevil.com",
    "https://www.example.com%00.evil.com",
    "https://www。example。com",
    "https://wwwﬀexample.com",
    "https://www.example.com\t.evil.com",
    "https://www.example.com\n/",
    "http://www.example.com/",
    "ftp://www.example.com/",
    "javascript:alert(1)//www.example.com",
    "data:text/html,x",
    "JAVASCRIPT://www.example.com/%0aalert(1)",
    "vbscript:x",
    "",
    " https://www.example.com/",
    "https://",
    "https://[::1]/",
    "https://[www.example.com/",
    "https://www.example.com:99999/",
    "https://www.example.com:443/",
    "https://example.com/",
    "https://WWW.EXAMPLE.COM.evil.com/",
    "https://docs.example.com\x00/",
    "http://docs.example.com/",
    "https://localhost:8000/x\\",
)


@pytest.mark.parametrize("url", EVASIONS)
def test_an_evasion_leads_nowhere(url: str) -> None:
    assert not may_lead_to(url, SITE)


@pytest.mark.parametrize(
    "url",
    [
        "https://www.example.com",
        "https://www.example.com/pumps?utm_source=x&to=https://evil.com#part",
        "https://docs.example.com/a/../b",
        "http://localhost:8000/products",
        "HTTPS://www.example.com/",
    ],
)
def test_a_listed_host_is_led_to(url: str) -> None:
    assert may_lead_to(url, SITE)


@pytest.mark.parametrize("purpose", [CLICK, OPEN, UNSUBSCRIBE])
def test_a_token_says_what_was_signed_for_its_purpose_alone(purpose: str) -> None:
    tokens = Tokens([b"old", b"new"])
    signed = tokens.sign(purpose, MAILED)
    assert tokens.read(purpose, signed) == MAILED
    for other in {CLICK, OPEN, UNSUBSCRIBE} - {purpose}:
        with pytest.raises(NotFound):
            tokens.read(other, signed)


def test_a_key_taken_out_of_use_is_read_no_more() -> None:
    old, rotated, new = Tokens([b"old"]), Tokens([b"old", b"new"]), Tokens([b"new"])
    assert rotated.read(CLICK, old.sign(CLICK, MAILED)) == MAILED
    assert new.read(CLICK, rotated.sign(CLICK, MAILED)) == MAILED
    with pytest.raises(NotFound):
        new.read(CLICK, old.sign(CLICK, MAILED))


@pytest.mark.parametrize("token", ["", ".", "..", "a.b", "a.b.c", "\x00", "é", "=" * 4000, "eyJ9.x", ".eJw.x"])
def test_what_is_no_token_is_not_found(token: str) -> None:
    with pytest.raises(NotFound):
        Tokens([b"key"]).read(CLICK, token)
