"""The signing client against botocore's own signer, and against a service that fails in each of its ways."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from closedloop.store.calls import CallFailed
from closedloop.store.signed import DYNAMODB, S3, SECRETS, SQS, Credentials, Service, SignedClient, signature_headers
from tests.builders import NOW

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


# The signature.


@pytest.mark.parametrize("body", [b"", b"{}", '{"TableName":"ポンプ"}'.encode(), b"\x00" * 300_000])
@pytest.mark.parametrize("token", ["", "a/session+token=="])
@pytest.mark.parametrize("service", [DYNAMODB, SECRETS, SQS])
@pytest.mark.parametrize("host", ["dynamodb.eu-west-1.amazonaws.com", "127.0.0.1:8000"])
def test_the_signature_is_botocores(
    monkeypatch: pytest.MonkeyPatch, body: bytes, token: str, service: Service, host: str
) -> None:
    target, content_type = f"{service.target}.PutItem", f"application/x-amz-json-{service.version}"
    ours = signature_headers(
        *(Credentials(KEY, SECRET, token), service.name, "eu-west-1", host),
        *({"content-type": content_type, "x-amz-target": target}, body, NOW),
    )
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: NOW.replace(tzinfo=None))
    theirs = AWSRequest("POST", f"https://{host}/", {"Content-Type": content_type, "X-Amz-Target": target}, body)
    botocore.auth.SigV4Auth(BotocoreCredentials(KEY, SECRET, token or None), service.name, "eu-west-1").add_auth(theirs)
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours["x-amz-date"] == theirs.headers["X-Amz-Date"]


@pytest.mark.parametrize("token", ["", "a/session+token=="])
def test_the_signature_of_an_object_is_botocores(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: NOW.replace(tzinfo=None))
    host, path, body = "s3.eu-west-1.amazonaws.com", "/the-lake/spill/2026-11-24/0a-f.json", b'{"items":[]}'
    theirs = AWSRequest("PUT", f"https://{host}{path}", {"Content-Type": "application/json"}, body)
    botocore.auth.S3SigV4Auth(BotocoreCredentials(KEY, SECRET, token or None), "s3", "eu-west-1").add_auth(theirs)
    stated = {"content-type": "application/json", "x-amz-content-sha256": theirs.headers["X-Amz-Content-SHA256"]}
    ours = signature_headers(
        Credentials(KEY, SECRET, token), S3.name, "eu-west-1", host, stated, body, NOW, "PUT", path
    )
    assert ours["authorization"] == theirs.headers["Authorization"]


# The service.


class Api(ThreadingHTTPServer):
    """A service that answers what it is told: (status, body), or "drop", "hang" and "half" for what a line does."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Any] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.connections = 0
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        return

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
        answer = self.server.answers.pop(0) if self.server.answers else (200, b"{}")
        if answer == "drop":
            self.close_connection = True
            return
        if answer == "hang":
            self.server.over.wait(10)
            self.close_connection = True
            return
        status, content = (200, b'{"Item":') if answer == "half" else answer
        self.send_response(status)
        self.send_header("content-length", str(len(content) + (100 if answer == "half" else 0)))
        self.end_headers()
        self.wfile.write(content)
        if answer in ("half", (200, b'{"last":1}')):
            # The second is what an idle line does: whole answer, then closed without a word.
            self.close_connection = True


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def a_client(port: int, waits: list[int], **options: Any) -> SignedClient:
    """A client of a service on this machine; it notes its waits instead of sleeping."""
    url = f"http://127.0.0.1:{port}"
    return SignedClient(
        DYNAMODB, "eu-west-1", url, lambda: Credentials(KEY, SECRET), lambda: NOW, waits.append, **options
    )


@pytest.fixture
def waits() -> list[int]:
    return []


@pytest.fixture
def client(api: Api, waits: list[int]) -> Iterator[SignedClient]:
    made = a_client(api.server_port, waits)
    yield made
    made.close()


def refused(code: str, status: int = 400, **more: Any) -> tuple[int, bytes]:
    return status, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", **more}).encode()


THROTTLED = refused("ProvisionedThroughputExceededException")


def test_an_answer_comes_back_as_it_is(client: SignedClient, api: Api) -> None:
    api.answers = [(200, '{"Item":{"who":{"S":"ジェーン"}}}'.encode())]
    assert client.call("GetItem", {"TableName": "State"}) == {"Item": {"who": {"S": "ジェーン"}}}
    ((headers, body),) = api.requests
    assert headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert headers["content-type"] == "application/x-amz-json-1.0"
    assert body == b'{"TableName":"State"}'


def test_bytes_travel_as_base64(client: SignedClient, api: Api) -> None:
    client.call("PutItem", {"Item": {"body": {"B": b"\x00\xff\x01"}}})
    assert json.loads(api.requests[0][1]) == {"Item": {"body": {"B": "AP8B"}}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), datetime(2026, 1, 1), {1, 2}])
def test_what_has_no_word_in_json_is_not_sent(client: SignedClient, api: Api, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        client.call("PutItem", {"Item": value})
    assert api.requests == []


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_throttled_call_is_repeated_after_a_wait(
    client: SignedClient, api: Api, waits: list[int], times: int
) -> None:
    api.answers = [THROTTLED] * times + [(200, b'{"done":1}')]
    assert client.call("PutItem", {}) == {"done": 1}
    assert waits == list(range(1, times + 1))
    assert len({body for _, body in api.requests}) == 1


def test_after_four_attempts_the_throttle_is_told(client: SignedClient, api: Api, waits: list[int]) -> None:
    api.answers = [THROTTLED] * 9
    with pytest.raises(CallFailed) as caught:
        client.call("PutItem", {})
    assert caught.value.code == "ProvisionedThroughputExceededException"
    assert (len(api.requests), waits) == (4, [1, 2, 3])


@pytest.mark.parametrize(
    "answer",
    [
        refused("InternalServerError", 500),
        (503, b""),
        (502, b"<html>bad gateway</html>"),
        (200, b"<html>a portal</html>"),
        "half",
    ],
)
def test_an_outage_is_repeated(client: SignedClient, api: Api, answer: Any) -> None:
    api.answers = [answer, answer, (200, b'{"done":1}')]
    assert client.call("PutItem", {}) == {"done": 1}
    assert len(api.requests) == 3


@pytest.mark.parametrize("answer", [(200, b"<html>a portal</html>"), "half", "drop"])
def test_what_is_no_whole_answer_is_never_taken_for_success(client: SignedClient, api: Api, answer: Any) -> None:
    api.answers = [answer] * 20
    with pytest.raises(CallFailed):
        client.call("PutItem", {})


@pytest.mark.parametrize("code", ["ConditionalCheckFailedException", "ValidationException", "AccessDeniedException"])
def test_a_refusal_is_not_repeated(client: SignedClient, api: Api, waits: list[int], code: str) -> None:
    api.answers = [refused(code)]
    with pytest.raises(CallFailed) as caught:
        client.call("PutItem", {})
    assert caught.value.code == code
    assert caught.value.is_condition is (code == "ConditionalCheckFailedException")
    assert (len(api.requests), waits) == (1, [])


@pytest.mark.parametrize(
    ("reasons", "is_condition"),
    [
        (("None", "ConditionalCheckFailed"), True),
        (("TransactionConflict", "ConditionalCheckFailed"), True),
        (("TransactionConflict", "None"), False),
        (("ThrottlingError",), False),
    ],
)
def test_a_cancelled_transaction_says_why(
    client: SignedClient, api: Api, reasons: tuple[str, ...], is_condition: bool
) -> None:
    api.answers = [refused("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in reasons])]
    with pytest.raises(CallFailed) as caught:
        client.call("TransactWriteItems", {})
    assert caught.value.reasons == reasons
    assert caught.value.is_condition is is_condition


# The line.


def test_one_connection_serves_many_calls(client: SignedClient, api: Api) -> None:
    for _ in range(5):
        client.call("GetItem", {})
    assert api.connections == 1


@pytest.mark.parametrize("last", ["drop", (200, b'{"last":1}')])
def test_a_kept_connection_that_was_dropped_is_dialled_again_at_once(
    client: SignedClient, api: Api, waits: list[int], last: Any
) -> None:
    api.answers = [(200, b'{"n":1}'), last, (200, b'{"n":3}')]
    assert client.call("GetItem", {}) == {"n": 1}
    assert client.call("GetItem", {}) == ({"n": 3} if last == "drop" else {"last": 1})
    if last != "drop":
        assert client.call("GetItem", {}) == {"n": 3}
    assert waits == []
    assert api.connections == 2


def test_a_line_that_drops_every_time_fails_after_four_attempts(
    client: SignedClient, api: Api, waits: list[int]
) -> None:
    api.answers = ["drop"] * 20
    with pytest.raises(CallFailed):
        client.call("PutItem", {})
    assert waits == [1, 2, 3]


def test_silence_fails_in_time_and_the_next_call_is_not_given_its_answer(api: Api, waits: list[int]) -> None:
    client = a_client(api.server_port, waits, timeout_s=0.05)
    api.answers = ["hang"] * 4 + [(200, b'{"mine":1}')]
    with pytest.raises(CallFailed) as caught:
        client.call("PutItem", {})
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert (len(api.requests), waits) == (4, [1, 2, 3])
    assert client.call("GetItem", {}) == {"mine": 1}
    client.close()


def test_no_attempt_begins_when_the_callers_time_is_over(api: Api) -> None:
    api.answers = [THROTTLED] * 9
    times = iter(NOW + timedelta(seconds=second) for second in range(20))
    client = SignedClient(
        *(DYNAMODB, "eu-west-1", f"http://127.0.0.1:{api.server_port}", lambda: Credentials(KEY, SECRET)),
        *(lambda: next(times), lambda attempt: None),
    )
    with pytest.raises(CallFailed, match="ProvisionedThroughput"):
        client.call("PutItem", {})
    # Each attempt reads the clock twice, once for its signature: the fourth would begin after six seconds.
    assert len(api.requests) == 3
    client.close()


def test_nobody_there_is_a_failed_call(waits: list[int]) -> None:
    with pytest.raises(CallFailed) as caught:
        a_client(9, waits).call("PutItem", {})
    assert caught.value.code == "ConnectionRefusedError"
    assert waits == [1, 2, 3]
