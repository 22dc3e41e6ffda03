"""Makes a world: people, lookers and bots over sixty days, with everything that is true of them.

Pure: the same numbers give the same world. A world keeps only who lives in it; what they do is told one by one, so
that a hundred thousand people fit into little memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from closedloop.errors import Refused
from closedloop.world import catalogue as c
from closedloop.world import people as p
from closedloop.world.stories import Calendar, Line, Story, tell_bot, tell_looker, tell_person
from closedloop.world.truth import BotTruth, CampaignTruth, PersonTruth, SharedTruth


@dataclass(frozen=True, slots=True)
class Cost:
    """What one campaign cost on one day, in minor units."""

    campaign: str
    day: str
    amount_minor: int

    @property
    def line(self) -> Line:
        return {"campaign": self.campaign, "day": self.day, "amount_minor": self.amount_minor, "currency": c.CURRENCY}


@dataclass(frozen=True, slots=True)
class World:
    """Who lives in a world that ends at `until`."""

    seed: int
    until: datetime
    persons: tuple[p.Person, ...]
    lookers: tuple[p.Looker, ...]
    bots: tuple[p.Bot, ...]
    costs: tuple[Cost, ...]

    def stories(self) -> Iterator[tuple[str, Story]]:
        """What everybody does, one inhabitant after the other; told anew at each call, and always the same.

        Shapes: the word before each story is person, looker or bot.
        """
        calendar = Calendar(self.until)
        for person in self.persons:
            yield "person", tell_person(p.chance(self.seed, "person-story", person.number), person, calendar)
        for looker in self.lookers:
            yield "looker", tell_looker(p.chance(self.seed, "looker-story", looker.number), looker, calendar)
        for bot in self.bots:
            yield "bot", tell_bot(p.chance(self.seed, "bot-story", bot.number), bot, calendar)

    @property
    def shared(self) -> list[SharedTruth]:
        """The browsers that several persons use."""
        users: dict[str, list[str]] = {}
        for person in self.persons:
            for browser in person.browsers:
                users.setdefault(browser.id, []).append(person.id)
        return [{"browser": browser, "persons": who} for browser, who in users.items() if len(who) > 1]

    @property
    def campaigns(self) -> dict[str, CampaignTruth]:
        """What each campaign really does, for the people of this very world."""
        by_ad = [person for person in self.persons if person.by_ad]
        guests = [person for person in self.persons if person.attends_seminar]
        movable = [person for person in self.persons if person.keen and person.reachable]
        lost = sum(person.propensities.buy_anyway for person in by_ad if person.by_ad_only)
        cost = {campaign: sum(line.amount_minor for line in self.costs if line.campaign == campaign)
                for campaign in (c.SEARCH_ADS, c.PRIZE_DRAW, c.PUMP_GUIDE, c.CASE_MAIL, c.PUMP_SEMINAR)}

        def truth(name: str, rise: float, audience: int, without: int, with_it: int) -> CampaignTruth:
            return {
                "raises_p_deal_by": rise, "audience": audience, "buyers_without": without, "buyers_with": with_it,
                "cost_minor": cost[name],
            }

        hunters = sum(person.kind is p.Kind.PRIZE_HUNTER for person in self.persons)
        readers = [person for person in self.persons if person.kind is not p.Kind.PRIZE_HUNTER]
        buyers = sum(person.would_buy_anyway for person in readers)
        return {
            c.SEARCH_ADS: truth(
                c.SEARCH_ADS, round(lost / len(by_ad), 4) if by_ad else 0.0, len(by_ad),
                sum(person.would_buy_anyway and not person.by_ad_only for person in by_ad),
                sum(person.would_buy_anyway for person in by_ad),
            ),
            c.PRIZE_DRAW: truth(c.PRIZE_DRAW, 0.0, hunters, 0, 0),
            c.PUMP_GUIDE: truth(c.PUMP_GUIDE, 0.0, len(readers), buyers, buyers),
            c.CASE_MAIL: truth(
                c.CASE_MAIL, p.CASE_MAIL_EFFECT, len(movable),
                sum(person.would_buy_anyway for person in movable),
                sum(person.would_buy_if_mailed for person in movable),
            ),
            c.PUMP_SEMINAR: truth(
                c.PUMP_SEMINAR, p.PUMP_SEMINAR_EFFECT, len(guests),
                sum(person.would_buy_without_seminar for person in guests),
                sum(person.would_buy_anyway for person in guests),
            ),
        }

    def person_truths(self) -> Iterator[PersonTruth]:
        """What is true of each person, one after the other."""
        for person in self.persons:
            yield {
                "id": person.id, "kind": person.kind.value, "emails": [person.email],
                "browsers": [{"id": browser.id, "joined": browser.joined.value} for browser in person.browsers],
                "industry": person.industry, "employees": person.employees, "wanted": person.wanted,
                "reachable": person.reachable, "by_ad": person.by_ad, "by_ad_only": person.by_ad_only,
                "attends_seminar": person.attends_seminar,
                "propensities": {
                    "pumps": person.propensities.pumps, "click": person.propensities.click,
                    "buy_anyway": person.propensities.buy_anyway, "buy_if_mailed": person.propensities.buy_if_mailed,
                },
                "would_buy_without_seminar": person.would_buy_without_seminar,
                "would_buy_anyway": person.would_buy_anyway, "would_buy_if_mailed": person.would_buy_if_mailed,
            }

    @property
    def bot_truths(self) -> list[BotTruth]:
        return [{"visitor": bot.visitor, "kind": bot.kind, "agent": bot.agent} for bot in self.bots]


def generate(people: int, seed: int, until: datetime) -> World:
    """Make the world of so many people that ends at a moment.

    Errors: Refused when there is nobody to make, or the moment has no time zone.
    """
    if people < 1:
        raise Refused(f"a world needs at least one person, not {people}")
    if until.tzinfo is None:
        raise Refused("the end of a world needs a time zone")
    until = until.astimezone(UTC)
    persons: list[p.Person] = []
    for number in range(1, people + 1):
        neighbour = persons[-1] if persons else None
        persons.append(p.draw_person(p.chance(seed, "person", number), number, neighbour))
    return World(
        seed=seed, until=until, persons=tuple(persons),
        lookers=tuple(p.draw_looker(p.chance(seed, "looker", number), number) for number in range(1, people + 1)),
        bots=tuple(p.draw_bot(p.chance(seed, "bot", number), number) for number in range(max(5, people // 25))),
        costs=tuple(_costs(people, seed, Calendar(until))),
    )


def _costs(people: int, seed: int, calendar: Calendar) -> Iterator[Cost]:
    """What was really spent: ads by the day, prizes and the seminar at once; it grows with the world."""
    rng = p.chance(seed, "costs", 0)

    def cost(campaign: str, days_before: int, yen_per_head: float) -> Cost:
        return Cost(campaign, calendar.day(days_before), round(people * yen_per_head))

    for day in range(p.DAYS, 0, -1):
        yield cost(c.SEARCH_ADS, day, rng.uniform(40, 90))
        if day == p.DAYS:
            yield cost(c.PUMP_GUIDE, day, 1200)
            yield cost(c.PRIZE_DRAW, day, 2500)
        elif day % 10 == 0:
            yield cost(c.PRIZE_DRAW, day, rng.uniform(100, 200))
        if day == p.SEMINAR_DAYS_BEFORE:
            yield cost(c.PUMP_SEMINAR, day, 2250)
        if day == 1:
            yield cost(c.CASE_MAIL, day, 150)
