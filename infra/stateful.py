"""What outlives every deployment: the two tables, the buckets, the key and the secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from closedloop.store import schema
from infra.imports import drop_queue
from infra.spill import SPILL, spill_queue
from infra.stage import Stage

NONCURRENT_KEPT = cdk.Duration.days(30)
ACCESS_LOGS_KEPT = cdk.Duration.days(90)
# Longer than the queue keeps the message that names the object.
SPILL_KEPT = cdk.Duration.days(30)


@dataclass(frozen=True, slots=True)
class Kept:
    """The names of what is kept: all that the replaceable stack knows of the other.

    Shapes: `exports` is the prefix of the export names; the others are names and ARNs, known at deployment.
    """

    exports: str
    events_table: str
    events_arn: str
    events_stream: str
    state_table: str
    state_arn: str
    state_stream: str
    lake_bucket: str
    lake_arn: str
    spill_url: str
    spill_arn: str
    spill_dead_letters_arn: str
    dropped_arn: str
    dropped_dead_letters_arn: str
    reports_bucket: str
    reports_arn: str
    secret_name: str
    secret_arn: str
    site_secrets_prefix: str
    alarm_key_arn: str


class StatefulStack(cdk.Stack):
    """Facts, state, files and keys; replaced by nobody, and in production removed by nobody."""

    def __init__(self, scope: Construct, stage: Stage, **options: Any) -> None:
        super().__init__(scope, "Stateful", termination_protection=stage.kept, **options)
        self._stage = stage
        self.events = self._table("Events", time_to_live_attribute=schema.TTL)
        self.state = self._table(
            "State",
            time_to_live_attribute=schema.TTL,
            global_secondary_indexes=[
                # Sparse: only items that carry the attribute are in it, so a tick reads those due and nobody else.
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=schema.BY_DUE,
                    partition_key=_text(schema.DUE),
                    sort_key=_text(schema.DUE_AT),
                    # Only who is due is read from it; a copy of the profile would be written with every profile.
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                )
            ],
        )
        self.access_logs = self._bucket("AccessLogs", expiration=ACCESS_LOGS_KEPT)
        self.lake = self._bucket("Lake", logs_to=self.access_logs)
        self.lake.add_lifecycle_rule(prefix=SPILL, expiration=SPILL_KEPT)
        self.spill, self.spill_dead_letters = spill_queue(self, self._removal)
        self.dropped, self.dropped_dead_letters = drop_queue(self.lake, self._removal)
        self.reports = self._bucket("Reports", logs_to=self.access_logs)
        self.keys = self._secret()
        self.alarm_key = self._alarm_key()
        for name, value in {
            "EventsTable": self.events.table_name,
            "StateTable": self.state.table_name,
            "LakeBucket": self.lake.bucket_name,
            "ReportsBucket": self.reports.bucket_name,
            "SecretName": self._secret_name,
            "SiteSecretsPrefix": self._site_secrets_prefix,
        }.items():
            cdk.CfnOutput(self, name, value=value)

    def kept(self) -> Kept:
        """What another stack may know of this one, under export names that no refactoring changes."""

        def export(name: str, value: str | None) -> str:
            assert value is not None
            return self.export_value(value, name=f"{self.stack_name}:{name}")

        return Kept(
            exports=self.stack_name,
            events_table=export("EventsName", self.events.table_name),
            events_arn=export("EventsArn", self.events.table_arn),
            events_stream=export("EventsStreamArn", self.events.table_stream_arn),
            state_table=export("StateName", self.state.table_name),
            state_arn=export("StateArn", self.state.table_arn),
            state_stream=export("StateStreamArn", self.state.table_stream_arn),
            lake_bucket=export("LakeName", self.lake.bucket_name),
            lake_arn=export("LakeArn", self.lake.bucket_arn),
            spill_url=export("SpillUrl", self.spill.queue_url),
            spill_arn=export("SpillArn", self.spill.queue_arn),
            spill_dead_letters_arn=export("SpillDeadLettersArn", self.spill_dead_letters.queue_arn),
            dropped_arn=export("DroppedArn", self.dropped.queue_arn),
            dropped_dead_letters_arn=export("DroppedDeadLettersArn", self.dropped_dead_letters.queue_arn),
            reports_bucket=export("ReportsName", self.reports.bucket_name),
            reports_arn=export("ReportsArn", self.reports.bucket_arn),
            secret_name=self._secret_name,
            secret_arn=export("SecretArn", self.keys.attr_id),
            site_secrets_prefix=self._site_secrets_prefix,
            alarm_key_arn=export("AlarmKeyArn", self.alarm_key.key_arn),
        )

    @property
    def _secret_name(self) -> str:
        return f"closedloop/{self._stage.name}/keys"

    @property
    def _site_secrets_prefix(self) -> str:
        return f"closedloop/{self._stage.name}/sites/"

    def _table(self, name: str, **options: Any) -> dynamodb.TableV2:
        return dynamodb.TableV2(
            self,
            name,
            partition_key=_text(schema.PK),
            sort_key=_text(schema.SK),
            billing=dynamodb.Billing.on_demand(),
            dynamo_stream=dynamodb.StreamViewType.NEW_IMAGE,
            encryption=dynamodb.TableEncryptionV2.aws_managed_key(),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True, recovery_period_in_days=35
            ),
            deletion_protection=self._stage.kept,
            removal_policy=self._removal,
            **options,
        )

    def _bucket(
        self, name: str, logs_to: s3.IBucket | None = None, expiration: cdk.Duration | None = None
    ) -> s3.Bucket:
        return s3.Bucket(
            self,
            name,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=True,
            server_access_logs_bucket=logs_to,
            server_access_logs_prefix=f"{name.lower()}/" if logs_to else None,
            lifecycle_rules=[
                s3.LifecycleRule(
                    abort_incomplete_multipart_upload_after=cdk.Duration.days(7),
                    noncurrent_version_expiration=NONCURRENT_KEPT,
                    expiration=expiration,
                )
            ],
            removal_policy=self._removal,
        )

    def _secret(self) -> secretsmanager.CfnSecret:
        secret = secretsmanager.CfnSecret(
            self,
            "Keys",
            name=self._secret_name,
            description="Closed Loop: the pepper of every identifier; the key that signs links is derived from it.",
            generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
                secret_string_template="{}",  # noqa: S106  an empty object, no secret
                generate_string_key="pepper",
                password_length=64,
                exclude_punctuation=True,
            ),
        )
        secret.apply_removal_policy(self._removal)
        return secret

    def _alarm_key(self) -> kms.Key:
        # A topic is not encrypted unless it is given a key, and CloudWatch may not use the account's default one.
        key = kms.Key(
            self,
            "AlarmKey",
            description="Closed Loop: encrypts alarms, notices to sales and the news of reports on their way.",
            enable_key_rotation=True,
            removal_policy=self._removal,
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return key

    @property
    def _removal(self) -> cdk.RemovalPolicy:
        return cdk.RemovalPolicy.RETAIN if self._stage.kept else cdk.RemovalPolicy.DESTROY


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
