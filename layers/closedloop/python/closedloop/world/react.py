"""Plays what people do because a mail reached them: the click, what they read then, the deal that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from closedloop.events.identifiers import normal_address
from closedloop.events.times import iso
from closedloop.world import catalogue as c
from closedloop.world import files
from closedloop.world.courier import THREADS, Courier, Lane, Parcel, Played, Tally
from closedloop.world.files import dumps, read_lines
from closedloop.world.mailbox import SentMail
from closedloop.world.play import OnProgress, batch_parcel, deal_parcel
from closedloop.world.post import Post, Request, basic
from closedloop.world.stories import Line


def react(
    folder: Path, endpoint: str, mails: Iterable[SentMail], *, write_key: str, deals_secret: str, post: Post,
    now: Callable[[], datetime], wait: Callable[[float], None],
    on_progress: OnProgress = lambda what, done, total: None, site: str = "demo", origin: str = c.SITE,
    threads: int = THREADS,
) -> Played:
    """Let those who got a mail react to it, each in the order of their own reactions, once per campaign.

    Shapes: the days between mail and deal pass in a moment: a reaction happens when it is played. Links are opened
    at `endpoint`, whatever host the mail names. Without a link nobody reacts, and that is counted.
    Errors: NotAWorld, NoAnswer.
    """
    endpoint = endpoint.rstrip("/")
    links: dict[tuple[str, str | None], str] = {}
    tally = Tally()
    for mail in mails:
        if mail.link is None:
            tally.left_out["mails without a link"] += 1
        else:
            links.setdefault((normal_address(mail.address) or mail.address, mail.campaign), mail.link)
    wanted = [(lines, link) for lines in _by_mail(folder) if (link := _link(lines[0], links)) is not None]
    total, done = sum(len(lines) for lines, _ in wanted), 0

    def on_facts(facts: int) -> None:
        nonlocal done
        done += facts
        on_progress("reactions", done, total)

    on_progress("reactions", 0, total)
    Courier(post, now, wait, threads).carry(
        (_lane(lines, link, endpoint, write_key=write_key, secret=deals_secret, site=site, origin=origin)
         for lines, link in wanted),
        tally, on_facts,
    )
    return tally.played


def _by_mail(folder: Path) -> Iterator[list[Line]]:
    """The reactions of one person to one campaign after the other."""
    for _, lines in groupby(read_lines(folder, files.REACTIONS), key=lambda line: (line["email"], line["campaign"])):
        yield list(lines)


def _link(line: Line, links: dict[tuple[str, str | None], str]) -> str | None:
    """The link in the mail that a reaction answers; a mail of an unknown campaign may be any."""
    return links.get((line["email"], line["campaign"])) or links.get((line["email"], None))


def _lane(
    lines: list[Line], link: str, endpoint: str, *, write_key: str, secret: str, site: str, origin: str
) -> Lane:
    """One person's reactions as requests: the browser's with its public key, the customer system's signed."""
    parcels = []
    for kind, run in groupby(lines, key=lambda line: line["kind"]):
        payloads = [line["payload"] for line in run]
        if kind == "click":
            parcels.append(_click(payloads[0], link, endpoint))
        elif kind == "event":
            parcels.append(_events(payloads, endpoint, write_key, origin))
        else:
            parcels += [_deal(payload, endpoint, site, secret) for payload in payloads]
    return parcels


def _click(payload: Line, link: str, endpoint: str) -> Parcel:
    headers = {"user-agent": payload["userAgent"], "cookie": f"_cl_vid={payload['anonymousId']}"}
    url = endpoint + link[link.index("/l/"):]
    return Parcel("/l", 1, lambda now: Request("GET", url, headers), needed=True)


def _events(payloads: list[Line], endpoint: str, write_key: str, origin: str) -> Parcel:
    headers = {
        "content-type": "application/json", "authorization": basic(write_key), "origin": origin,
        "user-agent": payloads[0]["context"]["userAgent"], "cookie": f"_cl_vid={payloads[0]['anonymousId']}",
    }
    first: list[datetime] = []

    def make(now: datetime) -> Request:
        # A browser names the time once; only the time of sending moves when it has to send again.
        start = first[0] if first else now
        first[:] = [start]
        stamped = [
            dumps({**payload, "timestamp": iso(start + timedelta(milliseconds=number))}).encode()
            for number, payload in enumerate(payloads)
        ]
        return batch_parcel(stamped, endpoint, headers).make(now)

    return Parcel("/v1/batch", len(payloads), make)


def _deal(payload: Line, endpoint: str, site: str, secret: str) -> Parcel:
    first: list[str] = []

    def make(now: datetime) -> Request:
        first[:] = first or [iso(now)]
        return deal_parcel({**payload, "timestamp": first[0]}, endpoint, site, secret).make(now)

    return Parcel("/v1/webhooks/deals", 1, make)
