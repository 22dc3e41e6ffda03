"""How much CPU a cold start takes: import and the first call with ten events, without the bare interpreter."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import packages, protocol, traffic
from bench.endpoint import Endpoint
from bench.protocol import Figure, Row

EVENTS = 10
# Isolated, and never writing byte code: Lambda's code folder is read-only.
PYTHON = (sys.executable, "-I", "-S", "-B")
SCRIPT = Path(__file__).with_name("environment.py")


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    visitor, body, events, agent = next(traffic.requests(1, EVENTS, seed=1))
    sides = {
        "ours": (packages.ours("capture_beacon"), "text/plain;charset=UTF-8"),
        "naive, archive": (packages.naive(work / "stale", stale=True), "application/json"),
        "naive, archive, boto3 of the runtime": (
            packages.naive(work / "mixed", stale=True, runtime_is_valid=True), "application/json",
        ),
        "naive, valid byte code": (packages.naive(work / "valid", stale=False), "application/json"),
    }
    facts = traffic.sent_facts(events)

    def start(name: str) -> Callable[[], float]:
        folders, content_type = sides[name]
        path = work / f"{name}.json"
        path.write_text(json.dumps(traffic.gateway_event(body, visitor, content_type, agent)))
        command = [*PYTHON, str(SCRIPT), "once", str(path), *map(str, folders)]

        def take() -> float:
            spent = protocol.process_cpu_ms(command, endpoint.environment())
            _equal(endpoint.taken(), facts, name)
            return spent

        return take

    folders = packages.ours("capture_email", "email")
    webhook = work / "webhook.json"

    def mail() -> float:
        # Signed anew each time: an old webhook is refused.
        webhook.write_text(json.dumps(traffic.webhook_event(endpoint.sendgrid_key, datetime.now(UTC))))
        spent = protocol.process_cpu_ms([*PYTHON, str(SCRIPT), "once", str(webhook), *map(str, folders)],
                                        endpoint.environment())
        stored = endpoint.taken()["facts"]
        if len(stored) != EVENTS:
            raise AssertionError(f"the webhook stored {len(stored)} of {EVENTS} events")
        return spent

    def bare() -> float:
        return protocol.process_cpu_ms([*PYTHON, "-c", "pass"], {})

    taken = protocol.in_turn({"bare": bare, "mail": mail, **{name: start(name) for name in sides}}, samples)
    empty = taken["bare"].median
    net = {name: Figure(name, tuple(value - empty for value in taken[name].samples)) for name in ("mail", *sides)}
    wanted = {"naive, archive": 0.30, "naive, archive, boto3 of the runtime": None, "naive, valid byte code": 0.55}
    return [
        Row(
            "cold start", f"{EVENTS} events, against {name}", "cpu ms", net["ours"], net[name],
            ("ratio", "<=", limit) if limit else None,
        )
        for name, limit in wanted.items()
    ] + [Row("cold start", f"{EVENTS} events of a mail provider, signature checked", "cpu ms", net["mail"])]


def _equal(taken: dict[str, Any], facts: list[list[str]], name: str) -> None:
    if taken["facts"] != facts:
        raise AssertionError(f"{name} stored {len(taken['facts'])} of {len(facts)} events, or others than were sent")
