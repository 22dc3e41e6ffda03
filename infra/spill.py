"""Where the doors keep what the Events table does not take, and what brings it back."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.alarms import ABOVE, DEAD_LETTERS_KEPT, Alarms
from infra.function import Function

# The part of the lake that holds what is too large for a message.
SPILL = "spill/"
DRAIN_S = 60
# A message that was not stored comes again after six times as long as the drain may take, ten times in all: an hour.
DELIVERIES = 10


def spill_queue(scope: Construct, removal: cdk.RemovalPolicy) -> tuple[sqs.Queue, sqs.Queue]:
    """The queue of what was accepted and is not in the table yet, and the one of what nobody could store."""
    return kept_queue(scope, "Spill", removal, work_s=DRAIN_S, deliveries=DELIVERIES)


def kept_queue(
    scope: Construct, title: str, removal: cdk.RemovalPolicy, *, work_s: int, deliveries: int
) -> tuple[sqs.Queue, sqs.Queue]:
    """A queue that outlives deployments, and the one of what came so many times in vain.

    Units: `work_s` is how long the function that is called for a message may take, in seconds.
    """

    def queue(name: str, **options: object) -> sqs.Queue:
        return sqs.Queue(
            scope, name, retention_period=DEAD_LETTERS_KEPT, encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True, removal_policy=removal, **options,  # type: ignore[arg-type]
        )

    dead_letters = queue(f"{title}DeadLetters")
    kept = queue(
        title,
        redrive_allow_policy=sqs.RedriveAllowPolicy(redrive_permission=sqs.RedrivePermission.DENY_ALL),
        visibility_timeout=cdk.Duration.seconds(6 * work_s),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=deliveries),
    )
    return kept, dead_letters


def connect_drain(function: Function, alarms: Alarms, spill_arn: str, dead_letters_arn: str) -> None:
    """Call the drain for what waits, and alarm when it waits for long or for ever."""
    lambda_.CfnEventSourceMapping(
        function,
        "Spilled",
        function_name=function.function.function_arn,
        event_source_arn=spill_arn,
        batch_size=10,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=2),
    )
    minutes = cdk.Duration.minutes(5)
    spill = sqs.Queue.from_queue_arn(function, "Spill", spill_arn)
    waits = spill.metric_approximate_age_of_oldest_message(period=minutes, statistic="Maximum")
    says = "What a door accepted waits for over five minutes to be put into the Events table."
    alarms.add(function, "SpillWaits", waits, 300, says, comparison=ABOVE)
    dead_letters = sqs.Queue.from_queue_arn(function, "SpillDeadLetters", dead_letters_arn)
    lost = dead_letters.metric_approximate_number_of_messages_visible(period=minutes, statistic="Maximum")
    alarms.add(function, "SpillDeadLettersWaiting", lost, 1, "What a door accepted could not be stored in an hour.")
