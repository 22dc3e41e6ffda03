"""Makes the clients and hands out the doors, once for each process."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from closedloop.errors import NotDurable, ReportFailed
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.events.times import iso
from closedloop.runtime import clock, observe, settings
from closedloop.store.calls import CallFailed, Dynamo
from closedloop.store.ledger import Item, Ledger
from closedloop.store.signed import BUDGET_S, DYNAMODB, SECRETS, Credentials, Service, SignedClient

if TYPE_CHECKING:
    from closedloop.capture.flow import Doors
    from closedloop.capture.wire import Bad
    from closedloop.lake.archive import Archived
    from closedloop.lake.files import Files
    from closedloop.lake.runs import RunFiles
    from closedloop.loops.definition import Loop
    from closedloop.loops.flow import MailDoors
    from closedloop.loops.notices import Notice
    from closedloop.runtime.turnstile import Turnstile
    from closedloop.sites.definition import Site
    from closedloop.store.sites import Sites
    from closedloop.store.state import State

Value = TypeVar("Value")
FRESH_S = 60.0
SECRET_FRESH_S = 300.0
SPILL_BUDGET_S = 1.0
CODE_VERSION = "0.1.0"


def _credentials() -> Credentials:
    env = os.environ
    return Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env.get("AWS_SESSION_TOKEN", ""))


@cache
def _signed(service: Service, budget_s: float = BUDGET_S) -> SignedClient:
    env = os.environ
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = (
        env.get(f"AWS_ENDPOINT_URL_{service.name.upper()}") or env.get("AWS_ENDPOINT_URL")
        or f"https://{service.name}.{region}.amazonaws.com"
    )
    return SignedClient(service, region, endpoint, _credentials, clock.now, clock.wait, budget_s=budget_s)


def _caller(service: Service) -> Dynamo:
    """The signing client where the role's keys are at hand, as in Lambda; boto3 finds an operator's anywhere else."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return _signed(service)
    from closedloop.store.boto import BotoCalls

    return BotoCalls(boto(service.name))


def dynamo() -> Dynamo:
    """DynamoDB, over one kept connection."""
    return _caller(DYNAMODB)


@cache
def ledger() -> Ledger:
    return Ledger(dynamo(), settings.settings()[settings.EVENTS_TABLE], clock.wait)


@cache
def capture_ledger() -> Ledger:
    """The ledger as the doors of capture write to it: what it does not take now is spilled."""
    return Ledger(dynamo(), settings.settings()[settings.EVENTS_TABLE], clock.wait, _spill, time.monotonic)


def _spill(items: Sequence[Item], why: str) -> None:
    from closedloop.runtime import spill

    spill.keep(items, why)


def spilling(service: Service) -> SignedClient:
    """A service of the spill, in the little time that a door has left."""
    return _signed(service, SPILL_BUDGET_S)


@cache
def state() -> State:
    from closedloop.store.state import State

    return State(dynamo(), settings.settings()[settings.STATE_TABLE], pepper)


class _Fresh(Generic[Value]):
    """A value that is read again when it is old; when reading fails, the old one serves on.

    Units: seconds.
    """

    def __init__(self, read: Callable[[str], Value], fresh_s: float) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._kept: dict[str, tuple[float, Value]] = {}

    def __call__(self, name: str) -> Value:
        kept = self._kept.get(name)
        if kept is not None and time.monotonic() - kept[0] < self._fresh_s:
            return kept[1]
        try:
            value = self._read(name)
        except CallFailed as error:
            if kept is not None:
                return kept[1]
            raise NotDurable(f"a setting could not be read: {error.code}") from error
        if len(self._kept) > 1000:
            self._kept.clear()
        self._kept[name] = (time.monotonic(), value)
        return value


@cache
def _secrets() -> _Fresh[Mapping[str, Any]]:
    return _Fresh(
        lambda name: dict(json.loads(_caller(SECRETS).call("GetSecretValue", {"SecretId": name})["SecretString"])),
        SECRET_FRESH_S,
    )


def pepper() -> bytes:
    """The installation's pepper, under which addresses become identifiers."""
    return str(_installation_secret()["pepper"]).encode()


def _installation_secret() -> Mapping[str, Any]:
    return _secrets()(settings.settings()[settings.SECRET_NAME])


def link_keys() -> list[bytes]:
    """The keys that links in mails are signed with, the newest last; derived from the pepper unless they are set."""
    import hmac

    stated = _installation_secret().get("link_keys")
    return [str(key).encode() for key in stated] if stated else [hmac.digest(pepper(), b"links", "sha256")]


def site_secrets(site: str) -> Mapping[str, Any]:
    """What outside systems sign with for one site; empty while nothing was set.

    Errors: NotDurable when the secrets cannot be read.
    """
    name = settings.settings()[settings.SITE_SECRETS_PREFIX] + site
    try:
        return _secrets()(name)
    except NotDurable as error:
        cause = error.__cause__
        if isinstance(cause, CallFailed) and cause.code == "ResourceNotFoundException":
            return {}
        raise


def turnstile() -> Turnstile:
    """Asks about a form's sender; another address than Cloudflare's is for tests alone."""
    from closedloop.runtime.turnstile import VERIFY, Turnstile

    return Turnstile(site_secrets, settings.settings().get(settings.TURNSTILE_URL, VERIFY))


class CachedKeys:
    """Sites by key and by name, each looked up at most once a minute."""

    def __init__(self, read: Sites) -> None:
        self.site_of_key = _Fresh(read.site_of_key, FRESH_S)
        self.site = _Fresh(read.site, FRESH_S)
        self.site_of_origin = _Fresh(read.site_of_origin, FRESH_S)


@cache
def _declared() -> Sites:
    """The sites alone: the doors of capture load nothing of profiles and loops."""
    from closedloop.store.sites import Sites

    return Sites(dynamo(), settings.settings()[settings.STATE_TABLE])


@cache
def keys() -> CachedKeys:
    return CachedKeys(_declared())


def fail(site: str, door: str, bad: Sequence[Bad], received: datetime) -> None:
    """Keep the bytes of events that cannot be used, with the reason."""
    for one in bad:
        capture_ledger().fail(FailedEvent(
            one.kind, one.reason, site, door, f"capture_{door}", CODE_VERSION, received, one.payload, one.sent
        ))
    unusable = sum(one.kind is not FailedKind.QUARANTINED for one in bad)
    if unusable:
        observe.count("FailedEvents", unusable)


def capture() -> Doors:
    """What a capture function is handed."""
    from closedloop.capture.flow import Doors

    return Doors(keys=keys(), facts=capture_ledger(), fail=fail, pepper=pepper(), now=clock.now, new_id=clock.new_id)


# boto3, for the services that the capture path does not need.


@cache
def boto(service: str) -> Any:
    """A boto3 client, which finds credentials wherever they are."""
    import boto3.session
    from botocore.config import Config

    # A mail whose answer is lost may have gone out: it is never sent again blindly.
    attempts = 1 if service == "sesv2" else 4
    options: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": attempts}, "connect_timeout": 2}
    if service == "s3" and os.environ.get("AWS_ENDPOINT_URL"):
        options["s3"] = {"addressing_style": "path"}
    make: Any = boto3.session.Session().client
    return make(service, config=Config(**options))


@cache
def lake() -> Files:
    from closedloop.lake.files import Files

    return Files(boto("s3"), settings.settings()[settings.LAKE_BUCKET])


@cache
def reports() -> Files:
    from closedloop.lake.files import Files

    return Files(boto("s3"), settings.settings()[settings.REPORTS_BUCKET])


@cache
def runs() -> RunFiles:
    from closedloop.lake.runs import RunFiles

    return RunFiles(lake())


@cache
def _sites() -> _Fresh[Mapping[str, Site]]:
    return _Fresh(lambda _: _declared().sites(), FRESH_S)


def sites() -> Mapping[str, Site]:
    """Every site of the installation, read at most once a minute."""
    return _sites()("sites")


@cache
def _tombstones() -> _Fresh[Mapping[str, datetime]]:
    return _Fresh(lambda _: state().tombstones(), FRESH_S)


def tombstones() -> Mapping[str, datetime]:
    """Who names nobody any more since they were erased, read at most once a minute."""
    return _tombstones()("erased")


def loops() -> list[Loop]:
    """Every declared loop and each of its tracks, as of now.

    Whoever is due because a loop is new must be decided about by that loop.

    Errors: NotDurable.
    """
    try:
        return state().lanes()
    except CallFailed as error:
        raise NotDurable(f"a setting could not be read: {error.code}") from error


def mail() -> MailDoors:
    """What performing actions needs."""
    from closedloop.capture.links import Tokens
    from closedloop.loops.flow import MailDoors
    from closedloop.runtime.mail import SesMailer, asking_mails, links_of
    from closedloop.runtime.notices import put_on

    tokens, public_url = Tokens(link_keys()), settings.settings()[settings.PUBLIC_URL]
    return MailDoors(
        mailer=SesMailer(boto("sesv2")), links=links_of(tokens, public_url),
        asks=asking_mails(tokens, public_url, pepper()),
        tell=put_on(settings.settings()[settings.EVENT_BUS], boto("events")),
        loops={loop.loop: loop for loop in loops()},
        sites=state().sites(), now=clock.now,
    )


def channels() -> Mapping[str, Callable[[str, Notice], None]]:
    """Where notices go, by the channel's name."""
    from closedloop.runtime.notices import Crm, Slack, Topic

    topic = Topic(settings.settings()[settings.SALES_TOPIC], boto("sns"))
    return {"topic": topic, "slack": Slack(site_secrets), "crm": Crm(site_secrets, clock.now)}


def put_site_secrets(site: str, values: Mapping[str, Any]) -> None:
    """Keep what outside systems sign with for one site."""
    client = boto("secretsmanager")
    name = settings.settings()[settings.SITE_SECRETS_PREFIX] + site
    text = json.dumps(dict(values), sort_keys=True)
    try:
        client.create_secret(Name=name, SecretString=text)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=name, SecretString=text)
    _secrets.cache_clear()


def run_state(name: str) -> str:
    """How a run of the workflow stands: RUNNING, SUCCEEDED, FAILED, TIMED_OUT or ABORTED."""
    arn = settings.settings()[settings.STAGE_TRANSITIONS_ARN].replace(":stateMachine:", ":execution:") + f":{name}"
    return str(boto("stepfunctions").describe_execution(executionArn=arn)["status"])


def build_report(content: Mapping[str, Any]) -> dict[str, Any]:
    """Have report_loop build reports now, and give back what it answers."""
    answer = boto("lambda").invoke(
        FunctionName=settings.settings()[settings.REPORT_FUNCTION], Payload=json.dumps(dict(content)).encode()
    )
    payload = json.loads(answer["Payload"].read() or b"{}")
    if answer.get("FunctionError"):
        raise ReportFailed(str(payload.get("errorMessage") or payload))
    return dict(payload)


def tell_of_report(subject: str, text: str) -> None:
    """Tell those who answer for a loop of its report."""
    boto("sns").publish(TopicArn=settings.settings()[settings.REPORT_TOPIC], Subject=subject, Message=text)


def outages() -> tuple[type[Exception], ...]:
    """What botocore raises when a service cannot be reached or refuses."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def dead_letters(prefix: str) -> dict[str, int]:
    """How many messages wait in each dead-letter queue of a deployment; only those with any."""
    queues = boto("sqs")
    waiting = {}
    for url in queues.list_queues(QueueNamePrefix=prefix).get("QueueUrls", ()):
        asked = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
        count = int(asked["Attributes"]["ApproximateNumberOfMessages"])
        if count:
            waiting[url.rpartition("/")[2]] = count
    return waiting


@cache
def archived() -> Archived:
    """What the lake holds; for an operator's checks."""
    from closedloop.lake.archive import Archived

    return Archived(lake())


def start_transitions(name: str, content: Mapping[str, Any]) -> bool:
    """Start a run of the workflow; false when a run of this name was started before, which is as good."""
    client = boto("stepfunctions")
    try:
        client.start_execution(
            stateMachineArn=settings.settings()[settings.STAGE_TRANSITIONS_ARN], name=name,
            input=json.dumps(content, sort_keys=True),
        )
    except client.exceptions.ExecutionAlreadyExists:
        return False
    return True


def run_name(kind: str, moment: datetime) -> str:
    """A run's name after its kind and time, such as tick-2026-11-24T06-00-00-000Z."""
    return f"{kind}-{iso(moment).replace(':', '-').replace('.', '-')}"[:80]

