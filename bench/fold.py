"""How many events one core folds into a profile in a second: a person of a hundred events."""

from __future__ import annotations

import time
from pathlib import Path

from bench import protocol, traffic
from bench.endpoint import Endpoint
from bench.protocol import Row
from closedloop.profiles.fold import fold

EVENTS = 100
PEOPLE = 20


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    people = [traffic.known_person(number, EVENTS) for number in range(PEOPLE)]
    sites = {"demo": traffic.site()}

    def take() -> float:
        begin = time.process_time()
        for events, nodes in people:
            fold(events, nodes, sites)
        return PEOPLE * EVENTS / (time.process_time() - begin)

    return [Row("fold", f"a person of {EVENTS} events", "events/core-s", protocol.figure("ours", take, samples))]
