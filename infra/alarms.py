"""Where alarms go, and how one is made: each has an action, a threshold in words, and a rule for missing data."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.stage import Stage

NOT_BREACHING = cloudwatch.TreatMissingData.NOT_BREACHING
BREACHING = cloudwatch.TreatMissingData.BREACHING
AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD

DEAD_LETTERS_KEPT = cdk.Duration.days(14)


class Alarms(Construct):
    """One encrypted topic that every alarm tells, with the owner's address when it is known."""

    def __init__(self, scope: Construct, stage: Stage, key_arn: str) -> None:
        super().__init__(scope, "Alarms")
        self.topic = sns.Topic(
            self,
            "Topic",
            master_key=kms.Key.from_key_arn(self, "Key", key_arn),
            enforce_ssl=True,
            display_name=f"Closed Loop {stage.name}",
        )
        if stage.alarm_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(stage.alarm_email))
        self._action = actions.SnsAction(self.topic)

    def add(
        self,
        scope: Construct,
        name: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        says: str,
        *,
        comparison: cloudwatch.ComparisonOperator = AT_LEAST,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = NOT_BREACHING,
    ) -> cloudwatch.Alarm:
        """Tell the owner `says` once the metric crosses the threshold for that many periods."""
        alarm = cloudwatch.Alarm(
            scope,
            name,
            metric=metric,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=periods,
            treat_missing_data=missing,
            alarm_description=says,
        )
        alarm.add_alarm_action(self._action)
        return alarm

    def dead_letters(self, scope: Construct, name: str, says: str) -> sqs.Queue:
        """A queue that keeps what could not be worked for 14 days, and alarms on the first message."""
        queue = sqs.Queue(
            scope,
            name,
            retention_period=DEAD_LETTERS_KEPT,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        waiting = queue.metric_approximate_number_of_messages_visible(
            period=cdk.Duration.minutes(5), statistic="Maximum"
        )
        self.add(scope, f"{name}Waiting", waiting, 1, says)
        return queue

    def table(self, scope: Construct, name: str, table: str) -> None:
        """Watch one table for what only AWS or a higher limit can mend."""
        for metric_name, says in {
            "WriteThrottleEvents": f"Writes to the {name} table are refused for being too many.",
            "ReadThrottleEvents": f"Reads of the {name} table are refused for being too many.",
        }.items():
            metric = cloudwatch.Metric(
                namespace="AWS/DynamoDB",
                metric_name=metric_name,
                dimensions_map={"TableName": table},
                period=cdk.Duration.minutes(5),
                statistic="Sum",
            )
            self.add(scope, f"{name}{metric_name}", metric, 1, says)


def product_metric(name: str, *, period: cdk.Duration, statistic: str = "Sum") -> cloudwatch.Metric:
    """A number that our own functions count, in the product's namespace."""
    return cloudwatch.Metric(namespace="ClosedLoop", metric_name=name, period=period, statistic=statistic)
