"""When a loop may mail somebody: outside its quiet hours, and not more often than its cap says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from closedloop.events.confirmations import Quota, free_at
from closedloop.loops.definition import Loop, QuietHours


def may_mail_at(loop: Loop, sent: Mapping[str, datetime], of: str, now: datetime) -> datetime:
    """The first moment from now on at which the loop's policies allow a mail.

    Shapes: `sent` is when each mail was claimed, by its key; `of` is the mail's own, which never counts twice.
    """
    cap, quiet = loop.policies.frequency_cap, loop.policies.quiet_hours
    quotas = (Quota(cap.mails, timedelta(days=cap.within_days)),) if cap else ()
    free = free_at(sent, of, quotas, now)
    return _over(quiet, ZoneInfo(loop.time_zone), free) if quiet else free


def _over(quiet: QuietHours, zone: ZoneInfo, moment: datetime) -> datetime:
    """The moment itself, or the end of the quiet hours that it lies in."""
    local = moment.astimezone(zone)
    begins, ends, clock = time.fromisoformat(quiet.from_), time.fromisoformat(quiet.to), local.time()
    if not (begins <= clock < ends if begins < ends else clock >= begins or clock < ends):
        return moment
    day = local.date() if clock < ends else local.date() + timedelta(days=1)
    # Where the clock is set back, the hour that comes twice has ended the first time.
    return max(moment, datetime.combine(day, ends, zone).astimezone(UTC))
