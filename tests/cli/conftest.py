"""A deployment for the command line, and the command line as in a shell."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from moto.backends import get_backend

from closedloop.cli.main import main
from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import event_of, pack
from closedloop.loops.definition import Loop
from closedloop.profiles.flow import project
from closedloop.runtime import clock, doors
from closedloop.sites.definition import Site
from closedloop.sites.document import Document
from closedloop.store import schema
from tests.accounts import Account, forget

ROOT = Path(__file__).resolve().parent.parent.parent
SITE, LOOP = ROOT / "examples/sites/demo.yaml", ROOT / "examples/loops/autumn-pumps.yaml"
REGION, ACCOUNT, PEPPER = "eu-west-1", "123456789012", "a pepper"
EVENTS, STATE, LAKE, REPORTS = "the-events", "the-state", "the-lake", "the-reports"
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION, "EVENTS_TABLE": EVENTS, "STATE_TABLE": STATE, "LAKE_BUCKET": LAKE,
    "REPORTS_BUCKET": REPORTS, "SECRET_NAME": "closedloop", "SITE_SECRETS_PREFIX": "closedloop/sites/",
    "PUBLIC_URL": "https://c.northwind.example", "STAGE": "dev",
}
LEFT_OUT = ("FORCE_COLOR", "NO_COLOR", "CLOSEDLOOP_OUTPUTS", "CLOSEDLOOP_STAGE", "AWS_SESSION_TOKEN")
TOKENS = ("aaaa", "bbbb", "cccc")
AT = datetime(2026, 10, 1, 6, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A command as in a shell: a process of its own, which keeps nothing from before."""

    def closedloop(*words: str | Path) -> Ran:
        forget()
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return closedloop


@dataclass(frozen=True)
class Cloud:
    """The account that the commands speak to."""

    url: str
    clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self.clients:
            self.clients[service] = boto3.client(
                service, endpoint_url=self.url, region_name=REGION, aws_access_key_id="testing",
                aws_secret_access_key="testing",
            )
        return self.clients[service]

    def items(self, table: str) -> list[dict[str, Any]]:
        return list(self.client("dynamodb").scan(TableName=table)["Items"])

    def secret(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]))

    def secrets(self) -> set[str]:
        return {one["Name"] for one in self.client("secretsmanager").list_secrets()["SecretList"]}

    def identities(self) -> list[str]:
        return [one["IdentityName"] for one in self.client("sesv2").list_email_identities()["EmailIdentities"]]

    def verify(self, identity: str, *, verified: bool = True) -> None:
        """What SES does when the domain's records are there; moto has no call for it."""
        known = get_backend("ses")[ACCOUNT][REGION].email_identities[identity]
        known.verified_for_sending_status = verified
        known.dkim_attributes["Tokens"] = list(TOKENS)


@pytest.fixture(scope="session")
def server(moto_url: str) -> Cloud:
    return Cloud(moto_url)


@pytest.fixture
def cloud(server: Cloud, moto: Account, aws: str, tmp_path: Path) -> Iterator[Cloud]:
    """A deployment that nobody has used yet; the commands find it by the environment's settings."""
    here = Path.cwd()
    settings = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    # A second from call to call, so that nothing happens at the same time as something else.
    moments = (NOW + timedelta(seconds=second) for second in count())
    with (
        patch.dict(os.environ, {**settings, **SETTINGS, "AWS_ENDPOINT_URL": aws}, clear=True),
        patch.object(clock, "now", lambda: next(moments)),
    ):
        os.chdir(tmp_path)
        moto.empty()
        deploy(server)
        yield server
        os.chdir(here)
        forget()


def deploy(cloud: Cloud) -> None:
    for table in (EVENTS, STATE):
        index = {
            "IndexName": schema.BY_DUE, "Projection": {"ProjectionType": "ALL"}, "KeySchema": [
                {"AttributeName": schema.DUE, "KeyType": "HASH"}, {"AttributeName": schema.DUE_AT, "KeyType": "RANGE"},
            ],
        }
        cloud.client("dynamodb").create_table(
            TableName=table, BillingMode="PAY_PER_REQUEST", GlobalSecondaryIndexes=[index],
            KeySchema=[
                {"AttributeName": schema.PK, "KeyType": "HASH"}, {"AttributeName": schema.SK, "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"}
                for name in (schema.PK, schema.SK, schema.DUE, schema.DUE_AT)
            ],
        )
    for bucket in (LAKE, REPORTS):
        cloud.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    cloud.client("secretsmanager").create_secret(Name="closedloop", SecretString=json.dumps({"pepper": PEPPER}))


@cache
def the_examples() -> tuple[Site, Loop]:
    site, loop = Document(SITE.read_bytes(), SITE.name), Document(LOOP.read_bytes(), LOOP.name)
    return site.read_as(Site), loop.read_as(Loop)


@pytest.fixture
def applied(cloud: Cloud) -> Cloud:
    """The example site and loop as `apply` leaves them, and a sender that may send."""
    forget()
    site, loop = the_examples()
    doors.put_site_secrets("demo", {"secret_key": "sk_of_the_owner", "deals_standard": ["whsec_b2Y="]})
    doors.state().put_site(site, ["sk_of_the_owner"])
    doors.state().put_loop(loop, AT)
    cloud.client("sesv2").create_email_identity(EmailIdentity="northwind.example")
    cloud.verify("northwind.example")
    return cloud


def a_file(name: str, text: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def a_person(email: str = "ada@water.example") -> str:
    """Somebody who read about pumps and asked for the guide; the name of their person."""
    forget()
    identifier = Hasher(PEPPER.encode(), "demo").address(email)
    assert identifier is not None
    page = {"path": "/products/pumps", "url": "https://www.northwind.example/products/pumps", "referrer": ""}
    context = {"page": page, "agent": (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 "
        "Safari/537.36"
    )}
    entries = [{
        "id": f"demo/beacon/{n}", "type": "page", "at": f"2026-10-01T0{n}:00:00.000Z", "visitor": "v1",
        "context": context,
    } for n in (1, 2, 3)]
    form = {
        "id": "demo/form/1", "type": "track", "name": "Form Submitted", "at": "2026-10-01T04:00:00.000Z",
        "visitor": "v1", "ids": [identifier], "traits": {"industry": "water", "employees": "250"},
        "context": context, "properties": {"form": "guide"},
    }
    packets = pack(
        [*(("V#demo#v1", entry, {}) for entry in entries),
         ("V#demo#v1", form, {identifier: {"email": email, "first_name": "Ada"}})],
        site="demo", door=Door.FORM, received_at=AT, headers={},
    )
    doors.ledger().append(packets)
    arrived = [("1", packet, [event_of(packet, record) for record in packet.records]) for packet in packets]
    changed = project(arrived, doors.state(), doors.ledger(), doors.sites(), lambda: AT).changed
    assert len(changed) == 1
    return changed.pop()
