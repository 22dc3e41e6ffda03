"""How many stage decisions one core takes in a second, with the decoding of profile and position.

A sweep does this for each person: it reads an excerpt of the stored profile and the stored position, and asks whether
anything would change; only for those for whom it would, it decides, step by step. Fetching and writing are not in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import protocol, traffic
from bench.endpoint import Endpoint
from bench.protocol import Row
from bench.wru import profile
from closedloop.loops.decide import Position, decide, standing_from, standing_text
from closedloop.loops.ready import Ready
from closedloop.profiles.profile import Excerpt, Stored, profile_from

PEOPLE = 400
CHANGED = 20
WANTED = 100_000.0
# A person as stored: the profile, then the id, stage, version, unit and standing verdicts of the position.
Kept = tuple[Stored, str, str, int, str, str]


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    loop = traffic.loop()
    ready = Ready(loop, traffic.NOW)
    people: list[Kept] = []
    for number in range(PEOPLE):
        one = profile(1 + number % 60, number)
        # A sweep finds most people where they were left; one in twenty has a step to take.
        position, before = decide(loop, one, Position(one.person, loop.loop), traffic.NOW).after, None
        while position != before:
            before, position = position, decide(loop, one, position, traffic.NOW).after
            if number % CHANGED == 0:
                position = before
        standing = standing_text(position.standing)
        people.append((one.stored(), one.person, position.stage, position.version, position.unit, standing))
    stages = Counter(stage for _, _, stage, *_ in people)
    assert len(stages) > 2, stages

    def read(person: Kept) -> Position:
        _, name, stage, version, unit, standing = person
        return Position(name, loop.loop, stage, version, unit, standing_from(standing))

    def sweep(person: Kept) -> int:
        excerpt, position, steps = Excerpt(person[0]), read(person), 0
        while (gates := ready.news(excerpt, position)) is not None:
            position = decide(loop, excerpt, position, traffic.NOW, gates).after
            steps += 1
        return steps

    def timed(what: Callable[[Kept], object], some: Sequence[Kept] = people) -> Callable[[], float]:
        def take() -> float:
            begin = time.process_time()
            for person in some:
                what(person)
            return len(some) / (time.process_time() - begin)

        return take

    moved = [person for person in people if sweep(person)]
    assert len(moved) == PEOPLE // CHANGED, len(moved)
    left = [person for person in people if person not in moved]
    decoded = {person: (Excerpt(person[0]), read(person)) for person in left}
    taken = protocol.in_turn({
        "sweep": timed(sweep), "left": timed(sweep, left), "moved": timed(sweep, moved * 10),
        "asked": timed(lambda person: ready.news(*decoded[person]), left),
        "decoded": timed(lambda person: (Excerpt(person[0]), read(person))),
        "explained": timed(lambda person: decide(loop, profile_from(person[0]), read(person), traffic.NOW)),
    }, samples)
    median_bytes = sorted(len(told.encode()) + len(more) for (told, more), *_ in people)[PEOPLE // 2]
    share = f"{100 / CHANGED:g} % of them with steps to take"
    return [
        Row("decisions", f"decoded and decided, {median_bytes} bytes a profile, {share}", "persons/core-s",
            taken["sweep"], None, ("value", ">=", WANTED)),
        Row("decisions", "those who stay where they are", "persons/core-s", taken["left"]),
        Row("decisions", "those with steps to take", "persons/core-s", taken["moved"]),
        Row("decisions", "asked alone, already decoded", "persons/core-s", taken["asked"]),
        Row("decisions", "decoded alone", "persons/core-s", taken["decoded"]),
        Row("decisions", "whole profile decoded, everybody decided in words", "persons/core-s", taken["explained"]),
    ]
