"""How a figure is taken: sides in turn, CPU time, medians; a ratio is only ever formed within one run."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SAMPLES = 11


@dataclass(frozen=True, slots=True)
class Figure:
    """One side of a comparison: its samples, all of them."""

    name: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def least(self) -> float:
        return min(self.samples)

    @property
    def most(self) -> float:
        return max(self.samples)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "median": self.median, "min": self.least, "max": self.most, "samples": list(self.samples)
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: our side, the other one where there is one, and what is wanted.

    Shapes: `wanted` holds the limit by name: `ratio` or `value`, at most (`<=`) or at least (`>=`); None wants nothing.
    """

    question: str
    case: str
    unit: str
    ours: Figure
    other: Figure | None = None
    wanted: tuple[str, str, float] | None = None
    load: tuple[float, float, float] = field(default_factory=os.getloadavg)

    @property
    def ratio(self) -> float | None:
        """Our median by the other's."""
        return self.ours.median / self.other.median if self.other else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the greatest ratio of two samples that were taken one after the other."""
        if self.other is None or len(self.ours.samples) < 2:
            return None
        pairs = [ours / theirs for ours, theirs in zip(self.ours.samples, self.other.samples, strict=True)]
        return min(pairs), max(pairs)

    @property
    def reached(self) -> bool | None:
        if self.wanted is None:
            return None
        what, comparison, limit = self.wanted
        value = self.ratio if what == "ratio" else self.ours.median
        assert value is not None
        return value <= limit if comparison == "<=" else value >= limit

    def as_json(self) -> dict[str, Any]:
        return {
            "question": self.question, "case": self.case, "unit": self.unit, "ours": self.ours.as_json(),
            "other": self.other.as_json() if self.other else None, "ratio": self.ratio, "ratio_spread": self.spread,
            "wanted": " ".join(map(str, self.wanted)) if self.wanted else None, "reached": self.reached,
            "load_average": list(self.load),
        }


def in_turn(sides: Mapping[str, Callable[[], float]], samples: int) -> dict[str, Figure]:
    """Take the samples of all sides in turn, so that a busy moment of the machine meets all of them.

    Shapes: every second round goes backwards, so that no side always follows the same one; one round goes before
    that is not counted.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for round_number in range(samples + 1):
        for name in names if round_number % 2 else reversed(names):
            value = sides[name]()
            if round_number:
                taken[name].append(value)
    return {name: Figure(name, tuple(values)) for name, values in taken.items()}


def figure(name: str, take: Callable[[], float], samples: int) -> Figure:
    """The samples of something that is compared with nothing."""
    return in_turn({name: take}, samples)[name]


def process_cpu_ms(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """The CPU time of a fresh process from its start to its end, in milliseconds."""
    return process_usage(command, environment)[0]


def process_usage(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """The CPU time of a fresh process in milliseconds, and the most memory that it had at once in MiB."""
    process = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read().decode()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[-1]} ended with {process.returncode}:\n{said}")
    return (usage.ru_utime + usage.ru_stime) * 1000, usage.ru_maxrss / 1024


def cpu_s(pid: int) -> float:
    """The CPU time that another process has used in all its threads, to the nanosecond.

    Source: clock_getcpuclockid(3); Linux, posix-timers.h: a process's clock is its negated id with CPUCLOCK_SCHED.
    """
    return time.clock_gettime((~pid << 3) | 2)
