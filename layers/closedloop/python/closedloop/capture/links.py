"""Our signed links: click, open and unsubscribe of mails, and those by which people bring others."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer

from closedloop.capture.flow import COOKIE, PIXEL, Doors, cookie, kept_headers
from closedloop.capture.request import Answer, Request
from closedloop.capture.wire import stays_unknown
from closedloop.errors import NotDurable, NotFound
from closedloop.events.event import EMAIL_CLICKED, EMAIL_OPENED, EMAIL_UNSUBSCRIBED, REFERRAL_FOLLOWED, Door
from closedloop.events.identifiers import SAFE
from closedloop.events.packet import pack
from closedloop.events.times import iso, parse
from closedloop.sites.definition import Site

CLICK, OPEN, UNSUBSCRIBE = "click", "open", "unsubscribe"
# A click that no person makes: the link is in the mail, but nobody sees it.
HIDDEN = "hidden"
# The link that somebody hands on to others; its path is its own, since it carries no mail.
REFERRAL, REFERRAL_PATH = "referral", "r"
PURPOSES = {"l": (CLICK, HIDDEN), "o": (OPEN,), "u": (UNSUBSCRIBE,)}
PAGES = {
    "ask": (
        "Unsubscribe", "配信停止",
        "Stop all mails from {title} to this address?", "{title} からのメールをこのアドレスへ送るのをやめますか?",
    ),
    "done": (
        "Unsubscribed", "配信を停止しました",
        "This address gets no more mails from {title}.", "このアドレスには {title} からのメールをお送りしません。",
    ),
    "gone": ("Not found", "見つかりません", "This link is not valid.", "このリンクは無効です。"),
}


@dataclass(frozen=True, slots=True)
class Mailed:
    """What a link in a mail carries: whose mail it is, of which campaign, and where it leads.

    Shapes: `person` is the address's identifier; `url` is empty but for clicks; `until` is an ISO time.
    """

    site: str
    person: str
    loop: str
    campaign: str
    until: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Handed:
    """What a link carries that somebody hands on: whose it is, and where it leads.

    Shapes: `person` is an identifier, never an address; the link is good for as long as the keys are.
    """

    site: str
    person: str
    url: str


Said = TypeVar("Said")


class Tokens:
    """Signs and reads tokens; the newest key signs, every live key is read, each purpose has its own salt."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = list(keys)

    def _of(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(self._keys, salt=purpose, signer_kwargs={"digest_method": _sha256})

    def sign(self, purpose: str, said: Any) -> str:
        """A token that says what a dataclass holds."""
        return str(self._of(purpose).dumps(asdict(said)))

    def read(self, purpose: str, token: str) -> Mailed:
        """What the token of a campaign's mail says.

        Errors: NotFound when we did not sign it for this purpose.
        """
        return self.read_as(Mailed, purpose, token)

    def read_as(self, kind: Callable[..., Said], purpose: str, token: str) -> Said:
        """What a token says, as the dataclass that was signed.

        Errors: NotFound when we did not sign it for this purpose.
        """
        try:
            return kind(**self._of(purpose).loads(token))
        except (BadData, TypeError, ValueError) as error:
            raise NotFound("this link is not valid") from error


def _sha256(data: bytes = b"") -> Any:
    import hashlib

    return hashlib.sha256(data)


def may_lead_to(url: str, site: Site) -> bool:
    """Whether a link of a mail may lead there: a plain web address on a host that the site lists.

    Source: the evasions of open-redirect checks: user info, backslashes, control and non-ASCII characters.
    """
    if not url.isascii() or any(ord(sign) <= 32 or sign == "\\" for sign in url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.netloc
        _ = parts.port
    except ValueError:
        return False
    if "@" in host or not host:
        return False
    return (parts.scheme == "https" or f"{parts.scheme}://{host}" in site.origins) and site.allows_host(host)


def follow(request: Request, doors: Doors, tokens: Tokens) -> Answer:
    """Answer a link of ours: lead a click or a guest on, count an open, stop the mails."""
    try:
        if request.path.lstrip("/").startswith(f"{REFERRAL_PATH}/"):
            return _bring(request, doors, tokens.read_as(Handed, REFERRAL, request.path_values.get("token", "")))
        purpose, mailed = _read(request, tokens)
        site = doors.keys.site(mailed.site)
        if site is None:
            raise NotFound("this link is not valid")
        if purpose == OPEN:
            return _open(request, doors, mailed, site)
        if purpose == UNSUBSCRIBE:
            return _unsubscribe(request, doors, mailed, site)
        return _click(request, doors, mailed, site, hidden=purpose == HIDDEN)
    except NotFound:
        return _page("gone", "", 404)


def _read(request: Request, tokens: Tokens) -> tuple[str, Mailed]:
    for purpose in PURPOSES.get(request.path.lstrip("/").partition("/")[0], ()):
        try:
            return purpose, tokens.read(purpose, request.path_values.get("token", ""))
        except NotFound:
            continue
    raise NotFound("this link is not valid")


def _click(request: Request, doors: Doors, mailed: Mailed, site: Site, *, hidden: bool) -> Answer:
    if not may_lead_to(mailed.url, site):
        raise NotFound("this link leads to a host that the site does not list")
    now = doors.now()
    visitor = "" if hidden else _browser(request, doors, site)
    cookies: tuple[str, ...] = ()
    # An old link still leads on, but the mail gets no credit for it.
    if now <= parse(mailed.until):
        try:
            _keep(request, doors, mailed, site, EMAIL_CLICKED, visitor, now, hidden=hidden)
            cookies = (cookie(site, visitor),) if visitor else ()
        except NotDurable:
            # The person is led on whatever our tables do.
            cookies = ()
    return Answer(302, headers={"location": mailed.url, "cache-control": "no-store"}, cookies=cookies)


def _bring(request: Request, doors: Doors, handed: Handed) -> Answer:
    """Lead somebody on by another's link; whose it was is known of their browser, however often they follow it.

    It says nothing of who the guest is, so it names no person beside the browser; nobody may be told apart unasked.
    """
    site = doors.keys.site(handed.site)
    if site is None or not may_lead_to(handed.url, site):
        raise NotFound("this link leads to a host that the site does not list")
    visitor, now = _browser(request, doors, site), doors.now()
    cookies: tuple[str, ...] = ()
    if visitor:
        entry: dict[str, Any] = {
            "id": f"{site.site}/link/{_sha256(f'{handed.person} {visitor}'.encode()).hexdigest()[:40]}",
            "type": "track", "name": REFERRAL_FOLLOWED, "at": iso(now), "visitor": visitor,
            "properties": {"referrer": handed.person, "link": handed.url.partition("?")[0]},
            "context": {"method": request.method},
        }
        try:
            doors.facts.append(pack(
                [(f"V#{site.site}#{visitor}", entry, {})], site=site.site, door=Door.LINK, received_at=now,
                headers=kept_headers(request),
            ))
            cookies = (cookie(site, visitor),)
        except NotDurable:
            # The guest is led on whatever our tables do.
            cookies = ()
    return Answer(302, headers={"location": handed.url, "cache-control": "no-store"}, cookies=cookies)


def _browser(request: Request, doors: Doors, site: Site) -> str:
    """Which browser follows a link: none for a machine that only tries it, or where nobody is told apart unasked."""
    if request.method == "HEAD" or stays_unknown(site, {}, objects=request.headers.get("sec-gpc") == "1"):
        return ""
    own = request.cookies.get(COOKIE, "")
    return own if SAFE.match(own) else doors.new_id()


def _open(request: Request, doors: Doors, mailed: Mailed, site: Site) -> Answer:
    now = doors.now()
    try:
        if now <= parse(mailed.until):
            _keep(request, doors, mailed, site, EMAIL_OPENED, "", now)
    except NotDurable:
        # A mail is shown whole, whatever our tables do.
        return Answer(200, PIXEL, "image/gif")
    return Answer(200, PIXEL, "image/gif", {"cache-control": "no-store, max-age=0"})


def _unsubscribe(request: Request, doors: Doors, mailed: Mailed, site: Site) -> Answer:
    """GET asks and changes nothing, since scanners follow links; POST acts.

    Source: RFC 8058, one-click unsubscription.
    """
    if request.method != "POST":
        return _page("ask", site.title, 200)
    # However often it is posted, one mail's link stops the mails once; and it never grows too old to do so.
    mail = "\n".join((mailed.person, mailed.loop, mailed.campaign, mailed.until))
    _keep(request, doors, mailed, site, EMAIL_UNSUBSCRIBED, "", doors.now(), id=_sha256(mail.encode()).hexdigest()[:40])
    return _page("done", site.title, 200)


def _keep(
    request: Request, doors: Doors, mailed: Mailed, site: Site, name: str, visitor: str, now: datetime, *,
    hidden: bool = False, id: str = "",
) -> None:
    about: dict[str, Any] = {"loop": mailed.loop, "campaign": mailed.campaign}
    if hidden:
        about["hidden"] = True
    if mailed.url:
        about["link"] = mailed.url.partition("?")[0]
    entry: dict[str, Any] = {
        "id": f"{site.site}/link/{id or doors.new_id()}", "type": "track", "name": name, "at": iso(now),
        "ids": [mailed.person], "properties": about, "context": {"method": request.method},
    }
    if visitor:
        entry["visitor"] = visitor
    subject = f"V#{site.site}#{visitor}" if visitor else f"I#{mailed.person}"
    doors.facts.append(pack(
        [(subject, entry, {})], site=site.site, door=Door.LINK, received_at=now, headers=kept_headers(request)
    ))


def _page(which: str, title: str, status: int) -> Answer:
    english, japanese, text, text_ja = PAGES[which]
    shown = html.escape(title)
    button = "Unsubscribe / 配信停止" if which == "ask" else ""
    return page((english, japanese), (text.format(title=shown), text_ja.format(title=shown)), status, button)


def page(heading: tuple[str, str], paragraphs: Sequence[str], status: int, button: str = "") -> Answer:
    """A page of ours for somebody who follows a link of a mail, with one button where there is something to do.

    Shapes: the heading is in English and Japanese; paragraphs are HTML.
    """
    english, japanese = heading
    body = (
        f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{english}</title>"
        "<style>body{font:1rem/1.6 sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color:#222}"
        "button{font:inherit;padding:.6rem 1.2rem}</style>"
        f"<h1>{english} / {japanese}</h1><p>{'<br>'.join(paragraphs)}</p>"
    )
    if button:
        body += f'<form method="post"><button>{button}</button></form>'
    headers = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex"}
    return Answer(status, body, "text/html; charset=utf-8", headers)
