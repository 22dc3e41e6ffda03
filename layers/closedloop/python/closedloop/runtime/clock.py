"""The only clock, the only dice and the only sleep."""

from __future__ import annotations

import random
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
