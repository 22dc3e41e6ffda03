"""A headless Chromium, and a loopback stand-in for the site and for the collector, on two origins as in life."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

import pytest

from functions.serve_tracker import handler
from web import build

if TYPE_CHECKING:
    from selenium import webdriver

KEY = "pk_kobayashi1"
WAIT_S = 10
REFUSES = 0  # the collector hangs up without an answer

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

Event = dict[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Beacon:
    """One request to the collector, and the status that it was answered with."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int

    @property
    def batch(self) -> list[Event]:
        return list(json.loads(self.body)["batch"])


@dataclass
class Collector:
    """What was sent to the collector, and how it answers next."""

    url: str = ""
    status: int = 200
    beacons: list[Beacon] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def received(self, beacon: Beacon) -> None:
        with self.changed:
            self.beacons.append(beacon)
            self.changed.notify_all()

    @property
    def accepted(self) -> list[Beacon]:
        return [beacon for beacon in self.beacons if beacon.method == "POST" and beacon.status == 200]

    def events(self, name: str | None = None) -> list[Event]:
        """The accepted events, in order of arrival; `name` is that of a track call, or else a type."""
        events = [event for beacon in self.accepted for event in beacon.batch]
        return [event for event in events if name in (None, event.get("event", event["type"]))]

    def until(self, found: Callable[[], Found]) -> Found:
        """What `found` finds, as soon as it finds something."""
        with self.changed:
            result = self.changed.wait_for(found, timeout=WAIT_S)
        assert result, f"not within {WAIT_S} s; arrived: {[(b.status, b.body) for b in self.beacons]}"
        return result

    def event(self, name: str, count: int = 1) -> Event:
        """The event of this name that arrived as number `count`."""
        return self.until(lambda: len(self.events(name)) >= count and self.events(name)[count - 1])


@dataclass
class Site:
    """The pages of a web property, by path, each with its own headers; and what was asked for."""

    url: str = ""
    pages: dict[str, tuple[str, str, dict[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    posted: list[dict[str, str]] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    token: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def asked_for(self, path: str) -> None:
        """Wait until a browser has asked for this page."""
        with self.changed:
            assert self.changed.wait_for(lambda: path in self.asked, timeout=WAIT_S), self.asked

    def submission(self, count: int = 1) -> dict[str, str]:
        """The fields of the form that was posted as number `count`."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.posted) >= count, timeout=WAIT_S), self.posted
        return self.posted[count - 1]

    def page(self, path: str, head: str = "", body: str = "", html: str = "", **headers: str) -> str:
        text = f'<!doctype html><html {html}><head><meta charset="utf-8"><title>{path}</title>{head}</head>'
        text += f"<body>{body}</body></html>"
        self.pages[path] = (text, "text/html; charset=utf-8", {k.replace("_", "-"): v for k, v in headers.items()})
        return self.url + path

    def script(self, path: str, text: str) -> str:
        self.pages[path] = (text, "text/javascript; charset=utf-8", {})
        return self.url + path


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up is no fault of the server."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Tests read the record, not a log."""

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(answer: type[Answer], host: str) -> Iterator[str]:
    """Answers on a port of its own until the block ends; gives the address."""
    server = Quiet(("127.0.0.1", 0), answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://{host}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def domain(_numbers: Iterator[int]) -> str:
    """Each test has a company of its own, so no cookie and no storage of another. Browsers resolve *.localhost."""
    return f"company{next(_numbers)}.localhost"


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture(scope="session")
def _built() -> None:
    build.build()


@pytest.fixture
def collector(_built: None, domain: str) -> Iterator[Collector]:
    """Serves /t.js by the real handler, records what is posted, and sets the visitor's cookie as the real one does."""
    collector = Collector()

    class Collects(Answer):
        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/t.js":
                return self.reply(404)
            made = handler.handle({"headers": {k.lower(): v for k, v in self.headers.items()}}, None)
            body = made.get("body", "")
            raw = base64.b64decode(body) if made.get("isBase64Encoded") else body.encode()
            return self.reply(made["statusCode"], raw, **made["headers"])

        def do_OPTIONS(self) -> None:
            collector.received(Beacon("OPTIONS", self.path, dict(self.headers), "", 204))
            self.reply(204)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = collector.status
            if status == REFUSES:
                self.close_connection = True
            else:
                origin = self.headers["Origin"]
                self.reply(
                    status,
                    b'{"success": true}',
                    Access_Control_Allow_Origin=origin,
                    Access_Control_Allow_Credentials="true",
                    Access_Control_Expose_Headers="Retry-After",
                    Vary="Origin",
                    Set_Cookie=f"_cl_vid=6f1c2a5e; Max-Age=34128000; Path=/; Domain={domain}; SameSite=Lax; HttpOnly",
                )
            headers = {name.lower(): value for name, value in self.headers.items()}
            collector.received(Beacon("POST", self.path, headers, body, status))

    with serving(Collects, f"t.{domain}") as collector.url:
        yield collector


@pytest.fixture
def site(domain: str) -> Iterator[Site]:
    site = Site()

    class Serves(Answer):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/favicon.ico":
                return self.reply(204)
            if path.startswith("/v1/forms/"):
                with site.changed:
                    site.times.append(self.path)
                    site.changed.notify_all()
                return self.reply(200, json.dumps({"token": site.token}).encode(), Content_Type="application/json")
            with site.changed:
                site.asked.append(path)
                site.changed.notify_all()
            text, kind, headers = site.pages[path]
            return self.reply(200, text.encode(), Content_Type=kind, **headers)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            with site.changed:
                site.posted.append(dict(parse_qsl(body)))
                site.changed.notify_all()
            self.reply(200, b"<title>thanks</title>", Content_Type="text/html")

    with serving(Serves, f"www.{domain}") as site.url:
        yield site


@pytest.fixture
def tag(collector: Collector) -> Callable[..., str]:
    """The script tag that a page embeds; the consent mode is `notice` unless told."""

    def tag(**data: str) -> str:
        settings = {"site": KEY, "consent": "notice"} | data
        attributes = " ".join(f'data-{name}="{value}"' for name, value in settings.items())
        return f'<script async src="{collector.url}/t.js" {attributes}></script>'

    return tag


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    binary = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver_path = shutil.which("chromedriver")
    if not (binary and driver_path):
        missing = "Chromium and chromedriver are needed: on Debian, the packages chromium and chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    # Only whoever needs it pays for loading it.
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = binary
    for argument in ARGUMENTS:
        options.add_argument(argument)
    profile: Path = tmp_path_factory.mktemp("chromium")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    driver.set_script_timeout(WAIT_S)
    yield driver
    driver.quit()


@dataclass
class Browser:
    """One visitor's browser. What it says in the console must be nothing, unless a test expects it."""

    driver: webdriver.Chrome
    may_complain: bool = False

    def open(self, url: str) -> None:
        self.driver.get(url)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def loaded(self) -> None:
        """Wait until the tracker has taken the place of whatever was there before."""
        self.until("return !!(window.closedloop && closedloop.version)")

    def hide(self) -> None:
        """What the browser tells a page that goes away: nothing waits for the timer any more."""
        self.loaded()
        self.run("window.dispatchEvent(new Event('pagehide'))")

    def until(self, script: str) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, WAIT_S, poll_frequency=0.02).until(lambda _: self.run(script))

    def stored(self) -> dict[str, Any] | None:
        return self.run(f"return JSON.parse(localStorage.getItem('closedloop:{KEY}'))")

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def browser(_chromium: webdriver.Chrome, collector: Collector, site: Site) -> Iterator[Browser]:
    """The servers outlive the page: what it sends when it is closed still arrives."""
    browser = Browser(_chromium)
    yield browser
    complaints = browser.complaints()
    _chromium.get("about:blank")
    if not browser.may_complain:
        assert complaints == []
