"""Every finding of the rule packs that is accepted, with the reason; a finding that is not here fails the build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from constructs import IConstruct

from infra.stage import Stage
from infra.stateful import Kept

# The parts of the lake in which objects are named while the product runs.
LAKE = ("runs", "events", "decisions", "failed", "spill", "imports", "imported", "compacted")


@dataclass(frozen=True, slots=True)
class Accepted:
    """One decision: which findings, and why they stand."""

    findings: Sequence[str]
    reason: str


def in_stateful() -> tuple[Accepted, ...]:
    """What is accepted of tables, buckets and keys."""
    return (
        Accepted(
            ("AwsSolutions-SMG4",),
            "Every stored identifier is a keyed hash under this pepper; rotating it would forget everyone.",
        ),
        of_queues(),
    )


def of_access_logs() -> Accepted:
    """What is accepted of the bucket that holds the access logs."""
    return Accepted(("AwsSolutions-S1",), "It holds the access logs of the other buckets; its own would never end.")


def of_queues() -> Accepted:
    """What is accepted of queues, wherever they stand."""
    return Accepted(
        ("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"),
        "Beside the spill and the dropped lists, a queue is one of dead letters: a stream's, a schedule's, a report's.",
    )


def in_stateless(stage: Stage, kept: Kept) -> tuple[Accepted, ...]:
    """What is accepted of everything that runs."""
    arn = "arn:<AWS::Partition>:{service}:<AWS::Region>:<AWS::AccountId>:{resource}"
    sites = arn.format(service="secretsmanager", resource=f"secret:{kept.site_secrets_prefix}*")
    own_runs = arn.format(service="states", resource=f"execution:closedloop-{stage.name}-stage-transitions:*")
    senders = arn.format(service="ses", resource="identity/*")
    lake, reports = f"{kept.exports}:LakeArn", f"{kept.exports}:ReportsArn"
    return (
        Accepted(
            ("AwsSolutions-APIG4",),
            "Each door checks its own caller: write key and origin, provider signature, or signed token.",
        ),
        of_queues(),
        Accepted(
            ("Serverless-LambdaDLQ", "Serverless-LambdaEventSourceMappingDestination"),
            "Doors answer their caller, tasks their workflow, queues keep what is not done; the rest has dead letters.",
        ),
        Accepted(
            ("Serverless-LambdaTracing", "AwsSolutions-SF2", "Serverless-StepFunctionStateMachineXray"),
            "A tracer doubles the cold start of a door; log lines with ids and the metrics answer the same questions.",
        ),
        Accepted(
            _wildcards(*(f"{lake}/{prefix}/*" for prefix in LAKE)),
            "Objects are named after runs and batches that do not exist yet; a prefix is the narrowest name.",
        ),
        Accepted(
            _wildcards(f"{reports}/*"),
            "Reports are named after sites, loops and days; the function owns the bucket and can delete nothing in it.",
        ),
        Accepted(
            _wildcards(own_runs),
            "A distributed map watches and stops its own children, whose names AWS draws.",
        ),
        Accepted(
            _wildcards("*"),
            "Log delivery of a state machine has no resource to name; AWS documents these very actions with a star.",
        ),
        Accepted(
            _wildcards(sites),
            "Sites are declared while the product runs; each has a secret of its own under this prefix.",
        ),
        Accepted(
            _wildcards(senders),
            "Until the owner names the sender (context `sender`), any identity verified in the account may send.",
        ),
    )


def accept(scope: IConstruct, decisions: Sequence[Accepted]) -> None:
    """Tell the rule packs what is accepted below this construct."""
    for decision in decisions:
        for finding in decision.findings:
            cdk.Validations.of(scope).acknowledge(cdk.Acknowledgment(id=finding, reason=decision.reason))


def _wildcards(*resources: str) -> list[str]:
    return [f"AwsSolutions-IAM5[Resource::{resource}]" for resource in resources]
