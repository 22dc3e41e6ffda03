"""One Lambda of the product: a role of its own, a log that forgets, a ceiling, and alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.alarms import ABOVE, Alarms
from infra.stage import Stage

LOGS_KEPT = logs.RetentionDays.ONE_MONTH

# The runtime's handler string: the file of every function folder, and the one name in it.
HANDLER = "handler.handle"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one function may use and do.

    Shapes: `layers` are names of vendor layers; `may` are the only permissions beside its own log;
    `settings` are the environment's names and values.
    Units: timeout in seconds, memory and disk in MB.
    """

    name: str
    says: str
    timeout_s: int
    memory_mb: int = 512
    disk_mb: int = 512
    layers: tuple[str, ...] = ("capture",)
    may: Sequence[iam.PolicyStatement] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def allow(*actions: str, on: str | Sequence[str]) -> iam.PolicyStatement:
    """Permission for the very actions on the very resources."""
    return iam.PolicyStatement(actions=list(actions), resources=[on] if isinstance(on, str) else list(on))


class Function(Construct):
    """A Lambda function with everything that belongs to it alone.

    Units: `at_once` in concurrent invocations reserved; None where the account has no room to reserve any.
    """

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        plan: Plan,
        code: lambda_.Code,
        layers: Sequence[lambda_.ILayerVersion],
        alarms: Alarms,
        *,
        at_once: int | None,
    ) -> None:
        super().__init__(scope, "".join(word.title() for word in plan.name.split("_")))
        self.plan = plan
        self.log = logs.LogGroup(
            self,
            "Log",
            retention=LOGS_KEPT,
            removal_policy=cdk.RemovalPolicy.RETAIN if stage.kept else cdk.RemovalPolicy.DESTROY,
        )
        write_log = allow("logs:CreateLogStream", "logs:PutLogEvents", on=self.log.log_group_arn)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Closed Loop: {plan.name}",
            # In the role itself: it is whole before a stream or a schedule first calls the function.
            inline_policies={"Work": iam.PolicyDocument(statements=[write_log, *plan.may])},
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=plan.says,
            runtime=lambda_.Runtime(f"python{stage.target.python}", lambda_.RuntimeFamily.PYTHON),
            architecture=lambda_.Architecture.ARM_64 if stage.target.arm else lambda_.Architecture.X86_64,
            handler=HANDLER,
            code=code,
            layers=list(layers),
            role=self.role.without_policy_updates(),
            timeout=cdk.Duration.seconds(plan.timeout_s),
            memory_size=plan.memory_mb,
            ephemeral_storage_size=cdk.Size.mebibytes(plan.disk_mb),
            reserved_concurrent_executions=at_once,
            log_group=self.log,
            logging_format=lambda_.LoggingFormat.JSON,
            environment={
                "POWERTOOLS_SERVICE_NAME": plan.name,
                "POWERTOOLS_METRICS_NAMESPACE": "ClosedLoop",
                "POWERTOOLS_LOG_LEVEL": "INFO",
                **plan.settings,
            },
        )
        self._watch(stage, alarms)

    def _watch(self, stage: Stage, alarms: Alarms) -> None:
        name, minutes = self.plan.name, cdk.Duration.minutes(5)
        # Lambda counts 0 or 1 an invocation, so the mean is the rate of errors.
        errors = self.function.metric_errors(period=minutes, statistic="Average")
        alarms.add(self, "Errors", errors, 0.01, f"More than 1 % of the calls of {name} fail.", comparison=ABOVE)
        if not stage.watched_closely:
            return
        throttles = self.function.metric_throttles(period=minutes)
        alarms.add(self, "Throttled", throttles, 1, f"{name} is called more often than it may run at once.")
        slow = self.function.metric_duration(period=minutes, statistic="p99")
        limit_ms = self.plan.timeout_s * 1000 * 0.8
        alarms.add(self, "Slow", slow, limit_ms, f"{name} comes near its timeout.", comparison=ABOVE)
