"""What work costs as a multiple of a fixed piece of work done beside it: machines differ and are busy, ratios stay."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache

TURNS = 3


@cache
def _text() -> str:
    return json.dumps([{"number": number, "word": "a word of twenty let"} for number in range(20_000)])


def cpu_s(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def megabytes_of_json(work: Callable[[], object]) -> float:
    """How many megabytes of JSON could be read and written in the CPU time of this work, the least of three turns.

    Units: one is some 26 thousandths of a second on a free core.
    """
    turns = [(cpu_s(work), megabyte_s()) for _ in range(TURNS)]
    return min(ours for ours, _ in turns) / min(measure for _, measure in turns)


def megabyte_s() -> float:
    """The CPU time of one megabyte now."""
    return cpu_s(lambda: json.dumps(json.loads(_text())))
