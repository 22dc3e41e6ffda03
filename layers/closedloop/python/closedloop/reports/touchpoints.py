"""What counts as meeting the company, and under which name it shares in the credit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from closedloop.attribution.journeys import Touch
from closedloop.loops.definition import Loop

SAME_VISIT = timedelta(minutes=30)
DIRECT = "direct"

# Facts that tell of a meeting outside the pages, and the kind of campaign that they belong to.
MEETINGS = {
    "Seminar Attended": "seminar",
    "Seminar Registered": "seminar",
    "Exhibition Visited": "exhibition",
    "Call Made": "call",
    "Call Held": "call",
    "Dealer Visited": "dealer",
}


@dataclass(frozen=True, slots=True)
class Meeting:
    """A fact that counts as marketing contact, before it has its name.

    Shapes: `kind` is arrival, form, email, told or a kind of MEETINGS; `channel` is the form's name for a form.
    """

    person: str
    event: str
    at: datetime
    kind: str
    campaign: str
    channel: str
    source: str


def channel_of(meeting: Meeting, loop: Loop) -> str:
    """The loop's campaign where it is known, else how and from where somebody came."""
    campaigns = {campaign.name for campaign in loop.campaigns}
    if meeting.campaign in campaigns:
        return meeting.campaign
    if meeting.kind in MEETINGS.values():
        # A meeting that names no campaign belongs to the loop's only campaign of its kind, if it has just one.
        alike = [campaign.name for campaign in loop.campaigns if campaign.touchpoint == meeting.kind]
        return alike[0] if len(alike) == 1 else meeting.kind
    if meeting.kind == "form":
        return f"form/{meeting.channel}" if meeting.channel else "form"
    if meeting.kind == "email":
        return f"email/{meeting.campaign}" if meeting.campaign else "email"
    if meeting.kind == "told":
        return meeting.campaign
    channel = meeting.channel or DIRECT
    return f"{channel}/{meeting.source}" if meeting.source and meeting.source != channel else channel


def touches(meetings: Iterable[Meeting], loop: Loop) -> dict[str, tuple[Touch, ...]]:
    """Each person's touchpoints in order; the same channel met again within half an hour is one touchpoint.

    So a reloaded landing page, or a click in a mail and the page that it opens, count once.
    """
    found: dict[str, list[Touch]] = {}
    newest: dict[tuple[str, str], datetime] = {}
    for meeting in sorted(meetings, key=lambda m: (m.person, m.at, m.event)):
        channel = channel_of(meeting, loop)
        before = newest.get((meeting.person, channel))
        newest[meeting.person, channel] = meeting.at
        if before is None or meeting.at - before >= SAME_VISIT:
            found.setdefault(meeting.person, []).append(Touch(meeting.at, meeting.event, channel))
    return {person: tuple(met) for person, met in found.items()}
