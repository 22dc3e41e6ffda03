"""What a door accepted while the Events table took nothing: kept for fourteen days, brought back, never lost unseen."""

from __future__ import annotations

import json
from typing import Any

import pytest

DOORS = ("capture_beacon", "capture_form", "capture_email", "capture_deal", "follow_link")


def queues(template: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The spill and its dead letters."""
    found = {name: one for name, one in template.of("AWS::SQS::Queue").items() if name.startswith("Spill")}
    (spill,) = (one for one in found.values() if "RedrivePolicy" in one)
    (dead_letters,) = (one for one in found.values() if "RedrivePolicy" not in one)
    return spill, dead_letters


def drain(template: Any) -> dict[str, Any]:
    mappings = template.of("AWS::Lambda::EventSourceMapping").values()
    (mapping,) = (one for one in mappings if "SpillArn" in json.dumps(one))
    return dict(mapping)


def test_both_queues_keep_for_fourteen_days_encrypted_and_over_tls(stateful: Any) -> None:
    for queue in queues(stateful):
        assert (queue["MessageRetentionPeriod"], queue["SqsManagedSseEnabled"]) == (14 * 24 * 3600, True)
    policies = stateful.of("AWS::SQS::QueuePolicy").values()
    assert {one["Queues"][0]["Ref"] for one in policies} == set(stateful.of("AWS::SQS::Queue"))
    for policy in policies:
        statement = policy["PolicyDocument"]["Statement"][0]
        assert (statement["Effect"], statement["Action"]) == ("Deny", "sqs:*")
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_message_is_hidden_for_six_times_as_long_as_the_drain_runs_and_comes_ten_times(
    stateful: Any, stateless: Any
) -> None:
    spill, _ = queues(stateful)
    assert spill["VisibilityTimeout"] >= 6 * stateless.functions()["drain_spill"]["Timeout"]
    assert 3 <= spill["RedrivePolicy"]["maxReceiveCount"] <= 10


def test_the_drain_answers_for_each_message_and_is_called_twice_at_once_at_most(stateless: Any) -> None:
    mapping = drain(stateless)
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert stateless.functions()["drain_spill"]["ReservedConcurrentExecutions"] == 2


def test_a_message_that_waits_and_one_that_nobody_could_store_alarm(stateless: Any) -> None:
    found = {
        alarm["MetricName"]: (alarm["Threshold"], alarm["ComparisonOperator"])
        for alarm in stateless.of("AWS::CloudWatch::Alarm").values()
        if "SpillArn" in json.dumps(alarm.get("Dimensions", "")) or "SpillDeadLettersArn" in json.dumps(alarm)
    }
    assert found == {
        "ApproximateAgeOfOldestMessage": (300, "GreaterThanThreshold"),
        "ApproximateNumberOfMessagesVisible": (1, "GreaterThanOrEqualToThreshold"),
    }


@pytest.mark.parametrize("door", DOORS)
def test_every_door_may_put_into_the_spill_and_take_nothing_out(stateless: Any, door: str) -> None:
    role = stateless.functions()[door]["Role"]["Fn::GetAtt"][0]
    own = [one for one in stateless.statements(role) if "spill" in json.dumps(one["Resource"]).lower()]
    assert sorted(one["Action"] for one in own) == ["s3:PutObject", "sqs:SendMessage"]
    assert {"SPILL_QUEUE", "LAKE_BUCKET"} <= set(stateless.functions()[door]["Environment"]["Variables"])


def test_the_drain_alone_takes_from_the_spill_and_writes_nothing_but_facts(stateless: Any) -> None:
    takers = [name for name in stateless.functions() if "sqs:ReceiveMessage" in stateless.actions(name)]
    assert takers == ["drain_spill", "import_list"]
    assert stateless.actions("drain_spill") == {
        *("dynamodb:PutItem", "dynamodb:BatchWriteItem", "s3:GetObject", "logs:CreateLogStream", "logs:PutLogEvents"),
        *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
    }
