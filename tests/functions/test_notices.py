"""Sales is told who it is, why now and what they did: within a minute, once for each channel, whatever fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

from closedloop.errors import TryAgain
from closedloop.events.times import iso, parse
from closedloop.loops.definition import Loop
from closedloop.loops.flow import perform_shard
from closedloop.loops.handover import Delivery, deliver
from closedloop.runtime import clock, doors
from functions.decide_stages import handler as decide_stages
from functions.notify_sales import handler as notify_sales
from functions.perform_actions import handler as perform_actions
from functions.project_profiles import handler as project_profiles
from functions.select_people import handler as select_people
from tests.accounts import STATE, Account
from tests.functions.gateway import Context
from tests.functions.streams import a_batch
from tests.functions.test_project_profiles import a_packet, stored
from tests.functions.test_workflow_tasks import LOOP, people, run

CRM_KEY = "whsec_bm90aWNlLWtleS1ub3RpY2Uta2V5"
BUS = "the-bus"


class Receiver(ThreadingHTTPServer):
    """Somebody's webhook: what came, and what it answers next."""

    def __init__(self) -> None:
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.came.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                """Says nothing."""

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Sales:
    """The bus, the topic and the webhooks of a sales force, as an account has them."""

    def __init__(self, account: Account, receiver: Receiver, url: str, topic: str) -> None:
        self.account, self.receiver, self._url, self.topic = account, receiver, url, topic

    def events(self, queue: str = "bus") -> list[dict[str, Any]]:
        """What the bus carried since it was asked last."""
        queues, found = self.account.client("sqs"), []
        while got := queues.receive_message(QueueUrl=f"{self._url}{queue}", MaxNumberOfMessages=10).get("Messages"):
            for one in got:
                found.append(json.loads(one["Body"]))
                queues.delete_message(QueueUrl=f"{self._url}{queue}", ReceiptHandle=one["ReceiptHandle"])
        return found

    def mailed(self) -> list[dict[str, Any]]:
        """What came to those who subscribed to the topic."""
        return self.events("topic")

    def deliver(self) -> list[str]:
        """Hand everything that the bus carries to the function, as its rule does."""
        return [notify_sales.handle(event, Context())["outcome"] for event in self.events()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def sales(account: Account, machine: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sales]:
    """A bus whose events lie in a queue, a topic whose messages lie in another, and the secrets of the webhooks."""
    queues, events, sns = account.client("sqs"), account.client("events"), account.client("sns")
    urls = {name: queues.create_queue(QueueName=name)["QueueUrl"] for name in ("bus", "topic")}
    arns = {
        name: queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        for name, url in urls.items()
    }
    events.create_event_bus(Name=BUS)
    events.put_rule(Name="all", EventBusName=BUS, EventPattern=json.dumps({"source": ["closedloop"]}))
    events.put_targets(Rule="all", EventBusName=BUS, Targets=[{"Id": "queue", "Arn": arns["bus"]}])
    topic = sns.create_topic(Name="sales")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arns["topic"])
    monkeypatch.setenv("EVENT_BUS", BUS)
    monkeypatch.setenv("SALES_TOPIC", topic)
    doors.put_site_secrets("demo", {
        **doors.site_secrets("demo"), "notice_slack_url": f"{receiver.url}/slack",
        "notice_crm_url": f"{receiver.url}/crm?of=pumps", "notice_crm_key": CRM_KEY,
    })
    yield Sales(account, receiver, urls["bus"].removesuffix("bus"), topic)
    events.remove_targets(Rule="all", EventBusName=BUS, Ids=["queue"])
    events.delete_rule(Name="all", EventBusName=BUS)
    events.delete_event_bus(Name=BUS)
    sns.delete_topic(TopicArn=topic)
    for url in urls.values():
        queues.delete_queue(QueueUrl=url)


def plan(account: Account, kind: str = "sales_notice", **asked: Any) -> Loop:
    """A loop that hands over everybody who filled in a form."""
    campaign = {"name": "hot-lead", "stage": "problem", "touchpoint": "call", kind: asked}
    loop = Loop.model_validate({**LOOP, "campaigns": [LOOP["campaigns"][0], campaign]})  # type: ignore[index]
    account.state.put_loop(loop, clock.now())
    return loop


def notices(account: Account) -> dict[str, str]:
    return {row["channel"]: row["outcome"] for row in account.state.deliveries("autumn-pumps")}


def test_whoever_passes_the_gate_is_told_to_every_channel_of_the_plan_once(sales: Sales) -> None:
    plan(sales.account, to=["topic", "slack", "crm"], language="en", note="Call today")
    people(sales.account, "jane")
    assert run("tick-1")["mails"] == {"sales_notice_sent": 1}
    assert sales.deliver() == ["delivered"] * 3
    (mail,) = sales.mailed()
    text = mail["Message"]
    assert "- Name: Jane" in text
    assert "- E-mail: jane@example.jp" in text
    assert "Why now\n- filled in a form, 1 times" in text
    assert "What they did\n- 20" in text
    assert "Call today" in text
    assert mail["Subject"] == "Closed Loop: hot-lead (autumn-pumps)"
    (slack, _, said), (crm, headers, body) = sorted(sales.receiver.came, key=lambda one: one[0], reverse=True)
    assert (slack, json.loads(said)["text"]) == ("/slack", text)
    assert crm == "/crm?of=pumps"
    told = Webhook(CRM_KEY).verify(body, headers)
    assert told["data"]["who"] == {"name": "Jane", "email": "jane@example.jp"}
    assert told["data"]["id"] == headers["webhook-id"]
    assert run("tick-2", persons=[told["data"]["person"]])["mails"] == {}
    assert sales.events() == []


def test_the_bus_and_the_log_hold_no_name(sales: Sales, capsys: pytest.CaptureFixture[str]) -> None:
    plan(sales.account, to=["topic"])
    people(sales.account, "jane")
    run("tick-1")
    (event,) = sales.events()
    notify_sales.handle(event, Context())
    logged = capsys.readouterr()
    kept = [item for item in sales.account.items(STATE) if item["pk"]["S"].startswith("NOTICE#")]
    for text in (json.dumps(event), logged.out, logged.err, json.dumps(kept)):
        assert "jane" not in text.lower()


def test_a_notice_in_japanese_says_why_in_japanese(sales: Sales) -> None:
    plan(sales.account, to=["topic"])
    people(sales.account, "jane")
    run("tick-1")
    sales.deliver()
    (mail,) = sales.mailed()
    assert "今連絡する理由\n- フォームを送信 1回" in mail["Message"]
    assert "これまでの行動" in mail["Message"]


def test_the_same_event_again_tells_nobody_again(sales: Sales) -> None:
    plan(sales.account, to=["crm"])
    people(sales.account, "jane")
    run("tick-1")
    (event,) = sales.events()
    assert [notify_sales.handle(event, Context())["outcome"] for _ in range(3)] == ["delivered", "already", "already"]
    assert len(sales.receiver.came) == 1


@pytest.mark.parametrize("answer", [500, 429, 503])
def test_a_webhook_that_is_busy_is_told_the_same_by_the_same_name_later(sales: Sales, answer: int) -> None:
    plan(sales.account, to=["crm"])
    people(sales.account, "jane")
    run("tick-1")
    sales.receiver.answers = [answer]
    (event,) = sales.events()
    with pytest.raises(TryAgain):
        notify_sales.handle(event, Context())
    (waiting,) = sales.account.state.deliveries("autumn-pumps")
    assert (waiting["outcome"], waiting["reason"]) == ("unknown", f"the webhook answered {answer}")
    assert notify_sales.handle(event, Context())["outcome"] == "delivered"
    assert len({headers["webhook-id"] for _, headers, _ in sales.receiver.came}) == 1
    assert notices(sales.account) == {"crm": "delivered"}


def test_what_a_receiver_refuses_or_nobody_set_lands_in_review_with_its_reason(sales: Sales) -> None:
    plan(sales.account, to=["slack", "crm"])
    secrets = dict(doors.site_secrets("demo"))
    doors.put_site_secrets("demo", {name: value for name, value in secrets.items() if name != "notice_slack_url"})
    people(sales.account, "jane")
    run("tick-1")
    sales.receiver.answers = [404]
    assert sales.deliver() == ["failed", "failed"]
    reasons = {row["channel"]: row["reason"] for row in sales.account.state.deliveries("autumn-pumps")}
    assert reasons["crm"] == "the webhook answered 404"
    assert reasons["slack"].startswith("notice_slack_url is not set: closedloop site secrets demo --set")


def test_one_that_fails_stops_no_other(sales: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(sales.account, to=["crm"])
    people(sales.account, "jane", "ken")
    run("tick-1")
    sales.receiver.answers = [404]
    assert sorted(sales.deliver()) == ["delivered", "failed"]


@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_fifty_performers_and_fifty_deliverers_at_once_tell_once(sales: Sales) -> None:
    plan(sales.account, to=["crm"])
    people(sales.account, "jane")
    name = {"run": "tick-1", "at": "2026-11-24T06:10:00.000Z"}
    (shard,) = json.loads(doors.lake().get(select_people.handle(name, Context())["manifest"]))
    decide_stages.handle(shard, Context())
    # A process works one call at a time over one connection; fifty of them are fifty states.
    mail, files, channels = doors.mail(), doors.runs(), doors.channels()
    loops = mail.loops

    def perform(number: int) -> int:
        counts = perform_shard("tick-1", 0, sales.account.state, files, mail)["counts"]
        return int(counts.get("sales_notice_sent", 0))

    def deliver_it(number: int) -> str:
        try:
            return deliver(Delivery(**event["detail"]), sales.account.state, loops, channels, clock.now)
        except TryAgain:
            return "again"

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(perform, range(50))) == 1
        (event,) = sales.events()
        outcomes = list(pool.map(deliver_it, range(50)))
    assert outcomes.count("delivered") == 1
    assert len(sales.receiver.came) == 1


def test_a_hot_lead_is_told_within_a_minute_of_the_form(sales: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task takes as long as it may in a good hour: the stream's window, the start, four tasks, the bus."""
    plan(sales.account, to=["crm"])
    sent_at = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
    at = [sent_at + timedelta(seconds=1)]
    monkeypatch.setattr(clock, "now", lambda: at[0])
    packet = a_packet("jane", contact="jane@example.jp", id="demo/form/jane", at=iso(sent_at))
    assert project_profiles.handle(a_batch(stored(sales.account, [packet])), Context()) == {"batchItemFailures": []}
    (started,) = sales.account.client("stepfunctions").list_executions(
        stateMachineArn=doors.settings.settings()["STAGE_TRANSITIONS_ARN"]
    )["executions"]
    assert started["name"].startswith("hot-")
    described = sales.account.client("stepfunctions").describe_execution(executionArn=started["executionArn"])
    selected = select_people.handle(json.loads(described["input"]), Context())
    (shard,) = json.loads(doors.lake().get(selected["manifest"]))
    for task in (decide_stages, perform_actions):
        at[0] += timedelta(seconds=5)
        task.handle(shard, Context())
    at[0] += timedelta(seconds=5)
    assert sales.deliver() == ["delivered"]
    (row,) = sales.account.state.deliveries("autumn-pumps")
    assert parse(row["ended_at"]) - sent_at < timedelta(seconds=60)
    assert iso(sent_at) < row["at"]


def test_somebody_erased_meanwhile_is_told_to_nobody(sales: Sales) -> None:
    plan(sales.account, to=["crm"])
    people(sales.account, "jane")
    run("tick-1")
    (event,) = sales.events()
    person = event["detail"]["person"]
    stored_as = sales.account.state.profile(person)
    sales.account.state.drop_profile(person, stored_as.version, clock.now(), "demo")
    assert notify_sales.handle(event, Context())["outcome"] == "failed"
    assert sales.receiver.came == []


def test_a_call_is_set_once_told_and_ended_once(sales: Sales) -> None:
    plan(sales.account, "call_task", to=["crm"], within_days=2, outcomes=["Appointment Made", "Call Not Reached"])
    people(sales.account, "jane")
    run("tick-1")
    assert sales.deliver() == ["delivered"]
    (task,) = sales.account.state.tasks("autumn-pumps")
    assert (task.status, task.outcomes) == ("open", ("Appointment Made", "Call Not Reached"))
    told = json.loads(sales.receiver.came[0][2])
    assert (told["type"], told["data"]["until"]) == ("call_task", task.until)
    assert date(2026, 11, 1) < parse(task.until).date()


def test_whoever_refused_marketing_is_called_by_nobody_and_the_reason_is_kept(sales: Sales) -> None:
    plan(sales.account, "call_task", to=["crm"])
    people(sales.account, "jane")
    packet = a_packet("jane", event="Email Unsubscribed", id="demo/link/jane-1")
    project_profiles.handle(a_batch(stored(sales.account, [packet])), Context())
    assert run("tick-1")["mails"] == {"call_task_failed": 1}
    (ended,) = [row for row in sales.account.state.every_decision() if "|M#" in row["id"]]
    assert ended["reason"] == "suppressed: unsubscribed"
    assert sales.account.state.tasks("autumn-pumps") == []
