"""Six models of attribution over a file of paths, against ChannelAttribution's three rules and its Markov model.

Each side is a process from the file to the figures. Before anything is timed, the rules of both must give the same
credit, and the Markov models conversions that differ by no more than the peer's walks at random explain.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench import protocol
from bench.endpoint import Endpoint
from bench.protocol import Figure, Row

PATHS = 1_000_000
# The target was set for so many; with fewer, starting Python weighs more than the paths.
WANTED_FROM = 10_000_000
MODELS = "first,last,linear,position,markov,shapley"
PEER = Path(__file__).with_name("channelattribution.py")
OURS = ("-c", "from closedloop.cli.main import main; main()", "attribute")
CHANNELS = (
    "Organic Search", "Paid Search", "Direct", "Email", "Display", "Social", "Paid Social", "Referral", "Affiliate",
    "Webinar", "Exhibition", "Partner",
)
BLOCK = 200_000


def rows(samples: int, work: Path, endpoint: Endpoint, paths: int = PATHS) -> list[Row]:
    file = work / "paths.csv"
    write_paths(file, paths)
    sides = {
        "ours": [sys.executable, *OURS, str(file), "--models", MODELS, "--format", "json"],
        "ChannelAttribution": [sys.executable, str(PEER), str(file)],
    }
    _equal(*(json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for command in sides.values()))
    peaks: dict[str, list[float]] = {name: [] for name in sides}

    def take(name: str, command: list[str]) -> Callable[[], float]:
        def run() -> float:
            # The peer draws nothing, but has its drawing library look for a place to keep things in.
            spent, peak = protocol.process_usage(command, {"MPLCONFIGDIR": str(work)})
            peaks[name].append(peak)
            return spent / 1000

        return run

    taken = protocol.in_turn({name: take(name, command) for name, command in sides.items()}, samples)
    peak = {name: Figure(name, tuple(values[1:])) for name, values in peaks.items()}
    case = f"{paths:,} paths, file to figures: six models against three rules and Markov"
    wanted = (("ratio", "<=", 1 / 8), ("ratio", "<=", 1 / 5)) if paths >= WANTED_FROM else (None, None)
    return [
        Row("attribution", case, "cpu s", taken["ours"], taken["ChannelAttribution"], wanted[0]),
        Row("attribution", "the same", "peak MiB", peak["ours"], peak["ChannelAttribution"], wanted[1]),
    ]


def write_paths(file: Path, paths: int, seed: int = 1) -> None:
    """Paths as people walk them: few channels have most, what was met is often met again, one in twenty buys.

    Shapes: one row a path, 1 to 20 touchpoints, 3.3 on average.
    """
    draw = np.random.default_rng(seed)
    share = 1 / np.arange(1, len(CHANNELS) + 1)
    with file.open("w") as out:
        out.write("path,total_conversions,total_conversion_value,total_null\n")
        for begin in range(0, paths, BLOCK):
            count = min(BLOCK, paths - begin)
            lengths = np.minimum(draw.geometric(0.3, count), 20)
            ends = np.cumsum(lengths)
            met = draw.choice(len(CHANNELS), ends[-1], p=share / share.sum())
            again = draw.random(len(met)) < 0.35
            again[ends - lengths] = False
            met = met[np.maximum.accumulate(np.where(again, 0, np.arange(len(met))))]
            won = draw.random(count) < 0.05
            value = np.round(np.exp(draw.normal(5, 1, count)), 2)
            names = [CHANNELS[number] for number in met.tolist()]
            out.writelines(
                f"{' > '.join(names[end - length:end])},{f'1,{worth},0' if bought else '0,0,1'}\n"
                for end, length, bought, worth in
                zip(ends.tolist(), lengths.tolist(), won.tolist(), value.tolist(), strict=True)
            )


def _equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    # The value that walks at random bring, a few large deals in it, is too far off to be held against anything.
    for model, near, what in (
        ("first", 1e-9, 2), ("last", 1e-9, 2), ("linear", 1e-9, 2), ("markov", 0.15, 1),
    ):
        for channel, pair in theirs[model].items():
            share = ours["models"][model][channel]
            for mine, other in list(zip((share["conversions"], share["value"]), pair, strict=True))[:what]:
                if abs(mine - other) > near * other:
                    raise AssertionError(f"{model} credits {channel} with {mine}, and with {other} by the peer")
