"""Who is behind events, read from what was done together: the pace of a browser, and how a mail's links were followed.

A name may lie and one event says little; these rules ask all events of a browser or of a mail at once. They read a set:
neither order nor copies change what they find, and what arrives late is one more member.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from closedloop.events.agents import ORDER, SIGNED, Evidence, Grade, grade_event
from closedloop.events.event import (
    EMAIL_ACCEPTED,
    EMAIL_CLICKED,
    EMAIL_DELIVERED,
    EMAIL_OPENED,
    EMAIL_SENT,
    Door,
    Event,
    EventType,
)

# No person looks at more than a page a second for twenty seconds, or makes ten events a second for a minute.
RUSH, RUSH_PAGES = timedelta(seconds=20), 20
FLOOD, FLOOD_EVENTS = timedelta(minutes=1), 600
# Twenty gaps between the pages of one visit that differ by less than a fifth are a clock's; the gaps of readers differ
# manyfold. Over days even a reader may be as regular.
EVEN_GAPS, EVEN_SLACK, EVEN_MOST_S = 20, 0.2, 600
# Scanners follow links while a mail arrives, some before its delivery is told; nobody reads that fast.
AHEAD, AT_ONCE = timedelta(minutes=1), timedelta(seconds=5)
# Three different links of one mail in three seconds are more than a hand can follow.
BURST, BURST_LINKS = timedelta(seconds=3), 3
# How long a scanner is at a mail around the link that no person sees.
SCAN = timedelta(minutes=10)
# A click that led somewhere is followed by a page of the same browser; their clocks may differ by a minute.
ARRIVAL, SKEW = timedelta(minutes=30), timedelta(minutes=1)
# So long the browser of a machine's click is the machine.
VISIT = timedelta(minutes=1)

MAIL_DOORS = frozenset((Door.EMAIL, Door.LINK))
ARRIVED = frozenset((EMAIL_SENT, EMAIL_ACCEPTED, EMAIL_DELIVERED))

RUSHED = Evidence(Grade.MACHINE, "more than a page a second for twenty seconds")
FLOODED = Evidence(Grade.MACHINE, "more than ten events a second for a minute")
CLOCKED = Evidence(Grade.MACHINE, "twenty pages at even intervals, as a clock asks for them")
SCANNED = Evidence(Grade.MACHINE, "a link of this mail that no person sees was followed within ten minutes")
AT_DELIVERY = Evidence(Grade.MACHINE, "within five seconds of the mail's delivery")
MANY_LINKS = Evidence(Grade.MACHINE, "three different links of one mail within three seconds")
ALL_SCANNED = Evidence(Grade.MACHINE, "a scanner was at this mail, and no page was seen after the click")
BROUGHT = Evidence(Grade.MACHINE, "came by a machine's click, within a minute of it")
NO_PAGE = Evidence(Grade.LIKELY, "no page was seen after the click")


class Act(NamedTuple):
    """One event as behaviour is read from it.

    Shapes: `browser` and `mail` name whose it is, empty where nobody's; `page` says that it is a page or screen seen;
    `hidden` that the link is the one that no person sees; `grade` is the event's own.
    """

    id: str
    at: datetime
    name: str
    page: bool
    browser: str
    mail: str
    link: str
    hidden: bool
    grade: Grade


def graded(events: Sequence[Event], count_test_browsers: Iterable[str] = ()) -> list[tuple[Event, Evidence]]:
    """Each of these distinct events with its evidence: the worse of what it says itself and what all say together.

    Shapes: `count_test_browsers` are the sites whose headless browsers count.
    """
    counting = frozenset(count_test_browsers)
    own = [
        (event, grade_event(
            event.name, str(event.context.get("agent") or ""), event.context, event.properties, door=event.door.value,
            count_test_browsers=event.site in counting,
        ))
        for event in events
    ]
    told = behaviour([act_of(event, evidence) for event, evidence in own])
    return [(event, told.get(event.id, evidence)) for event, evidence in own] if told else own


def act_of(event: Event, evidence: Evidence) -> Act:
    """An event as behaviour is read from it; what a signed source states of a browser has that source's pace."""
    page = event.type is EventType.PAGE or event.type is EventType.SCREEN
    browser = f"{event.site} {event.visitor}" if event.visitor and evidence is not SIGNED else ""
    if event.door is not Door.LINK and event.door is not Door.EMAIL:
        return Act(event.id, event.occurred_at, event.name, page, browser, "", "", False, evidence.grade)
    said = event.properties
    mail = mail_of(
        event.site, " ".join(event.identifiers), said.get("loop"), said.get("campaign"), said.get("message_id")
    )
    return Act(
        event.id, event.occurred_at, event.name, page, browser, mail, str(said.get("link") or ""),
        said.get("hidden") is True, evidence.grade,
    )


def mail_of(site: str, address: str, loop: object, campaign: object, message: object) -> str:
    """What names a mail: whom it went to and its campaign, as we send each once; else the provider's message id."""
    about = f"{loop or ''} {campaign}" if campaign else message
    return f"{site} {address} {about}" if about and address else ""


def behaviour(acts: Iterable[Act]) -> dict[str, Evidence]:
    """What the acts say together, by event id: only those events that are graded worse than by themselves."""
    acts = sorted(acts, key=lambda act: (act.at, act.id))
    browsers: dict[str, list[Act]] = {}
    mails: dict[str, list[Act]] = {}
    for act in acts:
        if act.browser:
            browsers.setdefault(act.browser, []).append(act)
        if act.mail:
            mails.setdefault(act.mail, []).append(act)
    found = [told for own in browsers.values() if len(own) > min(RUSH_PAGES, EVEN_GAPS) for told in _pace(own)]
    found += [told for own in mails.values() for told in _mail(own, browsers)]
    worse: dict[str, Evidence] = {}
    for act, evidence in found:
        if ORDER.index(evidence.grade) > ORDER.index(act.grade):
            worse.setdefault(act.id, evidence)
    brought = {
        act.id for own in browsers.values() for first, last in _joined(
            (act.at, act.at + VISIT) for act in own
            if act.name == EMAIL_CLICKED and act.mail
            and (worse[act.id].grade if act.id in worse else act.grade) is Grade.MACHINE
        )
        for act in _between(own, first, last)
        if act.grade is not Grade.MACHINE and (act.id not in worse or worse[act.id] is NO_PAGE)
    }
    return worse | dict.fromkeys(brought, BROUGHT)


def _pace(own: Sequence[Act]) -> Iterator[tuple[Act, Evidence]]:
    """The acts of one browser that are too many or too even.

    Moments are counted, not acts: a queue that was stamped when it was sent says nothing of pace.
    """
    pages = sorted({act.at for act in own if act.page})
    moments = sorted({act.at for act in own}) if len(own) > FLOOD_EVENTS else ()
    for spans, evidence in (
        (_spans(pages, RUSH_PAGES, RUSH), RUSHED), (_spans(moments, FLOOD_EVENTS, FLOOD), FLOODED),
        (_even(pages), CLOCKED),
    ):
        for first, last in spans:
            for act in _between(own, first, last):
                yield act, evidence


def _spans(moments: Sequence[datetime], most: int, within: timedelta) -> list[tuple[datetime, datetime]]:
    """The stretches in which more than so many moments lie within such a time."""
    pairs = zip(moments, moments[most:], strict=False)
    return _joined((first, last) for first, last in pairs if last - first <= within)


def _even(moments: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """The stretches that a clock could have made."""
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]
    alike, spans = 0, []
    for place in range(1, len(gaps)):
        # Most neighbours differ: only a run of near ones is looked at as a whole.
        before, gap = gaps[place - 1], gaps[place]
        alike = alike + 1 if (1 - EVEN_SLACK) * before < gap and (1 - EVEN_SLACK) * gap < before else 0
        start = place - EVEN_GAPS + 1
        if alike >= EVEN_GAPS - 1 and _alike(gaps[start : place + 1]):
            spans.append((moments[start], moments[place + 1]))
    return _joined(spans)


def _alike(gaps: Sequence[float]) -> bool:
    return max(gaps) <= EVEN_MOST_S and max(gaps) - min(gaps) < EVEN_SLACK * max(gaps)


def _joined(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    joined: list[tuple[datetime, datetime]] = []
    for first, last in spans:
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _mail(own: Sequence[Act], browsers: Mapping[str, Sequence[Act]]) -> Iterator[tuple[Act, Evidence]]:
    """How the opens and clicks of one mail look beside each other and beside what the browser did next."""
    arrived = [act for act in own if act.name in ARRIVED]
    hidden = [act for act in own if act.hidden]
    burst = _burst([act for act in own if act.name == EMAIL_CLICKED])
    pages: dict[str, list[Act]] = {}
    for act in own:
        clicked = act.name == EMAIL_CLICKED
        if not clicked and act.name != EMAIL_OPENED:
            continue
        if _any(hidden, act.at - SCAN, act.at + SCAN):
            yield act, SCANNED
        elif _any(arrived, act.at - AT_ONCE, act.at + AHEAD):
            yield act, AT_DELIVERY
        elif act.id in burst:
            yield act, MANY_LINKS
        elif clicked and (hidden or act.browser):
            if act.browser not in pages:
                seen = browsers.get(act.browser, ())
                pages[act.browser] = [other for other in seen if other.page and other.grade is not Grade.MACHINE]
            if not _any(pages[act.browser], act.at - SKEW, act.at + ARRIVAL):
                yield act, ALL_SCANNED if hidden else NO_PAGE


def _burst(clicks: Sequence[Act]) -> set[str]:
    """The clicks on so many different links, so close together, that a hand did not make them."""
    ids: set[str] = set()
    first, told = 0, 0
    links: Counter[str] = Counter()
    for last, click in enumerate(clicks):
        links[click.link] += 1
        while click.at - clicks[first].at > BURST:
            links[clicks[first].link] -= 1
            first += 1
        if len(+links) >= BURST_LINKS:
            ids.update(act.id for act in clicks[max(first, told) : last + 1])
            told = last + 1
    return ids


def _between(acts: Sequence[Act], first: datetime, last: datetime) -> Sequence[Act]:
    """Of acts in order of time those between two moments, both included."""
    return acts[bisect_left(acts, first, key=_at) : bisect_right(acts, last, key=_at)]


def _any(acts: Sequence[Act], first: datetime, last: datetime) -> bool:
    place = bisect_left(acts, first, key=_at)
    return place < len(acts) and acts[place].at <= last


def _at(act: Act) -> datetime:
    return act.at
