"""Where every file of the lake and of the reports lies; the only place where paths are spelt."""

from __future__ import annotations

from datetime import date

EVENTS = "events/"
DECISIONS = "decisions/"
FAILED = "failed/"
RUNS = "runs/"


def archived(prefix: str, received: date, first: str) -> str:
    """One delivered batch: named after its first record, so a batch delivered again overwrites itself."""
    return f"{prefix}dt={received:%Y-%m-%d}/{first}.ndjson.gz"


def shards(run: str) -> str:
    """The list of a run's shards."""
    return f"{RUNS}{run}/shards.json"


def shard(run: str, number: int) -> str:
    """The people of one shard."""
    return f"{RUNS}{run}/people-{number:05d}.json"


def outcome(run: str, number: int) -> str:
    """What was decided for the people of one shard."""
    return f"{RUNS}{run}/outcome-{number:05d}.json"


def performed(run: str, number: int) -> str:
    """What was done for the people of one shard."""
    return f"{RUNS}{run}/performed-{number:05d}.json"
