"""What starts by the clock: the tick for those due, the nightly look at everyone, the daily report and compaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from constructs import Construct

from infra.alarms import Alarms
from infra.function import allow
from infra.stage import Stage

# The zone in which report days are cut and the owner's night falls.
ZONE = "Asia/Tokyo"
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


@dataclass(frozen=True, slots=True)
class Clockwork:
    """One schedule: when, what it calls, and with which input."""

    name: str
    when: str
    target: str
    action: str
    message: Mapping[str, str]
    says: str


class Schedules(Construct):
    """The schedules of one deployment, each with a role, a retry window and dead letters of its own."""

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        alarms: Alarms,
        *,
        workflow_arn: str,
        report_arn: str,
        compact_arn: str,
    ) -> None:
        super().__init__(scope, "Schedules")
        self._stage, self._alarms = stage, alarms
        self._group = scheduler.CfnScheduleGroup(self, "Group", name=f"closedloop-{stage.name}")
        workflow = (workflow_arn, "states:StartExecution")
        report = (report_arn, "lambda:InvokeFunction")
        for clockwork in (
            Clockwork(
                *("Due", "rate(5 minutes)", *workflow),
                {"scheduled_time": SCHEDULED_TIME},
                "Those who are due were not looked at.",
            ),
            Clockwork(
                *("Nightly", "cron(30 1 * * ? *)", *workflow),
                {"scheduled_time": SCHEDULED_TIME, "scope": "everybody"},
                "The nightly look at everyone did not start.",
            ),
            Clockwork(
                *("Report", "cron(0 2 * * ? *)", *report),
                {"scheduled_time": SCHEDULED_TIME},
                "The daily report did not start.",
            ),
            Clockwork(
                # Half an hour after the end of a UTC day, by which the lake's days are cut.
                *("Compaction", "cron(30 9 * * ? *)", compact_arn, "lambda:InvokeFunction"),
                {"scheduled_time": SCHEDULED_TIME},
                "The daily compaction of the lake did not start.",
            ),
        ):
            self._schedule(clockwork)
        self._watch()

    def _schedule(self, clockwork: Clockwork) -> None:
        dead_letters = self._alarms.dead_letters(self, f"{clockwork.name}DeadLetters", clockwork.says)
        role = iam.Role(
            self,
            f"{clockwork.name}Role",
            assumed_by=iam.ServicePrincipal(
                "scheduler.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}
            ),
            inline_policies={
                "Work": iam.PolicyDocument(
                    statements=[
                        allow(clockwork.action, on=clockwork.target),
                        allow("sqs:SendMessage", on=dead_letters.queue_arn),
                    ]
                )
            },
        )
        scheduler.CfnSchedule(
            self,
            clockwork.name,
            group_name=self._group.ref,
            schedule_expression=clockwork.when,
            schedule_expression_timezone=ZONE,
            state="ENABLED" if self._stage.schedules else "DISABLED",
            flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=scheduler.CfnSchedule.TargetProperty(
                arn=clockwork.target,
                role_arn=role.role_arn,
                input=json.dumps(clockwork.message),
                retry_policy=scheduler.CfnSchedule.RetryPolicyProperty(
                    maximum_event_age_in_seconds=3600, maximum_retry_attempts=10
                ),
                dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=dead_letters.queue_arn),
            ),
        )

    def _watch(self) -> None:
        for name, says in {
            "TargetErrorCount": "A schedule could not start what it should.",
            "InvocationDroppedCount": "A schedule gave up on starting what it should.",
        }.items():
            metric = cloudwatch.Metric(
                namespace="AWS/Scheduler",
                metric_name=name,
                dimensions_map={"ScheduleGroup": self._group.ref},
                period=cdk.Duration.minutes(5),
                statistic="Sum",
            )
            self._alarms.add(self, name, metric, 1, says)
