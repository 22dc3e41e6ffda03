"""Who reads the tables' streams, and what happens to a record that cannot be worked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from closedloop.store import schema
from infra.alarms import ABOVE, Alarms
from infra.function import Function, allow

HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Reading:
    """How one function reads one stream.

    Shapes: `kinds` are the only items it is called for, and only when they are new.
    Units: batch in records, window and age in seconds.
    """

    name: str
    kinds: Sequence[str]
    batch: int
    window_s: int
    retries: int
    age_s: int


# AWS allows two readers of a stream without loss of speed: Events has exactly these two, State has one.
PROJECT = Reading("Packets", (schema.PACKET,), batch=100, window_s=1, retries=10, age_s=6 * HOUR_S)
ARCHIVE_FACTS = Reading("Facts", (schema.PACKET, schema.FAILED), batch=1000, window_s=30, retries=10, age_s=12 * HOUR_S)
ARCHIVE_DECISIONS = Reading("Decisions", schema.DECISION_KINDS, batch=1000, window_s=30, retries=10, age_s=12 * HOUR_S)


class StreamConsumers(Construct):
    """The mappings from streams to functions, each consumer with its own dead letters."""

    def __init__(self, scope: Construct, alarms: Alarms, *, events: str, state: str) -> None:
        super().__init__(scope, "StreamConsumers")
        self._alarms = alarms
        self.events = events
        self.state = state

    def dead_letters(self, name: str) -> sqs.Queue:
        """Where one consumer's unworkable batches wait; a message holds the position in the stream, not the facts."""
        title = "".join(word.title() for word in name.split("_"))
        return self._alarms.dead_letters(self, f"{title}DeadLetters", f"{name} gave up on a part of a stream.")

    def connect(self, function: Function, stream: str, reading: Reading, dead_letters: sqs.Queue) -> None:
        """Call the function for every new item of the kinds it reads."""
        lambda_.CfnEventSourceMapping(
            self,
            f"{function.node.id}{reading.name}",
            function_name=function.function.function_arn,
            event_source_arn=stream,
            starting_position="TRIM_HORIZON",
            batch_size=reading.batch,
            maximum_batching_window_in_seconds=reading.window_s,
            maximum_retry_attempts=reading.retries,
            maximum_record_age_in_seconds=reading.age_s,
            parallelization_factor=1,
            bisect_batch_on_function_error=True,
            function_response_types=["ReportBatchItemFailures"],
            filter_criteria=lambda_.CfnEventSourceMapping.FilterCriteriaProperty(
                filters=[lambda_.CfnEventSourceMapping.FilterProperty(pattern=json.dumps(_new_items(reading.kinds)))]
            ),
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=dead_letters.queue_arn)
            ),
        )
        self._watch(function, reading)

    def _watch(self, function: Function, reading: Reading) -> None:
        # The age is counted for a function over all its streams: one pair of alarms is enough.
        if function.node.try_find_child("Behind"):
            return
        behind = function.function.metric("IteratorAge", period=cdk.Duration.minutes(5), statistic="Maximum")
        late_ms = (60 + reading.window_s) * 1000
        name = function.plan.name
        self._alarms.add(
            function, "Behind", behind, late_ms, f"{name} is a minute behind.", comparison=ABOVE, periods=3
        )
        self._alarms.add(function, "FarBehind", behind, HOUR_S * 1000, f"{name} is an hour behind.", comparison=ABOVE)


def may_read(streams: Sequence[str], dead_letters: sqs.IQueue) -> tuple[iam.PolicyStatement, ...]:
    """What a role needs for Lambda to read streams on its behalf and to put aside what fails."""
    return (
        allow(
            *("dynamodb:DescribeStream", "dynamodb:ListStreams"),
            *("dynamodb:GetRecords", "dynamodb:GetShardIterator"),
            on=streams,
        ),
        allow("sqs:SendMessage", on=dead_letters.queue_arn),
    )


def _new_items(kinds: Sequence[str]) -> dict[str, object]:
    return {"eventName": ["INSERT"], "dynamodb": {"NewImage": {schema.KIND: {"S": list(kinds)}}}}
