"""A world goes through the doors once, whatever the doors answer on the way."""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from closedloop.world import files
from closedloop.world.generate import generate
from closedloop.world.mailbox import SentMail, mailbox
from closedloop.world.play import play
from closedloop.world.post import ATTEMPTS, NoAnswer, OverHttp, Reply, Request, basic, deliver
from closedloop.world.react import react

UNTIL = datetime(2026, 11, 24, 6, tzinfo=UTC)
NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a secret of the customer system").decode()
NAMES = (files.EVENTS, files.FORMS, files.DEALS, files.MAIL, files.COSTS, files.REACTIONS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return files.write(generate(40, 7, UNTIL), tmp_path_factory.mktemp("world")).folder


@dataclass
class Door:
    """A system that takes facts and remembers them; busy at every n-th request, but not for ever with the same."""

    busy_every: int = 0
    asks: int = 0
    turned_away: Counter[tuple[str, bytes]] = field(default_factory=Counter)
    taken: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        with self.lock:
            self.asks += 1
            request = (path, body.partition(b'"sentAt"')[0])
            if self.busy_every and self.asks % self.busy_every == 0 and self.turned_away[request] < ATTEMPTS - 1:
                self.turned_away[request] += 1
                return (503, {"Retry-After": "7"}, b"") if self.asks % 2 else (429, {"Retry-After": "7"}, b"")
            if path.startswith("/v1/webhooks/deals"):
                given = {name.lower(): value for name, value in headers.items()}
                sent_at = datetime.fromtimestamp(int(given["webhook-timestamp"]), UTC)
                assert given["webhook-signature"] == Webhook(SECRET).sign(given["webhook-id"], sent_at, body.decode())
            self.taken.append((path, headers, json.loads(body) if body else None))
            if path.startswith("/l/"):
                return 302, {"Location": "https://www.northwind.example/"}, b""
            return 200, {}, b'{"success": true}'

    def post(self, request: Request) -> Reply:
        """The same without HTTP."""
        path = request.url.removeprefix("http://system")
        status, headers, body = self.answer(request.method, path, dict(request.headers), request.body)
        return Reply(status, {key.lower(): value for key, value in headers.items()}, body)

    def events(self) -> list[dict[str, Any]]:
        return [event for path, _, body in self.taken if path == "/v1/batch" for event in body["batch"]]

    def bodies(self, start: str) -> list[Any]:
        return [body for path, _, body in self.taken if path.startswith(start)]


@contextmanager
def listening(door: Door) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            status, more, content = door.answer(self.command, self.path, headers, body)
            self.send_response(status)
            for key, value in {**more, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _reply

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://system.localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def settings_of(door: Door, waited: list[float]) -> dict[str, Any]:
    return {"deals_secret": SECRET, "post": door.post, "now": lambda: NOW, "wait": waited.append}


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(files.read_lines(folder, name))


def test_over_http_every_fact_arrives_once_though_the_system_is_busy(folder: Path) -> None:
    door, waited, progress = Door(busy_every=3), [], []
    with listening(door) as endpoint:
        post = OverHttp()
        played = play(
            folder, endpoint, secret_key="sk_demo", deals_secret=SECRET, post=post, now=lambda: NOW, wait=waited.append,
            on_progress=lambda *step: progress.append(step), sign_mail=lambda body: {"x-signed": str(len(body))},
        )
        post.close()

    costs = lines(folder, files.COSTS)
    arrived = Counter(event["messageId"] for event in door.events())
    assert arrived == Counter(
        [event["messageId"] for event in lines(folder, files.EVENTS)]
        + [f"cost-{cost['campaign']}-{cost['day']}" for cost in costs]
    )
    assert Counter(form["submission_id"] for form in door.bodies("/v1/forms")) == Counter(
        form["submission_id"] for form in lines(folder, files.FORMS)
    )
    assert Counter(deal["id"] for deal in door.bodies("/v1/webhooks/deals")) == Counter(
        deal["id"] for deal in lines(folder, files.DEALS)
    )
    assert [mail for body in door.bodies("/v1/webhooks/email") for mail in body] == lines(folder, files.MAIL)

    assert played.failures == () and played.left_out == {}
    assert played.events_sent == played.events_accepted == sum(
        len(lines(folder, name)) for name in NAMES if name != files.REACTIONS
    )
    assert played.by_route["/v1/forms"].requests == len(lines(folder, files.FORMS))
    assert waited and set(waited) == {7.0}
    for what in ("events", "forms", "deals", "mail", "costs"):
        steps = [(done, total) for name, done, total in progress if name == what]
        assert steps == sorted(steps) and steps[-1][0] == steps[-1][1]


def test_history_is_stated_by_the_secret_key_with_its_times(folder: Path) -> None:
    door = Door()
    play(folder, "http://system/", secret_key="sk_demo", **settings_of(door, []))
    for path, headers, body in door.taken:
        if path == "/v1/batch":
            assert headers["authorization"] == basic("sk_demo")
            assert all(event["timestamp"] < "2026-11-24" for event in body["batch"])
        if path.startswith("/v1/forms"):
            assert headers["authorization"] == basic("sk_demo")
            assert set(body) == {"anonymousId", "submission_id", "page", "fields", "timestamp"}
    costs = [event for event in door.events() if event.get("event") == "Campaign Cost Reported"]
    assert [event["properties"] for event in sorted(costs, key=lambda e: e["messageId"])] == sorted(
        lines(folder, files.COSTS), key=lambda line: f"cost-{line['campaign']}-{line['day']}"
    )


def test_without_a_signer_the_mail_events_stay_at_home_and_are_counted(folder: Path) -> None:
    door = Door()
    played = play(folder, "http://system", secret_key="sk_demo", **settings_of(door, []))
    assert played.left_out == {"mail events: no signer given": len(lines(folder, files.MAIL))}
    assert door.bodies("/v1/webhooks/email") == []


@settings(max_examples=40, deadline=None)
@given(
    visitors=st.lists(st.tuples(st.integers(1, 70), st.sampled_from("AB")), max_size=12), busy_every=st.integers(0, 5),
    threads=st.integers(1, 4),
)
def test_batches_are_full_of_one_kind_of_browser_and_keep_each_visitors_order(
    visitors: list[tuple[int, str]], busy_every: int, threads: int
) -> None:
    events = [
        {"messageId": f"{visitor}-{number:03d}", "anonymousId": f"v{visitor}", "context": {"userAgent": agent}}
        for visitor, (count, agent) in enumerate(visitors) for number in range(count)
    ]
    door = Door(busy_every=busy_every)
    with TemporaryDirectory() as place:
        for name in NAMES:
            text = "".join(f"{json.dumps(event)}\n" for event in events) if name == files.EVENTS else ""
            (Path(place) / name).write_text(text)
        played = play(Path(place), "http://system", secret_key="sk", threads=threads, **settings_of(door, []))
    assert played.failures == ()
    assert Counter(event["messageId"] for event in door.events()) == Counter(event["messageId"] for event in events)
    order: defaultdict[str, list[str]] = defaultdict(list)
    for _, headers, body in door.taken:
        assert 1 <= len(body["batch"]) <= 25
        assert {event["context"]["userAgent"] for event in body["batch"]} == {headers["user-agent"]}
        for event in body["batch"]:
            order[event["anonymousId"]].append(event["messageId"])
    assert all(names == sorted(names) for names in order.values())
    requests_of = Counter(
        name for _, _, body in door.taken for name in {event["anonymousId"] for event in body["batch"]}
    )
    for visitor, (count, _) in enumerate(visitors):
        assert requests_of[f"v{visitor}"] == -(-count // 25)


@pytest.mark.parametrize(("name", "line"), [
    (files.EVENTS, {"type": "page"}), (files.FORMS, {"form": "guide"}), (files.DEALS, {"data": 7}),
    (files.COSTS, {"day": 1}),
])
def test_a_line_about_nobody_is_named(folder: Path, tmp_path: Path, name: str, line: dict[str, Any]) -> None:
    for file in NAMES:
        (tmp_path / file).write_bytes(b"")
    (tmp_path / name).write_text(f"{json.dumps(line)}\n")
    with pytest.raises(files.NotAWorld, match=rf"{name}:1: does not say"):
        play(tmp_path, "http://system", secret_key="sk", **settings_of(Door(), []))


def test_a_refusal_is_counted_with_its_reason_and_not_repeated(folder: Path) -> None:
    door, asked = Door(), []

    def post(request: Request) -> Reply:
        asked.append(request.url)
        if "/v1/forms/prize" in request.url:
            return Reply(404, {}, b'{"reason": "this site has no such form"}')
        return door.post(request)

    prizes = sum(form["form"] == "prize" for form in lines(folder, files.FORMS))
    played = play(folder, "http://system", secret_key="sk", **{**settings_of(door, []), "post": post})
    (failure,) = played.failures
    assert (failure.route, failure.status, failure.reason, failure.facts) == (
        "/v1/forms", 404, "this site has no such form", prizes,
    )
    assert sum("/forms/prize" in url for url in asked) == prizes
    assert played.events_sent - played.events_accepted == prizes


def test_bad_events_of_a_batch_that_was_taken_are_no_accepted_events(folder: Path) -> None:
    door = Door()

    def post(request: Request) -> Reply:
        reply = door.post(request)
        bad = b'{"success": true, "bad": [{"index": 0, "reason": "event: is missing"}]}'
        return Reply(200, {}, bad) if request.url.endswith("/v1/batch") else reply

    played = play(folder, "http://system", secret_key="sk", **{**settings_of(door, []), "post": post})
    batches = played.by_route["/v1/batch"]
    assert batches.sent - batches.accepted == batches.requests
    assert [failure.reason for failure in played.failures] == ["event: is missing"]


def test_nobody_at_the_endpoint_is_said_so(folder: Path) -> None:
    waited: list[float] = []
    post = OverHttp(timeout_s=2)
    with listening(Door()) as endpoint:
        pass
    with pytest.raises(NoAnswer, match=r"no answer from http://system\.localhost"):
        play(folder, endpoint, secret_key="sk", deals_secret=SECRET, post=post, now=lambda: NOW, wait=waited.append)
    post.close()
    assert len(waited) >= ATTEMPTS - 1


def test_waiting_is_as_long_as_asked_for_and_never_endless() -> None:
    replies = [Reply(503, {"retry-after": "90000"}), Reply(500), Reply(429, {"retry-after": "soon"}), Reply(200)]
    waited: list[float] = []
    times = iter(NOW + timedelta(seconds=number) for number in range(9))
    sent: list[datetime] = []

    def make(now: datetime) -> Request:
        sent.append(now)
        return Request("GET", "http://system/")

    reply = deliver(make, post=lambda request: replies.pop(0), now=lambda: next(times), wait=waited.append)
    assert reply.status == 200
    assert waited == [300.0, 1.0, 2.0]
    assert sent == [NOW + timedelta(seconds=number) for number in range(4)]


def mails_to(addresses: set[str], **more: Any) -> list[SentMail]:
    values: dict[str, Any] = {
        "subject": "How", "campaign": "case-mail", "link": "https://mails.example/l/tok.en", "sent_at": NOW, **more,
    }
    return [SentMail(id=f"m-{address}", address=address, **values) for address in sorted(addresses)]


def won(door: Door) -> set[str]:
    return {deal["data"]["email"] for deal in door.bodies("/v1/webhooks/deals") if deal["type"] == "deal.won"}


def test_only_those_who_were_mailed_react(folder: Path) -> None:
    truth = json.loads((folder / files.TRUTH).read_bytes())
    moved = {p["emails"][0] for p in truth["persons"] if p["would_buy_if_mailed"] and not p["would_buy_anyway"]}
    everybody = {p["emails"][0] for p in truth["persons"]}
    some = set(sorted(everybody)[::2])
    assert moved & some and moved - some
    for mailed in (set(), some, everybody):
        door = Door(busy_every=4)
        played = react(folder, "http://system", mails_to(mailed), write_key="pk_demo", **settings_of(door, []))
        assert won(door) == moved & mailed
        assert played.events_sent == played.events_accepted == sum(
            line["email"] in mailed for line in lines(folder, files.REACTIONS)
        )


def test_a_reaction_is_the_browsers_own(folder: Path) -> None:
    door = Door()
    everybody = {line["email"] for line in lines(folder, files.REACTIONS)}
    react(folder, "http://system", mails_to(everybody), write_key="pk_demo", threads=1, **settings_of(door, []))
    path, headers, _ = door.taken[0]
    assert path == "/l/tok.en"
    browser = headers["cookie"].removeprefix("_cl_vid=")
    assert headers["user-agent"].startswith("Mozilla/5.0")
    path, headers, body = door.taken[1]
    assert path == "/v1/batch"
    assert headers["authorization"] == basic("pk_demo")
    assert headers["origin"] == "https://www.northwind.example"
    assert {event["anonymousId"] for event in body["batch"]} == {browser}
    times = [event["timestamp"] for event in body["batch"]]
    assert times == sorted(set(times))


def test_a_link_that_is_refused_brings_no_deal(folder: Path) -> None:
    door = Door()

    def post(request: Request) -> Reply:
        return Reply(404, {}, b"gone") if "/l/" in request.url else door.post(request)

    everybody = {line["email"] for line in lines(folder, files.REACTIONS)}
    played = react(
        folder, "http://system", mails_to(everybody), write_key="pk", **{**settings_of(door, []), "post": post},
    )
    assert door.taken == []
    (failure,) = played.failures
    assert (failure.route, failure.status, failure.facts) == ("/l", 404, len(everybody))


def test_a_mail_without_a_link_or_of_another_campaign_moves_nobody(folder: Path) -> None:
    door = Door()
    everybody = {line["email"] for line in lines(folder, files.REACTIONS)}
    mails = mails_to(everybody, link=None)
    played = react(folder, "http://system", mails, write_key="pk", **settings_of(door, []))
    assert played.left_out == {"mails without a link": len(everybody)}
    react(folder, "http://system", mails_to(everybody, campaign="welcome"), write_key="pk", **settings_of(door, []))
    assert door.taken == []
    react(folder, "http://system", mails_to(everybody, campaign=None), write_key="pk", **settings_of(door, []))
    assert len(door.bodies("/l/")) == len(everybody)


def test_the_mailbox_of_the_emulator_is_read() -> None:
    content = {"messages": {"000000000000": [
        {
            "MessageId": "m2", "Source": "pumps@northwind.example", "To": ["Yoko <yoko@example.com>"],
            "Subject": "Hello", "BodyText": "",
            "BodyHtml": '<a href="http://system/l/abc.d-e_f">more</a>', "Timestamp": 1795500010.5,
        },
        {
            "MessageId": "m1", "Source": "pumps@northwind.example", "To": ["ken@example.com"], "Subject": "How",
            "BodyText": "This is how:\nhttp://system/l/xyz.1\n\nhttp://system/u/xyz", "BodyHtml": None,
            "Timestamp": 1795500000,
        },
    ]}}
    reply = Reply(200, {}, json.dumps(content).encode())
    mails = mailbox("http://emulator/", lambda request: reply, {"How": "case-mail"})
    assert [(mail.id, mail.address, mail.campaign, mail.link) for mail in mails] == [
        ("m1", "ken@example.com", "case-mail", "http://system/l/xyz.1"),
        ("m2", "yoko@example.com", None, "http://system/l/abc.d-e_f"),
    ]
    assert mails[0].sent_at == datetime.fromtimestamp(1795500000, UTC)


@pytest.mark.parametrize("reply", [Reply(404), Reply(200, {}, b"<html>"), Reply(200, {}, b"[]"), Reply(200, {}, b"{}")])
def test_what_is_no_mailbox_is_said_so(reply: Reply) -> None:
    with pytest.raises(NoAnswer, match="no mailbox"):
        mailbox("http://emulator", lambda request: reply)
