"""Lists that are dropped into the lake under imports/: S3 tells a queue, and the queue calls the function."""

from __future__ import annotations

from typing import cast

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

from infra.alarms import Alarms, product_metric
from infra.function import Function
from infra.spill import kept_queue

IMPORTS, IMPORTED = "imports/", "imported/"
# A file holds names and addresses; what it says is in the ledger once it is imported.
IMPORTS_KEPT = cdk.Duration.days(30)
IMPORT_S = 900
# A file whose import was cut off comes again after an hour and a half, five times in all.
DELIVERIES = 5


def drop_queue(lake: s3.Bucket, removal: cdk.RemovalPolicy) -> tuple[sqs.Queue, sqs.Queue]:
    """The queue that S3 tells of every file under imports/, and the one of those that could not be worked."""
    stack = cdk.Stack.of(lake)
    dropped, dead_letters = kept_queue(stack, "Dropped", removal, work_s=IMPORT_S, deliveries=DELIVERIES)
    dropped.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["sqs:SendMessage"],
            principals=[iam.ServicePrincipal("s3.amazonaws.com")],
            resources=[dropped.queue_arn],
            # The bucket cannot be named: it is made after this policy, which S3 asks for when it is told of the queue.
            conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
        )
    )
    # The bucket's own property, and not the CDK's way, which would deploy a function of its own to set it.
    bucket = cast(s3.CfnBucket, lake.node.default_child)
    rule = s3.CfnBucket.FilterRuleProperty(name="prefix", value=IMPORTS)
    bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        queue_configurations=[
            s3.CfnBucket.QueueConfigurationProperty(
                event="s3:ObjectCreated:*",
                queue=dropped.queue_arn,
                filter=s3.CfnBucket.NotificationFilterProperty(s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=[rule])),
            )
        ]
    )
    lake.node.add_dependency(dropped)
    lake.add_lifecycle_rule(prefix=IMPORTS, expiration=IMPORTS_KEPT)
    return dropped, dead_letters


def connect_import(function: Function, alarms: Alarms, dropped_arn: str, dead_letters_arn: str) -> None:
    """Call the function for one file at a time, and alarm when a file or a row of one was not taken."""
    lambda_.CfnEventSourceMapping(
        function,
        "Files",
        function_name=function.function.function_arn,
        event_source_arn=dropped_arn,
        batch_size=1,
        function_response_types=["ReportBatchItemFailures"],
        scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=2),
    )
    minutes = cdk.Duration.minutes(5)
    dead_letters = sqs.Queue.from_queue_arn(function, "DroppedDeadLetters", dead_letters_arn)
    lost = dead_letters.metric_approximate_number_of_messages_visible(period=minutes, statistic="Maximum")
    alarms.add(function, "DroppedDeadLettersWaiting", lost, 1, "A dropped list could not be imported five times.")
    rejected = product_metric("ListRowsRejected", period=minutes)
    says = "A dropped list, or rows of one, were rejected; why lies under imported/ in the lake."
    alarms.add(function, "RowsRejected", rejected, 1, says)
