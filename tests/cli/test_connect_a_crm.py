"""The recipe docs/connect-a-crm.md does what it says: its samples run as they stand, against the handlers over HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qsl

import pytest

from closedloop.capture.deals import PROVIDERS
from closedloop.cli.main import main
from closedloop.events.packet import event_of
from closedloop.profiles.flow import project
from closedloop.runtime import clock, doors
from functions.capture_beacon import handler as capture_beacon
from functions.capture_deal import handler as capture_deal
from tests.accounts import forget
from tests.cli.conftest import LEFT_OUT, SETTINGS, Cloud, deploy
from tests.functions.gateway import Context, a_request

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs/connect-a-crm.md").read_text()
BLOCKS = re.findall(r"```(yaml|sh|python)\n(.*?)```", PAGE, re.DOTALL)
SITE = (ROOT / "examples/sites/demo.yaml").read_text()


class Gateway(BaseHTTPRequestHandler):
    """The two handlers behind HTTP, one request at a time."""

    turn = Lock()

    def log_message(self, *args: object) -> None:
        """Tests read the answers, not a log."""

    def do_POST(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        event = a_request(
            "POST", path, self.rfile.read(int(headers["content-length"])), headers=headers,
            query=dict(parse_qsl(query)), parts={"provider": path.rpartition("/")[2]},
        )
        with self.turn:
            handler = capture_deal if "/deals/" in path else capture_beacon
            reply = handler.handle({**event, "rawQueryString": query}, Context())
        self.send_response(reply["statusCode"])
        self.send_header("content-length", str(len(reply["body"].encode())))
        self.end_headers()
        self.wfile.write(reply["body"].encode())


@pytest.fixture
def endpoint(server: Cloud, aws: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The handlers before an empty account, and a folder to work in."""
    gateway = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    for name in LEFT_OUT:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": aws}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    deploy(server)
    yield f"http://127.0.0.1:{gateway.server_port}"
    gateway.shutdown()
    gateway.server_close()


def closedloop(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    forget()
    with pytest.raises(SystemExit) as ended:
        main(line.split()[1:])
    assert ended.value.code in (0, None)
    return capsys.readouterr().out


def run(kind: str, block: str, env: Mapping[str, str]) -> None:
    command = [sys.executable, "-c", block] if kind == "python" else ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def projected() -> None:
    """What the ledger's stream brings about."""
    arrived = [
        (str(number), packet, [event_of(packet, record) for record in packet.records])
        for number, packet in enumerate(doors.ledger().every_packet())
    ]
    assert not project(arrived, doors.state(), doors.ledger(), doors.sites(), clock.now).again


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")) and not os.environ.get("CI"),
    reason="the samples call curl and openssl",
)
def test_the_recipe_works_as_it_is_written(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = SITE.replace("site: demo", "site: my-site").replace("pk_demo_4f1c2a9b", "pk_mysite_4f1c2a9b")
    (yaml, told), (_, commands), *samples = BLOCKS
    assert yaml == "yaml"
    Path("my-site.yaml").write_text(text[: text.index("webhooks:")] + told)
    shown = [closedloop(line, capsys) for line in commands.strip().splitlines()]
    assert "No deal of HubSpot is believed yet" in shown[0]
    secrets: dict[str, Any] = dict(doors.site_secrets("my-site"))
    assert secrets["deals_hubspot"] == ["the-client-secret-of-your-app"]
    env = {
        "ENDPOINT": endpoint, "SECRET_KEY": secrets["secret_key"],
        **{name.upper(): secrets[name][0] for name in ("deals_standard", "deals_salesforce")},
    }
    *samples, (_, look) = samples
    assert [kind for kind, _ in samples] == ["python", "sh", "sh", "sh", "python"]
    for kind, block in samples:
        for _ in range(2):
            run(kind, block, env)
        wrong = {name: f"{value[:-6]}AAAAAA" for name, value in env.items() if name != "ENDPOINT"}
        stale = block.replace("the-client-secret-of-your-app", "another")
        with pytest.raises(AssertionError):
            run(kind, stale, {**env, **wrong})
    projected()
    deals = json.loads(closedloop(f"{look.strip()} --json", capsys).splitlines()[-1])["deals"]
    assert deals == {
        "my-site/D-1": ["partly refunded", 450_000, "JPY"], "my-site/D-2": ["won", 120_000, "JPY"],
        "my-site/18412347765": ["won", 350_000, "EUR"], "my-site/0065g00000Wk3TzAAJ": ["won", 900_000, "JPY"],
        "my-site/1042": ["partly refunded", 2_750, "EUR"],
    }


def test_the_page_names_every_way_in_and_can_be_found() -> None:
    for provider in PROVIDERS:
        assert f"/v1/webhooks/deals/{provider}?site=my-site" in PAGE
    assert "docs/connect-a-crm.md" in (ROOT / "README.md").read_text()
