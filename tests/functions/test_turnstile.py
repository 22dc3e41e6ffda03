"""Turnstile asks who sends a form: a robot is kept apart, and a check that cannot be made costs nobody a customer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from closedloop.runtime import doors, turnstile
from closedloop.sites.definition import Site
from functions.capture_form import handler
from tests.accounts import Account
from tests.functions.gateway import ADDRESS_OF_SENDER, Context, a_request

ORIGIN = "https://careful.example"
SITE = {
    "site": "careful",
    "title": "Careful",
    "write_key": "pk_careful_12345678",
    "origins": [ORIGIN],
    "forms": {"ask": {"thanks": "/", "turnstile": True, "fields": [{"name": "email", "kind": "email"}]}},
}


class Siteverify(ThreadingHTTPServer):
    """The service on this machine: it answers what it is told, or drops the line, or says nothing."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Any = {"success": True}
        self.asked: list[dict[str, list[str]]] = []
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Siteverify

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_POST(self) -> None:
        self.server.asked.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
        if self.server.answer == "nothing":
            self.server.over.wait(10)
        if self.server.answer in ("drop", "nothing"):
            return
        answer = self.server.answer
        self.send_response(500 if isinstance(answer, str) else 200)
        self.end_headers()
        self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())


@pytest.fixture
def service(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Siteverify]:
    server = Siteverify()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("TURNSTILE_URL", f"http://127.0.0.1:{server.server_port}/turnstile/v0/siteverify")
    account.state.put_site(Site.model_validate(SITE))
    doors.put_site_secrets("careful", {"turnstile": "0x4AAA-secret"})
    yield server
    account.client("secretsmanager").delete_secret(SecretId="closedloop/sites/careful", ForceDeleteWithoutRecovery=True)
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def send(answer: str | None = "a-token", submission: str = "s-1") -> dict[str, Any]:
    fields = {"email": "jane@example.jp", "cl_submission_id": submission}
    fields |= {} if answer is None else {"cf-turnstile-response": answer}
    headers = {"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"}
    return handler.handle(
        a_request("POST", "/v1/forms/ask", urlencode(fields), headers=headers, parts={"form": "ask"}), Context()
    )


def test_a_person_is_taken_and_the_service_learns_no_more_than_the_answer(
    account: Account, service: Siteverify
) -> None:
    assert send()["statusCode"] == 303
    [record] = account.records()
    assert "unverified" not in record["properties"]
    [asked] = service.asked
    assert (asked["secret"], asked["response"]) == (["0x4AAA-secret"], ["a-token"])
    assert asked.keys() == {"secret", "response", "idempotency_key"}
    assert ADDRESS_OF_SENDER not in json.dumps(asked)


def test_the_same_submission_sent_again_is_the_same_question(account: Account, service: Siteverify) -> None:
    """A token counts once; without the key, a form sent again after a busy moment would count as a robot's."""
    send()
    send()
    send(submission="s-2")
    keys = [asked["idempotency_key"][0] for asked in service.asked]
    assert (keys[0] == keys[1], keys[0] == keys[2]) == (True, False)


@pytest.mark.parametrize("code", sorted(turnstile.NO_PERSON))
def test_whom_the_service_does_not_take_for_a_person_is_kept_apart_with_the_same_answer(
    account: Account, service: Siteverify, code: str
) -> None:
    person = send(submission="s-1")
    service.answer = {"success": False, "error-codes": [code]}
    assert send(submission="s-2") == person
    assert [record["id"] for record in account.records()] == ["careful/form/s-1"]
    assert [failed.reason for failed in account.failed()] == ["form ask: Turnstile found no person"]


def test_whoever_brings_no_answer_is_kept_apart_and_nobody_is_asked(account: Account, service: Siteverify) -> None:
    assert send(None)["statusCode"] == 303
    assert (service.asked, account.records()) == ([], [])
    assert [failed.reason for failed in account.failed()] == ["form ask: it brought no answer of Turnstile"]


@pytest.mark.parametrize(
    "answer",
    [
        "drop",
        "nothing",
        "<html>busy</html>",
        [],
        {},
        {"success": False},
        {"success": False, "error-codes": ["internal-error"]},
        {"success": False, "error-codes": ["invalid-input-secret"]},
        {"success": False, "error-codes": ["invalid-input-secret", "invalid-input-response"]},
        {"success": "yes", "error-codes": 5},
        {"success": False, "error-codes": [{}]},
    ],
)
def test_a_check_that_cannot_be_made_takes_the_form_and_marks_it(
    account: Account, service: Siteverify, answer: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(turnstile, "TIMEOUT_S", 0.2)
    service.answer = answer
    assert send()["statusCode"] == 303
    [record] = account.records()
    assert record["properties"]["unverified"] == "turnstile"
    line = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if '"stored"' in line)
    assert line["unverified"] == 1


def test_a_service_that_cannot_be_reached_or_a_secret_that_was_not_set_takes_the_form_too(
    account: Account, service: Siteverify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TURNSTILE_URL", "http://127.0.0.1:9/siteverify")
    send(submission="s-1")
    doors.put_site_secrets("careful", {"other": "x"})
    send(submission="s-2")
    assert [record["properties"]["unverified"] for record in account.records()] == ["turnstile", "turnstile"]
    assert service.asked == []


def test_it_asks_cloudflare_over_tls_and_waits_two_seconds_at_most() -> None:
    assert turnstile.VERIFY == "https://challenges.cloudflare.com/turnstile/v0/siteverify"
    assert turnstile.TIMEOUT_S == 2.0
