"""What the inhabitants do: visits page by page, forms, newsletters, deals, and how they would answer a mail.

A story is told from an inhabitant and their own numbers of chance alone, so the same inhabitant always does the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from closedloop.events.times import iso
from closedloop.world import catalogue as c
from closedloop.world.people import SEMINAR_DAYS_BEFORE, Bot, Browser, Deal, Joined, Kind, Looker, Outcome, Person

Line = dict[str, Any]

# Midnight in Tokyo, where most visitors sit, is 15:00 UTC of the day before.
TOKYO = timedelta(hours=9)
NEWSLETTERS = (("newsletter-1", 30), ("newsletter-2", 12))
NEWSLETTER_LINK = f"{c.SITE}{c.NEWS.path}?utm_source=newsletter&utm_medium=email&utm_campaign="
IMAGE_PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@dataclass(slots=True)
class Story:
    """Everything that one inhabitant leaves behind, as lines of the world's files."""

    events: list[Line] = field(default_factory=list)
    forms: list[Line] = field(default_factory=list)
    deals: list[Line] = field(default_factory=list)
    mail: list[Line] = field(default_factory=list)
    reactions: list[Line] = field(default_factory=list)


def name(rng: Random) -> str:
    """A name for one fact, the same on every delivery of it."""
    return f"{rng.getrandbits(128):032x}"


class Calendar:
    """The days of the world, counted back from its end; every moment it gives lies before the end."""

    def __init__(self, until: datetime) -> None:
        local = until + TOKYO
        self._midnight = local.replace(hour=0, minute=0, second=0, microsecond=0) - TOKYO
        self.until = until

    def day(self, days_before: int) -> str:
        """The date in Tokyo."""
        return f"{self._midnight - timedelta(days=days_before) + TOKYO:%Y-%m-%d}"

    def at(self, days_before: int, hour: float) -> datetime:
        """A moment of a day, by Tokyo's clock; the last day is yesterday."""
        return self._midnight - timedelta(days=max(1, days_before)) + timedelta(milliseconds=round(hour * 3_600_000))

    def office(self, rng: Random, days_before: int) -> datetime:
        """A moment when people are awake, mostly at work; late enough to leave an hour for the visit."""
        return self.at(days_before, rng.uniform(9, 18) if rng.random() < 0.8 else rng.uniform(7, 22.5))


def page_context(page: c.Page, locale: str, search: str = "", referrer: str = "") -> Line:
    """A page in Segment's words."""
    return {
        "path": page.path, "referrer": referrer, "search": search, "title": page.title(locale),
        "url": f"{c.SITE}{page.path}{search}",
    }


def event(
    rng: Random, kind: str, browser: Browser, at: datetime | None, locale: str, page: Line,
    *, campaign: Line | None = None, topic: str | None = None, **more: Any,
) -> Line:
    """One event in Segment's shape.

    Shapes: `more` are fields of the call itself, such as name, event, userId, traits; no time for what has not
    happened yet.
    """
    context: Line = {"page": page, "userAgent": browser.agent, "locale": locale}
    if campaign:
        context["campaign"] = campaign
    if topic:
        context["topic"] = topic
    return {
        "type": kind, "messageId": name(rng), "anonymousId": browser.id, **({"timestamp": iso(at)} if at else {}),
        "properties": {}, **more, "context": context,
    }


def visit(
    rng: Random, browser: Browser, start: datetime, locale: str, arrival: c.Arrival, pages: Sequence[c.Page]
) -> tuple[list[Line], datetime]:
    """One visit: the pages in order, read for a while each, and the moment after the last."""
    events, now, before = [], start, arrival.referrer
    for number, page in enumerate(pages):
        search = arrival.search() if number == 0 else ""
        context = page_context(page, locale, search, before)
        campaign = dict(arrival.campaign) if number == 0 else None
        events.append(event(rng, "page", browser, now, locale, context, name=page.title(locale), campaign=campaign))
        if page is c.PRICES:
            now += timedelta(seconds=3)
            events.append(event(
                rng, "track", browser, now, locale, context,
                event="Price List Viewed", properties={"product": "pn-200"},
            ))
        before = f"{c.SITE}{page.path}"
        now += timedelta(milliseconds=round(1000 * min(240.0, 6 + rng.expovariate(1 / 40))))
    return events, now


def _pages(rng: Random, person: Person, count: int, *, later: bool) -> list[c.Page]:
    """What a person reads: by what they care about; only people who may buy look at prices."""
    if person.kind is Kind.STUDENT:
        pool: Sequence[c.Page] = (*c.PUMPS, *c.VALVES, *c.CAREERS, *c.CAREERS)
        return rng.choices(pool, k=count)
    pages = [rng.choice(c.PUMPS if rng.random() < 0.25 + 0.7 * person.propensities.pumps else c.VALVES + c.ABOUT)
             for _ in range(count)]
    if later and rng.random() < (0.25 if person.keen else 0.08):
        pages.append(c.PRICES)
    return pages


def _first_arrival(rng: Random, person: Person) -> c.Arrival:
    if person.kind is Kind.PRIZE_HUNTER:
        return rng.choice(c.PRIZE_ARRIVALS)
    if person.by_ad:
        return c.Arrival(
            "https://www.google.co.jp/",
            (("source", "google"), ("medium", "cpc"), ("name", c.SEARCH_ADS), ("term", rng.choice(c.AD_WORDS))),
            click_id=name(rng)[:20],
        )
    if person.kind is Kind.STUDENT:
        return rng.choice(c.OTHER_SEARCHES + c.SOCIAL)
    return rng.choice(rng.choices((c.PUMP_SEARCHES, c.SITES, c.SOCIAL, (c.DIRECT,)), (55, 20, 10, 15))[0])


def _as_typed(rng: Random, email: str) -> str:
    """The address as a hand types it: now and then with capitals, in full-width letters, or with a space."""
    typing = rng.random()
    if typing < 0.06:
        return email.title()
    if typing < 0.09:
        return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in email)
    return f" {email}" if typing < 0.11 else email


def _submission(rng: Random, form: str, person: Person, browser: Browser, at: datetime, page: c.Page) -> Line:
    fields = {"email": _as_typed(rng, person.email), "first_name": person.first_name}
    if form == "guide":
        fields["company"] = person.company
    fields |= {"industry": person.industry, "employees": str(person.employees)}
    return {
        "form": form, "at": iso(at), "submission_id": name(rng), "anonymousId": browser.id,
        "userAgent": browser.agent, "fields": fields, "page": page_context(page, person.locale),
    }


def _fill(rng: Random, story: Story, person: Person, browser: Browser, now: datetime, form: str) -> None:
    """Open the form's page, fill it in, arrive at the thanks."""
    page = c.GUIDE if form == "guide" else c.PRIZE
    seen, done = visit(rng, browser, now, person.locale, c.Arrival(f"{c.SITE}/"), [page])
    story.events += seen
    story.forms.append(_submission(rng, form, person, browser, done + timedelta(seconds=20), page))
    story.events += visit(
        rng, browser, done + timedelta(seconds=21), person.locale, c.Arrival(f"{c.SITE}{page.path}"), [c.THANKS],
    )[0]


def _visit_days(rng: Random, person: Person) -> tuple[list[int], int]:
    """The days of all visits, the first one first, and which of them has the form."""
    days = [person.first_days]
    if person.first_days > 1 and rng.random() < 0.5:
        days.append(max(1, person.first_days - rng.randint(1, 5)))
    with_form = len(days) - 1
    # Whoever is keen keeps coming until the end; others mostly drift away.
    left = range(1, min(days[-1], 20) if person.keen else days[-1])
    wish = len(person.browsers) - 1 + (rng.randint(2, 5) if person.keen else rng.choice((0, 1, 1, 2, 3)))
    days += sorted(rng.sample(left, min(wish, len(left))), reverse=True)
    return days, with_form


def tell_person(rng: Random, person: Person, calendar: Calendar) -> Story:
    """The whole story of one person, before any mail of the loop and after it."""
    story = Story()
    if person.kind is Kind.PRIZE_HUNTER:
        browser = person.browsers[0]
        start = calendar.office(rng, person.first_days)
        seen, now = visit(rng, browser, start, person.locale, _first_arrival(rng, person), [c.PRIZE])
        story.events += seen
        story.forms.append(_submission(rng, "prize", person, browser, now + timedelta(seconds=20), c.PRIZE))
        story.events += visit(
            rng, browser, now + timedelta(seconds=21), person.locale, c.Arrival(f"{c.SITE}{c.PRIZE.path}"), [c.THANKS],
        )[0]
        known_days = person.first_days
    else:
        known_days = _tell_visits(rng, story, person, calendar)
    _tell_seminar(rng, story, person, calendar)
    _tell_newsletters(rng, story, person, calendar, known_days)
    if person.deal is not None:
        story.deals += _deal_lines(rng, person, person.deal, calendar)
    story.reactions += react_to_mail(rng, person)
    return story


def _tell_visits(rng: Random, story: Story, person: Person, calendar: Calendar) -> int:
    """The visits of somebody who reads; gives the day on which they first said who they are."""
    days, with_form = _visit_days(rng, person)
    told: set[str] = set()
    prize = person.kind is Kind.PROSPECT and rng.random() < 0.08
    for number, day in enumerate(days):
        turn = max(0, number - with_form)
        browser = person.browsers[turn % len(person.browsers)]
        first = number == 0
        arrival = _first_arrival(rng, person) if first else rng.choice((c.DIRECT, c.DIRECT, c.Arrival("https://www.google.co.jp/")))
        count = rng.randint(2, 5) if person.keen else rng.randint(1, 4)
        pages = [c.HOME] * (rng.random() < 0.3) + _pages(rng, person, count, later=number > with_form)
        seen, now = visit(rng, browser, calendar.office(rng, day), person.locale, arrival, pages)
        story.events += seen
        if number == with_form or (number > with_form and browser.joined is Joined.FORM and browser.id not in told):
            _fill(rng, story, person, browser, now, "guide")
            told.add(browser.id)
        elif number > with_form and browser.joined is Joined.IDENTIFY and browser.id not in told:
            # They sign in to the download area, where the site knows its members.
            story.events.append(event(
                rng, "identify", browser, now, person.locale, page_context(pages[-1], person.locale),
                userId=f"member-{person.number}", traits={"email": person.email, "firstName": person.first_name},
            ))
            told.add(browser.id)
        elif prize and browser.id in told:
            _fill(rng, story, person, browser, now, "prize")
            prize = False
    return days[with_form]


def _tell_seminar(rng: Random, story: Story, person: Person, calendar: Calendar) -> None:
    if person.attends_seminar:
        story.events.append(event(
            rng, "track", person.browsers[0], calendar.at(SEMINAR_DAYS_BEFORE, 14 + rng.uniform(0, 0.3)), person.locale,
            page_context(c.NEWS, person.locale), event="Seminar Attended", topic="pumps",
            campaign={"name": c.PUMP_SEMINAR, "medium": "seminar"}, properties={"seminar": c.PUMP_SEMINAR},
        ))


def _tell_newsletters(rng: Random, story: Story, person: Person, calendar: Calendar, known_days: int) -> None:
    """What the mail provider says of the newsletters, and the visits that came of them."""
    for campaign, day in NEWSLETTERS:
        if known_days <= day:
            continue
        at = calendar.at(day, 10 + rng.uniform(0, 0.4))
        message = name(rng)
        if not person.reachable:
            story.mail.append(_mail(
                rng, "bounce", at, person, campaign, message,
                type="bounce", status="5.1.1", reason="550 no such mailbox",
            ))
            return
        story.mail.append(_mail(rng, "delivered", at, person, campaign, message, response="250 OK"))
        if rng.random() < 0.2:
            prefetch = at + timedelta(seconds=rng.uniform(1, 8))
            story.mail.append(_mail(
                rng, "open", prefetch, person, campaign, message, sg_machine_open=True, useragent="Mozilla/5.0",
            ))
        opened = at + timedelta(minutes=rng.uniform(3, 600))
        if rng.random() < 0.25 + person.propensities.click / 2:
            story.mail.append(_mail(
                rng, "open", opened, person, campaign, message, sg_machine_open=False, useragent=IMAGE_PROXY,
            ))
            if rng.random() < person.propensities.click / 2:
                browser, clicked = person.browsers[0], opened + timedelta(seconds=rng.uniform(5, 60))
                story.mail.append(_mail(
                    rng, "click", clicked, person, campaign, message,
                    url=NEWSLETTER_LINK + campaign, useragent=browser.agent,
                ))
                arrival = c.tagged("", source="newsletter", medium="email", name=campaign)
                pages = [c.NEWS, *_pages(rng, person, 1, later=True)]
                story.events += visit(rng, browser, clicked + timedelta(seconds=1), person.locale, arrival, pages)[0]


def _mail(rng: Random, kind: str, at: datetime, person: Person, campaign: str, message: str, **more: Any) -> Line:
    """One event of the mail provider.

    Source: SendGrid, Event Webhook Reference.
    """
    return {
        "email": person.email, "timestamp": int(at.timestamp()), "event": kind, "campaign": campaign,
        "category": [campaign], "sg_event_id": name(rng), "sg_message_id": f"{message}.filter0001",
        "smtp-id": f"<{message}@northwind.example>", **more,
    }


def _webhook(rng: Random, kind: str, at: datetime | None, person: Person, deal: str, amount: int, stage: str) -> Line:
    """A deal as the customer system reports it; without a time for what has not happened yet."""
    return {
        "id": f"evt_{name(rng)}", "type": f"deal.{kind}", **({"timestamp": iso(at)} if at else {}),
        "data": {
            "id": deal, "email": person.email, "name": f"{person.company} PN-200", "amount_minor": amount,
            "currency": c.CURRENCY, "stage": stage,
        },
    }


def _deal_lines(rng: Random, person: Person, deal: Deal, calendar: Calendar) -> Iterable[Line]:
    def line(kind: str, days: int, hour: float, amount: int, stage: str) -> Line:
        return _webhook(rng, kind, calendar.at(days, hour), person, deal.id, amount, stage)

    first = deal.amount_minor if rng.random() < 0.7 else deal.amount_minor // 20_000 * 15_000
    yield line("opened", deal.opened_days, rng.uniform(9, 12), first, "qualified")
    if first != deal.amount_minor:
        yield line("changed", deal.opened_days - 1, rng.uniform(9, 12), deal.amount_minor, "quoted")
    if deal.outcome is Outcome.LOST:
        yield line("lost", deal.closed_days, rng.uniform(13, 18), deal.amount_minor, "closed lost")
    if deal.outcome in (Outcome.WON, Outcome.REFUNDED):
        yield line("won", deal.closed_days, rng.uniform(13, 15), deal.amount_minor, "closed won")
    if deal.outcome is Outcome.REFUNDED:
        yield line("refunded", deal.closed_days - 1, rng.uniform(16, 18), deal.amount_minor, "refunded")


def react_to_mail(rng: Random, person: Person) -> list[Line]:
    """What a person does if, and only if, the case mail reaches them.

    Shapes: minutes after the mail, in order. Whoever the mail moves clicks, asks for prices and buys.
    """
    moved = person.moved_by_mail
    clicks = moved or rng.random() < person.propensities.click
    if not person.reachable or not clicks:
        return []
    browser, locale, minutes = person.browsers[0], person.locale, rng.randint(5, 2880)
    lines = [_reaction(person, minutes, "click", {"anonymousId": browser.id, "userAgent": browser.agent})]

    cases = page_context(c.CASES, locale)
    lines.append(_reaction(person, minutes, "event", event(
        rng, "page", browser, None, locale, cases, name=c.CASES.title(locale),
    )))
    if moved or rng.random() < 0.35:
        minutes += rng.randint(2, 30)
        prices = page_context(c.PRICES, locale, referrer=cases["url"])
        lines.append(_reaction(person, minutes, "event", event(
            rng, "page", browser, None, locale, prices, name=c.PRICES.title(locale),
        )))
        lines.append(_reaction(person, minutes, "event", event(
            rng, "track", browser, None, locale, prices, event="Price List Viewed", properties={"product": "pn-200"},
        )))
    if moved and rng.random() < 0.4:
        minutes += rng.randint(2, 8) * 1440
        lines.append(_reaction(person, minutes, "event", event(
            rng, "track", browser, None, locale, page_context(c.NEWS, locale), event="Seminar Attended", topic="pumps",
            campaign={"name": c.PUMP_SEMINAR, "medium": "seminar"}, properties={"seminar": c.PUMP_SEMINAR},
        )))
    hesitates = person.keen and person.deal is None and rng.random() < 0.15
    if moved or hesitates:
        deal = f"D-{person.number:06d}-M"
        amount = max(30, round(rng.lognormvariate(5.7, 0.5))) * 10_000
        minutes += rng.randint(1, 6) * 1440
        opened = _webhook(rng, "opened", None, person, deal, amount, "qualified")
        lines.append(_reaction(person, minutes, "deal", opened))
        minutes += rng.randint(4, 12) * 1440
        kind, stage = ("won", "closed won") if moved else ("lost", "closed lost")
        lines.append(_reaction(person, minutes, "deal", _webhook(rng, kind, None, person, deal, amount, stage)))
    return lines


def _reaction(person: Person, minutes: int, kind: str, payload: Line) -> Line:
    return {"campaign": c.CASE_MAIL, "email": person.email, "after_minutes": minutes, "kind": kind, "payload": payload}


def tell_looker(rng: Random, looker: Looker, calendar: Calendar) -> Story:
    """A few pages, once or twice."""
    story = Story()
    pool = c.CAREERS if looker.careers else (*c.PUMPS, *c.VALVES, *c.ABOUT)
    days = sorted(rng.sample(range(1, 61), rng.choice((1, 1, 1, 2, 3))), reverse=True)
    arrivals = (*c.OTHER_SEARCHES, *c.PUMP_SEARCHES, *c.SOCIAL, *c.SITES, c.DIRECT)
    for day in days:
        pages = [c.HOME] * (rng.random() < 0.4) + rng.choices(pool, k=rng.randint(1, 3))
        start, arrival = calendar.office(rng, day), rng.choice(arrivals)
        story.events += visit(rng, looker.browser, start, looker.locale, arrival, pages)[0]
    return story


def tell_bot(rng: Random, bot: Bot, calendar: Calendar) -> Story:
    """Pages at a machine's pace: by the hour, by the minute, or many in a second."""
    story = Story()
    browser = Browser(bot.visitor, bot.agent, Joined.NEVER)
    start, count = calendar.at(rng.randint(2, 59), rng.uniform(0, 23)), rng.randint(25, 45)
    if bot.kind == "monitor":
        pages, step = [c.HOME] * 24, timedelta(hours=1)
    elif bot.kind == "disguised":
        pages, step = rng.choices(c.ALL_PAGES, k=count), timedelta(milliseconds=400)
    else:
        pages, step = rng.choices(c.ALL_PAGES, k=count), timedelta(seconds=rng.choice((2, 10, 30)))
    for number, page in enumerate(pages):
        story.events.append(event(
            rng, "page", browser, start + number * step, "en-US", page_context(page, "en-US"), name=page.english,
        ))
    return story
