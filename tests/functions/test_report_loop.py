"""report_loop: a lake in S3 and a loop in State become a report in S3; what does not reconcile stays unpublished."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from closedloop.errors import NotFound, NotReconciled
from closedloop.loops.definition import Loop, Track
from closedloop.reports.advice import ADVICE, Answer
from closedloop.runtime import doors
from closedloop.sites.document import Document
from closedloop.store.boto import BotoCalls
from closedloop.store.state import State
from functions.report_loop import handler
from tests.accounts import forget
from tests.unit.test_report import LATEST, a_small_loop
from tests.unit.test_report_rows import DAY, a_deal, a_verdict, the_loop, the_site, write

AS_OF = "2026-11-24T03:00:00Z"
WORDS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "eu-west-1"}


@pytest.fixture
def s3(aws: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An account with one site, two loops and the lake of a small loop."""
    for name, value in {
        "AWS_ENDPOINT_URL": aws, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1", "STATE_TABLE": "report-state",
        "LAKE_BUCKET": "lake", "REPORTS_BUCKET": "reports",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    forget()
    dynamodb = boto3.client("dynamodb", endpoint_url=aws, **WORDS)
    dynamodb.create_table(
        TableName="report-state", BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
    )
    state = State(BotoCalls(dynamodb), "report-state")
    state.put_site(the_site())
    state.put_loop(the_loop(), DAY)
    state.put_loop(the_loop(loop="spring-valves", period={"start": "2026-10-01", "end": "2027-03-31"}), DAY)
    client = boto3.client("s3", endpoint_url=aws, **WORDS)
    for bucket in ("lake", "reports"):
        client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    put(client, a_small_loop(tmp_path / "lake"))
    topics = boto3.client("sns", endpoint_url=aws, **WORDS)
    topic = topics.create_topic(Name="reports")["TopicArn"]
    monkeypatch.setenv("REPORT_TOPIC", topic)
    yield client
    forget()
    for one in topics.list_subscriptions()["Subscriptions"]:
        topics.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
    topics.delete_topic(TopicArn=topic)
    for bucket in ("lake", "reports"):
        for key in keys(client, bucket):
            client.delete_object(Bucket=bucket, Key=key)
        client.delete_bucket(Bucket=bucket)
    dynamodb.delete_table(TableName="report-state")


@pytest.fixture
def inbox(s3: Any, aws: str) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What subscribers of the topic got since they looked last."""
    queues, topics = (boto3.client(name, endpoint_url=aws, **WORDS) for name in ("sqs", "sns"))
    url = queues.create_queue(QueueName="inbox")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topics.subscribe(TopicArn=topics.list_topics()["Topics"][0]["TopicArn"], Protocol="sqs", Endpoint=arn)

    def got() -> list[dict[str, Any]]:
        found = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            queues.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in found]

    yield got
    queues.delete_queue(QueueUrl=url)


def put(s3: Any, folder: Path) -> None:
    for file in sorted(folder.rglob("*.gz")):
        s3.put_object(Bucket="lake", Key=file.relative_to(folder).as_posix(), Body=file.read_bytes())


def keys(s3: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]


def test_whoever_asks_for_a_loop_has_the_reports_of_its_tracks_too(s3: Any) -> None:
    plan = the_loop()
    gates = [gate.model_copy(update={"name": f"valves-{gate.name}"}) for gate in plan.gates]
    track = Track.model_validate({"track": "valves", "stages": plan.stages, "campaigns": [
        {"name": "valve-guide", "stage": plan.stages[0], "touchpoint": "form"}], "gates": [
        gate.model_dump(by_alias=True) for gate in gates]})
    doors.state().put_loop(plan.model_copy(update={"tracks": (track,)}), DAY)
    built = handler.handle({"loops": ["autumn-pumps"], "as_of": AS_OF}, None)["reports"]
    assert [report["loop"] for report in built] == ["autumn-pumps", "autumn-pumps_valves"]
    latest = built[1]["latest"]
    summary = json.loads(s3.get_object(Bucket="reports", Key=f"{latest}summary.json")["Body"].read())
    assert (summary["loop"], [stage["stage"] for stage in summary["stages"]][: len(plan.stages)]) == (
        "autumn-pumps_valves", list(plan.stages))
    draft = s3.get_object(Bucket="reports", Key=f"{latest}proposal.yaml")["Body"].read()
    assert Document(draft, "proposal.yaml").read_as(Loop).loop == "autumn-pumps-valves-2"
    (alone,) = handler.handle({"loops": ["autumn-pumps_valves"], "as_of": AS_OF}, None)["reports"]
    assert alone["version"] == built[1]["version"]


def test_the_report_of_a_loop_is_written_and_named(s3: Any) -> None:
    answer = handler.handle({"loops": ["autumn-pumps"], "as_of": AS_OF}, None)
    assert answer["bucket"] == "reports"
    (built,) = answer["reports"]
    assert (built["loop"], built["latest"], built["restated"]) == ("autumn-pumps", LATEST, 0)
    assert LATEST + "index.html" in keys(s3, "reports") and built["version"] + "summary.json" in keys(s3, "reports")
    page = s3.get_object(Bucket="reports", Key=LATEST + "index.html")
    assert page["ContentType"] == "text/html; charset=utf-8" and b"autumn-pumps" in page["Body"].read()
    summary = json.load(s3.get_object(Bucket="reports", Key=LATEST + "summary.json")["Body"])
    assert summary["reconciles"] and summary["money"]["revenue_minor"] == 300


def test_asked_for_nothing_it_reports_on_every_running_loop(s3: Any) -> None:
    answer = handler.handle({"as_of": AS_OF}, None)
    assert [report["loop"] for report in answer["reports"]] == ["autumn-pumps", "spring-valves"]
    assert handler.handle({"as_of": "2026-09-15T03:00:00Z"}, None)["reports"][0]["loop"] == "autumn-pumps"


def test_a_second_run_writes_the_same_bytes(s3: Any) -> None:
    handler.handle({"loops": ["autumn-pumps"], "as_of": AS_OF}, None)
    before = {key: s3.get_object(Bucket="reports", Key=key)["Body"].read() for key in keys(s3, "reports")}
    handler.handle({"loops": ["autumn-pumps"], "as_of": AS_OF}, None)
    assert before == {key: s3.get_object(Bucket="reports", Key=key)["Body"].read() for key in keys(s3, "reports")}


def test_numbers_that_contradict_each_other_leave_the_old_report(s3: Any, tmp_path: Path) -> None:
    handler.handle({"loops": ["autumn-pumps"], "as_of": AS_OF}, None)
    before = s3.get_object(Bucket="reports", Key=LATEST + "index.html")["Body"].read()
    odd = [a_verdict("v9", "eve", "asks", "advance", at=DAY + timedelta(days=51))]
    put(s3, write(tmp_path / "odd", [], odd))
    with pytest.raises(NotReconciled):
        handler.handle({"as_of": "2026-11-26T03:00:00Z"}, None)
    assert s3.get_object(Bucket="reports", Key=LATEST + "index.html")["Body"].read() == before
    assert "reports/site=demo/loop=spring-valves/latest/index.html" in keys(s3, "reports")


def test_every_report_drafts_the_next_loop_in_a_file_that_its_own_loader_reads(s3: Any) -> None:
    handler.handle({"loops": ["autumn-pumps"], "as_of": AS_OF}, None)
    draft = s3.get_object(Bucket="reports", Key=LATEST + "proposal.yaml")
    assert draft["ContentType"] == "application/yaml"
    loop = Document(draft["Body"].read(), "proposal.yaml").read_as(Loop)
    assert (loop.loop, loop.follows) == ("autumn-pumps-2", "autumn-pumps")
    advice = ADVICE.validate_json(s3.get_object(Bucket="reports", Key=LATEST + "proposal.json")["Body"].read())
    assert advice.next_loop == loop.loop and advice.problems == ()
    assert {point.answer for point in advice.points} == {Answer.KEEP}


def test_a_loop_that_follows_another_is_held_against_what_was_forecast_of_it(s3: Any) -> None:
    follower = the_loop(loop="winter-pumps", follows="autumn-pumps")
    approval = {"by": "Jane", "expected": {"opportunities": [60, 40.0, 50.0, 70.0]}}
    doors.state().put_loop(follower, DAY, approval=approval)
    handler.handle({"loops": ["autumn-pumps"], "as_of": "2027-04-02T03:00:00Z"}, None)
    handler.handle({"loops": ["winter-pumps"], "as_of": "2027-04-02T03:00:00Z"}, None)
    key = "reports/site=demo/loop=winter-pumps/latest/"
    advice = ADVICE.validate_json(s3.get_object(Bucket="reports", Key=key + "proposal.json")["Body"].read())
    (compared,) = advice.calibration
    assert (compared.metric, compared.middle, compared.within, advice.coverage) == ("opportunities", 50.0, False, 0.0)
    assert b"Former forecasts and results" in s3.get_object(Bucket="reports", Key=key + "index.html")["Body"].read()


def test_each_report_is_held_against_the_one_before_it_and_all_stay(s3: Any, tmp_path: Path) -> None:
    def report(as_of: str) -> dict[str, Any]:
        (built,) = handler.handle({"loops": ["autumn-pumps"], "as_of": as_of}, None)["reports"]
        found = s3.get_object(Bucket="reports", Key=built["version"] + "summary.json")["Body"].read()
        return {**json.loads(found), "restated": built["restated"]}

    first = report(AS_OF)
    refund = a_deal("late", "Deal Refunded", "", 100, at=DAY + timedelta(days=20))
    put(s3, write(tmp_path / "late", [{**refund, "received_at": "2026-11-25T00:00:00.000Z"}]))
    second = report("2026-12-01T03:00:00Z")
    assert first["changes"] is None and second["changes"]["former"] == first["version"]
    assert [(one["figure"], one["before"], one["now"]) for one in second["changes"]["restated"]] == [
        ("revenue_minor", 300, 200)]
    before = s3.get_object(Bucket="reports", Key=LATEST + "index.html")["Body"].read()
    # Built again, each finds the same report before it; one of an earlier moment leaves the newest where it is.
    assert report("2026-12-01T03:00:00Z") == second and report(AS_OF) == first
    assert report("2026-11-28T03:00:00Z")["changes"]["former"] == first["version"]
    assert s3.get_object(Bucket="reports", Key=LATEST + "index.html")["Body"].read() == before


def test_a_loop_that_nobody_declared_is_named(s3: Any) -> None:
    with pytest.raises(NotFound, match="winter"):
        handler.handle({"loops": ["winter"]}, None)


DAILY = {"scheduled_time": AS_OF}
Inbox = Callable[[], list[dict[str, Any]]]


def test_each_published_report_is_told_of_once_with_its_link_and_three_numbers(s3: Any, inbox: Inbox) -> None:
    answer = handler.handle(DAILY, None)
    assert [report["told"] for report in answer["reports"]] == [True, True]
    news = {one["Subject"]: one["Message"] for one in inbox()}
    assert sorted(news) == [f"Closed Loop: {loop}, report of 2026-11-24" for loop in ("autumn-pumps", "spring-valves")]
    text = news["Closed Loop: autumn-pumps, report of 2026-11-24"]
    version = answer["reports"][0]["version"]
    assert f"https://s3.console.aws.amazon.com/s3/object/reports?prefix={version}index" in text
    assert f"closedloop report open autumn-pumps --version {version.split('version=')[1].strip('/')}" in text
    assert [line[:2] for line in text.splitlines() if line[:1].isdigit()] == ["1.", "2.", "3."] * 2
    assert "@" not in text
    assert [report["told"] for report in handler.handle(DAILY, None)["reports"]] == [False, False] and inbox() == []


def test_whoever_dies_between_publishing_and_telling_tells_when_called_again(
    s3: Any, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setenv("REPORT_TOPIC", "arn:aws:sns:eu-west-1:123456789012:gone")
        with pytest.raises(doors.outages()):
            handler.handle(DAILY, None)
    assert LATEST + "summary.json" in keys(s3, "reports") and inbox() == []
    assert all(report["told"] for report in handler.handle(DAILY, None)["reports"])
    assert len(inbox()) == 2


def test_a_report_of_an_earlier_moment_is_no_news(s3: Any, inbox: Inbox) -> None:
    handler.handle(DAILY, None)
    inbox()
    (early,) = handler.handle({"loops": ["autumn-pumps"], "as_of": "2026-11-20T03:00:00Z"}, None)["reports"]
    assert not early["told"] and inbox() == []


def test_a_loop_is_reported_on_at_its_end_and_a_week_longer_while_facts_still_come_in(s3: Any) -> None:
    def reported(as_of: str) -> list[str]:
        return [report["loop"] for report in handler.handle({"scheduled_time": as_of}, None)["reports"]]

    assert reported("2027-03-31T03:00:00Z") == reported("2027-04-07T03:00:00Z") == ["autumn-pumps", "spring-valves"]
    assert json.load(s3.get_object(Bucket="reports", Key=LATEST + "summary.json")["Body"])["ended"]
    assert reported("2027-04-08T03:00:00Z") == []
    brief = {"start": "2026-10-01", "end": "2026-10-31"}
    goal = {"metric": "opportunities", "target": 5, "by": "2026-10-31"}
    doors.state().put_loop(the_loop(loop="dull-valves", period=brief, objectives=[goal]), DAY)
    # Nobody was called for months: the end is told all the same, and then the loop rests.
    assert reported("2027-04-09T03:00:00Z") == ["dull-valves"] and reported("2027-04-10T03:00:00Z") == []
