"""Times as text and back: aware UTC, ISO 8601 with milliseconds and Z."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

AHEAD = timedelta(minutes=5)
LATE = timedelta(days=7)


def iso(moment: datetime) -> str:
    """A moment as text that sorts in order of time, for example 2026-11-24T06:00:00.000Z."""
    return f"{moment.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def parse(text: str) -> datetime:
    """Read what `iso` wrote, or any ISO 8601 time; without a zone it is taken as UTC.

    Errors: ValueError when it is no time.
    """
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def effective(
    original: datetime | None, sent: datetime | None, received: datetime, *, may_backfill: bool
) -> tuple[datetime, bool]:
    """When a thing really happened, corrected by the sender's clock error, and whether it came late.

    Shapes: the sender's time of the event, its time of sending, our time of receipt; the second value is true
    for what is older than seven days and whose sender may not backfill history.
    Source: Segment, "Common fields": timestamp = receivedAt - (sentAt - originalTimestamp).
    """
    if original is None:
        return received, False
    try:
        # A server that backfills states times of the past; its clock is trusted.
        moment = original if may_backfill or sent is None else received - (sent - original)
    except OverflowError:
        return received, True
    if moment > received + AHEAD:
        return received, False
    return moment, not may_backfill and moment < received - LATE
