"""The tasks of stage_transitions: select, decide, perform, close. Each may run again and then changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from closedloop.errors import BadShape, StageMoved, TryAgain
from closedloop.events.confirmations import OPEN_FOR
from closedloop.events.event import UNCONFIRMED
from closedloop.events.times import iso, parse
from closedloop.identity.persons import ids_of
from closedloop.loops.actions import Links, compose
from closedloop.loops.capacity import Room, Rooms, window_of
from closedloop.loops.decide import Decision, Position, decide
from closedloop.loops.definition import EXCLUDED, MAIL, Campaign, Loop
from closedloop.loops.handover import Delivery, perform_handover
from closedloop.loops.moves import settled
from closedloop.loops.once import Mailer, is_another_ids, is_lost, send_once
from closedloop.loops.policies import may_mail_at
from closedloop.loops.questions import Writes, perform_question
from closedloop.loops.ready import Ready
from closedloop.profiles.around import Around
from closedloop.profiles.profile import Excerpt, Profile
from closedloop.sites.definition import MARKETING, Site

if TYPE_CHECKING:
    from closedloop.lake.runs import RunFiles
    from closedloop.store.actions import Action
    from closedloop.store.decisions import Unread
    from closedloop.store.state import State

# So often a slot is tried for that others take at the same time; then the person waits for the next run.
RACES = 8
LATE = "over_service_level"
OUTCOMES = ("moved", "held", "excluded", "unchanged", "later", "failed")


def running(loops: Iterable[Loop], group: str, sites: Mapping[str, Site], now: datetime) -> list[Loop]:
    """The loops in whose period we are, for a customer list."""
    found = []
    for loop in loops:
        today = now.astimezone(ZoneInfo(loop.time_zone)).date()
        if loop.period.start <= today <= loop.period.end and any(
            name in sites and sites[name].list_name == group for name in loop.sites
        ):
            found.append(loop)
    return found


def customer_lists(loops: Iterable[Loop], sites: Mapping[str, Site], now: datetime) -> list[str]:
    """The customer lists of the loops in whose period we are."""
    lists = {site.list_name for site in sites.values()}
    return sorted(name for name in lists if running(loops, name, sites, now))


def select(
    run: str, persons: Sequence[str], state: State, files: RunFiles, now: datetime, lists: Sequence[str] = ()
) -> dict[str, Any]:
    """Who has to be decided about: those named, or everybody on these customer lists, or everybody who is due.

    Every night it is everybody, since scores fade and time passes without any new fact.

    Shapes: the outcome is `selected` with the list of shards, or `nobody`.
    """
    everybody = (person for name in lists for person in state.people(name))
    due = set(persons) or set(state.due(now))
    people = sorted(due if persons else {*everybody, *due})
    if not people:
        return {"outcome": "nobody", "run": run, "selected": 0}
    manifest = files.put_people(run, people, due)
    state.begin_run(run, len(people), now)
    return {"outcome": "selected", "run": run, "selected": len(people), "bucket": files.bucket, "manifest": manifest}


def decide_shard(
    run: str, shard: int, state: State, files: RunFiles, loops: Sequence[Loop], sites: Mapping[str, Site], now: datetime
) -> dict[str, Any]:
    """Decide about everybody of one shard, each on all the loops they are in.

    When that was is kept to the millisecond with the outcome and with each verdict, so that it can be decided again.
    """
    counts: Counter[str] = Counter()
    now = parse(iso(now))
    noted = _Noted(state, now)
    lanes = [lane for loop in loops for lane in loop.lanes]
    ready = {lane.loop: Ready(lane, now) for lane in lanes}

    @cache
    def running_for(group: str) -> list[tuple[Loop, Ready]]:
        return [(loop, ready[loop.loop]) for loop in running(lanes, group, sites, now)]

    @cache
    def sites_of(group: str) -> tuple[Site, ...]:
        return tuple(site for _, site in sorted(sites.items()) if site.list_name == group)

    people, due = files.shard(run, shard)
    act_on = []
    for person in people:
        found = _decide_person(person, run, state, running_for, sites_of, now, noted, is_due=person in due)
        counts[found] += 1
        if person in due or found != "unchanged":
            act_on.append(person)
    outcome = {
        "outcome": "decided", "run": run, "shard": shard, "at": iso(now),
        "counts": {name: counts[name] for name in OUTCOMES},
        # Beside the outcomes, of which everybody has one.
        **({LATE: noted.late} if noted.late else {}),
    }
    files.put_outcome(run, shard, {**outcome, "act_on": act_on})
    return outcome


class _Noted:
    """What one shard knows of the room that is left, and how many it found standing too long."""

    def __init__(self, state: State, now: datetime) -> None:
        self._state, self._now = state, now
        self.rooms: dict[tuple[str, str], Room] = {}
        self.late = 0

    def room(self, loop: Loop, stage: str) -> Room:
        """The room at a stage; once it is full it stays so as long as its window lasts."""
        if (loop.loop, stage) not in self.rooms:
            window = window_of(loop, stage, self._now)
            taken = self._state.slots_taken(loop.loop, stage, window)
            self.rooms[loop.loop, stage] = Room(stage, loop.capacities[stage], window, taken)
        return self.rooms[loop.loop, stage]

    def wrote(self, loop: Loop, decision: Decision) -> None:
        """Note what a written decision took and told."""
        self.late += decision.late
        if (room := decision.room) is not None:
            self.rooms[loop.loop, room.stage] = room._replace(taken=room.slot)


def _decide_person(
    person: str, run: str, state: State, running_for: Callable[[str], list[tuple[Loop, Ready]]],
    sites_of: Callable[[str], Sequence[Site]], now: datetime, noted: _Noted, *, is_due: bool,
) -> str:
    try:
        unread = state.unread(person, consistent=is_due)
        if unread.stored is None:
            return "unchanged"
        known = Excerpt(unread.stored, Around(contact=cache(partial(state.contact, person))))
        known.around.sites = sites_of(known.group)
        found = {
            _walk(loop, ready, known, unread, run, state, now, noted) for loop, ready in running_for(known.group)
        }
        if unread.is_due:
            state.settle(person, unread.version, now)
    except StageMoved:
        # Somebody else decided or folded meanwhile; the mark stays and the next run decides afresh.
        return "later"
    except (TryAgain, BadShape):
        return "failed"
    return next((outcome for outcome in OUTCOMES if outcome in found), "unchanged")


def _walk(
    loop: Loop, ready: Ready, known: Excerpt, unread: Unread, run: str, state: State, now: datetime,
    noted: _Noted,
) -> str:
    """Take every step that is open to a person on one loop; each is written before the next is decided."""
    positions = [
        unread.position(loop.loop) if one == unread.person else state.position(one, loop.loop)
        for one in ids_of(known.nodes)
    ]
    outcome, races = "unchanged", 0
    while True:
        for decision in steps(loop, ready, known, positions, now, noted.room):
            try:
                state.write_decision(decision, loop, known.anchor, run, now, unread.version)
            except StageMoved:
                # Another took the slot, or decided about this person: with the slots read afresh it shows which.
                noted.rooms.clear()
                races += 1
                where = state.position(unread.person, loop.loop) if decision.room and races <= RACES else None
                if where != decision.before:
                    raise
                break
            noted.wrote(loop, decision)
            positions = [decision.after, *positions[1:]]
            by_gate = bool(decision.verdicts)
            if decision.after.stage != decision.before.stage:
                outcome = "excluded" if by_gate and decision.after.stage == EXCLUDED else "moved"
            elif (by_gate or decision.late) and outcome == "unchanged":
                outcome = "held"
        else:
            return outcome


def steps(
    loop: Loop, ready: Ready, known: Excerpt, positions: Sequence[Position], now: datetime,
    rooms: Rooms | None = None,
) -> Iterator[Decision]:
    """Every step that is open to a person on one loop, one after the other.

    Shapes: a position for each id that the person has or had, the present one first; `rooms` tells what room is
    left (see decide.py).
    """
    position = positions[0]
    for decision in settled(positions, loop, now):
        yield decision
        position = decision.after
    # Gates lead forward only: one step into the loop, one for each stage, one out of it or to a stop.
    for _ in range(len(loop.stages) + 2):
        known.around.since = position.since
        gates = ready.news(known, position)
        if gates is None:
            return
        decision = decide(loop, known, position, now, gates, rooms)
        if not decision.changes:
            return
        yield decision
        position = decision.after


@dataclass(frozen=True, slots=True)
class MailDoors:
    """What performing needs: the mailer, a mail's links, the mails that ask, the bus, loops, sites and the clock."""

    mailer: Mailer
    links: Callable[[Site, str, str, Campaign, datetime], Links]
    asks: Writes
    tell: Callable[[Sequence[Delivery]], None]
    loops: Mapping[str, Loop]
    sites: Mapping[str, Site]
    now: Callable[[], datetime]


def perform_shard(run: str, shard: int, state: State, files: RunFiles, doors: MailDoors) -> dict[str, Any]:
    """Do what is to be done for everybody of one shard; one failure stops no other."""
    counts: Counter[str] = Counter()
    for person in files.to_act_on(run, shard):
        try:
            actions, questions = state.to_do(person)
            if actions or questions:
                # An action that was decided under a former id is done for the person that the id moved to.
                stored = state.living(person)
                if stored.profile is None and stored.version:
                    # A profile that cannot be read now is folded anew; its mails wait.
                    counts["later"] += len(actions)
                    counts["question_later"] += len(questions)
                    continue
                contact = state.contact(stored.profile.person) if stored.profile else {}
                for asked in questions:
                    counts[f"question_{perform_question(asked, stored.profile, contact, state, doors)}"] += 1
                for action in actions:
                    if action.kind == MAIL:
                        counts[_perform(action, stored.profile, contact, run, state, doors)] += 1
                    else:
                        outcome = perform_handover(action, stored.profile, run, state, doors)
                        counts[f"{action.kind}_{outcome}"] += 1
        except TryAgain:
            counts["later"] += 1
    performed = {"outcome": "performed", "run": run, "shard": shard, "counts": dict(sorted(counts.items()))}
    files.put_performed(run, shard, performed)
    return performed


def _perform(
    action: Action, profile: Profile | None, contact: Mapping[str, str], run: str, state: State, doors: MailDoors
) -> str:
    """One mail, at most once: claimed before it is sent, and ended with what became of it."""
    now = doors.now()
    anchor = profile.anchor if profile else ""

    def end(outcome: str, reason: str, message: str = "", *, claimed: bool = False) -> str:
        status = "claimed" if claimed else action.status
        state.end(replace(action, status=status), outcome, anchor, reason, message, run, doors.now())
        return outcome

    if action.status == "claimed":
        if is_lost(action.claimed_at, now):
            return end("unknown", "claimed, and never told how it ended; look before it is sent again")
        return "later"
    addresses = [node for node in profile.nodes if node.startswith("email:")] if profile else []
    if profile is None or not addresses or not contact.get("email"):
        return end("failed", "no address is held")
    if profile.suppressed:
        return end("failed", f"suppressed: {profile.suppressed}")
    loop = doors.loops.get(action.loop)
    consent = profile.consent_to(MARKETING, loop.sites[0] if loop else "")
    if consent == "denied":
        return end("failed", "marketing was refused")
    if consent == UNCONFIRMED:
        if now > action.at + OPEN_FOR:
            return end("failed", "marketing was never confirmed")
        # A confirmation makes the person due at once; until then nothing is to be tried.
        state.postpone(action, action.at + OPEN_FOR)
        return "later"
    reason = state.suppressed(addresses)
    if reason:
        return end("failed", f"suppressed: {reason}")
    campaign = next((c for c in loop.campaigns if c.name == action.campaign), None) if loop else None
    site = next((doors.sites[name] for name in loop.sites if name in doors.sites), None) if loop else None
    if loop is None or campaign is None or campaign.mail is None or site is None:
        return end("failed", "the loop no longer has this mail")
    try:
        mail = compose(
            campaign,
            site,
            contact,
            profile.attributes,
            doors.links(site, addresses[0], loop.loop, campaign, now),
            loop.loop,
        )
    except BadShape as error:
        return end("failed", error.reason)
    if len(profile.nodes) > 1 and is_another_ids(action, profile, state):
        return end("failed", "the same mail is another id's of this person")
    mailed = state.mailed(addresses) if loop.policies.frequency_cap else ()
    allowed = may_mail_at(loop, {key: at for one in mailed for key, at in one.sent.items()}, action.key, now)
    if allowed > now:
        state.postpone(action, allowed)
        return "later"
    return send_once(
        mail, doors.mailer, lambda: state.claim(action, addresses, now, mailed), lambda: state.release(action), end
    )


def close(run: str, state: State, files: RunFiles, now: datetime) -> dict[str, Any]:
    """Count what a run did; the outcome is `balanced` when everybody selected has one."""
    counts: Counter[str] = Counter()
    for outcome in files.outcomes(run):
        counts.update(outcome["counts"])
        counts[LATE] += outcome.get(LATE, 0)
    done: Counter[str] = Counter()
    for performed in files.performed(run):
        done.update(performed["counts"])
    note = state.run(run)
    selected = note["selected"] if note else -1
    balanced = selected == sum(counts[name] for name in OUTCOMES)
    told = (*OUTCOMES, *([LATE] if counts[LATE] else []))
    state.close_run(
        run, {**{name: counts[name] for name in told}, **{f"mail_{name}": n for name, n in done.items()}}, now
    )
    return {
        "outcome": "balanced" if balanced else "unbalanced",
        "run": run,
        "selected": selected,
        "counts": {name: counts[name] for name in OUTCOMES},
        "mails": dict(sorted(done.items())),
    }
