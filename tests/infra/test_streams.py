"""Streams, schedules and their dead letters: nothing blocks a shard for ever, nothing is dropped unseen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from closedloop.store import schema


def mappings(template: Any) -> list[dict[str, Any]]:
    """Those of streams."""
    return [one for one in template.of("AWS::Lambda::EventSourceMapping").values() if "StartingPosition" in one]


def reader(template: Any, mapping: dict[str, Any]) -> str:
    function = template.of("AWS::Lambda::Function")[mapping["FunctionName"]["Fn::GetAtt"][0]]
    return str(function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"])


def pattern(mapping: dict[str, Any]) -> dict[str, Any]:
    (one,) = mapping["FilterCriteria"]["Filters"]
    return dict(json.loads(one["Pattern"]))


def test_the_events_stream_has_exactly_two_readers(stateless: Any) -> None:
    readers = [
        reader(stateless, one) for one in mappings(stateless) if "EventsStreamArn" in json.dumps(one["EventSourceArn"])
    ]
    assert sorted(readers) == ["archive_events", "project_profiles"]


def test_the_state_stream_has_the_archiver_alone(stateless: Any) -> None:
    readers = [
        reader(stateless, one) for one in mappings(stateless) if "StateStreamArn" in json.dumps(one["EventSourceArn"])
    ]
    assert readers == ["archive_events"]


def test_a_poisoned_record_never_holds_a_shard_for_a_day(stateless: Any) -> None:
    for mapping in mappings(stateless):
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert 1 <= mapping["MaximumRetryAttempts"] <= 10
        assert mapping["MaximumRecordAgeInSeconds"] <= 24 * 3600
        assert mapping["StartingPosition"] == "TRIM_HORIZON"
        assert mapping["DestinationConfig"]["OnFailure"]["Destination"]


def test_readers_see_new_items_of_their_kinds_only(stateless: Any) -> None:
    seen = {}
    for mapping in mappings(stateless):
        asked = pattern(mapping)
        assert asked["eventName"] == ["INSERT"]
        table = "events" if "EventsStreamArn" in json.dumps(mapping["EventSourceArn"]) else "state"
        seen[reader(stateless, mapping), table] = asked["dynamodb"]["NewImage"][schema.KIND]["S"]
    assert seen == {
        ("project_profiles", "events"): [schema.PACKET],
        ("archive_events", "events"): [schema.PACKET, schema.FAILED],
        ("archive_events", "state"): list(schema.DECISION_KINDS),
    }


def test_the_projector_answers_within_seconds_and_the_archiver_gathers(stateless: Any) -> None:
    sizes = {
        reader(stateless, one): (one["BatchSize"], one["MaximumBatchingWindowInSeconds"]) for one in mappings(stateless)
    }
    assert sizes == {"project_profiles": (100, 1), "archive_events": (1000, 30)}


def test_every_queue_keeps_what_failed_for_fourteen_days_encrypted_and_over_tls(stateless: Any) -> None:
    queues = stateless.of("AWS::SQS::Queue")
    guarded = {json.dumps(one["Queues"]) for one in stateless.of("AWS::SQS::QueuePolicy").values()}
    assert len(queues) == 9
    for name, queue in queues.items():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600, name
        assert queue["SqsManagedSseEnabled"] is True, name
        assert json.dumps([{"Ref": name}]) in guarded, name


@pytest.mark.parametrize("schedule", ["Due", "Nightly", "Report", "Compaction"])
def test_a_schedule_that_cannot_start_its_work_retries_and_then_leaves_a_letter(stateless: Any, schedule: str) -> None:
    (found,) = [one for name, one in stateless.of("AWS::Scheduler::Schedule").items() if f"Schedules{schedule}" in name]
    assert found["State"] == "ENABLED"
    assert 60 <= found["Target"]["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 86_400
    assert 1 <= found["Target"]["RetryPolicy"]["MaximumRetryAttempts"] <= 185
    assert found["Target"]["DeadLetterConfig"]["Arn"]
    assert json.loads(found["Target"]["Input"])["scheduled_time"] == "<aws.scheduler.scheduled-time>"


def test_the_report_is_made_at_two_at_night_in_tokyo(stateless: Any) -> None:
    (report,) = [one for name, one in stateless.of("AWS::Scheduler::Schedule").items() if "SchedulesReport" in name]
    assert (report["ScheduleExpression"], report["ScheduleExpressionTimezone"]) == ("cron(0 2 * * ? *)", "Asia/Tokyo")


def test_a_report_a_compaction_or_a_notice_that_fails_is_tried_again_and_then_put_aside(stateless: Any) -> None:
    found = stateless.of("AWS::Lambda::EventInvokeConfig").values()
    assert [(one["MaximumRetryAttempts"], one["MaximumEventAgeInSeconds"]) for one in found] == [(2, 3600)] * 3
    assert all(one["DestinationConfig"]["OnFailure"]["Destination"] for one in found)
