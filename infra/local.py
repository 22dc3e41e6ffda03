"""The whole product on this machine: the emulator on loopback, and the very templates that AWS would get."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ROOT = Path(__file__).resolve().parent.parent
EMULATOR = ROOT / ".emulator"
SYNTHESIZED = ROOT / "build" / "local.out"
HOST = "127.0.0.1"
REGION = "ap-northeast-1"
ACCOUNT = "000000000000"

# What the CDK's bootstrap leaves in an account, and its templates look for.
BOOTSTRAP_BUCKET = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
BOOTSTRAP_VERSION = ("/cdk-bootstrap/hnb659fds/version", "31")

START_TIMEOUT_S = 30
DEPLOY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 10
POLL_S = 0.05

Say = Callable[[str], None]


class NotRunning(Exception):
    """The local run could not be started or is not there; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """Where one local run listens and what its resources are called.

    Shapes: `endpoint` takes the product's paths after it, such as `/v1/batch`; `environment` is what a process on this
    machine needs to reach the run as a deployed function does: the SDK's endpoint, keys that open nothing, and the
    product's settings.
    """

    endpoint: str
    aws_endpoint_url: str
    region: str
    events_table: str
    state_table: str
    lake_bucket: str
    reports_bucket: str
    secret_name: str
    stage_transitions_arn: str
    report_function: str
    functions: Mapping[str, str]
    pid: int
    environment: Mapping[str, str]


@contextlib.contextmanager
def running(directory: Path, **options: Any) -> Iterator[Deployed]:
    """A local run for as long as the block lasts.

    Errors: NotRunning.
    """
    try:
        yield up(directory, **options)
    finally:
        down(directory)


def up(
    directory: Path,
    *,
    emulator: Path = EMULATOR,
    port: int | None = None,
    keep_state: bool = False,
    context: Mapping[str, str] | None = None,
    origins: Sequence[str] = (),
    senders: Sequence[str] = (),
    say: Say = lambda line: None,
) -> Deployed:
    """Start the emulator, deploy both stacks, and write `outputs.json` into the directory.

    Shapes: `emulator` is a virtual environment made from `requirements/emulator.txt` with this interpreter's minor
    version; `context` goes to the synthesis; `origins` are pages whose browsers ask before they send (a preflight);
    `senders` are the addresses or domains that mails leave from.
    Errors: NotRunning.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if _recorded(directory):
        raise NotRunning(f"a local run is already recorded in {directory}: end it first with `down`")
    _check_minor(emulator)
    port = port or _free_port()
    say(f"starting the emulator on {HOST}:{port}")
    process = _start(directory, emulator, port, keep_state)
    try:
        deployed = _deploy_all(directory, process, port, context or {}, origins, senders, say)
        # From here the pid file speaks for the emulator, also to another process that ends it.
        process.returncode = 0
        return deployed
    except BaseException:
        # Also on Ctrl-C: a half-started run leaves no process behind.
        down(directory)
        raise


def down(directory: Path) -> bool:
    """End the emulator that `up` started here, and no other process; say whether there was one."""
    record = _recorded(directory)
    for stale in ("emulator.pid", "outputs.json"):
        (directory / stale).unlink(missing_ok=True)
    if record is None:
        return False
    pid = record["pid"]
    # The emulator leads a session of its own, so its workers end with it and nothing else does.
    for wish in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, wish)
        if _wait(lambda: not _alive(pid), STOP_TIMEOUT_S):
            break
    shutil.rmtree(_unpacked(directory), ignore_errors=True)
    return True


def _deploy_all(
    directory: Path,
    process: subprocess.Popen[bytes],
    port: int,
    context: Mapping[str, str],
    origins: Sequence[str],
    senders: Sequence[str],
    say: Say,
) -> Deployed:
    url = f"http://{HOST}:{port}"
    output = SYNTHESIZED
    say("writing the templates and the layers of this machine")
    _synthesize(output, context)
    if not _wait(lambda: _answers(port), START_TIMEOUT_S, while_running=process):
        raise NotRunning(f"the emulator did not start: see {directory / 'emulator.log'}")
    session = boto3.Session("test", "test", region_name=REGION)

    def client(service: str) -> Any:
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
        return session.client(service, endpoint_url=url, config=config)  # type: ignore[call-overload]

    say("uploading the functions and layers")
    _bootstrap(client)
    assembly = json.loads((output / "manifest.json").read_text())["artifacts"]
    stacks = _in_order(assembly)
    outputs: dict[str, str] = {}
    names: dict[str, str] = {}
    for name in stacks:
        properties = assembly[name]["properties"]
        template = _upload(client("s3"), output, name, properties["templateFile"], url)
        stack = properties["stackName"]
        say(f"deploying {stack}")
        outputs.update(_deploy(client("cloudformation"), stack, template))
        names[name] = stack

    # The API's own address has a host name that many resolvers do not know; this one works everywhere.
    api = outputs["ApiEndpoint"].removeprefix("http://").split(".")[0]
    endpoint = f"{url}/_aws/execute-api/{api}"
    say("telling the product its public address")
    _redeploy(client("cloudformation"), names["Stateless"], {"PublicUrl": endpoint})
    if origins:
        _open_to_browsers(client("apigatewayv2"), api, origins)
    functions = _functions(client("lambda"))
    _verify(client("sesv2"), senders)
    _let_mail_out(client("lambda"), client("iam"), functions["perform_actions"])

    deployed = Deployed(
        endpoint=endpoint,
        aws_endpoint_url=url,
        region=REGION,
        events_table=outputs["EventsTable"],
        state_table=outputs["StateTable"],
        lake_bucket=outputs["LakeBucket"],
        reports_bucket=outputs["ReportsBucket"],
        secret_name=outputs["SecretName"],
        stage_transitions_arn=outputs["StageTransitionsArn"],
        report_function=outputs["ReportFunction"],
        functions=functions,
        pid=process.pid,
        environment={
            "AWS_ENDPOINT_URL": url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "STAGE": context.get("stage", "dev"),
            "EVENTS_TABLE": outputs["EventsTable"],
            "STATE_TABLE": outputs["StateTable"],
            "LAKE_BUCKET": outputs["LakeBucket"],
            "REPORTS_BUCKET": outputs["ReportsBucket"],
            "SECRET_NAME": outputs["SecretName"],
            "SITE_SECRETS_PREFIX": outputs["SiteSecretsPrefix"],
            "STAGE_TRANSITIONS_ARN": outputs["StageTransitionsArn"],
            "REPORT_FUNCTION": outputs["ReportFunction"],
            "PUBLIC_URL": endpoint,
        },
    )
    (directory / "outputs.json").write_text(json.dumps(asdict(deployed), indent=2) + "\n")
    return deployed


def _unpacked(directory: Path) -> Path:
    return directory / "unpacked"


def _start(directory: Path, emulator: Path, port: int, keep_state: bool) -> subprocess.Popen[bytes]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "PYTHON"))},
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "MINISTACK_REGION": REGION,
        # Functions may do what their roles say and nothing else, as in an account.
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # By number and not by name: with a name the SDK would put the bucket into the host name.
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_DEFAULT_REGION": REGION,
    }
    # The emulator unpacks every function and layer for each worker, and leaves them behind when it is ended.
    unpacked = _unpacked(directory)
    unpacked.mkdir(exist_ok=True)
    environment["TMPDIR"] = str(unpacked.resolve())
    if keep_state:
        environment |= {"PERSIST_STATE": "1", "STATE_DIR": str((directory / "state").resolve()), "S3_PERSIST": "1"}
        environment["S3_DATA_DIR"] = str((directory / "s3").resolve())
    with (directory / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [str(emulator / "bin" / "python"), str(ROOT / "infra" / "emulator.py")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    record = {"pid": process.pid, "started": _birth(process.pid), "port": port}
    (directory / "emulator.pid").write_text(json.dumps(record) + "\n")
    return process


def _check_minor(emulator: Path) -> None:
    python = emulator / "bin" / "python"
    if not python.exists():
        raise NotRunning(
            f"no emulator in {emulator}: make it once with `{Path(sys.executable).name} -m venv {emulator}` and"
            f" `{python} -m pip install --require-hashes -r requirements/emulator.txt`"
        )
    ask = [str(python), "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
    found = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if found != own:
        # Functions run under the emulator's interpreter, with layers that are built for this one.
        raise NotRunning(
            f"the emulator in {emulator} has Python {found or '?'}, this process {own}: make it again with {own}"
        )


def _synthesize(output: Path, context: Mapping[str, str]) -> None:
    asked = {"platform": "host", "schedules": "off", **context}
    made_from = _fingerprint(asked)
    mark = output / "made-from.txt"
    if mark.exists() and mark.read_text() == made_from:
        return
    pairs = [part for key, value in asked.items() for part in ("-c", f"{key}={value}")]
    command = [sys.executable, "-m", "infra.app", "-o", str(output.resolve()), *pairs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotRunning(f"the templates could not be written:\n{done.stdout}{done.stderr}")
    mark.write_text(made_from)


def _fingerprint(asked: Mapping[str, str]) -> str:
    """What the templates are made from; the same inputs need no second synthesis."""
    digest = hashlib.sha256(json.dumps([sys.version, dict(asked)], sort_keys=True).encode())
    sources = [ROOT / "cdk.json", *(ROOT / "requirements").glob("*.txt")]
    for folder in ("infra", "functions", "layers/closedloop"):
        sources += [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for path in sorted(sources):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _bootstrap(client: Callable[[str], Any]) -> None:
    s3 = client("s3")
    if BOOTSTRAP_BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=BOOTSTRAP_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    name, version = BOOTSTRAP_VERSION
    client("ssm").put_parameter(Name=name, Value=version, Type="String", Overwrite=True)


def _in_order(assembly: Mapping[str, Any]) -> list[str]:
    stacks = {name for name, artifact in assembly.items() if artifact["type"] == "aws:cloudformation:stack"}
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name in stacks and name not in ordered:
            for dependency in assembly[name].get("dependencies", []):
                visit(dependency)
            ordered.append(name)

    for name in sorted(stacks):
        visit(name)
    return ordered


def _upload(s3: Any, output: Path, name: str, template: str, url: str) -> str:
    address = ""
    for file in json.loads((output / f"{name}.assets.json").read_text())["files"].values():
        source, destination = file["source"], next(iter(file["destinations"].values()))
        key = destination["objectKey"]
        path = output / source["path"]
        if source["path"] == template:
            address = f"{url}/{BOOTSTRAP_BUCKET}/{key}"
        if source["packaging"] == "zip":
            archive = output / f"{key}"
            if not archive.exists():
                _archive(path, archive)
            path = archive
        with path.open("rb") as body:
            s3.put_object(Bucket=BOOTSTRAP_BUCKET, Key=key, Body=body)
    return address


def _archive(folder: Path, archive: Path) -> None:
    # Stored, not packed: it travels no further than this machine.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), (1980, 1, 1, 0, 0, 0))
                entry.external_attr = 0o644 << 16
                packed.writestr(entry, path.read_bytes())


def _deploy(cloudformation: Any, stack: str, template_url: str) -> dict[str, str]:
    asked = {
        "StackName": stack,
        "TemplateURL": template_url,
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    }
    known = {one["StackName"] for one in cloudformation.describe_stacks()["Stacks"]}
    if stack in known:
        _update(cloudformation, asked)
    else:
        cloudformation.create_stack(**asked)
    return _finish(cloudformation, stack)


def _redeploy(cloudformation: Any, stack: str, parameters: Mapping[str, str]) -> None:
    asked = {
        "StackName": stack,
        "UsePreviousTemplate": True,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
    }
    _update(cloudformation, asked)
    _finish(cloudformation, stack)


def _update(cloudformation: Any, asked: Mapping[str, Any]) -> None:
    try:
        cloudformation.update_stack(**asked)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise


def _finish(cloudformation: Any, stack: str) -> dict[str, str]:
    def described() -> Any:
        return cloudformation.describe_stacks(StackName=stack)["Stacks"][0]

    _wait(lambda: not described()["StackStatus"].endswith("_IN_PROGRESS"), DEPLOY_TIMEOUT_S)
    found = described()
    if found["StackStatus"] not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
        events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
        reasons = [
            f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event["ResourceStatus"].endswith("_FAILED")
        ]
        raise NotRunning("\n".join([f"{stack} ended as {found['StackStatus']}", *reasons]))
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def _verify(ses: Any, senders: Sequence[str]) -> None:
    known = {one["IdentityName"] for one in ses.list_email_identities()["EmailIdentities"]}
    for sender in senders:
        if sender not in known:
            ses.create_email_identity(EmailIdentity=sender)


def _let_mail_out(lambda_: Any, iam: Any, function: str) -> None:
    # The emulator judges a mail by the resource `*` and not by its sender, so the role's own statement never fits.
    role = lambda_.get_function_configuration(FunctionName=function)["Role"].rsplit("/", 1)[-1]
    statement = {"Effect": "Allow", "Action": "ses:SendEmail", "Resource": "*"}
    iam.put_role_policy(
        RoleName=role,
        PolicyName="MailInTheEmulator",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def _open_to_browsers(gateway: Any, api: str, origins: Sequence[str]) -> None:
    # The emulator answers every preflight itself and refuses it unless told otherwise here; AWS asks the function.
    gateway.update_api(
        ApiId=api,
        CorsConfiguration={
            "AllowOrigins": list(origins),
            "AllowCredentials": True,
            "AllowMethods": ["GET", "POST", "OPTIONS"],
            "AllowHeaders": ["authorization", "content-type", "x-retry-count"],
            "ExposeHeaders": ["retry-after"],
            "MaxAge": 86400,
        },
    )


def _functions(lambda_: Any) -> dict[str, str]:
    """The deployed name of each function, by the name of its folder."""
    found = lambda_.list_functions(MaxItems=50)["Functions"]
    return {
        one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: one["FunctionName"]
        for one in found
        if "POWERTOOLS_SERVICE_NAME" in one.get("Environment", {}).get("Variables", {})
    }


def _recorded(directory: Path) -> dict[str, Any] | None:
    """What `up` noted here, as long as that very process still runs."""
    try:
        record: dict[str, Any] = json.loads((directory / "emulator.pid").read_text())
    except FileNotFoundError:
        return None
    # A number can be given to another process; its time of birth cannot.
    if _alive(record["pid"]) and _birth(record["pid"]) == record["started"]:
        return record
    return None


def _alive(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _birth(pid: int) -> str:
    """When a process began, in words of the machine; empty when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        # The name of the program stands in brackets and may hold anything; the start is the 20th field after it.
        return stat.read_text().rpartition(")")[2].split()[19] if stat.exists() else ""
    ask = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    asked = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        asked.request("GET", "/_ministack/health")
        return asked.getresponse().status == 200
    except OSError:
        return False
    finally:
        asked.close()


def _wait(done: Callable[[], bool], seconds: float, while_running: subprocess.Popen[bytes] | None = None) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end or (while_running and while_running.poll() is not None):
            return False
        time.sleep(POLL_S)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Start or end the product on this machine."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start the emulator, deploy, print outputs as JSON")
    end = commands.add_parser("down", help="end the emulator that `up` started")
    commands.add_parser("prepare", help="write the templates and layers of this machine ahead of the first `up`")
    for command in (start, end):
        command.add_argument("--dir", type=Path, default=ROOT / ".local", help="where the run keeps its files")
    start.add_argument("--emulator", type=Path, default=EMULATOR, help="virtual environment that holds the emulator")
    start.add_argument("--port", type=int, help="default: any free port")
    start.add_argument("--keep-state", action="store_true", help="tables and files survive `down`")
    start.add_argument("--origin", action="append", default=[], help="origin of a page whose browser sends preflights")
    start.add_argument("--sender", action="append", default=[], help="address or domain that mails leave from")
    start.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "prepare":
            _synthesize(SYNTHESIZED, {})
            return 0
        if asked.command == "down":
            was = down(asked.dir)
            print("ended" if was else "nothing was running here", file=sys.stderr)
            return 0
        deployed = up(
            asked.dir,
            emulator=asked.emulator,
            port=asked.port,
            keep_state=asked.keep_state,
            origins=asked.origin,
            senders=asked.sender,
            context=dict(pair.split("=", 1) for pair in asked.context),
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except NotRunning as refusal:
        print(f"closedloop: {refusal}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(deployed), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
