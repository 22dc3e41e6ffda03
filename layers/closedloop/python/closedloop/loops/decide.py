"""Decides where a person stands in a loop now: pure, from profile, position and plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace
from pydantic_core import from_json

from closedloop.events.times import iso, parse
from closedloop.loops.capacity import Room, Rooms
from closedloop.loops.definition import EXCLUDED, Gate, Loop
from closedloop.loops.experiments import Arm, arm, entry_draw, holdout_draw, is_kept_out, reverse_draw
from closedloop.loops.gates import HoldKind, Outcome, ask, judge
from closedloop.profiles.profile import Asked

# What stands for the notice of a stay that is too long, among the gates' digests; no gate has such a name.
SERVICE_LEVEL = "~service-level"
ENTERS = "meets what it takes to enter"

# The digest of each gate's last verdict, by gate.
Standing = tuple[tuple[str, str], ...]


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a person stands on one loop.

    Shapes: `stage` is empty before the first; `version` counts the decisions written; `unit` is the id that arms are
    drawn by, kept for ever from the first; `standing` is sorted by gate; `since` is when the stage was reached, an ISO
    time; `took_over` are the former ids of the person whose places this one goes on from, and `own` the stage, unit and
    since that it gave up for them.
    """

    person: str
    loop: str
    stage: str = ""
    version: int = 0
    unit: str = ""
    standing: Standing = ()
    since: str = ""
    took_over: tuple[str, ...] = ()
    own: tuple[str, str, str] = ("", "", "")


def standing_text(standing: Standing) -> str:
    """The digests that stand as the one text that equal ones share."""
    return json.dumps(dict(standing), sort_keys=True, separators=(",", ":"))


@lru_cache(4096)
def standing_from(text: str) -> Standing:
    """Read what `standing_text` wrote; there are few ways to stand before a loop's gates, so they are remembered."""
    return tuple(from_json(text).items())


class Verdict(msgspec.Struct, frozen=True):
    """A gate's answer for a person, with what it rests on.

    Units: `draw` is the person's place between 0 and 1 at this gate, None where nobody is held out.
    """

    gate: str
    outcome: Outcome
    reason: str
    hold_kind: HoldKind | None
    arm: Arm | None
    draw: float | None
    why: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What makes this verdict another one than the last: outcome, kind and arm, not the exact figures."""
        return digest_of(self.outcome, self.hold_kind, self.reason if self.outcome is Outcome.EXCLUDE else "", self.arm)


@lru_cache(1024)
def digest_of(outcome: Outcome, hold_kind: HoldKind | None, reason: str, arm: Arm | None) -> str:
    """The digest of a verdict of such an outcome, kind, reason of exclusion and arm."""
    words = f"{outcome}|{hold_kind or ''}|{reason}|{arm or ''}"
    return hashlib.sha256(words.encode()).hexdigest()[:12]


class Decision(msgspec.Struct, frozen=True):
    """What changes for one person on one loop: the verdicts that are new, the stage reached, the mails to write.

    Shapes: `campaigns` names those whose action is now due, of whatever kind; `arm` and `draw` say whether who enters
    a loop is in its universal holdout, where it has one; `room` is where the slot of a stage with a capacity is taken;
    `late` says that they stand at a stage longer than its service level.
    """

    before: Position
    after: Position
    verdicts: tuple[Verdict, ...]
    campaigns: tuple[str, ...]
    reason: str
    arm: Arm | None = None
    draw: float | None = None
    room: Room | None = None
    late: bool = False

    @property
    def changes(self) -> bool:
        return self.after != self.before


def decide(
    loop: Loop, profile: Asked, position: Position, now: datetime, gates: Sequence[Gate] | None = None,
    rooms: Rooms | None = None,
) -> Decision:
    """One step of one person: into the loop, through a gate, out of the loop, or nowhere.

    A person takes one step a decision, so that each step is written, explained and acted on by itself.

    Shapes: `gates` are those to ask, where all others are known to say nothing new (see ready.py); all when left out.
    `rooms` tells what room is left at stages with a capacity; without it there is always some.
    """
    if not position.stage:
        if loop.enter is not None and not ask(loop.enter, profile, now).holds:
            return Decision(position, position, (), (), "does not enter yet")
        entered = replace(
            position, stage=loop.stages[0], unit=position.unit or profile.person, version=1, since=iso(now)
        )
        campaigns = _mailed(loop, entered, profile, now)
        place = entry_draw(loop, entered.unit)
        drawn = None if place is None else arm(place, loop.universal_holdout)
        reason = "became known" if loop.enter is None else ENTERS
        return Decision(position, entered, (), campaigns, reason, drawn, place)
    if position.stage not in loop.stages:
        return Decision(position, position, (), (), f"is {position.stage}")
    standing = dict(position.standing)
    verdicts = []
    for gate in loop.gates_from(position.stage) if gates is None else gates:
        verdict, room = _verdict(loop, gate, profile, position, now), None
        if verdict.outcome is Outcome.ADVANCE and rooms is not None and gate.to in loop.capacities:
            room = rooms(loop, gate.to)
            verdict = _within(verdict, room)
        digest = verdict.digest
        if standing.get(gate.name) != digest:
            verdicts.append(verdict)
            standing[gate.name] = digest
        if verdict.outcome is Outcome.HOLD:
            continue
        stage = gate.to if verdict.outcome is Outcome.ADVANCE else EXCLUDED
        after = _after(position, stage, standing, now)
        campaigns = _mailed(loop, after, profile, now) if verdict.outcome is Outcome.ADVANCE else ()
        return Decision(position, after, tuple(verdicts), campaigns, verdict.reason, room=room)
    late = is_late(loop, position, now)
    if late:
        standing[SERVICE_LEVEL] = position.since
    elif not verdicts:
        return Decision(position, position, (), (), "nothing new")
    after = _after(position, position.stage, standing, now)
    reason = verdicts[-1].reason if verdicts else "longer at a stage than its service level"
    return Decision(position, after, tuple(verdicts), (), reason, late=late)


def is_late(loop: Loop, position: Position, now: datetime) -> bool:
    """Whether somebody stands at a stage longer than they should, and nobody was told of this stay yet.

    Who is in the universal holdout is left alone.
    """
    level = loop.service_levels.get(position.stage)
    if level is None or not position.since or now - parse(position.since) <= timedelta(days=level.days):
        return False
    told = dict(position.standing).get(SERVICE_LEVEL) == position.since
    return not told and not is_kept_out(loop, position.unit)


def over_service_level(stage: str, days: int, since: str) -> dict[str, list[str]]:
    """Why sales is told of somebody who stands at a stage too long, by language."""
    return {
        "en": [f"has stood at {stage} since {since[:10]}, longer than {days} days"],
        "ja": [f"{since[:10]} から {stage} の段階にとどまり、{days} 日を超えています"],
    }


def _within(verdict: Verdict, room: Room) -> Verdict:
    """A verdict that lets somebody through, held against the room at the stage where they would come."""
    why = {"holds": bool(verdict.why["holds"]) and room.free, "question": "all of",
           "parts": [verdict.why, room.as_json()]}
    if room.free:
        return replace(verdict, why=why)
    # Who is in which arm is settled: those who wait are treated later.
    reason = f"ready, but there is no room: {room.said}"
    return replace(verdict, outcome=Outcome.HOLD, hold_kind=HoldKind.CAPACITY, reason=reason, why=why)


def _after(before: Position, stage: str, standing: Mapping[str, str], now: datetime) -> Position:
    since = before.since if stage == before.stage else iso(now)
    return Position(
        before.person, before.loop, stage, before.version + 1, before.unit, tuple(sorted(standing.items())), since,
        before.took_over, before.own,
    )


def _verdict(loop: Loop, gate: Gate, profile: Asked, position: Position, now: datetime) -> Verdict:
    judgement = judge(gate, profile, now)
    told = Verdict(gate.name, judgement.outcome, judgement.reason, judgement.hold_kind, None, None, judgement.why)
    if judgement.outcome is Outcome.EXCLUDE:
        return told
    if is_kept_out(loop, position.unit):
        return replace(told, arm=Arm.KEPT_OUT)
    if judgement.outcome is Outcome.HOLD and gate.reverse_holdout:
        place, passes = reverse_draw(loop.loop, gate, position.unit)
        if not passes:
            return replace(told, arm=Arm.REFUSED, draw=place)
        reason = f"not ready ({judgement.reason}), but let through to price the gate"
        return replace(
            told, outcome=Outcome.ADVANCE, reason=reason, hold_kind=None, arm=Arm.LET_THROUGH, draw=place
        )
    if judgement.outcome is Outcome.ADVANCE and gate.holdout:
        place, stays = holdout_draw(loop.loop, gate, position.unit)
        if not stays:
            return replace(told, arm=Arm.TREATED, draw=place)
        reason = "ready, but kept back to measure what the campaign adds"
        return replace(
            told, outcome=Outcome.HOLD, reason=reason, hold_kind=HoldKind.HOLDOUT, arm=Arm.HOLDOUT, draw=place
        )
    return told


def _mailed(loop: Loop, position: Position, profile: Asked, now: datetime) -> tuple[str, ...]:
    if is_kept_out(loop, position.unit):
        return ()
    return tuple(
        campaign.name for campaign in loop.campaigns_of(position.stage)
        if campaign.kind and (campaign.audience is None or ask(campaign.audience, profile, now).holds)
    )


def as_json(verdict: Verdict) -> str:
    """The inputs and the outcome of each condition, as they are kept in the verdict's record."""
    return json.dumps(verdict.why, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
