"""`make run`: the whole product on this machine, a small world played through it, and a report at the end."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from infra.local import ROOT, Deployed, NotRunning, down, up

SITE = "demo"
LOOP = "autumn-pumps"
CATCH_UP_S = "120"


class StepFailed(Exception):
    """A step of the run did not do what it should; its own message stands above."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything once; then serve on until Ctrl-C, or end with `--once`."""
    _began()
    asked = _arguments(arguments)
    # Whoever ends this process ends the emulator with it.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    directory: Path = asked.dir
    down(directory)
    try:
        deployed = up(directory, say=_say)
        result = _play(asked, deployed)
        result["seconds"] = round(time.monotonic() - _began(), 1)
        well = bool(result["reconciles"]) and result["events_accepted"] == result["events_in_ledger"]
        if not asked.once:
            _serve_on(deployed, result, directory)
        print(json.dumps(result), flush=True)
        return 0 if well else 1
    except (NotRunning, StepFailed) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        down(directory)


@cache
def _began() -> float:
    """When everything began: the first time that this is asked."""
    return time.monotonic()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=main.__doc__)
    parser.add_argument("--once", action="store_true", help="end after the report, with one JSON line")
    parser.add_argument("--people", type=int, default=200, help="how many people the world has")
    parser.add_argument("--seed", type=int, default=7, help="the same seed is the same world")
    parser.add_argument(
        "--out", type=Path, default=Path(".local/out"), help="where the world and the report are written"
    )
    parser.add_argument("--dir", type=Path, default=Path(".local"), help="where the emulator keeps its files")
    return parser.parse_args(arguments)


def _play(asked: argparse.Namespace, deployed: Deployed) -> dict[str, Any]:
    environment = {
        **os.environ,
        **deployed.environment,
        "CLOSEDLOOP_OUTPUTS": str((asked.dir / "outputs.json").resolve()),
    }

    with _Commands(environment) as closedloop:
        return _steps(asked, deployed, closedloop)


def _steps(asked: argparse.Namespace, deployed: Deployed, closedloop: Callable[..., Any]) -> dict[str, Any]:
    out: Path = asked.out
    world = out / "world"
    _say("declaring the example site and loop")
    closedloop("site", "apply", str(ROOT / "examples/sites/demo.yaml"), "--json")
    closedloop("loop", "apply", str(ROOT / "examples/loops/autumn-pumps.yaml"), "--json")
    _say(f"making a world of {asked.people} people, seed {asked.seed}")
    closedloop("world", "--people", str(asked.people), "--seed", str(asked.seed), "--out", str(world), "--json")
    _say("visitors come in over HTTP")
    came = closedloop("world", "play", str(world), "--site", SITE, "--json")
    closedloop("replay", "--wait-s", CATCH_UP_S, "--json")
    _say("the workflow decides who goes on, and writes to them")
    closedloop("run", "start", "--wait", "--json")
    _say("those who got a mail react")
    reacted = closedloop(
        "world", "react", str(world), "--mailbox", deployed.aws_endpoint_url, "--loop", LOOP, "--site", SITE, "--json"
    )
    closedloop("replay", "--wait-s", CATCH_UP_S, "--json")
    closedloop("run", "start", "--wait", "--json")
    ledger = closedloop("replay", "--wait-s", CATCH_UP_S, "--json")
    _say("the report is built from the lake")
    built = closedloop("report", "build", LOOP, "--out", str(out / "report"), "--json")
    summary_path = _one(built, "summary.json")
    summary = json.loads(summary_path.read_text())
    return {
        "endpoint": deployed.endpoint,
        "events_sent": came["events_sent"] + reacted["events_sent"],
        "events_accepted": came["events_accepted"] + reacted["events_accepted"],
        "events_in_ledger": ledger["events"],
        "persons": ledger["persons"],
        "transitions": ledger["transitions"],
        "mails": ledger["mails"],
        "deals": summary["money"]["deals_won"],
        "report": str(_one(built, "index.html")),
        "summary": str(summary_path),
        "reconciles": summary["reconciles"],
    }


def _one(built: Mapping[str, Any], name: str) -> Path:
    found = [Path(path) for path in built["copied"] if Path(path).name == name]
    if not found:
        raise StepFailed(f"the report has no {name}")
    return found[0].resolve()


class _Commands:
    """The product's command line, loaded once: each command runs in a fork, as a process of its own does in a shell."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def __enter__(self) -> _Commands:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKS], env=dict(self._environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *ended: object) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(self, *command: str) -> Any:
        """Run one command; its progress is shown, its JSON is read."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(command), file=self._process.stdin, flush=True)
        said = ""
        for line in self._process.stdout:
            if line.startswith(_ENDED):
                status = line.removeprefix(_ENDED).strip()
                break
            said = line
        else:
            status = "unknown"
        if status != "0":
            raise StepFailed(f"closedloop {' '.join(command)} ended with status {status}")
        return json.loads(said)


_ENDED = "ended "
_FORKS = f"""
import json, os, signal, sys
from closedloop.cli.main import main
signal.signal(signal.SIGINT, signal.SIG_DFL)
for line in sys.stdin:
    child = os.fork()
    if not child:
        main(json.loads(line))
        sys.exit()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("{_ENDED}" + str(status), flush=True)
"""


def _serve_on(deployed: Deployed, result: Mapping[str, Any], directory: Path) -> None:
    _say("")
    _say(f"endpoint   {deployed.endpoint}")
    _say("page       http://localhost:8000 (open it in a browser and look around)")
    _say(f"report     {result['report']}")
    _say(f"commands   .venv/bin/closedloop doctor, .venv/bin/closedloop person show --email ... --site {SITE}")
    _say("stop       Ctrl-C")
    try:
        _closedloop_serving(directory)
    except KeyboardInterrupt:
        _say("stopping")


def _closedloop_serving(directory: Path) -> None:
    environment = {**os.environ, "CLOSEDLOOP_OUTPUTS": str((directory / "outputs.json").resolve())}
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from closedloop.cli.main import main; main()",
            "world",
            "pages",
            str(ROOT / "examples/pages"),
        ],
        env=environment,
        check=False,
    )


def _say(line: str) -> None:
    print(f"{time.monotonic() - _began():5.0f} s  {line}" if line else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
