"""How sales is told: a bus that carries ids, a function that delivers, and the topic that people subscribe to."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.alarms import Alarms
from infra.function import Function
from infra.stage import Stage

# As runtime/notices.py names them.
SOURCE, DETAIL_TYPE = "closedloop", "Notice"


class Notices(Construct):
    """The bus that everybody of the account may listen to, and the encrypted topic of the sales force."""

    def __init__(self, scope: Construct, stage: Stage, alarms: Alarms, key_arn: str) -> None:
        super().__init__(scope, "Notices")
        self.bus = events.CfnEventBus(
            self, "Bus", name=f"closedloop-{stage.name}", description="Closed Loop: who is to be told of whom, by ids."
        )
        self.topic = sns.Topic(
            self,
            "Topic",
            master_key=kms.Key.from_key_arn(self, "Key", key_arn),
            enforce_ssl=True,
            display_name=f"Closed Loop {stage.name}: sales",
        )
        if stage.sales_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(stage.sales_email))
        self.dead_letters = alarms.dead_letters(
            self, "DeadLetters", "A notice reached nobody: `closedloop notice review` says which and why."
        )

    def connect(self, function: Function) -> None:
        """Have the bus call the function for each notice; what it cannot deliver goes to the dead letters."""
        rule = events.CfnRule(
            self,
            "Rule",
            event_bus_name=self.bus.ref,
            description="Closed Loop: each notice to the function that delivers it.",
            event_pattern={"source": [SOURCE], "detail-type": [DETAIL_TYPE]},
            targets=[
                events.CfnRule.TargetProperty(
                    id="notify-sales",
                    arn=function.function.function_arn,
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_event_age_in_seconds=3600, maximum_retry_attempts=10
                    ),
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self.dead_letters.queue_arn),
                )
            ],
        )
        function.function.add_permission(
            "Bus", principal=iam.ServicePrincipal("events.amazonaws.com"), source_arn=rule.attr_arn
        )
        self.dead_letters.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                resources=[self.dead_letters.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
            )
        )
        lambda_.CfnEventInvokeConfig(
            self,
            "Retries",
            function_name=function.function.function_name,
            qualifier="$LATEST",
            maximum_event_age_in_seconds=cdk.Duration.hours(1).to_seconds(),
            maximum_retry_attempts=2,
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=self.dead_letters.queue_arn)
            ),
        )
