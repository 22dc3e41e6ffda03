"""Plays a world's folder through the real doors: events, forms, deals, the mail provider's events, costs.

History is sent with the site's secret key, since only a server may state times of the past. Every fact keeps its name
over all attempts, so a world played twice is a world played once.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from standardwebhooks import Webhook

from closedloop.events.event import COST_REPORTED
from closedloop.events.times import iso
from closedloop.world import files
from closedloop.world.courier import THREADS, Courier, Lane, Parcel, Played, Tally
from closedloop.world.files import dumps, parse_line, read_lines, read_lines_at
from closedloop.world.post import Post, Request, basic
from closedloop.world.stories import Line

BATCH = 25
MAIL_BATCH = 100

SignMail = Callable[[bytes], dict[str, str]]
OnProgress = Callable[[str, int, int], None]


def play(
    folder: Path, endpoint: str, *, secret_key: str, deals_secret: str, post: Post, now: Callable[[], datetime],
    wait: Callable[[float], None], on_progress: OnProgress = lambda what, done, total: None,
    sign_mail: SignMail | None = None, site: str = "demo", threads: int = THREADS,
) -> Played:
    """Send everything that happened in a world before its end.

    Shapes: progress names what is being sent (events, forms, deals, mail, costs), facts done and facts in all.
    `sign_mail` gives the headers that prove a body of the mail provider; without it those events are left out, and
    counted. Units: `wait` takes seconds. Errors: NotAWorld, NoAnswer.
    """
    endpoint = endpoint.rstrip("/")
    history = {"content-type": "application/json", "authorization": basic(secret_key)}
    courier, tally = Courier(post, now, wait, threads), Tally()

    def carry(what: str, total: int, lanes: Iterator[Lane]) -> None:
        done = 0

        def on_facts(facts: int) -> None:
            nonlocal done
            done += facts
            on_progress(what, done, total)

        on_progress(what, 0, total)
        courier.carry(lanes, tally, on_facts)

    events = _Index(folder, files.EVENTS, lambda line: str(line.get("anonymousId") or line["userId"]))
    carry("events", events.total, _event_lanes(events, endpoint, history))
    forms = _Index(folder, files.FORMS, lambda line: str(line["anonymousId"]))
    carry("forms", forms.total, ([form_parcel(line, endpoint, history) for line in lines] for lines in forms.lines()))
    deals = _Index(folder, files.DEALS, lambda line: str(line["data"]["id"]))
    carry("deals", deals.total, (
        [deal_parcel(line, endpoint, site, deals_secret) for line in lines] for lines in deals.lines()
    ))
    mails = sum(1 for _ in read_lines_at(folder, files.MAIL))
    if sign_mail is None:
        tally.left_out["mail events: no signer given"] += mails
    else:
        carry("mail", mails, iter([_mail_lane(folder, endpoint, site, sign_mail)]))
    costs = _Index(folder, files.COSTS, lambda line: str(line["campaign"]))
    carry("costs", costs.total, (_cost_lane(lines, endpoint, history) for lines in costs.lines()))
    return tally.played


class _Index:
    """Where the lines about each subject stand in a file, so that a large file can be read subject by subject."""

    def __init__(self, folder: Path, name: str, subject: Callable[[Line], str]) -> None:
        self._path = folder / name
        self._places: dict[str, array[int]] = {}
        self.total = 0
        for offset, line in read_lines_at(folder, name):
            try:
                key = subject(line)
            except (KeyError, TypeError) as error:
                raise files.NotAWorld(f"{self._path}:{self.total + 1}: does not say whom it is about") from error
            self._places.setdefault(key, array("Q")).append(offset)
            self.total += 1

    def raw(self) -> Iterator[list[bytes]]:
        """The lines of one subject after the other, each in order of time."""
        with self._path.open("rb") as file:
            for places in self._places.values():
                yield [_line_at(file, place) for place in places]

    def lines(self) -> Iterator[list[Line]]:
        """The same, as mappings."""
        for raws in self.raw():
            yield [parse_line(raw, self._path, 0) for raw in raws]


def _line_at(file: IO[bytes], place: int) -> bytes:
    file.seek(place)
    return file.readline().rstrip(b"\n")


def _event_lanes(events: _Index, endpoint: str, headers: dict[str, str]) -> Iterator[Lane]:
    """Batches of at most 25 events: a visitor's events together, visitors with the same kind of browser joined.

    The browser's name goes with the request, as a browser itself would send it.
    """
    waiting: dict[str, list[list[bytes]]] = {}
    for raws in events.raw():
        agent = str(json.loads(raws[0]).get("context", {}).get("userAgent", ""))
        chunks = [raws[start : start + BATCH] for start in range(0, len(raws), BATCH)]
        lane = waiting.get(agent)
        if lane is not None and len(lane[-1]) + len(chunks[-1]) > BATCH:
            yield [batch_parcel(batch, endpoint, {**headers, "user-agent": agent}) for batch in lane]
            lane = None
        # The full batches of a visitor go before its rest, which shares the last batch of the lane.
        waiting[agent] = chunks if lane is None else [*chunks[:-1], *lane[:-1], lane[-1] + chunks[-1]]
    for agent, lane in waiting.items():
        yield [batch_parcel(batch, endpoint, {**headers, "user-agent": agent}) for batch in lane]


def batch_parcel(events: Sequence[bytes], endpoint: str, headers: dict[str, str]) -> Parcel:
    """Events, each already JSON, as one batch."""

    def make(now: datetime) -> Request:
        body = b'{"batch":[' + b",".join(events) + f'],"sentAt":"{iso(now)}"}}'.encode()
        return Request("POST", f"{endpoint}/v1/batch", headers, body)

    return Parcel("/v1/batch", len(events), make)


def form_parcel(line: Line, endpoint: str, headers: dict[str, str]) -> Parcel:
    """One form, as it was filled in then."""
    body = dumps({
        "anonymousId": line["anonymousId"], "submission_id": line["submission_id"], "page": line["page"],
        "fields": line["fields"], "timestamp": line["at"],
    }).encode()
    sent = {**headers, "user-agent": str(line.get("userAgent", ""))}
    return Parcel(
        "/v1/forms", 1, lambda now: Request("POST", f"{endpoint}/v1/forms/{line['form']}", sent, body),
    )


def deal_parcel(line: Line, endpoint: str, site: str, secret: str) -> Parcel:
    """One message of the customer system, signed at the moment it is sent.

    Source: Standard Webhooks: id, time and body are signed together.
    """
    body = dumps(line)

    def make(now: datetime) -> Request:
        headers = {
            "content-type": "application/json", "webhook-id": str(line["id"]),
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(str(line["id"]), now.astimezone(UTC), body),
        }
        return Request("POST", f"{endpoint}/v1/webhooks/deals/standard?site={site}", headers, body.encode())

    return Parcel("/v1/webhooks/deals", 1, make)


def _mail_lane(folder: Path, endpoint: str, site: str, sign: SignMail) -> Lane:
    """What the mail provider said, in its own batches, one after the other."""
    parcels, batch = [], []
    for line in read_lines(folder, files.MAIL):
        batch.append(line)
        if len(batch) == MAIL_BATCH:
            parcels.append(_mail_parcel(batch, endpoint, site, sign))
            batch = []
    return [*parcels, _mail_parcel(batch, endpoint, site, sign)] if batch else parcels


def _mail_parcel(events: Sequence[Line], endpoint: str, site: str, sign: SignMail) -> Parcel:
    # SendGrid ends each body with CR LF, and signs it so.
    body = (dumps(events) + "\r\n").encode()

    def make(now: datetime) -> Request:
        headers = {"content-type": "application/json", **sign(body)}
        return Request("POST", f"{endpoint}/v1/webhooks/email/sendgrid?site={site}", headers, body)

    return Parcel("/v1/webhooks/email", len(events), make)


def _cost_lane(costs: Sequence[Line], endpoint: str, headers: dict[str, str]) -> Lane:
    """What one campaign cost on each day, as events that the site's own server reports at noon in Tokyo."""
    events = [
        dumps({
            "type": "track", "event": COST_REPORTED, "messageId": f"cost-{line['campaign']}-{line['day']}",
            "anonymousId": f"cost-{line['campaign']}", "timestamp": f"{line['day']}T03:00:00.000Z", "properties": line,
        }).encode()
        for line in costs
    ]
    return [batch_parcel(events[start : start + BATCH], endpoint, headers) for start in range(0, len(events), BATCH)]
