"""Lists dropped into the lake: S3 tells a queue, the queue calls one function, what is not taken alarms."""

from __future__ import annotations

import json
from typing import Any


def dropped(template: Any) -> dict[str, Any]:
    """The queue of dropped files."""
    found = [one for name, one in template.of("AWS::SQS::Queue").items() if name.startswith("Dropped")]
    (queue,) = (one for one in found if "RedrivePolicy" in one)
    return dict(queue)


def test_s3_tells_the_queue_of_what_is_dropped_and_of_nothing_else(stateful: Any) -> None:
    told = [one["NotificationConfiguration"] for one in stateful.of("AWS::S3::Bucket").values()
            if "NotificationConfiguration" in one]
    ((configuration,),) = [one["QueueConfigurations"] for one in told]
    assert "Dropped" in json.dumps(configuration["Queue"])
    assert (configuration["Event"], configuration["Filter"]["S3Key"]["Rules"]) == (
        "s3:ObjectCreated:*", [{"Name": "prefix", "Value": "imports/"}],
    )
    (lake,) = (one for name, one in stateful.body["Resources"].items()
               if one["Type"] == "AWS::S3::Bucket" and name.startswith("Lake"))
    assert any("DroppedPolicy" in name for name in lake["DependsOn"])


def test_only_s3_of_this_account_may_put_into_the_queue(stateful: Any) -> None:
    statements = [
        one for policy in stateful.of("AWS::SQS::QueuePolicy").values()
        for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"
    ]
    assert [(one["Action"], one["Principal"], one["Condition"]) for one in statements] == [(
        "sqs:SendMessage", {"Service": "s3.amazonaws.com"},
        {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    )]


def test_a_file_is_hidden_for_longer_than_its_import_runs_and_comes_five_times(stateful: Any, stateless: Any) -> None:
    queue, function = dropped(stateful), stateless.functions()["import_list"]
    assert queue["VisibilityTimeout"] >= 6 * function["Timeout"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    mappings = stateless.of("AWS::Lambda::EventSourceMapping").values()
    (mapping,) = (one for one in mappings if "DroppedArn" in json.dumps(one))
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])


def test_a_file_and_a_row_that_are_not_taken_alarm(stateless: Any) -> None:
    found = {
        alarm["MetricName"]: (alarm["Namespace"], alarm["Threshold"])
        for alarm in stateless.of("AWS::CloudWatch::Alarm").values()
        if "dropped list" in alarm["AlarmDescription"]
    }
    assert found == {
        "ApproximateNumberOfMessagesVisible": ("AWS/SQS", 1), "ListRowsRejected": ("ClosedLoop", 1),
    }


def test_the_import_reads_what_was_dropped_and_writes_facts_and_its_journal_alone(stateless: Any) -> None:
    assert stateless.actions("import_list") == {
        *("dynamodb:PutItem", "dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:BatchGetItem"),
        *("dynamodb:UpdateItem", "s3:GetObject", "s3:PutObject", "s3:ListBucket"),
        *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),
        *("secretsmanager:GetSecretValue", "logs:CreateLogStream", "logs:PutLogEvents"),
    }
    role = stateless.functions()["import_list"]["Role"]["Fn::GetAtt"][0]
    (written,) = (one["Resource"] for one in stateless.statements(role) if one["Action"] == "s3:PutObject")
    assert "/imported/*" in json.dumps(written)
