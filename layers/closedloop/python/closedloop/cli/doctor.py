"""closedloop doctor: what is wrong with a deployment, and who can mend it."""

from __future__ import annotations

from collections.abc import Callable
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
        return [Finding("deployment", False, str(error), "start one with `make run`, or deploy and name it with --stage")]
    findings = [Finding("deployment", True, where)]
    checks: list[tuple[str, Callable[[], tuple[bool, str]], str]] = [
        ("credentials and region", _identity, "set AWS_PROFILE and AWS_REGION, or log in again"),
        ("Events table", lambda: (True, f"{sum(1 for _ in doors.ledger().failed(f'{clock.now():%Y-%m-%d}'))} failed events today"), "deploy the stateful stack"),
        ("State table", lambda: (True, f"{len(doors.sites())} sites, {len(doors.loops())} loops"), "deploy the stateful stack"),
        ("pepper", lambda: (bool(doors.pepper()), "is set"), "deploy the stateful stack; never change the pepper afterwards"),
        ("lake bucket", lambda: _bucket(doors.lake), "deploy the stateful stack"),
        ("reports bucket", lambda: _bucket(doors.reports), "deploy the stateful stack"),
        ("sites", lambda: (bool(doors.sites()), ", ".join(doors.sites()) or "none"), "closedloop site apply FILE"),
        ("loops", lambda: (bool(doors.loops()), ", ".join(loop.loop for loop in doors.loops()) or "none"), "closedloop loop apply FILE"),
        ("mail sender", _sender, "add mail_sender to the site's file; `closedloop site apply FILE` names the DNS records that verify it"),
        ("what waits in dead-letter queues", _waiting, "read the alarm's function's log, mend the cause, then redrive the queue"),
    ]
    for what, look, remedy in checks:
        try:
            well, found = look()
        except ClosedLoopError as error:
            well, found = False, str(error)
        except doors.outages() as error:
            well, found = False, f"{type(error).__name__}: {error}"
        findings.append(Finding(what, well, found, remedy))
    return findings


def _identity() -> tuple[bool, str]:
    return True, str(doors.boto("sts").get_caller_identity()["Account"])


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
            unverified = f"{standing.identity} is not verified" if standing.known else f"{standing.identity} is unknown to SES"
            problems.append(standing.problem or unverified)
    return not problems, "; ".join(problems) or f"{len(mailing)} mailing sites, each verified"


def _waiting() -> tuple[bool, str]:
    waiting = doors.dead_letters(f"closedloop-{settings.settings().get(settings.STAGE, 'dev')}")
    return not waiting, ", ".join(f"{name}: {count}" for name, count in waiting.items()) or "nothing"
