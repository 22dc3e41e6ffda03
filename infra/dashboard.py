"""One page that answers: is anything lost, late or failing, and what is captured and decided right now?"""

from __future__ import annotations

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.function import Function
from infra.http_api import HttpApi
from infra.stage import Stage
from infra.stage_transitions import StageTransitions


class Dashboard(Construct):
    """The operator's page in CloudWatch."""

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        *,
        api: HttpApi,
        functions: Mapping[str, Function],
        workflow: StageTransitions,
        tables: Mapping[str, str],
    ) -> None:
        super().__init__(scope, "Dashboard")
        self.page = cloudwatch.Dashboard(self, "Page", dashboard_name=f"closedloop-{stage.name}")
        readers = [functions[name] for name in ("project_profiles", "archive_events") if name in functions]
        minutes = cdk.Duration.minutes(5)
        self.page.add_widgets(
            _graph("Requests", api.metric("Count", "Sum"), api.metric("4xx", "Sum"), api.metric("5xx", "Sum")),
            _graph("Time to answer (ms)", *(api.metric("Latency", p) for p in ("p50", "p95", "p99"))),
            _graph(
                "How far readers are behind (ms)",
                *(one.function.metric("IteratorAge", statistic="Maximum", period=minutes) for one in readers),
            ),
        )
        self.page.add_widgets(
            _graph("Calls", *(one.function.metric_invocations(period=minutes) for one in functions.values())),
            _graph("Errors", *(one.function.metric_errors(period=minutes) for one in functions.values())),
            _graph("Throttled", *(one.function.metric_throttles(period=minutes) for one in functions.values())),
        )
        self.page.add_widgets(
            _graph(
                "Runs of stage transitions",
                *(workflow.metric(f"Executions{word}") for word in ("Started", "Succeeded", "Failed", "TimedOut")),
            ),
            _graph(
                "Written to the tables (units)",
                *(_written(name, table) for name, table in tables.items()),
            ),
        )


def _written(name: str, table: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/DynamoDB",
        metric_name="ConsumedWriteCapacityUnits",
        dimensions_map={"TableName": table},
        label=name,
        statistic="Sum",
    )


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8, height=6)
