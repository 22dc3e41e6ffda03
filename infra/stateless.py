"""What every deployment may replace: the doors, the functions, the workflow, the clock and the watch over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import packaging
from infra.accepted import accept, in_stateless
from infra.alarms import ABOVE, BELOW, BREACHING, Alarms, product_metric
from infra.dashboard import Dashboard
from infra.function import Function, Plan, allow
from infra.http_api import HttpApi
from infra.imports import connect_import
from infra.notices import Notices
from infra.plans import AT_ONCE, Plans
from infra.report_notices import ReportNotices
from infra.schedules import Schedules
from infra.spill import connect_drain
from infra.stage import Stage
from infra.stage_transitions import StageTransitions
from infra.stateful import StatefulStack
from infra.stream_consumers import ARCHIVE_DECISIONS, ARCHIVE_FACTS, PROJECT, StreamConsumers, may_read

# What an account must keep unreserved; Lambda refuses a template that takes more.
UNRESERVED = 100
# What the schedules call without waiting, and what its dead letters say.
ASYNCHRONOUS = {
    "report_loop": ("Report", "A report failed three times."),
    "compact_lake": ("Compaction", "The lake was not compacted in three attempts; reports read it as delivered."),
}


class StatelessStack(cdk.Stack):
    """Everything that runs; all of it can be made anew from the repository."""

    def __init__(self, scope: Construct, stage: Stage, stateful: StatefulStack, build: Path, **options: Any) -> None:
        super().__init__(scope, "Stateless", termination_protection=stage.kept, **options)
        self._stage, self._build = stage, build
        self._layers: dict[str, lambda_.ILayerVersion] = {}
        self._reserve = sum(AT_ONCE.values()) <= stage.account_concurrency - UNRESERVED
        if not self._reserve:
            cdk.Annotations.of(self).add_warning_v2(
                "closedloop:unreserved",
                f"The account allows {stage.account_concurrency} concurrent invocations, so none are reserved.",
            )
        kept = stateful.kept()
        plans = Plans(stage, kept, self)
        self.alarms = Alarms(self, stage, kept.alarm_key_arn)
        self.workflow = StageTransitions(self, stage, self.alarms)
        self.streams = StreamConsumers(self, self.alarms, events=kept.events_stream, state=kept.state_stream)
        self.functions: dict[str, Function] = {}

        self._add(plans.doors())
        self.api = HttpApi(self, stage, self.functions, self.alarms)
        public_url = self._public_url()
        self._add_ledger(plans.ledger(self.workflow.arn))
        self._add([plans.drain()])
        connect_drain(self.functions["drain_spill"], self.alarms, kept.spill_arn, kept.spill_dead_letters_arn)
        self._add([plans.imports()])
        connect_import(self.functions["import_list"], self.alarms, kept.dropped_arn, kept.dropped_dead_letters_arn)
        sales = Notices(self, stage, self.alarms, kept.alarm_key_arn)
        self._add(plans.workflow(public_url, (sales.bus.ref, sales.bus.attr_arn)))
        notify = plans.notify(sales.topic.topic_arn, kept.alarm_key_arn)
        self._add([replace(notify, may=(*notify.may, allow("sqs:SendMessage", on=sales.dead_letters.queue_arn)))])
        sales.connect(self.functions["notify_sales"])
        notices = ReportNotices(self, stage, kept.alarm_key_arn)
        self._add_reports(plans.reports(notices))
        report = self.functions["report_loop"].function
        self.workflow.define(self.functions, kept.lake_arn)
        Schedules(
            self,
            stage,
            self.alarms,
            workflow_arn=self.workflow.arn,
            report_arn=report.function_arn,
            compact_arn=self.functions["compact_lake"].function.function_arn,
        )
        Dashboard(
            self,
            stage,
            api=self.api,
            functions=self.functions,
            workflow=self.workflow,
            tables={"Events": kept.events_table, "State": kept.state_table},
        )
        self._watch_report()
        self._watch_capture()
        self._watch_actions()
        for name, table in (("Events", kept.events_table), ("State", kept.state_table)):
            self.alarms.table(self, name, table)
        accept(self, in_stateless(stage, kept))
        for name, value in {
            "Endpoint": public_url,
            "ApiEndpoint": self.api.endpoint,
            "StageTransitionsArn": self.workflow.arn,
            "ReportFunction": report.function_name,
            "AlarmTopic": self.alarms.topic.topic_arn,
            "ReportTopic": notices.topic.topic_arn,
            "SalesTopic": sales.topic.topic_arn,
        }.items():
            cdk.CfnOutput(self, name, value=value)

    def _add(self, plans: Iterable[Plan]) -> None:
        for plan in plans:
            self.functions[plan.name] = Function(
                self,
                self._stage,
                plan,
                lambda_.Code.from_asset(str(self._function_folder(plan.name))),
                [self._layer("closedloop"), *(self._layer(name) for name in plan.layers)],
                self.alarms,
                at_once=AT_ONCE[plan.name] if self._reserve else None,
            )

    def _add_ledger(self, plans: Iterable[Plan]) -> None:
        readings = {
            "project_profiles": ((self.streams.events, PROJECT),),
            "archive_events": ((self.streams.events, ARCHIVE_FACTS), (self.streams.state, ARCHIVE_DECISIONS)),
        }
        for plan in plans:
            dead_letters = self.streams.dead_letters(plan.name)
            streams = [stream for stream, _ in readings[plan.name]]
            self._add([replace(plan, may=(*plan.may, *may_read(streams, dead_letters)))])
            for stream, reading in readings[plan.name]:
                self.streams.connect(self.functions[plan.name], stream, reading, dead_letters)

    def _layer(self, name: str) -> lambda_.ILayerVersion:
        if name not in self._layers:
            self._layers[name] = lambda_.LayerVersion(
                self,
                f"{name.title()}Layer",
                code=lambda_.Code.from_asset(str(self._layer_folder(name))),
                description=f"Closed Loop: {name}, for Python {self._stage.target.python}",
            )
        return self._layers[name]

    def _function_folder(self, name: str) -> Path:
        return packaging.function_folder(name, self._build, whole=self.bundling_required)

    def _layer_folder(self, name: str) -> Path:
        if not self.bundling_required:
            return packaging.skipped_layer(self._build)
        if name == "closedloop":
            return packaging.package_layer(self._build, self._stage.target)
        return packaging.vendor_layer(name, self._build, self._stage.target)

    def _public_url(self) -> str:
        # A parameter and no constant: an owner sets it once the own domain points here, without another synthesis.
        given = cdk.CfnParameter(
            self,
            "PublicUrl",
            default=self._stage.public_url,
            allowed_pattern="^(https?://[^ ?#]+[^ ?#/])?$",
            description="Where links in mails lead: the own domain before the API. Empty: the API itself.",
        )
        named = cdk.CfnCondition(
            self, "HasPublicUrl", expression=cdk.Fn.condition_not(cdk.Fn.condition_equals(given.value_as_string, ""))
        )
        return cdk.Fn.condition_if(named.logical_id, given.value_as_string, self.api.endpoint).to_string()

    def _add_reports(self, plans: Iterable[Plan]) -> None:
        for plan in plans:
            name, says = ASYNCHRONOUS[plan.name]
            failed = self.alarms.dead_letters(self, f"{name}DeadLetters", says)
            self._add([replace(plan, may=(*plan.may, allow("sqs:SendMessage", on=failed.queue_arn)))])
            lambda_.CfnEventInvokeConfig(
                self,
                f"{name}Retries",
                function_name=self.functions[plan.name].function.function_name,
                qualifier="$LATEST",
                maximum_event_age_in_seconds=3600,
                maximum_retry_attempts=2,
                destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                    on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=failed.queue_arn)
                ),
            )

    def _watch_report(self) -> None:
        report = self.functions["report_loop"]
        published = product_metric("ReportPublished", period=cdk.Duration.hours(1))
        says = "No report was published for 26 hours."
        self.alarms.add(report, "Late", published, 1, says, comparison=BELOW, periods=26, missing=BREACHING)

    def _watch_capture(self) -> None:
        minutes = cdk.Duration.minutes(5)
        lost = product_metric("NotStored", period=minutes)
        self.alarms.add(
            self, "NotStored", lost, 1, "A door could not store what it was given; senders keep it and retry."
        )
        failed = product_metric("FailedEvents", period=minutes)
        says = "Events that were accepted proved unusable: `closedloop failed list` says which and why."
        self.alarms.add(self, "FailedEvents", failed, 10, says)
        refused = product_metric("Refused", period=minutes)
        says = "Over a hundred requests in five minutes were refused: a wrong key, a forged signature, or an attack."
        self.alarms.add(self, "Refused", refused, 100, says, comparison=ABOVE)

    def _watch_actions(self) -> None:
        review = product_metric("ToReview", period=cdk.Duration.minutes(5))
        says = "A mail or a notice failed, or nobody knows how it ended: `closedloop notice review` says which and why."
        self.alarms.add(self, "ToReview", review, 1, says)
