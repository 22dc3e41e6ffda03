"""The workflow that moves people between stages: its definition is a file, its permissions are here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.alarms import Alarms
from infra.function import LOGS_KEPT, Function, allow
from infra.stage import Stage

DEFINITION = Path(__file__).with_name("workflows") / "stage_transitions.asl.json"
TASKS = ("select_people", "decide_stages", "perform_actions", "close_run")
# A shard is billed as one transition when it runs so, whatever states it has; moto's interpreter knows STANDARD alone.
SHARDS = {"shards_run_as": "EXPRESS"}


class StageTransitions(Construct):
    """One short-lived Standard state machine; a run's name is its key."""

    def __init__(self, scope: Construct, stage: Stage, alarms: Alarms) -> None:
        super().__init__(scope, "StageTransitions")
        self._stage, self._alarms = stage, alarms
        # Named here, or the functions that start the machine and the machine that calls functions would form a circle.
        self.name = f"closedloop-{stage.name}-stage-transitions"
        self.arn = self._arn("stateMachine", self.name)

    def define(self, functions: Mapping[str, Function], lake_arn: str) -> None:
        """Make the machine out of its definition file and the functions that it names."""
        tasks = {name: functions[name].function.function_arn for name in TASKS}
        log = logs.LogGroup(
            self,
            "Log",
            # Step Functions may only deliver to vended log groups without hitting the size limit of their policy.
            log_group_name=f"/aws/vendedlogs/states/{self.name}",
            retention=LOGS_KEPT,
            removal_policy=cdk.RemovalPolicy.RETAIN if self._stage.kept else cdk.RemovalPolicy.DESTROY,
        )
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("states.amazonaws.com"),
            inline_policies={
                "Work": iam.PolicyDocument(
                    statements=[
                        allow("lambda:InvokeFunction", on=list(tasks.values())),
                        allow("s3:GetObject", on=f"{lake_arn}/runs/*"),
                        # A distributed map starts its children as executions of this same machine, and stops them.
                        allow("states:StartExecution", on=self.arn),
                        allow(
                            "states:DescribeExecution",
                            "states:StopExecution",
                            on=self._arn("execution", f"{self.name}:*"),
                        ),
                        # Log delivery has no resources of its own; AWS documents this statement with a star.
                        allow(
                            "logs:CreateLogDelivery",
                            "logs:GetLogDelivery",
                            "logs:UpdateLogDelivery",
                            "logs:DeleteLogDelivery",
                            "logs:ListLogDeliveries",
                            "logs:PutResourcePolicy",
                            "logs:DescribeResourcePolicies",
                            "logs:DescribeLogGroups",
                            on="*",
                        ),
                    ]
                )
            },
        )
        self.machine = stepfunctions.CfnStateMachine(
            self,
            "Machine",
            state_machine_name=self.name,
            state_machine_type="STANDARD",
            role_arn=role.role_arn,
            definition_string=DEFINITION.read_text(),
            definition_substitutions={**tasks, **SHARDS},
            logging_configuration=stepfunctions.CfnStateMachine.LoggingConfigurationProperty(
                level="ALL",
                # Inputs hold run keys only, but a person named for one run would be in them.
                include_execution_data=False,
                destinations=[
                    stepfunctions.CfnStateMachine.LogDestinationProperty(
                        cloud_watch_logs_log_group=stepfunctions.CfnStateMachine.CloudWatchLogsLogGroupProperty(
                            log_group_arn=log.log_group_arn
                        )
                    )
                ],
            ),
        )
        self._watch()

    def metric(self, name: str) -> cdk.aws_cloudwatch.Metric:
        """One of the machine's own counts, five minutes at a time."""
        return cdk.aws_cloudwatch.Metric(
            namespace="AWS/States",
            metric_name=name,
            dimensions_map={"StateMachineArn": self.arn},
            period=cdk.Duration.minutes(5),
            statistic="Sum",
        )

    def _watch(self) -> None:
        for name, says in {
            "ExecutionsFailed": "A run of stage transitions failed: someone was not decided, or counts do not balance.",
            "ExecutionsTimedOut": "A run of stage transitions took longer than two hours.",
        }.items():
            self._alarms.add(self, name, self.metric(name), 1, says)

    def _arn(self, resource: str, name: str) -> str:
        return cdk.Stack.of(self).format_arn(
            service="states", resource=resource, resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )
