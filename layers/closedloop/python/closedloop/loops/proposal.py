"""The draft of the next loop: the present one in its own format, moved on, a reason beside every change.

A person reads it, changes it and applies it; nothing here runs by itself. The same loop and the same notes give the
same bytes.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from typing import Any

from closedloop.loops.definition import LANE, Loop, Period
from closedloop.sites.definition import Place

LONGEST_NAME = 40
WIDTH = 108
SHORT = 80
# The order of names in the file, where the definition has another.
FIRST = ("loop", "follows")
_ORIGIN = re.compile(r"^# From the report of ([a-z0-9_-]+), version (\S+)\.\s*$", re.MULTILINE)


class _Kept(Enum):
    KEPT = "kept"
    GONE = "gone"


KEPT, GONE = _Kept.KEPT, _Kept.GONE


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of one place of the draft, and what stands there instead.

    Shapes: the value is KEPT where nothing changes and GONE where the place is left out; a place that is not there yet
    is made.
    """

    place: Place
    comment: str
    value: Any = KEPT


def next_name(name: str) -> str:
    """autumn-pumps, autumn-pumps-2, autumn-pumps-3."""
    found = re.fullmatch(r"(.+)-(\d{1,4})", name)
    stem, number = (found[1], int(found[2]) + 1) if found and int(found[2]) else (name, 2)
    ending = f"-{number}"
    return stem[:LONGEST_NAME - len(ending)].rstrip("-") + ending


def next_period(period: Period, not_before: date) -> Period:
    """As long as the present one, right after it; whole months stay whole months, and no day of it is over."""
    start = max(period.end + timedelta(days=1), not_before)
    whole_months = period.start.day == 1 and (period.end + timedelta(days=1)).day == 1
    if whole_months and start.day == 1:
        months = (period.end.year - period.start.year) * 12 + period.end.month - period.start.month + 1
        after = start.month - 1 + months
        return Period(start=start, end=date(start.year + after // 12, after % 12 + 1, 1) - timedelta(days=1))
    return Period(start=start, end=start + (period.end - period.start))


def moved(loop: Loop, not_before: date) -> dict[str, Any]:
    """The loop as its file would say it, with the next name, the next period and its days moved there."""
    period = next_period(loop.period, not_before)

    def on(day: date) -> date:
        return period.end if day == loop.period.end else min(period.end, max(period.start, day + shift))

    shift = period.start - loop.period.start
    words: dict[str, Any] = _words(loop.model_dump(by_alias=True, exclude_defaults=True))
    # The draft from a track's report is a loop by itself; a loop's own draft has all its tracks.
    name = loop.loop.replace(LANE, "-")
    words |= {"loop": next_name(name), "period": {"start": period.start, "end": period.end}}
    if name == loop.loop:
        words["follows"] = name
    else:
        words.pop("follows", None)
    every = [words, *words.get("tracks", ())]
    for objective in (objective for steps in every for objective in steps.get("objectives", ())):
        objective["by"] = on(objective["by"])
    for campaign in (campaign for steps in every for campaign in steps.get("campaigns", ())):
        cost = campaign.get("cost", {})
        if "by_day" in cost:
            spent: dict[date, int] = {}
            for day, amount in cost["by_day"].items():
                spent[on(day)] = spent.get(on(day), 0) + amount
            cost["by_day"] = spent
    return {**{name: words[name] for name in FIRST if name in words}, **words}


def _words(value: Any) -> Any:
    """Values as a file holds them: lists, names, plain numbers."""
    if isinstance(value, Mapping):
        return {name: _words(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_words(part) for part in value]
    if isinstance(value, Enum):
        return value.value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def noted(words: dict[str, Any], notes: Iterable[Note]) -> dict[str, Any]:
    """The draft with what the notes put at their places."""
    for note in notes:
        if note.value is KEPT:
            continue
        at: Any = words
        for step in note.place[:-1]:
            at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
        if note.value is GONE:
            at.pop(note.place[-1], None)
        else:
            at[note.place[-1]] = _words(note.value)
    return words


def draft(loop: Loop, notes: Sequence[Note], not_before: date) -> Loop:
    """The next loop as a definition."""
    return Loop.model_validate(noted(moved(loop, not_before), notes))


def written(loop: Loop, notes: Sequence[Note], not_before: date, report: str, head: Sequence[str] = ()) -> bytes:
    """The next loop as a file, each note as a comment beside its place, with what stood there before.

    Shapes: `report` is the version of the report that the notes are from; a note whose place is left out stands before
    the nearest thing around it.
    """
    # ruamel is where files are read and drafts written, and nowhere else.
    from ruamel.yaml import YAML

    before = moved(loop, not_before)
    words = _commented(noted(moved(loop, not_before), notes), {note.place for note in notes})
    said: dict[Place, list[str]] = {}
    for note in notes:
        text = note.comment
        if note.value is not KEPT and (was := _at(before, note.place)) is not None:
            text = f"{text} Was {_short(was)}."
        place = note.place
        while place and _at(words, place) is None:
            place = place[:-1]
        said.setdefault(place, []).extend(textwrap.wrap(text, WIDTH))
    for place, lines in said.items():
        if place:
            _at(words, place[:-1]).yaml_set_comment_before_after_key(
                place[-1], before="\n".join(lines), indent=2 * (len(place) - 1),
            )
    yaml = YAML()
    yaml.width, yaml.allow_unicode = 4096, True
    # A day that stands twice is written twice: our files hold no anchors.
    yaml.representer.ignore_aliases = lambda _: True
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    for line in (
        f"The draft of the loop after {loop.loop}: read it, change it, then: closedloop loop apply FILE",
        *head, *said.get((), ()),
    ):
        out.writelines(f"# {part}\n" for part in textwrap.wrap(line, WIDTH))
    out.write(f"# From the report of {loop.loop}, version {report}.\n")
    yaml.dump(words, out)
    return out.getvalue().encode()


def origin(text: str) -> tuple[str, str] | None:
    """The loop and the version of the report that a draft was made from; nothing where the file does not say."""
    found = _ORIGIN.search(text)
    return (found[1], found[2]) if found else None


def _commented(value: Any, noted: Set[Place], place: Place = ()) -> Any:
    """Values as ruamel writes them: what is short and has no note inside on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import LiteralScalarString

    if isinstance(value, dict):
        made = CommentedMap((name, _commented(part, noted, (*place, name))) for name, part in value.items())
        inside = any(len(one) > len(place) and one[:len(place)] == place for one in noted)
        plain = not any(isinstance(part, dict | list) or "\n" in str(part) for part in value.values())
        if place and plain and not inside and len(_short(value)) <= SHORT:
            made.fa.set_flow_style()
        return made
    if isinstance(value, list):
        listed = CommentedSeq(_commented(part, noted, (*place, at)) for at, part in enumerate(value))
        if not any(isinstance(part, dict | list) for part in value):
            listed.fa.set_flow_style()
        return listed
    return LiteralScalarString(value) if isinstance(value, str) and "\n" in value else value


def _at(words: Any, place: Place) -> Any:
    for step in place:
        try:
            words = words[step]
        except (KeyError, IndexError, TypeError):
            return None
    return words


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(part)}" for name, part in value.items())
    return ", ".join(map(_short, value)) if isinstance(value, list) else str(value)
