"""Every door of capture in trouble: whatever throttles, loses answers, lies or comes twice, a yes is kept, once."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest

from closedloop.runtime import clock, doors
from closedloop.store.calls import CallFailed, Dynamo
from closedloop.store.ledger import ROUNDS
from closedloop.store.signed import Service
from functions.capture_beacon import handler as capture_beacon
from functions.capture_deal import handler as capture_deal
from functions.capture_email import handler as capture_email
from functions.capture_form import handler as capture_form
from functions.drain_spill import handler as drain_spill
from functions.follow_link import handler as follow_link
from functions.project_profiles import handler as project_profiles
from tests.accounts import EVENTS, POSTMARK, STATE, Account, Spill
from tests.faults.nemesis import Disturbed, Nemesis
from tests.functions.every_door import PROMISING, WAYS, beacon, brought
from tests.functions.gateway import KEY, ORIGIN, Context, a_request
from tests.functions.streams import a_batch
from tests.functions.test_bad_input import CANARIES, CORPUS, bomb, closed, made
from tests.functions.test_capture_deal import signed
from tests.yardstick import cpu_s, megabyte_s, megabytes_of_json

Reply = dict[str, Any]
YES = (200, 302)


@pytest.fixture
def nemesis(account: Account, monkeypatch: pytest.MonkeyPatch) -> Nemesis:
    """Stands between the functions and AWS; nobody waits for it."""
    monkeypatch.setattr(clock, "wait", lambda attempt: None)
    nemesis = Nemesis(0)
    nemesis.at_rest = True
    caller, spilling = doors._caller, doors.spilling
    monkeypatch.setattr(doors, "_caller", lambda service: Disturbed(caller(service), nemesis))
    monkeypatch.setattr(doors, "spilling", lambda service: Disturbed(spilling(service), nemesis))
    return nemesis


def bring_back(account: Account, spill: Spill) -> None:
    for _ in range(20):
        if not spill.batch()["Records"]:
            return
        spill.deliver(drain_spill.handle, Context())
    pytest.fail("the spill does not drain")


# Throttled, lost, undone.


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_throttled_or_lost_every_yes_is_durable_and_every_event_counts_once(
    seed: int, account: Account, spill: Spill, nemesis: Nemesis
) -> None:
    for way, (knock, _) in WAYS.items():
        assert knock(f"warm-{way}")["statusCode"] in YES
    nemesis.rng.seed(seed)
    nemesis.at_rest, nemesis.throttle, nemesis.lose = False, 0.35, 0.1
    accepted: dict[str, list[str]] = defaultdict(list)
    statuses = []
    for number in range(3):
        for way, (knock, _) in WAYS.items():
            name = f"m{number}-{way}"
            while way not in accepted or name not in accepted[way]:
                status = knock(name)["statusCode"]
                statuses.append(status)
                if status in YES:
                    accepted[way].append(name)
                else:
                    assert status == 503
    nemesis.at_rest = True
    bring_back(account, spill)
    records = account.records()
    for way in PROMISING:
        for name in accepted[way]:
            stored = {record["id"] for record in brought(way, name, records)}
            # An unsubscription that was asked for again is one more fact of the same content.
            assert len(stored) == WAYS[way][1] or (way == "unsubscribe" and stored), (way, name)


@pytest.mark.parametrize("way", PROMISING)
def test_nothing_takes_anything_for_ever_and_nobody_is_told_yes(
    way: str, account: Account, spill: Spill, nemesis: Nemesis
) -> None:
    knock, _ = WAYS[way]
    knock("warm")
    before = account.items()
    nemesis.at_rest, nemesis.throttle = False, 1.0
    for _ in range(5):
        reply = knock("m-1")
        assert reply["statusCode"] == 503
        assert 1 <= int(reply["headers"]["retry-after"]) <= 300
    nemesis.at_rest = True
    assert account.items() == before
    assert spill.batch() == {"Records": []}


class LeavesAllUndone:
    """BatchWriteItem takes nothing, for so many rounds."""

    def __init__(self, dynamo: Dynamo, rounds: int) -> None:
        self._dynamo, self.rounds = dynamo, rounds

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if operation == "BatchWriteItem" and self.rounds > 0:
            self.rounds -= 1
            return {"UnprocessedItems": parameters["RequestItems"]}
        return self._dynamo.call(operation, parameters)


@pytest.mark.parametrize(("rounds", "spilled"), [(3, False), (10_000, True)])
def test_a_batch_of_which_nothing_is_processed_is_sent_again_so_often_and_then_spilled(
    account: Account, spill: Spill, monkeypatch: pytest.MonkeyPatch, rounds: int, spilled: bool
) -> None:
    beacon("warm")
    undone, waits = LeavesAllUndone(doors.dynamo(), rounds), list[int]()
    doors.capture_ledger.cache_clear()
    monkeypatch.setattr(doors, "dynamo", lambda: undone)
    monkeypatch.setattr(clock, "wait", waits.append)
    batch = [{"type": "page", "messageId": f"m{n}", "anonymousId": f"v{n}"} for n in range(25)]
    event = a_request("POST", "/v1/batch", json.dumps({"batch": batch, "writeKey": KEY}), headers={"origin": ORIGIN})
    assert capture_beacon.handle(event, Context())["statusCode"] == 200
    # How long it may take besides is tests/unit/test_ledger_budget.py's question.
    assert rounds - undone.rounds == min(rounds, ROUNDS)
    assert waits == list(range(1, min(rounds + 1, ROUNDS)))
    assert bool(spill.batch()["Records"]) is spilled
    undone.rounds = 0
    bring_back(account, spill)
    assert len([record for record in account.records() if "beacon/m" in record["id"]]) == 25


# The same twice.


class EachThreadItsOwn:
    """A connection for each thread, as each Lambda has its own."""

    def __init__(self, make: Callable[[], Dynamo]) -> None:
        self._make, self._own = make, threading.local()

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if not hasattr(self._own, "client"):
            self._own.client = self._make()
        answer: dict[str, Any] = self._own.client.call(operation, parameters)
        return answer


def test_two_at_once_with_the_same_are_both_told_yes_and_it_is_one_fact(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_this_thread(service: Service) -> Dynamo:
        return EachThreadItsOwn(lambda: doors._signed.__wrapped__(service))

    monkeypatch.setattr(doors, "_caller", of_this_thread)
    ways = [way for way in PROMISING if way != "unsubscribe"]
    for way in ways:
        WAYS[way][0]("warm")
    for number in range(100):
        way = ways[number % len(ways)]
        knock, count = WAYS[way]
        replies: list[Reply] = []
        both = threading.Barrier(2)

        def ask(knock: Any = knock, name: str = f"m{number}", replies: Any = replies, both: Any = both) -> None:
            both.wait()
            replies.append(knock(name))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [reply["statusCode"] for reply in replies] == [200, 200], way
        stored = [record["id"] for record in brought(way, f"m{number}", account.records())]
        assert len(set(stored)) == count
        account.client("dynamodb").delete_table(TableName=EVENTS)
        account.create(EVENTS)


# Clocks that are wrong.


def told_at(way: str, moment: str) -> Reply:
    """A request whose sender's clock says so."""
    if way == "beacon":
        event = {"type": "page", "messageId": "m-1", "anonymousId": "m-1", "timestamp": moment}
        body = json.dumps({"batch": [event], "writeKey": KEY})
        return capture_beacon.handle(a_request("POST", "/v1/batch", body, headers={"origin": ORIGIN}), Context())
    if way == "form":
        body = json.dumps({"fields": {"email": "jane@example.jp", "company": "x"}, "timestamp": moment})
        headers = {"origin": ORIGIN, "content-type": "application/json"}
        event = a_request("POST", "/v1/forms/guide", body, headers=headers, parts={"form": "guide"})
        return capture_form.handle(event, Context())
    if way == "email":
        report = {"RecordType": "Delivery", "MessageID": "m-1", "Recipient": "j@example.jp", "DeliveredAt": moment}
        return postmark(report)
    raw = json.dumps({"type": "deal.won", "timestamp": moment, "data": {"id": "d-1"}}).encode()
    event = a_request(
        "POST", "/v1/webhooks/deals/standard", raw, headers=signed(raw), query={"site": "demo"},
        parts={"provider": "standard"},
    )
    return capture_deal.handle(event, Context())


def postmark(report: Any, raw: bytes = b"") -> Reply:
    headers = {"content-type": "application/json", "authorization": POSTMARK}
    event = a_request(
        "POST", "/v1/webhooks/email/postmark", raw or json.dumps(report), headers=headers, query={"site": "demo"},
        parts={"provider": "postmark"}, base64_flag=bool(raw) or None,
    )
    return capture_email.handle(event, Context())


@pytest.mark.parametrize("way", ["beacon", "form", "email", "deal"])
@pytest.mark.parametrize("years", [-10, -1, 1, 10])
def test_a_clock_that_is_years_off_puts_nothing_into_the_future_and_old_things_are_marked(
    account: Account, way: str, years: int
) -> None:
    now = clock.now()
    stated = now + timedelta(days=365 * years)
    assert told_at(way, f"{stated:%Y-%m-%dT%H:%M:%SZ}")["statusCode"] == 200
    (packet,) = account.packets()
    (event,) = packet.events
    assert event.occurred_at <= packet.received_at + timedelta(minutes=5)
    assert now - timedelta(minutes=5) <= packet.received_at <= now + timedelta(minutes=5)
    (item,) = account.items()
    assert item["sk"]["S"] >= f"{now - timedelta(minutes=5):%Y-%m-%dT%H:%M}"
    if way in ("beacon", "form"):
        # Who is not proven may not tell of long ago, and is marked where it tries.
        assert event.late or event.occurred_at >= packet.received_at - timedelta(days=7)
    elif years < 0:
        assert (packet.received_at - event.occurred_at).days >= 300


# Orders.


def test_a_mails_reports_in_any_order_are_the_same_state(account: Account, machine: Any) -> None:
    of_mail = {"MessageID": "m-1", "Recipient": "jane@example.jp", "Metadata": {"campaign": "case-mail"}}
    said = clock.now() - timedelta(days=1)
    reports = (
        {**of_mail, "RecordType": "Delivery", "DeliveredAt": f"{said:%Y-%m-%dT%H:00:00Z}"},
        {**of_mail, "RecordType": "Open", "ReceivedAt": f"{said:%Y-%m-%dT%H:10:00Z}", "UserAgent": "Mozilla/5.0"},
        {
            **of_mail, "RecordType": "Click", "ReceivedAt": f"{said:%Y-%m-%dT%H:20:00Z}",
            "OriginalLink": f"{ORIGIN}/pumps", "UserAgent": "Mozilla/5.0",
        },
    )
    ends = set()
    for order in permutations(reports):
        for report in order:
            assert postmark(report)["statusCode"] == 200
            for _ in range(2):
                project_profiles.handle(a_batch(account.items()), Context())
        (profile,) = (item for item in account.items(STATE) if item["sk"]["S"] == "PROFILE")
        ends.add((profile["body"]["S"], bytes(profile["more"]["B"])))
        for table in (EVENTS, STATE):
            for item in account.items(table):
                if table == EVENTS or item["pk"]["S"][:2] in ("P#", "N#", "G#"):
                    key = {name: item[name] for name in ("pk", "sk")}
                    account.client("dynamodb").delete_item(TableName=table, Key=key)
    assert len(ends) == 1


# Bad input at the doors that the corpus does not know yet.


def no_harm(reply: Reply) -> None:
    assert reply["statusCode"] < 500


def no_word_of_it(out: str, account: Account) -> None:
    """One JSON object a line, whatever was sent, and nothing of it where nothing of it may be."""
    assert "Traceback" not in out
    assert all(isinstance(json.loads(line), dict) for line in out.splitlines())
    kept = out + json.dumps([[item["pk"], item["sk"], item.get("reason")] for item in account.items()])
    for canary in CANARIES:
        assert canary not in kept


def every_value() -> Iterator[bytes]:
    """Every value of the corpus as JSON, and every text."""
    for words in CORPUS["values"]:
        yield closed(words, words["json"])
    for text in CORPUS["texts"]:
        yield json.dumps(made(text).decode()).encode()


def test_the_door_for_mails_withstands_every_body_and_every_value(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in CORPUS["bodies"]:
        body = made(words) + (words.get("close", "") * (words["repeat"][2] if "repeat" in words else 0)).encode()
        no_harm(postmark(None, body or b" "))
    for value in every_value():
        body = (
            b'{"RecordType":"Open","MessageID":' + value + b',"Recipient":"canary.jane@secret.example","ReceivedAt":'
            + value + b',"UserAgent":' + value + b',"Metadata":{"campaign":' + value + b"}}"
        )
        no_harm(postmark(None, body))
    no_word_of_it(capsys.readouterr().out, account)
    stored = [item for item in account.items() if item["kind"]["S"] == "packet"]
    assert len(stored) > 20
    assert project_profiles.handle(a_batch(stored[:30]), Context()) == {"batchItemFailures": []}


@pytest.mark.parametrize("path", ["l", "o", "u"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_link_withstands_every_text(
    account: Account, capsys: pytest.CaptureFixture[str], path: str, method: str
) -> None:
    for text in [*CORPUS["texts"], *CORPUS["long_texts"]]:
        word = made(text).decode("utf-8", "replace")
        headers = {"user-agent": word, "cookie": f"_cl_vid={word}"} if len(word) < 8000 else {}
        event = a_request(method, f"/{path}/{word}", word, headers=headers, query={"x": word}, parts={"token": word})
        reply = follow_link.handle(event, Context())
        assert reply["statusCode"] == 404
    no_word_of_it(capsys.readouterr().out, account)
    assert account.items() == []


def bombs() -> Iterator[tuple[str, Callable[[bytes], Reply]]]:
    headers = {"origin": ORIGIN, "content-type": "application/json"}
    yield "beacon", lambda body: capture_beacon.handle(
        a_request("POST", "/v1/batch", body, headers=headers, base64_flag=True), Context()
    )
    yield "form", lambda body: capture_form.handle(
        a_request("POST", "/v1/forms/guide", body, headers=headers, parts={"form": "guide"}, base64_flag=True),
        Context(),
    )
    yield "email", lambda body: postmark(None, body)
    yield "deal", lambda body: capture_deal.handle(
        a_request(
            "POST", "/v1/webhooks/deals/standard", body, headers={**headers, **signed(b"{}")}, query={"site": "demo"},
            parts={"provider": "standard"}, base64_flag=True,
        ),
        Context(),
    )


@pytest.mark.parametrize("mebibytes", [400, 1024])
def test_a_bomb_is_refused_by_every_door_in_no_time_and_in_little_memory(account: Account, mebibytes: int) -> None:
    body = bomb(mebibytes)
    for way, knock in bombs():
        knock(b"{}")
        assert knock(body)["statusCode"] in (400, 401, 413), way
        assert megabytes_of_json(partial(knock, body)) < 1.9, way
        tracemalloc.start()
        try:
            knock(body)
            assert tracemalloc.get_traced_memory()[1] < 64 * 2**20, way
        finally:
            tracemalloc.stop()
    assert account.packets() == []


def test_no_body_of_the_corpus_costs_a_door_more_than_a_moment(account: Account) -> None:
    spent, measures = [], []
    for words in CORPUS["bodies"]:
        body = made(words) + (words.get("close", "") * (words["repeat"][2] if "repeat" in words else 0)).encode()
        for _, knock in bombs():
            spent.append(cpu_s(partial(knock, body or b" ")))
        measures.append(megabyte_s())
    assert sorted(spent)[int(len(spent) * 0.99)] < 1.9 * min(measures)


def test_a_call_that_fails_for_another_reason_than_the_load_is_no_yes_either(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    beacon("warm")

    class Denied:
        def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
            raise CallFailed("AccessDeniedException")

    doors.capture_ledger.cache_clear()
    monkeypatch.setattr(doors, "dynamo", Denied)
    assert beacon("m-1")["statusCode"] == 503
