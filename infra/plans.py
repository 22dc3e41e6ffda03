"""Every function of the product on one page: what it is for, how long and how often it may run, all that it may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_iam as iam

from closedloop.runtime import settings
from closedloop.store import schema
from infra.function import Plan, allow
from infra.imports import IMPORT_S, IMPORTED, IMPORTS
from infra.report_notices import ReportNotices
from infra.spill import DRAIN_S, SPILL
from infra.stage import Stage
from infra.stateful import Kept

LEDGER = ("capture", "project")

# Concurrent invocations reserved for each function, so that no flood takes the room of another.
AT_ONCE: Mapping[str, int] = {
    "capture_beacon": 100,
    "capture_form": 20,
    "capture_email": 50,
    "capture_deal": 50,
    "follow_link": 50,
    "serve_tracker": 20,
    "project_profiles": 40,
    "archive_events": 20,
    "drain_spill": 2,
    "import_list": 2,
    "select_people": 2,
    "decide_stages": 20,
    "perform_actions": 20,
    "notify_sales": 5,
    "close_run": 2,
    "compact_lake": 1,
    "report_loop": 1,
}


@dataclass(frozen=True, slots=True)
class Plans:
    """The plans of all functions for one deployment."""

    stage: Stage
    kept: Kept
    stack: cdk.Stack

    def doors(self) -> tuple[Plan, ...]:
        """The functions that the outside world calls; they append facts and read what a site declared."""
        capture = (
            allow("dynamodb:PutItem", "dynamodb:BatchWriteItem", on=self.kept.events_arn),
            allow("dynamodb:GetItem", on=self.kept.state_arn),
            self._read_keys(),
            *self._spill(),
        )
        stored = self._settings(
            *(settings.EVENTS_TABLE, settings.STATE_TABLE, settings.SECRET_NAME),
            *(settings.SPILL_QUEUE, settings.LAKE_BUCKET),
        )
        webhook = {**stored, settings.SITE_SECRETS_PREFIX: self.kept.site_secrets_prefix}
        return (
            Plan(
                "capture_beacon",
                "Stores what pages and apps report.",
                timeout_s=10,
                may=capture,
                settings=stored,
            ),
            Plan(
                "capture_form",
                "Stores a submitted form and thanks the sender.",
                timeout_s=10,
                layers=("capture", "form"),
                # Whoever asks Turnstile about a form's senders keeps that secret with the site's others.
                may=(*capture, self._read_site_secrets()),
                settings=webhook,
            ),
            Plan(
                "capture_email",
                "Stores what a mail provider reports of a mail.",
                timeout_s=10,
                layers=("capture", "email"),
                # The one conditional write of a door: the claim on a Mailgun token.
                may=(*capture, allow("dynamodb:PutItem", on=self.kept.state_arn), self._read_site_secrets()),
                settings=webhook,
            ),
            Plan(
                "capture_deal",
                "Stores what a CRM or a shop reports of a deal.",
                timeout_s=10,
                may=(*capture, self._read_site_secrets()),
                settings=webhook,
            ),
            Plan(
                "follow_link",
                "Follows a link of a mail, counts its opening, ends a subscription.",
                timeout_s=10,
                may=(
                    allow("dynamodb:PutItem", on=self.kept.events_arn),
                    allow("dynamodb:GetItem", on=self.kept.state_arn),
                    self._read_keys(),
                    *self._spill(),
                ),
                settings=stored,
            ),
            Plan("serve_tracker", "Serves the tracker to pages.", timeout_s=5, memory_mb=256),
        )

    def ledger(self, workflow_arn: str) -> tuple[Plan, ...]:
        """The functions that read the streams."""
        return (
            Plan(
                "project_profiles",
                "Folds the facts of each person touched into a profile, and marks who is due.",
                timeout_s=60,
                memory_mb=1024,
                layers=LEDGER,
                may=(
                    allow("dynamodb:Query", "dynamodb:PutItem", on=self.kept.events_arn),
                    allow(
                        *("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"),
                        *("dynamodb:PutItem", "dynamodb:UpdateItem"),
                        on=self.kept.state_arn,
                    ),
                    allow("states:StartExecution", on=workflow_arn),
                    self._read_keys(),
                ),
                settings={
                    **self._settings(settings.EVENTS_TABLE, settings.STATE_TABLE, settings.SECRET_NAME),
                    settings.STAGE_TRANSITIONS_ARN: workflow_arn,
                },
            ),
            Plan(
                "archive_events",
                "Writes every fact and every decision to the lake.",
                timeout_s=120,
                memory_mb=1024,
                layers=LEDGER,
                may=(
                    allow("s3:PutObject", on=self._in_lake("events/*", "decisions/*", "failed/*")),
                    # The sites say what may be archived; what cannot be read goes to the failed events.
                    allow("dynamodb:GetItem", "dynamodb:Query", on=self.kept.state_arn),
                    allow("dynamodb:PutItem", on=self.kept.events_arn),
                ),
                settings=self._settings(settings.EVENTS_TABLE, settings.STATE_TABLE, settings.LAKE_BUCKET),
            ),
        )

    def drain(self) -> Plan:
        """The function that gives the ledger what the doors had to spill."""
        return Plan(
            "drain_spill",
            "Puts into the ledger what it did not take at first.",
            timeout_s=DRAIN_S,
            layers=LEDGER,
            may=(
                allow("dynamodb:PutItem", "dynamodb:BatchWriteItem", on=self.kept.events_arn),
                allow("s3:GetObject", on=self._in_lake(f"{SPILL}*")),
                allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", on=self.kept.spill_arn),
            ),
            settings=self._settings(settings.EVENTS_TABLE, settings.LAKE_BUCKET),
        )

    def imports(self) -> Plan:
        """The function that takes dropped lists."""
        return Plan(
            "import_list",
            "Appends each row of a dropped list as a fact, and says which rows it could not.",
            timeout_s=IMPORT_S,
            memory_mb=2048,
            layers=(*LEDGER, "form"),
            may=(
                allow("dynamodb:PutItem", "dynamodb:BatchWriteItem", on=self.kept.events_arn),
                allow(
                    *("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
                    on=self.kept.state_arn,
                ),
                allow("s3:GetObject", on=self._in_lake(f"{IMPORTS}*", f"{IMPORTED}*")),
                allow("s3:PutObject", on=self._in_lake(f"{IMPORTED}*")),
                self._list(self.kept.lake_arn, f"{IMPORTED}*"),
                allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", on=self.kept.dropped_arn),
                self._read_keys(),
            ),
            settings=self._settings(
                settings.EVENTS_TABLE, settings.STATE_TABLE, settings.LAKE_BUCKET, settings.SECRET_NAME
            ),
        )

    def workflow(self, public_url: str, bus: tuple[str, str]) -> tuple[Plan, ...]:
        """The tasks of the workflow, in its order."""
        state = self.kept.state_arn
        stored = self._settings(settings.STATE_TABLE, settings.LAKE_BUCKET)
        return (
            Plan(
                "select_people",
                "Writes who is due as shards of ids.",
                timeout_s=120,
                memory_mb=1024,
                layers=LEDGER,
                may=(
                    allow("dynamodb:Query", on=[state, f"{state}/index/{schema.BY_DUE}"]),
                    allow("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", on=state),
                    allow("s3:PutObject", on=self._in_lake("runs/*")),
                ),
                settings=stored,
            ),
            Plan(
                "decide_stages",
                "Judges each person of a shard and writes the decision with its reason.",
                timeout_s=120,
                memory_mb=1024,
                layers=LEDGER,
                may=(
                    allow(
                        *("dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"),
                        *("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"),
                        on=state,
                    ),
                    allow("s3:GetObject", "s3:PutObject", on=self._in_lake("runs/*")),
                ),
                settings=stored,
            ),
            Plan(
                "perform_actions",
                "Sends the mails and notices that were decided, each at most once.",
                timeout_s=150,
                memory_mb=1024,
                layers=LEDGER,
                may=(
                    allow(
                        *("dynamodb:GetItem", "dynamodb:Query"),
                        *("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"),
                        on=state,
                    ),
                    allow("s3:GetObject", "s3:PutObject", on=self._in_lake("runs/*")),
                    allow("ses:SendEmail", on=self._sender()),
                    allow("events:PutEvents", on=bus[1]),
                    self._read_keys(),
                ),
                settings={
                    **stored, **self._settings(settings.SECRET_NAME), settings.PUBLIC_URL: public_url,
                    settings.EVENT_BUS: bus[0],
                },
            ),
            Plan(
                "close_run",
                "Adds up what a run did; the counts must balance.",
                timeout_s=120,
                layers=LEDGER,
                may=(
                    allow("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", on=state),
                    allow("s3:GetObject", on=self._in_lake("runs/*")),
                    self._list(self.kept.lake_arn, "runs/*"),
                ),
                settings=stored,
            ),
        )

    def notify(self, topic_arn: str, key_arn: str) -> Plan:
        """The function that delivers notices to sales."""
        return Plan(
            "notify_sales",
            "Tells sales who it is, why now and what they did: by the topic, Slack or a CRM's webhook.",
            timeout_s=30,
            layers=LEDGER,
            may=(
                allow("dynamodb:GetItem", "dynamodb:Query", "dynamodb:UpdateItem", on=self.kept.state_arn),
                allow("sns:Publish", on=topic_arn),
                # The topic is encrypted; whoever publishes has it do so.
                allow("kms:GenerateDataKey", "kms:Decrypt", on=key_arn),
                self._read_site_secrets(),
            ),
            settings={
                **self._settings(settings.STATE_TABLE),
                settings.SITE_SECRETS_PREFIX: self.kept.site_secrets_prefix,
                settings.SALES_TOPIC: topic_arn,
            },
        )

    def reports(self, notices: ReportNotices) -> tuple[Plan, ...]:
        """The functions that read the lake: one makes a file of each day, one measures a loop."""
        return (
            Plan(
                "compact_lake",
                "Makes one Parquet file of each day of the lake.",
                timeout_s=900,
                memory_mb=2048,
                disk_mb=4096,
                layers=(*LEDGER, "report"),
                may=(
                    allow("s3:GetObject", on=self._in_lake("events/*", "decisions/*", "compacted/*")),
                    allow("s3:PutObject", on=self._in_lake("compacted/*")),
                    self._list(self.kept.lake_arn),
                ),
                settings=self._settings(settings.LAKE_BUCKET),
            ),
            Plan(
                "report_loop",
                "Measures each loop, publishes the report and drafts the next loop.",
                timeout_s=900,
                memory_mb=2048,
                disk_mb=2048,
                layers=(*LEDGER, "report"),
                may=(
                    allow("s3:GetObject", on=self._in_lake("events/*", "decisions/*", "failed/*", "compacted/*")),
                    self._list(self.kept.lake_arn),
                    # The report before this one, so that a new one says what it tells differently.
                    self._list(self.kept.reports_arn),
                    allow("s3:GetObject", "s3:PutObject", on=f"{self.kept.reports_arn}/*"),
                    allow("dynamodb:GetItem", "dynamodb:Query", on=self.kept.state_arn),
                    *notices.may_tell(),
                ),
                settings={
                    **self._settings(settings.STATE_TABLE, settings.LAKE_BUCKET, settings.REPORTS_BUCKET),
                    settings.REPORT_TOPIC: notices.topic.topic_arn,
                },
            ),
        )

    def _settings(self, *names: str) -> dict[str, str]:
        values = {
            settings.EVENTS_TABLE: self.kept.events_table,
            settings.STATE_TABLE: self.kept.state_table,
            settings.LAKE_BUCKET: self.kept.lake_bucket,
            settings.SPILL_QUEUE: self.kept.spill_url,
            settings.REPORTS_BUCKET: self.kept.reports_bucket,
            settings.SECRET_NAME: self.kept.secret_name,
        }
        return {name: values[name] for name in names}

    def _spill(self) -> tuple[iam.PolicyStatement, ...]:
        """Where a door keeps what the ledger does not take."""
        return (
            allow("sqs:SendMessage", on=self.kept.spill_arn),
            allow("s3:PutObject", on=self._in_lake(f"{SPILL}*")),
        )

    def _read_keys(self) -> iam.PolicyStatement:
        return allow("secretsmanager:GetSecretValue", on=self.kept.secret_arn)

    def _read_site_secrets(self) -> iam.PolicyStatement:
        arn = self.stack.format_arn(
            service="secretsmanager",
            resource="secret",
            resource_name=f"{self.kept.site_secrets_prefix}*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        return allow("secretsmanager:GetSecretValue", on=arn)

    def _sender(self) -> str:
        # Mails leave under one verified identity; until the owner names it, under any that the account has verified.
        return self.stack.format_arn(service="ses", resource="identity", resource_name=self.stage.sender or "*")

    def _in_lake(self, *keys: str) -> list[str]:
        return [f"{self.kept.lake_arn}/{key}" for key in keys]

    def _list(self, bucket_arn: str, prefix: str | None = None) -> iam.PolicyStatement:
        statement = allow("s3:ListBucket", on=bucket_arn)
        if prefix:
            statement.add_condition("StringLike", {"s3:prefix": prefix})
        return statement
