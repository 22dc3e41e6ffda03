"""The tasks of stage_transitions: select, decide, perform, close. Each may run again and changes nothing the second time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from closedloop.errors import BadShape, MailRefused, OutcomeUnknown, StageMoved, Throttled, TryAgain
from closedloop.loops.actions import Links, WrittenMail, compose
from closedloop.loops.decide import decide
from closedloop.loops.definition import EXCLUDED, Campaign, Loop
from closedloop.profiles.profile import Profile
from closedloop.sites.definition import Site

if TYPE_CHECKING:
    from closedloop.lake.runs import RunFiles
    from closedloop.store.state import Action, State

MOST_STEPS = 10
CLAIM_LIFE = timedelta(minutes=15)
OUTCOMES = ("moved", "held", "excluded", "unchanged", "later", "failed")


class Mailer(Protocol):
    """Sends one mail; the provider's name for it comes back.

    Errors: Throttled when nothing was sent; MailRefused when it never will be; OutcomeUnknown.
    """

    def send(self, mail: WrittenMail) -> str: ...


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


def select(run: str, persons: Sequence[str], state: State, files: RunFiles, now: datetime) -> dict[str, Any]:
    """Who has to be decided about: those named, or everybody who is due.

    Shapes: the outcome is `selected` with the list of shards, or `nobody`.
    """
    people = sorted(set(persons) or set(state.due(now)))
    if not people:
        return {"outcome": "nobody", "run": run, "selected": 0}
    manifest = files.put_people(run, people)
    state.begin_run(run, len(people), now)
    return {"outcome": "selected", "run": run, "selected": len(people), "bucket": files.bucket, "manifest": manifest}


def decide_shard(
    run: str, shard: int, state: State, files: RunFiles, loops: Sequence[Loop], sites: Mapping[str, Site], now: datetime
) -> dict[str, Any]:
    """Decide about everybody of one shard, each on all the loops they are in."""
    counts: Counter[str] = Counter()
    for person in files.people(run, shard):
        counts[_decide_person(person, run, state, loops, sites, now)] += 1
    outcome = {"outcome": "decided", "run": run, "shard": shard, "counts": {name: counts[name] for name in OUTCOMES}}
    files.put_outcome(run, shard, outcome)
    return outcome


def _decide_person(
    person: str, run: str, state: State, loops: Sequence[Loop], sites: Mapping[str, Site], now: datetime
) -> str:
    try:
        stored = state.profile(person)
        if stored.profile is None:
            return "unchanged"
        found = {_walk(loop, stored.profile, run, state, now) for loop in running(loops, stored.profile.group, sites, now)}
        state.settle(person, stored.version)
    except StageMoved:
        # Somebody else decided meanwhile; the mark stays and the next run decides afresh.
        return "later"
    except TryAgain:
        return "failed"
    return next((outcome for outcome in OUTCOMES if outcome in found), "unchanged")


def _walk(loop: Loop, profile: Profile, run: str, state: State, now: datetime) -> str:
    """Take every step that is open to a person on one loop; each is written before the next is decided."""
    position = state.position(profile.person, loop.loop)
    outcome = "unchanged"
    for _ in range(MOST_STEPS):
        decision = decide(loop, profile, position, now)
        if not decision.changes:
            return outcome
        state.write_decision(decision, loop, profile.anchor, run, now)
        if decision.after.stage != position.stage:
            outcome = "excluded" if decision.after.stage == EXCLUDED else "moved"
        elif outcome == "unchanged":
            outcome = "held"
        position = decision.after
    return outcome


@dataclass(frozen=True, slots=True)
class MailDoors:
    """What performing needs: the mailer, the links for a person's mail, loops, sites and clock."""

    mailer: Mailer
    links: Callable[[Site, str, str, Campaign, datetime], Links]
    loops: Mapping[str, Loop]
    sites: Mapping[str, Site]
    now: Callable[[], datetime]


def perform_shard(run: str, shard: int, state: State, files: RunFiles, doors: MailDoors) -> dict[str, Any]:
    """Do what is to be done for everybody of one shard; one failure stops no other."""
    counts: Counter[str] = Counter()
    for person in files.people(run, shard):
        try:
            actions = state.actions(person)
            if actions:
                profile = state.profile(person).profile
                contact = state.contact(person)
                for action in actions:
                    counts[_perform(action, profile, contact, run, state, doors)] += 1
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

    def end(outcome: str, reason: str, message: str = "") -> str:
        state.end(action, outcome, anchor, reason, message, run, doors.now())
        return outcome

    if action.status == "claimed":
        if action.claimed_at is not None and now - action.claimed_at > CLAIM_LIFE:
            return end("unknown", "claimed, and never told how it ended; look before it is sent again")
        return "later"
    if profile is None or not contact.get("email"):
        return end("failed", "no address is held")
    if profile.consent.get("marketing") == "denied":
        return end("failed", "marketing was refused")
    addresses = [node for node in profile.nodes if node.startswith("email:")]
    reason = state.suppressed(addresses)
    if reason:
        return end("failed", f"suppressed: {reason}")
    loop = doors.loops.get(action.loop)
    campaign = next((c for c in loop.campaigns if c.name == action.campaign), None) if loop else None
    site = next((doors.sites[name] for name in loop.sites if name in doors.sites), None) if loop else None
    if loop is None or campaign is None or campaign.mail is None or site is None:
        return end("failed", "the loop no longer has this mail")
    try:
        mail = compose(
            campaign, site, contact, profile.attributes, doors.links(site, addresses[0], loop.loop, campaign, now), loop.loop
        )
    except BadShape as error:
        return end("failed", error.reason)
    if not state.claim(action, addresses, now):
        return "later"
    try:
        message = doors.mailer.send(mail)
    except Throttled:
        state.release(action)
        return "later"
    except MailRefused as error:
        return end("failed", error.reason)
    except OutcomeUnknown as error:
        return end("unknown", str(error))
    return end("sent", "", message)


def close(run: str, state: State, files: RunFiles, now: datetime) -> dict[str, Any]:
    """Count what a run did; the outcome is `balanced` when everybody selected has one."""
    counts: Counter[str] = Counter()
    for outcome in files.outcomes(run):
        counts.update(outcome["counts"])
    done: Counter[str] = Counter()
    for performed in files.performed(run):
        done.update(performed["counts"])
    note = state.run(run)
    selected = note["selected"] if note else -1
    balanced = selected == sum(counts[name] for name in OUTCOMES)
    state.close_run(run, {**{name: counts[name] for name in OUTCOMES}, **{f"mail_{name}": n for name, n in done.items()}}, now)
    return {
        "outcome": "balanced" if balanced else "unbalanced", "run": run, "selected": selected,
        "counts": {name: counts[name] for name in OUTCOMES}, "mails": dict(sorted(done.items())),
    }
