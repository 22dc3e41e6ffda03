"""How many stage decisions one core takes in a second, with the decoding of profile and position."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from bench import protocol, traffic
from bench.endpoint import Endpoint
from bench.protocol import Row
from bench.wru import profile
from closedloop.loops.decide import Position, decide
from closedloop.profiles.profile import profile_from

PEOPLE = 400
CHANGED = 20
WANTED = 100_000.0


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    loop = traffic.loop()
    stored = [(one.as_text(), one) for one in (profile(1 + number % 60, number) for number in range(PEOPLE))]
    people: list[tuple[str, str, str, str, int, str]] = []
    for number, (text, one) in enumerate(stored):
        # A sweep finds most people where they were left; one in twenty has a step to take.
        position, before = decide(loop, one, Position(one.person, loop.loop), traffic.NOW).after, None
        while position != before:
            before, position = position, decide(loop, one, position, traffic.NOW).after
            if number % CHANGED == 0:
                position = before
        standing = json.dumps(dict(position.standing), sort_keys=True)
        people.append((text, one.person, position.stage, standing, position.version, position.unit))
    stages = Counter(stage for _, _, stage, *_ in people)
    assert len(stages) > 2, stages

    def read(person: tuple[str, str, str, str, int, str]) -> Position:
        _, name, stage, standing, version, unit = person
        return Position(name, loop.loop, stage, version, unit, tuple(sorted(json.loads(standing).items())))

    decoded = [(profile_from(person[0]), read(person)) for person in people]

    def decide_all() -> float:
        begin = time.process_time()
        for person in people:
            decide(loop, profile_from(person[0]), read(person), traffic.NOW)
        return len(people) / (time.process_time() - begin)

    def decide_decoded() -> float:
        begin = time.process_time()
        for one, position in decoded:
            decide(loop, one, position, traffic.NOW)
        return len(people) / (time.process_time() - begin)

    def decode() -> float:
        begin = time.process_time()
        for person in people:
            profile_from(person[0])
            read(person)
        return len(people) / (time.process_time() - begin)

    changed = sum(decide(loop, one, position, traffic.NOW).changes for one, position in decoded)
    assert changed == PEOPLE // CHANGED, changed
    taken = protocol.in_turn({"whole": decide_all, "decided": decide_decoded, "decoded": decode}, samples)
    median_bytes = sorted(len(text.encode()) for text, _ in stored)[PEOPLE // 2]
    return [
        Row("decisions", f"decoded and decided, {median_bytes} bytes a profile", "persons/core-s", taken["whole"], None,
            ("value", ">=", WANTED)),
        Row("decisions", "decided, already decoded", "persons/core-s", taken["decided"]),
        Row("decisions", "decoded alone", "persons/core-s", taken["decoded"]),
    ]
