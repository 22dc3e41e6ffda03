"""closedloop doctor: what is wrong with a deployment, and who can mend it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import ClosedLoopError
from closedloop.lake.files import Files
from closedloop.runtime import clock, doors, settings
from closedloop.runtime.sender import sender_standing


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
    try:
        where = named(stage, outputs)
    except ClosedLoopError as error:
        remedy = "start one with `make run`, or deploy and name it with --stage"
        return [Finding("deployment", False, str(error), remedy)]
    findings = [Finding("deployment", True, where)]
    deploy = "deploy the stateful stack"
    checks: list[tuple[str, Callable[[], tuple[bool, str]], str]] = [
        ("credentials and region", _identity, "set AWS_PROFILE and AWS_REGION, or log in again"),
        ("Events table", _events, deploy),
        ("State table", _declared, deploy),
        ("pepper", _pepper, f"{deploy}; never change the pepper afterwards"),
        ("lake bucket", lambda: _bucket(doors.lake), deploy),
        ("reports bucket", lambda: _bucket(doors.reports), deploy),
        ("sites", lambda: _named(doors.sites()), "closedloop site apply FILE"),
        ("loops", lambda: _named([loop.loop for loop in doors.loops()]), "closedloop loop apply FILE"),
        ("mail sender", _sender, "add mail_sender to the site's file; `closedloop site apply FILE` says what to set"),
        ("dead-letter queues", _waiting, "read the log of its function, mend the cause, then redrive the queue"),
    ]
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
