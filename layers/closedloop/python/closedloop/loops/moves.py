"""Moves that no gate makes: of who became one with another, and by hand; and who stood where on a past day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import structs

from closedloop.errors import BadShape
from closedloop.events.times import iso
from closedloop.loops.decide import Decision, Position
from closedloop.loops.definition import BESIDE_THE_PATH, Loop
from closedloop.loops.experiments import arm, entry_draw
from closedloop.sites.words import did_you_mean, listed

BY_HAND = "moved by hand"
BECAME_ONE = "is one with somebody who stood there"
PARTED = "is no longer one with somebody from whose place they went on"
REASON_CHARS = 300


def furthest(positions: Sequence[Position], loop: Loop) -> Position:
    """Where a person stands who may have stood under several ids: the furthest place, continued under the first id.

    Shapes: the first position is that of the present id, whose version it keeps; ids whose place it took over before
    say nothing any more. Who was excluded once stays so.
    """
    own = positions[0]
    order = {stage: place for place, stage in enumerate(("", *loop.stages))}
    asked = (own, *(position for position in positions[1:] if position.person not in own.took_over))
    far = max(asked, key=lambda position: order.get(position.stage, len(order)))
    return structs.replace(far, person=own.person, version=own.version, took_over=own.took_over, own=own.own)


def settled(positions: Sequence[Position], loop: Loop, now: datetime) -> Iterator[Decision]:
    """The moves to be written before a gate is asked, so that the present id alone says where the person stands.

    Whoever is no longer one with somebody from whose place they went on goes back to their own; then they go on from
    the furthest place of those they are one with now. Each is a move of its own, so that every id has one path.
    """
    ids = {position.person for position in positions}
    back = [None if ids.issuperset(position.took_over) else _given_back(position, loop, now) for position in positions]
    own, *others = (move.after if move else position for move, position in zip(back, positions, strict=True))
    if back[0] is not None:
        yield back[0]
    joined = tuple(position.person for position in others if position.stage)
    if not {*joined} <= {*own.took_over}:
        before = own.own if own.took_over else (own.stage, own.unit, own.since)
        after = structs.replace(furthest((own, *others), loop), took_over=joined, own=before)
        yield _moved(own, after, BECAME_ONE, loop)


def _given_back(own: Position, loop: Loop, now: datetime) -> Decision:
    stage, unit, since = own.own
    if not stage:
        # They entered by the other's place: the unit that they were drawn by then stays theirs.
        stage, unit, since = loop.stages[0], own.unit, iso(now)
    return _moved(own, Position(own.person, own.loop, stage, own.version, unit, (), since), PARTED, loop)


def _moved(before: Position, after: Position, reason: str, loop: Loop) -> Decision:
    # A version tells of a move or a verdict; that ids became one, or parted, at one stage is neither.
    after = structs.replace(after, version=before.version + (after.stage != before.stage))
    place = None if before.stage else entry_draw(loop, after.unit)
    drawn = None if place is None else arm(place, loop.universal_holdout)
    return Decision(before, after, (), (), reason, drawn, place)


def by_hand(loop: Loop, position: Position, stage: str, reason: str, now: datetime) -> Decision:
    """Bring somebody to another stage, forward, back or beside the path, because a person says so.

    No campaign is sent by it. The gates of the new stage judge afresh: who is moved back and is still ready goes on at
    the next run, and who is to stay away is moved to recycled or lost.

    Errors: BadShape for a stage that the loop does not have, for no move at all, without a reason, and for somebody
    who has not entered the loop.
    """
    stages = (*loop.stages, *BESIDE_THE_PATH)
    if stage not in stages:
        raise BadShape(f"expected one of the stages {listed(stages)}, found {stage!r}{did_you_mean(stage, stages)}")
    if not position.stage:
        raise BadShape(f"they have not entered loop {loop.loop} yet; the next run brings them in")
    if position.stage == stage:
        raise BadShape(f"they stand at {stage} already")
    said = " ".join(reason.split())
    if not said or len(said) > REASON_CHARS:
        raise BadShape(f"expected a reason of 1 to {REASON_CHARS} characters; it is kept with the move")
    after = structs.replace(position, stage=stage, version=position.version + 1, standing=(), since=iso(now))
    if after.took_over:
        # Whoever they are one with, the place given by hand is their own.
        after = structs.replace(after, own=(stage, after.own[1], after.since))
    return Decision(position, after, (), (), f"{BY_HAND}: {said}")


def moved_by_hand(
    loop: Loop, positions: Sequence[Position], stage: str, reason: str, now: datetime
) -> tuple[Decision, ...]:
    """The moves that bring somebody to a stage by hand who may have stood under several ids; the last is that by hand.

    Errors: BadShape, as `by_hand`.
    """
    before = (*settled(positions, loop, now),)
    return (*before, by_hand(loop, before[-1].after if before else positions[0], stage, reason, now))


def balance(
    decisions: Iterable[Mapping[str, Any]], loop: str, until: datetime, present: Callable[[str], str]
) -> Counter[str]:
    """How many people stood at each stage of a loop at a moment of the past.

    Shapes: `decisions` in any order; `present` tells which id a former id has now, so that two who became one count
    once: where the present id stands, else where the last move of a former one led.
    """
    end, last = iso(until), dict[str, tuple[bool, str, str, str]]()
    for row in decisions:
        if row["kind"] == "transition" and row["loop"] == loop and row["at"] <= end:
            person = present(row["person"])
            told = (person == row["person"], row["at"], row["id"], row["to_stage"])
            last[person] = max(last.get(person, told), told)
    return Counter(stage for *_, stage in last.values())
