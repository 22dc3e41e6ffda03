"""An account to run the functions in: moto behind a free port of this machine, emptied for each module and test."""

from __future__ import annotations

import base64
import gc
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from closedloop.events.failed import FailedEvent
from closedloop.events.packet import Packet
from closedloop.runtime import anymail, doors, lists, observe
from closedloop.sites.definition import Site
from closedloop.store.boto import BotoCalls
from closedloop.store.ledger import Ledger, failed_of, packet_of
from closedloop.store.signed import SignedClient
from closedloop.store.state import State
from tests import engines
from tests.functions.gateway import KEY, ORIGIN, SECRET_KEY

REGION = "eu-central-1"
EVENTS, STATE, LAKE = "the-events", "the-state", "the-lake"
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:stage_transitions"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "EVENTS_TABLE": EVENTS,
    "STATE_TABLE": STATE,
    "LAKE_BUCKET": LAKE,
    "SECRET_NAME": "closedloop",
    "SITE_SECRETS_PREFIX": "closedloop/sites/",
    "STAGE_TRANSITIONS_ARN": MACHINE,
    "PUBLIC_URL": "https://c.northwind.example",
    "EVENT_BUS": "the-bus",
    "SALES_TOPIC": f"arn:aws:sns:{REGION}:123456789012:sales",
}
DEALS_SECRET, OLD_DEALS_SECRET = "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0", "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0"
HUBSPOT_SECRET, SALESFORCE_SECRET = "b9d9ff6a-client-secret-of-the-app", "b2a1c4-token-of-the-owner"
POSTMARK_BASIC = "closedloop:correct horse"
DEMO_SECRETS: dict[str, Any] = {
    "deals_standard": [OLD_DEALS_SECRET, DEALS_SECRET],
    "deals_hubspot": ["an-older-client-secret", HUBSPOT_SECRET],
    "deals_salesforce": ["an-older-token", SALESFORCE_SECRET],
    "postmark_basic": POSTMARK_BASIC,
}
POSTMARK = "Basic " + base64.b64encode(POSTMARK_BASIC.encode()).decode()
PEPPER = "a pepper of the installation"
SITES: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    (
        {
            "site": "demo",
            "title": "Northwind <Pumps>",
            "write_key": KEY,
            "origins": [ORIGIN, "http://localhost:8000"],
            "link_hosts": ["docs.northwind.example"],
            "cookie_domain": "northwind.example",
            "topics": [{"path": "/products/pumps", "topic": "pumps"}],
            "forms": {
                "guide": {
                    "thanks": "/thanks.html",
                    "topic": "pumps",
                    "campaign": "pump-guide",
                    "fields": [
                        {"name": "email", "kind": "email", "required": True},
                        {"name": "first_name"},
                        {"name": "company", "required": True},
                        {"name": "industry", "kind": "attribute"},
                        {"name": "phone", "kind": "phone"},
                    ],
                },
            },
            "target_attributes": [{"attribute": "employees", "at_least": 100, "points": 60}],
            "mail_sender": {
                "name": "Northwind Pumps",
                "address": "pumps@northwind.example",
                "postal_address": "1-2-3 Minato, Tokyo",
                "contact": "https://www.northwind.example/contact",
            },
            "currency": "JPY",
            "webhooks": {
                "deals": ["standard", "hubspot", "salesforce"],
                "deal_stages": {"appointmentscheduled": "opened", "decisionmakerboughtin": "changed", "71": "won"},
                "email": ["postmark"],
                "salesforce_organizations": ["00D5g000007Xy9K"],
            },
        },
        (SECRET_KEY,),
    ),
    (
        {
            "site": "asking",
            "title": "Asks first",
            "write_key": "pk_asking_12345678",
            "consent": "opt_in",
            "origins": ["https://eu.example"],
            "forms": {"guide": {"thanks": "/", "fields": [{"name": "email", "kind": "email", "required": True}]}},
        },
        (),
    ),
    (
        {
            "site": "rival",
            "title": "Another company",
            "write_key": "pk_rival_12345678",
            "origins": ["https://rival.example"],
            "webhooks": {"deals": ["standard"]},
        },
        ("sk_rival_owner_only",),
    ),
)


@dataclass
class Account:
    """What lies in the account, and the clients to look at it."""

    url: str
    clients: dict[str, Any] = field(default_factory=dict)
    declared: set[tuple[str, str]] = field(default_factory=set)
    mails_before: int = 0

    def empty(self) -> None:
        """Nothing lies in any account of this process."""
        with urlopen(Request(f"{self.url}/moto-api/reset", method="POST")):
            self.declared = set()

    def loses(self, what: str) -> None:
        """An outage: a table or the installation's secret is gone."""
        self.declared = set()
        if what == "secret":
            self.client("secretsmanager").delete_secret(SecretId="closedloop", ForceDeleteWithoutRecovery=True)
        else:
            self.client("dynamodb").delete_table(TableName=what)

    def create(self, table: str) -> None:
        """An empty table."""
        key = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
        due = [{"AttributeName": "due", "KeyType": "HASH"}, {"AttributeName": "due_at", "KeyType": "RANGE"}]
        index = {"IndexName": "by_due", "KeySchema": due, "Projection": {"ProjectionType": "ALL"}}
        self.client("dynamodb").create_table(
            TableName=table,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=key,
            GlobalSecondaryIndexes=[index],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "due", "due_at")
            ],
        )

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
            )
        return self.clients[service]

    @property
    def state(self) -> State:
        return State(BotoCalls(self.client("dynamodb")), STATE, PEPPER.encode)

    @property
    def ledger(self) -> Ledger:
        return Ledger(BotoCalls(self.client("dynamodb")), EVENTS, lambda attempt: None)

    def items(self, table: str = EVENTS) -> list[dict[str, Any]]:
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=table)
        return [item for page in pages for item in page["Items"]]

    def packets(self) -> list[Packet]:
        return [packet_of(item) for item in self.items() if item["kind"]["S"] == "packet"]

    def records(self) -> list[Mapping[str, Any]]:
        """Every event as it was stored, in order of its id."""
        found = [record for packet in self.packets() for record in packet.records]
        return sorted(found, key=lambda record: str(record["id"]))

    def failed(self) -> list[FailedEvent]:
        return [failed_of([item]) for item in self.items() if item["kind"]["S"] == "failed"]

    def texts_of(self, bucket: str) -> dict[str, bytes]:
        """Every object's name and bytes."""
        s3 = self.client("s3")
        keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
        return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def forget(*, clients: bool = False) -> None:
    """A process as Lambda starts it: no door, no setting and no site kept from before.

    boto3's own clients stay unless they are named: they hold nothing, and each takes a third of a second to make.
    """
    with without_sockets_complaints():
        for module in (anymail, doors, lists, observe):
            for name, kept in vars(module).items():
                if hasattr(kept, "cache_clear") and (clients or name != "boto"):
                    kept.cache_clear()
        if clients:
            gc.collect()


@contextmanager
def without_sockets_complaints() -> Iterator[None]:
    """Lambda freezes a process with its connections open, so nobody closes them; here they are dropped in silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """The one server of this process."""
    with engines.moto() as url:
        yield url


@pytest.fixture(scope="session")
def moto(moto_url: str) -> Iterator[Account]:
    account = Account(moto_url)
    yield account
    for client in account.clients.values():
        client.close()


@pytest.fixture(scope="module")
def aws(moto: Account) -> Iterator[str]:
    """The server's address, for a module that finds nothing of those before it: neither there nor in the process.

    moto keeps its accounts for the process, whichever of its servers asks.
    """
    forget(clients=True)
    moto.empty()
    with pytest.MonkeyPatch.context() as patch:
        # A busy machine's pause is no outage: how long a call may take is asked of the client itself.
        patch.setattr(doors, "SignedClient", partial(SignedClient, timeout_s=60.0))
        yield moto.url
    forget(clients=True)


@pytest.fixture
def account(
    moto: Account, aws: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Account]:
    """The tables, the bucket, the secrets and three sites; the functions find them as in Lambda, by their settings."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    # A logger of its own, which writes to where this test listens.
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", request.node.nodeid)
    forget()
    if not moto.declared:
        declare(moto)
    yield moto
    forget()
    if moto.declared:
        clear(moto)


def declare(account: Account) -> None:
    """Everything anew: what a test broke is whole again."""
    account.empty()
    for table in (EVENTS, STATE):
        account.create(table)
    account.client("s3").create_bucket(Bucket=LAKE, CreateBucketConfiguration={"LocationConstraint": REGION})
    secrets = account.client("secretsmanager")
    secrets.create_secret(Name="closedloop", SecretString=json.dumps({"pepper": PEPPER}))
    secrets.create_secret(Name="closedloop/sites/demo", SecretString=json.dumps(DEMO_SECRETS))
    for words, secret_keys in SITES:
        account.state.put_site(Site.model_validate(words), secret_keys)
    account.declared = {key_of(item) for item in account.items(STATE)}


def clear(account: Account) -> None:
    """Take away what a test added."""
    for table in (EVENTS, STATE):
        for item in account.items(table):
            if table == EVENTS or key_of(item) not in account.declared:
                account.client("dynamodb").delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
    for key in account.texts_of(LAKE):
        account.client("s3").delete_object(Bucket=LAKE, Key=key)


def key_of(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


@pytest.fixture
def spill(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spill]:
    """A queue for what the ledger does not take; the doors find it by their settings."""
    queues = account.client("sqs")
    url = queues.create_queue(QueueName="spill", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
    monkeypatch.setenv("SPILL_QUEUE", url)
    yield Spill(queues, url)
    queues.delete_queue(QueueUrl=url)


@dataclass
class Spill:
    """The queue of the spill, as Lambda reads it for the drain."""

    queues: Any
    url: str

    def batch(self) -> dict[str, Any]:
        """What waits, as an event of SQS; it goes on waiting."""
        waiting: dict[str, dict[str, Any]] = {}
        while True:
            got = self.queues.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=60)
            if "Messages" not in got:
                break
            waiting |= {one["MessageId"]: one for one in got["Messages"]}
        for one in waiting.values():
            self.queues.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=one["ReceiptHandle"], VisibilityTimeout=0
            )
        self._handles = {name: one["ReceiptHandle"] for name, one in waiting.items()}
        return {"Records": [{"messageId": name, "body": one["Body"]} for name, one in waiting.items()]}

    def deliver(self, handle: Callable[[dict[str, Any], Any], dict[str, Any]], context: Any) -> list[str]:
        """Hand all that waits to the drain, as the mapping does; the ids of what it could not do."""
        event = self.batch()
        again = {one["itemIdentifier"] for one in handle(event, context)["batchItemFailures"]}
        for record in event["Records"]:
            if record["messageId"] not in again:
                self.queues.delete_message(QueueUrl=self.url, ReceiptHandle=self._handles[record["messageId"]])
        return sorted(again)


@pytest.fixture
def machine(account: Account) -> Iterator[Any]:
    """A state machine that can be started, and the client to look at its runs."""
    states = account.client("stepfunctions")
    states.create_state_machine(
        name="stage_transitions",
        roleArn="arn:aws:iam::123456789012:role/states",
        definition='{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}',
    )
    yield states
    states.delete_state_machine(stateMachineArn=MACHINE)
