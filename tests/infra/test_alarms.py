"""Nothing fails unseen: every function, queue, table and the workflow has alarms that reach the owner."""

from __future__ import annotations

import json
from typing import Any


def alarms(template: Any) -> list[dict[str, Any]]:
    return list(template.of("AWS::CloudWatch::Alarm").values())


def watched(template: Any, dimension: str) -> list[str]:
    return [
        json.dumps(one["Value"])
        for alarm in alarms(template)
        for one in alarm.get("Dimensions", [])
        if one["Name"] == dimension
    ]


def test_every_alarm_acts_says_what_happened_and_has_decided_what_silence_means(stateless: Any) -> None:
    assert len(alarms(stateless)) >= 14
    for alarm in alarms(stateless):
        assert alarm["AlarmActions"]
        assert alarm["AlarmDescription"].endswith(".")
        assert alarm["TreatMissingData"] in {"breaching", "notBreaching"}


def test_every_function_alarms_on_errors_throttles_and_slowness(stateless: Any) -> None:
    for name in stateless.of("AWS::Lambda::Function"):
        metrics = {
            alarm["MetricName"]
            for alarm in alarms(stateless)
            if {"Name": "FunctionName", "Value": {"Ref": name}} in alarm.get("Dimensions", [])
        }
        assert {"Errors", "Throttles", "Duration"} <= metrics, name


def test_every_queue_alarms_on_its_first_letter(stateless: Any) -> None:
    for name in stateless.of("AWS::SQS::Queue"):
        found = [
            alarm
            for alarm in alarms(stateless)
            if {"Name": "QueueName", "Value": {"Fn::GetAtt": [name, "QueueName"]}} in alarm.get("Dimensions", [])
        ]
        assert [(one["Threshold"], one["MetricName"]) for one in found] == [
            (1, "ApproximateNumberOfMessagesVisible")
        ], name


def test_both_tables_alarm_when_they_refuse_calls(stateless: Any) -> None:
    tables = watched(stateless, "TableName")
    assert len([one for one in tables if "EventsName" in one]) == 2
    assert len([one for one in tables if "StateName" in one]) == 2


def test_readers_alarm_when_they_are_a_minute_and_when_they_are_an_hour_behind(stateless: Any) -> None:
    ages = sorted(alarm["Threshold"] for alarm in alarms(stateless) if alarm["MetricName"] == "IteratorAge")
    assert len(ages) == 4
    assert ages[-2:] == [3_600_000, 3_600_000]


def test_a_failed_or_endless_run_alarms(stateless: Any) -> None:
    metrics = {alarm["MetricName"] for alarm in alarms(stateless) if alarm["Namespace"] == "AWS/States"}
    assert metrics == {"ExecutionsFailed", "ExecutionsTimedOut"}


def test_a_missing_report_alarms_by_its_silence(stateless: Any) -> None:
    (late,) = [alarm for alarm in alarms(stateless) if alarm["MetricName"] == "ReportPublished"]
    assert (late["TreatMissingData"], late["Period"] * late["EvaluationPeriods"]) == ("breaching", 26 * 3600)


def test_the_topics_of_alarms_reports_and_sales_are_encrypted_and_refuse_plain_connections(stateless: Any) -> None:
    topics = stateless.of("AWS::SNS::Topic")
    assert len(topics) == 3
    assert all(topic["KmsMasterKeyId"] for topic in topics.values())
    guarded = {name: json.dumps(one) for one in stateless.of("AWS::SNS::TopicPolicy").values()
               for topic in one["Topics"] for name in [topic["Ref"]]}
    assert guarded.keys() == topics.keys()
    assert all("aws:SecureTransport" in policy for policy in guarded.values())
