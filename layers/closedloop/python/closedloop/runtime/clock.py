"""The only clock, the only dice and the only sleep."""

from __future__ import annotations

import random
import secrets
import time
import uuid
from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    """A new random id, for a browser that has none."""
    return str(uuid.uuid4())


def wait(attempt: int) -> None:
    """Sleep before another attempt: full jitter up to 50 ms, 100 ms, 200 ms and so on.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    time.sleep(random.uniform(0, 0.05 * 2 ** (attempt - 1)))  # noqa: S311  spreads load, guards nothing


def scheduled(stated: str | None, moment: datetime) -> datetime:
    """The time that a schedule meant; without one, the five minutes that the moment lies in.

    Shapes: the emulator leaves the scheduler's placeholder as it is, which is no time.
    """
    try:
        return datetime.fromisoformat(stated or "")
    except ValueError:
        return moment.replace(minute=moment.minute - moment.minute % 5, second=0, microsecond=0)


def new_secret(size: int = 24) -> bytes:
    """Random bytes that nobody can guess."""
    return secrets.token_bytes(size)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def past(seconds: float) -> float:
    """A deadline so many seconds from now, to hold against `monotonic`."""
    return time.monotonic() + seconds


def is_past(deadline: float) -> bool:
    return time.monotonic() > deadline
