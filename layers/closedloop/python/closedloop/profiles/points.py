"""What each event adds to interest and engagement, and what was shown in vain: the lines of a person's ledger."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from closedloop.events import event as names
from closedloop.events.agents import Evidence, Grade
from closedloop.events.event import Door, Event, EventType
from closedloop.events.times import iso
from closedloop.profiles.interest import IGNORED_HALF_LIFE, Ignored, balance, weight
from closedloop.sites.definition import Site

SESSION = timedelta(minutes=30)
EVIDENCE = {Grade.HUMAN: 1.0, Grade.LIKELY: 0.5, Grade.MACHINE: 0.0}
PAGE_ENGAGED = "Page Engaged"
# Doors whose facts may bear any date, so that no time can be told by them.
OWN_DATES = frozenset((Door.LIST, Door.IMPORT, Door.DEAL))
# More than anybody is mailed of one topic before the first of them is settled.
MOST_WAITING = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a person's ledger: what an event added, in words; or took off, where something was shown in vain.

    Shapes: an empty `topic` is engagement; `why` says why the event counts less than whole; it counts from `at` on.
    Units: `points` before fading; `adds` in millionths as of the landmark (see interest.py).
    """

    at: datetime
    what: str
    topic: str
    points: float
    adds: int
    why: str = ""
    ignored: bool = False


def is_page(event: Event) -> bool:
    """Whether somebody saw a page or a screen."""
    return event.type is EventType.PAGE or event.type is EventType.SCREEN


def earned(judged: Iterable[tuple[Event, Evidence]], sites: Mapping[str, Site]) -> Iterator[Line]:
    """What each event adds to interest and to engagement.

    The k-th page of a topic in one session counts 1/k, so that reloading is no interest.
    """
    sessions: dict[tuple[str, str], tuple[datetime, int]] = {}
    for event, evidence in judged:
        site = sites[event.site]
        page = event.type is EventType.PAGE or event.type is EventType.SCREEN
        points = (site.points.page if page else _points(event, site)) * EVIDENCE[evidence.grade]
        if not points:
            continue
        topic, what = topic_of(event, site), event.name
        why = "" if evidence.grade is Grade.HUMAN else "half: probably a person"
        if page:
            key = (event.visitor or event.id, topic)
            last, count = sessions.get(key, (event.occurred_at, 0))
            count = count + 1 if event.occurred_at - last <= SESSION else 1
            sessions[key] = (event.occurred_at, count)
            if count > 1:
                points /= count
                why = f"1/{count}: page {count} of the topic in a visit{', ' if why else ''}{why}"
            what = path_of(event) or what
        what = what or path_of(event) or event.type.value
        adds = weight(points, event.occurred_at)
        if topic:
            yield Line(event.occurred_at, what, topic, points, adds, why)
        yield Line(event.occurred_at, what, "", points, adds, why)


def shown_in_vain(
    judged: Sequence[tuple[Event, Evidence]], lines: Sequence[Line], sites: Mapping[str, Site]
) -> list[Line]:
    """What is taken off interest: mails about a topic after which nobody turned to it, and pages left at once.

    Shapes: `lines` are what was earned, in order of time. Each counts from when the time for a reaction was over.
    """
    lost = [*_ignored_mails(judged, lines, sites), *_bounced(judged, sites)]
    return sorted(lost, key=lambda line: (line.at, line.topic, line.what)) if lost else lost


def _ignored_mails(
    judged: Sequence[tuple[Event, Evidence]], lines: Sequence[Line], sites: Mapping[str, Site]
) -> Iterator[Line]:
    moments: dict[str, list[datetime]] = {}
    mails = set()
    for event, _ in judged:
        if event.name != names.EMAIL_DELIVERED:
            continue
        site = sites[event.site]
        topic, rule = topic_of(event, site), site.points
        mail = (event.site, topic, event.properties.get("message_id") or event.id)
        if not topic or not rule.ignored_mail or mail in mails:
            continue
        mails.add(mail)
        if not moments:
            for line in lines:
                moments.setdefault(line.topic, []).append(line.at)
        turned, due = moments.get(topic, []), event.occurred_at + timedelta(days=rule.ignored_after_days)
        if bisect_right(turned, due) == bisect_right(turned, event.occurred_at):
            campaign = str(event.properties.get("campaign") or "mail")[:60]
            what = f"{campaign} of {event.occurred_at:%Y-%m-%d}: nothing came of it in {rule.ignored_after_days} days"
            yield _lost(due, what, topic, rule.ignored_mail)


@dataclass(slots=True)
class _Visit:
    """What one browser did without a pause of half an hour."""

    last: datetime
    pages: int = 0
    page: Event | None = None
    seconds: float = 0
    acted: bool = False


def _bounced(judged: Sequence[tuple[Event, Evidence]], sites: Mapping[str, Site]) -> Iterator[Line]:
    visits: dict[tuple[str, str], _Visit] = {}
    for event, evidence in judged:
        name, at = event.name, event.occurred_at
        if event.visitor is None or name == names.EMAIL_CLICKED or evidence.grade is Grade.MACHINE:
            continue
        key = (event.site, event.visitor)
        visit = visits.get(key)
        if visit is None or at - visit.last > SESSION:
            if visit is not None and visit.pages == 1:
                yield from _left_at_once(visit, sites)
            visit = visits[key] = _Visit(at)
        visit.last = at
        if event.type is EventType.PAGE or event.type is EventType.SCREEN:
            visit.pages += 1
            visit.page = event
        elif visit.pages > 1:
            continue
        elif name == PAGE_ENGAGED:
            seconds = event.properties.get("engaged_seconds")
            if isinstance(seconds, int | float) and seconds is not True and 0 < seconds < 86_400:
                visit.seconds += seconds
        else:
            visit.acted = True
    for visit in visits.values():
        yield from _left_at_once(visit, sites)


def _left_at_once(visit: _Visit, sites: Mapping[str, Site]) -> Iterator[Line]:
    # Where the page says nothing of reading, nothing is known of it.
    if visit.pages != 1 or visit.acted or visit.page is None or not visit.seconds:
        return
    site = sites[visit.page.site]
    topic, rule = topic_of(visit.page, site), site.points
    if topic and rule.bounce and visit.seconds < rule.bounce_below_seconds:
        what = f"{path_of(visit.page)}: left after {visit.seconds:g} s, and nothing else"
        yield _lost(visit.last + SESSION, what, topic, rule.bounce)


def _lost(at: datetime, what: str, topic: str, points: int) -> Line:
    return Line(at, what, topic, -points, -weight(points, at, half_life=IGNORED_HALF_LIFE), ignored=True)


def summed(lines: Iterable[Line], at: datetime) -> list[tuple[Line, int]]:
    """The lines of one number, each with what it makes of it at a moment: they sum exactly to the number as shown.

    Shapes: of one topic, or of engagement, in order; a line that waits for a reaction makes nothing of it yet.
    Units: hundredths of a point as of the moment.
    """
    told, totals, before = [], [0, 0], 0
    for line in lines:
        if not line.ignored or line.at <= at:
            totals[line.ignored] += line.adds
        now = round(100 * balance(totals[False], -totals[True], at))
        told.append((line, now - before))
        before = now
    if before < 0:
        last = told[-1][0]
        told.append((Line(at, "no interest is less than nothing", last.topic, 0, 0, ignored=True), -before))
    return told


def ignored(lines: Sequence[Line], facts: Iterable[Event]) -> dict[str, Ignored]:
    """What was shown in vain, by topic.

    Shapes: what counts by the newest fact whose date is our own is settled for every later reading; the rest waits.
    """
    if not lines:
        return {}
    newest = max(event.occurred_at for event in facts if event.door not in OWN_DATES)
    found: dict[str, Ignored] = {}
    for topic in sorted({line.topic for line in lines}):
        own = [line for line in lines if line.topic == topic]
        waiting = [line for line in own if line.at > newest][-MOST_WAITING:]
        settled = len(own) - len(waiting)
        found[topic] = Ignored(
            -sum(line.adds for line in own[:settled]), tuple((iso(line.at), -line.adds) for line in waiting)
        )
    return found


def _points(event: Event, site: Site) -> float:
    points, name = site.points, event.name
    if event.type is not EventType.TRACK:
        return 0
    if name in points.events:
        return points.events[name]
    # What others did to the person (a mail delivered, a deal booked) is no engagement of theirs.
    return points.form if name == names.FORM_SUBMITTED else points.click if name == names.EMAIL_CLICKED else 0


def topic_of(event: Event, site: Site) -> str:
    """What an event is about: what it says itself, else its page, or the page that its link leads to."""
    stated = event.context.get("topic") or event.properties.get("topic")
    if isinstance(stated, str) and stated:
        return stated[:40]
    return site.topic_of(_linked(event) if event.name == names.EMAIL_CLICKED else path_of(event)) or ""


def _linked(event: Event) -> str:
    """The path that a mail's link led to; some doors keep the link with its scheme and some without."""
    _, _, path = str(event.properties.get("link") or "").rpartition("://")[2].partition("/")
    return f"/{path}"


def path_of(event: Event) -> str:
    """The path of the page on which an event happened; empty where none is told."""
    page = event.context.get("page")
    if not isinstance(page, Mapping):
        return ""
    try:
        path = page.get("path") or urlsplit(str(page.get("url") or "")).path
    except ValueError:
        # An address such as https://[ is none.
        return ""
    return str(path)[:300]
