"""Where the news of a report go: one topic, to which the owner subscribes those who answer for loops."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.function import allow
from infra.stage import Stage


class ReportNotices(Construct):
    """One encrypted topic, with the address that the owner named for reports."""

    def __init__(self, scope: Construct, stage: Stage, key_arn: str) -> None:
        super().__init__(scope, "ReportNotices")
        self._key_arn = key_arn
        self.topic = sns.Topic(
            self,
            "Topic",
            master_key=kms.Key.from_key_arn(self, "Key", key_arn),
            enforce_ssl=True,
            display_name=f"Closed Loop {stage.name} reports",
        )
        if stage.report_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(stage.report_email))

    def may_tell(self) -> tuple[iam.PolicyStatement, ...]:
        """All that whoever tells of a report needs."""
        return (
            allow("sns:Publish", on=self.topic.topic_arn),
            allow("kms:Decrypt", "kms:GenerateDataKey", on=self._key_arn),
        )
