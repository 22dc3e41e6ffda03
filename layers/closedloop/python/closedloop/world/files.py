"""Writes a world as a folder of plain files, the same bytes for the same world; and reads such a folder.

Every fact is one line of JSON. Lines are sorted by time through one small file per day, so that no list of all events
is ever held in memory.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

from closedloop.errors import Refused
from closedloop.events.times import iso
from closedloop.world import catalogue as c
from closedloop.world.generate import World
from closedloop.world.people import Joined, Kind
from closedloop.world.stories import Line
from closedloop.world.truth import Counts

SCHEMA = 1
EVENTS, FORMS, DEALS, MAIL = "events.ndjson", "forms.ndjson", "deals.ndjson", "mail.ndjson"
COSTS, REACTIONS, TRUTH = "costs.ndjson", "reactions.ndjson", "truth.json"
TIMED = (EVENTS, FORMS, DEALS, MAIL)


class NotAWorld(Refused):
    """The folder is not one that `closedloop world` wrote; its file and line are named."""


@dataclass(frozen=True, slots=True)
class Written:
    """A world on disk."""

    folder: Path
    counts: Counts


class _Sorter:
    """Sorts lines by time with one file per day; lines of the same moment keep a fixed order."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._days: dict[str, IO[str]] = {}

    def add(self, at: str, line: str) -> None:
        """Take one line; the time is text that sorts, ten letters of which are the day."""
        day = at[:10]
        file = self._days.get(day)
        if file is None:
            file = self._stack.enter_context((self._folder / day).open("w", encoding="utf-8", newline="\n"))
            self._days[day] = file
        file.write(f"{at}\t{line}\n")

    def write(self, target: Path) -> None:
        """Put all lines into one file, the earliest first."""
        for file in self._days.values():
            file.close()
        with target.open("w", encoding="utf-8", newline="\n") as out:
            for day in sorted(self._days):
                path = self._folder / day
                lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
                out.writelines(f"{line.partition(chr(9))[2]}\n" for line in sorted(lines))
                path.unlink(missing_ok=True)


def dumps(line: Any) -> str:
    """One line of JSON, the same bytes for the same values."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write(world: World, folder: Path, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Written:
    """Write a world's files into a folder, which is made when it is missing.

    Shapes: progress counts inhabitants whose story is told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen: Counter[str] = Counter()
    total = len(world.persons) + len(world.lookers) + len(world.bots)
    with TemporaryDirectory(dir=folder, prefix=".sorting-") as scratch, ExitStack() as stack:
        sorters = {}
        for name in TIMED:
            place = Path(scratch) / name
            place.mkdir()
            sorters[name] = _Sorter(place, stack)
        reactions = stack.enter_context((folder / REACTIONS).open("w", encoding="utf-8", newline="\n"))
        for done, (who, story) in enumerate(world.stories(), start=1):
            for event in story.events:
                sorters[EVENTS].add(event["timestamp"], dumps(event))
            for form in story.forms:
                sorters[FORMS].add(form["at"], dumps(form))
            for deal in story.deals:
                sorters[DEALS].add(deal["timestamp"], dumps(deal))
                seen[deal["type"]] += 1
            for mail in story.mail:
                sorters[MAIL].add(_by_second(mail["timestamp"]), dumps(mail))
            reactions.writelines(f"{dumps(line)}\n" for line in story.reactions)
            seen["events"] += len(story.events)
            seen["bot_events"] += len(story.events) if who == "bot" else 0
            seen["forms"] += len(story.forms)
            seen["mail"] += len(story.mail)
            seen["deals"] += len(story.deals)
            seen["reactions"] += len(story.reactions)
            on_progress(done, total)
        for name, sorter in sorters.items():
            sorter.write(folder / name)
    costs = "".join(f"{dumps(cost.line)}\n" for cost in world.costs)
    (folder / COSTS).write_text(costs, encoding="utf-8", newline="\n")
    counts = _counts(world, seen)
    _write_truth(world, counts, folder / TRUTH)
    return Written(folder, counts)


def _by_second(timestamp: int) -> str:
    """Seconds as text that sorts; its first ten letters are the day."""
    return f"{timestamp // 86_400:010d}-{timestamp:012d}"


def _counts(world: World, seen: Counter[str]) -> Counts:
    persons = world.persons
    shared = world.shared
    browsers = [browser for person in persons for browser in person.browsers]
    hidden = sum(browser.joined is Joined.NEVER for browser in browsers)
    lent = sum(len(line["persons"]) - 1 for line in shared)
    won = [person.deal for person in persons if person.deal is not None and person.would_buy_anyway]
    return {
        "humans": len(persons) + len(world.lookers),
        "persons_known": len(persons),
        "wanted_known": sum(person.wanted for person in persons),
        "prize_hunters": sum(person.kind is Kind.PRIZE_HUNTER for person in persons),
        "students": sum(person.kind is Kind.STUDENT for person in persons),
        "lookers": len(world.lookers),
        "bots": len(world.bots),
        "human_visitors": len(browsers) - lent + len(world.lookers),
        "anonymous_visitors": len(world.lookers) + hidden,
        "shared_browsers": len(shared),
        "events": seen["events"],
        "bot_events": seen["bot_events"],
        "forms": seen["forms"],
        "mail_events": seen["mail"],
        "deal_messages": seen["deals"],
        "reactions": seen["reactions"],
        "deals_opened": seen["deal.opened"],
        "deals_won": seen["deal.won"],
        "deals_lost": seen["deal.lost"],
        "deals_refunded": seen["deal.refunded"],
        "revenue_minor": sum(deal.amount_minor for deal in won),
        "refunded_minor": sum(deal.amount_minor for deal in won if deal.outcome.value == "refunded"),
        "cost_minor": sum(cost.amount_minor for cost in world.costs),
    }


def _write_truth(world: World, counts: Counts, target: Path) -> None:
    """Write the truth with one person a line, so that it can be read by eye and written without a list of all."""
    head = {
        "schema": SCHEMA, "people": len(world.persons), "seed": world.seed, "until": iso(world.until), "site": "demo",
        "currency": c.CURRENCY, "counts": counts, "campaigns": world.campaigns, "shared": world.shared,
        "bots": world.bot_truths,
    }
    with target.open("w", encoding="utf-8", newline="\n") as out:
        out.write("{\n")
        out.writelines(f"{dumps(key)}: {dumps(value)},\n" for key, value in head.items())
        out.write(f'"lookers": {dumps([looker.browser.id for looker in world.lookers])},\n"persons": [\n')
        for number, person in enumerate(world.person_truths()):
            out.write(f"{',' if number else ' '}{dumps(person)}\n")
        out.write("]\n}\n")


def read_lines(folder: Path, name: str) -> Iterator[Line]:
    """The lines of one of a world's files, one after the other.

    Errors: NotAWorld names the file, and the line that cannot be read.
    """
    for _, line in read_lines_at(folder, name):
        yield line


def read_lines_at(folder: Path, name: str) -> Iterator[tuple[int, Line]]:
    """The lines of one of a world's files, each with the byte at which it begins."""
    path = folder / name
    if not path.is_file():
        raise NotAWorld(f"{path}: missing; `closedloop world --out {folder}` writes it")
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            yield offset, parse_line(raw, path, number)
            offset += len(raw)


def parse_line(raw: bytes, path: Path, number: int) -> Line:
    """One line as the mapping that it holds."""
    try:
        line = json.loads(raw)
    except ValueError as error:
        raise NotAWorld(f"{path}:{number}: no JSON: {error}") from error
    if not isinstance(line, dict):
        raise NotAWorld(f"{path}:{number}: expected an object")
    return cast(Line, line)
