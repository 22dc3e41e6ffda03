"""What changed between two versions of a loop, in words, and what may no longer change once it has started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from closedloop.loops.definition import Campaign, Gate, Loop, Track
from closedloop.sites.definition import Place
from closedloop.sites.words import listed

# What the entries of a list are told apart by, and what one of them is called.
NAMED = {
    "campaigns": ("name", "campaign"), "gates": ("name", "gate"), "objectives": ("metric", "objective"),
    "tracks": ("track", "track"),
}
LONGEST_VALUE = 100


def changes(before: Loop, after: Loop) -> tuple[str, ...]:
    """Everything that the later version says otherwise, a sentence each; nothing when both say the same."""
    old, new = (loop.model_dump(mode="json", by_alias=True, exclude_defaults=True) for loop in (before, after))
    return tuple(_compared("", old, new))


def _compared(what: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _part(what, name, old.get(name), new.get(name))
    elif _joined(old) and _joined(new):
        # Conditions have no names: those that both have are left out, the others are compared in order.
        gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
        for one, other in zip(gone, come, strict=False):
            yield from _compared(what, one, other)
        yield from (f"{what}: no longer {_shown(one)}" for one in gone[len(come):])
        yield from (f"{what}: also {_shown(one)}" for one in come[len(gone):])
        if not gone and not come:
            yield f"{what}: in another order"
    elif isinstance(old, str) and isinstance(new, str) and len(old) + len(new) > LONGEST_VALUE:
        yield f"{what}: other words"
    else:
        yield f"{what}: {_shown(old)} → {_shown(new)}"


def _part(what: str, name: str, old: Any, new: Any) -> Iterator[str]:
    """One name below another, whose entries may have names themselves."""
    here = f"{what}, {name}" if what else name
    key, kind = NAMED.get(name, ("", ""))
    of_a_track = what.startswith("track ") and ", " not in what
    if kind == "track" or (of_a_track and kind):
        # What is left out is a list without entries.
        old, new = old or [], new or []
    if kind and (not what or of_a_track) and all(len({one[key] for one in side}) == len(side) for side in (old, new)):
        before, after = ({one[key]: one for one in side} for side in (old, new))
        inside = f"{what}, " if what else ""
        yield from (f"{inside}{kind} {one} is gone" for one in before if one not in after)
        yield from (f"{inside}{kind} {one} is new" for one in after if one not in before)
        for one in after:
            yield from _compared(f"{inside}{kind} {one}", before.get(one, after[one]), after[one])
        if list(before) != list(after) and set(before) == set(after):
            yield f"{inside}{name}: in another order"
    elif old is None:
        yield f"{here}: new, {_shown(new)}"
    elif new is None:
        yield f"{here}: gone, was {_shown(old)}"
    else:
        yield from _compared(here, old, new)


def _joined(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _shown(value: Any) -> str:
    """A value as it would stand in a file, on one line and short."""
    if isinstance(value, Mapping):
        text = f"{{{', '.join(f'{name}: {_shown(part)}' for name, part in value.items())}}}"
    elif isinstance(value, list):
        text = f"[{', '.join(_shown(part) for part in value)}]"
    else:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(whole)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE - 3]}..."


def has_started(loop: Loop, now: datetime) -> bool:
    """Whether the first day of a loop's period has come, where the loop is."""
    return loop.period.start <= now.astimezone(ZoneInfo(loop.time_zone)).date()


def in_force(versions: Sequence[tuple[datetime, Loop]], now: datetime) -> tuple[Loop, ...]:
    """The versions of a loop by which people were decided about: those that were current once it had started.

    Shapes: the versions in order of the time at which each became current.
    """
    ends = [*(at for at, _ in versions[1:]), now]
    return tuple(loop for (_, loop), end in zip(versions, ends, strict=False) if has_started(loop, end))


def kept(former: Sequence[Loop], after: Loop) -> Iterator[tuple[Place, str]]:
    """What a loop that has started may not change, with the reason; each at its place in the new file.

    Shapes: `former` are the versions that were in force, the last one current. None of them: everything may change.
    """
    if not former:
        return
    before = former[-1]
    since = f"the loop has started on {before.period.start}, and"
    if after.sites[0] != before.sites[0] or set(before.sites) - set(after.sites):
        yield ("sites",), (
            f"{since} its sites keep their place, where its reports lie; keep {listed(before.sites, 'and')}, add others"
        )
    for name, why in (
        ("period", "it is measured over one period"), ("time_zone", "its days are cut in one time zone"),
        ("currency", "its sums are in one currency"),
    ):
        if getattr(after, name) != (old := getattr(before, name)):
            was = f"{old.start} to {old.end}" if name == "period" else old
            yield (name,), f"{since} {why}; keep {was}, or draft the next loop"
    if after.universal_holdout != before.universal_holdout:
        text = f"another share would move people into it or out of it; keep {before.universal_holdout:g}"
        yield ("universal_holdout",), f"{since} {text}"
    yield from _kept_steps(former, after, since)
    tracks = [{track.track: track for track in loop.tracks} for loop in former]
    for name in tracks[-1]:
        if all(track.track != name for track in after.tracks):
            yield ("tracks",), f"{since} people stand on track {name}; keep it"
    for at, track in enumerate(after.tracks):
        if before_it := [of[track.track] for of in tracks if track.track in of]:
            for place, text in _kept_steps(before_it, track, since):
                yield ("tracks", at, *place), text


def _kept_steps(
    former: Sequence[Loop] | Sequence[Track], after: Loop | Track, since: str
) -> Iterator[tuple[Place, str]]:
    """What the objectives, stages, gates and campaigns of a loop or of one track may not change."""
    before = former[-1]
    for place, objective in enumerate(after.objectives):
        if objective not in before.objectives:
            text = "is measured by the objectives that it started with"
            yield ("objectives", place), f"{since} {text}; keep them, or draft the next loop"
    for objective in before.objectives:
        if all(objective.metric is not one.metric for one in after.objectives):
            yield ("objectives",), f"{since} still answers for {objective.metric.value} {objective.target}; keep it"
    if [stage for stage in after.stages if stage in before.stages] != list(before.stages):
        stages = listed(before.stages, "and")
        yield ("stages",), f"{since} people stand at its stages; keep {stages} in this order, and add others"
    gates = {gate.name: gate for loop in former for gate in loop.gates}
    for place, gate in enumerate(after.gates):
        yield from _kept_gate(place, gate, gates.get(gate.name), since)
    campaigns = {campaign.name: campaign for loop in former for campaign in loop.campaigns}
    for place, campaign in enumerate(after.campaigns):
        yield from _kept_campaign(place, campaign, campaigns.get(campaign.name), since)


def _kept_gate(place: int, gate: Gate, old: Gate | None, since: str) -> Iterator[tuple[Place, str]]:
    if old is None:
        return
    for name, was, found in (("from", old.from_, gate.from_), ("to", old.to, gate.to)):
        if was != found:
            text = f"gate {gate.name} stands for the step from {old.from_} to {old.to}; give another step a new name"
            yield ("gates", place, name), f"{since} {text}"
    for name, share, before in (
        ("holdout", gate.holdout, old.holdout), ("reverse_holdout", gate.reverse_holdout, old.reverse_holdout),
    ):
        if share != before:
            text = f"another share would move people of gate {gate.name} from arm to arm; keep {before:g}, or give"
            yield ("gates", place, name), f"{since} {text} the gate a new name"


def _kept_campaign(place: int, campaign: Campaign, old: Campaign | None, since: str) -> Iterator[tuple[Place, str]]:
    for name in ("stage", "touchpoint", "incentive") if old is not None else ():
        if getattr(campaign, name) != (was := getattr(old, name)):
            text = f"campaign {campaign.name} has results as it was; keep {str(was).lower()}, or give it a new name"
            yield ("campaigns", place, name), f"{since} {text}"
