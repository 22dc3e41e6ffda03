"""A trial: the facts of the past, folded as of each moment at which somebody was looked at, and decided anew by a plan.

Two courses are walked side by side from where everybody stood when the trial begins: that of the versions in force,
which comes to the verdicts that were given, and that of the plan. Facts, moments and moves by hand are those of the
past in both; what the plan's own campaigns would have done to people is not known. There is always room at stages with
a capacity, and of a loop with tracks the first is tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple

from closedloop.errors import BadShape
from closedloop.events.packet import Packet, standing
from closedloop.events.times import iso, parse
from closedloop.identity.evidence import Link, links_of
from closedloop.identity.flow import gather
from closedloop.identity.persons import anchor_of, ids_of, person_id
from closedloop.loops.decide import Decision, Position, as_json
from closedloop.loops.definition import Loop
from closedloop.loops.flow import running, steps
from closedloop.loops.gates import Outcome
from closedloop.loops.moves import BY_HAND, moved_by_hand
from closedloop.loops.ready import Ready
from closedloop.profiles.around import Around
from closedloop.profiles.flow import read_person, readable
from closedloop.profiles.profile import Excerpt, Profile
from closedloop.sites.definition import Site

Row = Mapping[str, Any]


class Look(NamedTuple):
    """A moment at which a run looked at somebody, an ISO time, and the id that they had then."""

    at: str
    person: str


class Stood(NamedTuple):
    """What a gate said of somebody at last, or when it let them through: the outcome, its kind or reason, and when."""

    outcome: Outcome
    kind: str
    at: str

    def __str__(self) -> str:
        return f"{self.outcome}: {self.kind}" if self.kind else str(self.outcome)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of somebody since the moment at which two plans differ about them.

    Shapes: `stage` is where they stand in truth now; deals are counted that were won, or are open, since that moment.
    Units: money in minor units by currency, without what was refunded.
    """

    stage: str = ""
    won: int = 0
    open: int = 0
    won_minor: Mapping[str, int] = field(default_factory=dict)
    no_mail: str = ""


@dataclass(frozen=True, slots=True)
class Differs:
    """Somebody about whom a gate says another thing by the plan than by the versions in force.

    Shapes: empty texts where a gate was never asked about them.
    """

    person: str
    gate: str
    running: str
    plan: str
    at: str
    known: Known


@dataclass(frozen=True, slots=True)
class Moved:
    """People whom one of two plans alone moved on, and what is known of them since: who bought, who may.

    Units: money in minor units by currency.
    """

    people: int
    bought: int
    may_buy: int
    won_minor: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AtGate:
    """How many people each course moved, holds and excluded at a gate, and how the two differ.

    Shapes: of `both`, whom each moved, the plan did `sooner` or `later`.
    """

    gate: str
    plan: Mapping[Outcome, int]
    running: Mapping[Outcome, int]
    both: int
    sooner: int
    later: int
    only_plan: Moved
    only_running: Moved


@dataclass(frozen=True, slots=True)
class Tried:
    """What a trial came to.

    Shapes: `looks` is how often somebody was decided about; `given` counts the verdicts and moves that were recorded,
    `again` those of them to which the versions in force come again, `unexplained` those they come to that nobody gave.
    """

    looks: int
    people: int
    gates: tuple[AtGate, ...]
    differ: tuple[Differs, ...]
    given: int
    again: int
    unexplained: int


class _Facts:
    """The facts of people whom some evidence may join, as they were known at a moment that only moves on."""

    def __init__(self, packets: Iterable[Packet], subject_of: Callable[[str], str]) -> None:
        self._packets = sorted(packets, key=lambda packet: (packet.received_at, packet.id))
        self._subject_of = subject_of
        self._known = -1
        self._by_subject: dict[str, list[Packet]] = {}
        self._links: dict[str, list[Link]] = {}
        self._read: dict[str, Excerpt | None] = {}

    def move_on(self, at: str) -> None:
        known = max(self._known, 0)
        while known < len(self._packets) and iso(self._packets[known].received_at) <= at:
            known += 1
        if known == self._known:
            return
        self._known, self._by_subject, self._links, self._read = known, {}, {}, {}
        earliest: dict[tuple[str, str, str], Link] = {}
        for packet in self._packets[:known]:
            self._by_subject.setdefault(packet.subject, []).append(packet)
        for packet in standing(self._packets[:known]):
            for link in (link for event in readable(packet) for link in links_of(event)):
                name = (link.node, link.strong, link.kind)
                if name not in earliest or (link.at, link.event) < (earliest[name].at, earliest[name].event):
                    earliest[name] = link
        for link in earliest.values():
            for end in {link.node, link.strong}:
                self._links.setdefault(end, []).append(link)

    def links(self, node: str) -> list[Link]:
        return self._links.get(node, [])

    def packets(self, node: str) -> Iterator[Packet]:
        return iter(self._by_subject.get(self._subject_of(node), ()))

    def present_id(self, node: str) -> str:
        """The id of the person that a strong node belongs to."""
        return person_id(anchor_of(gather(node, self).strong or (node,)))

    def person(self, node: str, sites: Mapping[str, Site]) -> Excerpt | None:
        """What is known of the person named after a node; nothing once they have another name."""
        if node not in self._read:
            self._read[node] = self._person(node, sites)
        return self._read[node]

    def _person(self, node: str, sites: Mapping[str, Site]) -> Excerpt | None:
        nearby = gather(node, self)
        if not nearby.strong or anchor_of(nearby.strong) != node:
            return None
        profile, contact = read_person(nearby, self, sites)
        if profile is None:
            return None
        within = tuple(site for _, site in sorted(sites.items()) if site.list_name == profile.group)
        return Excerpt(profile.stored(), Around(within, lambda: contact))


class _Course:
    """One way that people went: where each id stands, what each gate said last, and all that was decided."""

    def __init__(self, since: str, other: _Course | None = None) -> None:
        self._since = since
        self.positions: dict[str, Position] = dict(other.positions) if other else {}
        self.last: dict[tuple[str, str], Stood] = dict(other.last) if other else {}
        self.passed: dict[tuple[str, str], Stood] = {}
        self.decided: Counter[tuple[Any, ...]] = Counter()

    def stands(self, known: Excerpt, loop: Loop) -> list[Position]:
        """Where every id of somebody stands, the present one first."""
        return [self.positions.get(person) or Position(person, loop.loop) for person in ids_of(known.nodes)]

    def take(self, decisions: Iterable[Decision], at: str) -> None:
        for decision in decisions:
            person = decision.after.person
            self.positions[person] = decision.after
            for verdict in decision.verdicts:
                kind = verdict.hold_kind or (verdict.reason if verdict.outcome is Outcome.EXCLUDE else "")
                stood = self.last[person, verdict.gate] = Stood(verdict.outcome, str(kind), at)
                if verdict.outcome is Outcome.ADVANCE and at >= self._since:
                    self.passed.setdefault((person, verdict.gate), stood)
            if at >= self._since:
                self.decided.update(_told(decision, at))

    def at_gates(self, present: Callable[[str], str]) -> dict[tuple[str, str], Stood]:
        """What each gate says of each person in the end, by the ids that they have now: whoever passed has passed."""
        found: dict[tuple[str, str], Stood] = {}
        for said in (self.last, self.passed):
            for (person, gate), stood in sorted(said.items(), key=lambda one: one[1].at, reverse=said is self.passed):
                found[present(person), gate] = stood
        return found


def _told(decision: Decision, at: str) -> Iterator[tuple[Any, ...]]:
    """A decision as the rows of it are compared."""
    before, after = decision.before, decision.after
    for one in decision.verdicts:
        yield (
            "verdict", after.person, at, one.gate, "", "", one.outcome.value, one.hold_kind or "", one.reason,
            one.arm or "", one.draw, as_json(one),
        )
    if after.stage != before.stage:
        gate = decision.verdicts[-1].gate if decision.verdicts else ""
        yield (
            "transition", after.person, at, gate, before.stage, after.stage, "", "", decision.reason,
            decision.arm or "", decision.draw, "",
        )


COMPARED = (
    "kind", "person", "at", "gate", "from_stage", "to_stage", "outcome", "hold_kind", "reason", "arm", "draw", "detail",
)
IN_THE_END = "~"


class _Past:
    """All that is known of the people who were looked at: facts, moments, verdicts given, and the versions in force."""

    def __init__(
        self, plan: Loop, history: Sequence[tuple[datetime, Loop]], packets: Iterable[Packet], looks: Iterable[Look],
        rows: Iterable[Row], sites: Mapping[str, Site], subject_of: Callable[[str], str],
    ) -> None:
        self._plan, self._history, self._sites = plan, history, sites
        self._lists = {sites[name].list_name for name in plan.sites if name in sites}
        self._facts, self._nodes = _facts_of(packets, subject_of)
        self.given = [row for row in rows if row["loop"] == plan.loop and row["kind"] in ("verdict", "transition")]
        self._by_hand = {
            (row["at"], row["person"]): row for row in self.given
            if row["kind"] == "transition" and row["reason"].startswith(f"{BY_HAND}: ")
        }
        # A task that died and was tried again looked at somebody at both moments, and kept the later one.
        moments = {Look(at, person) for at, person in looks} | {Look(row["at"], row["person"]) for row in self.given}
        self.timeline = sorted(look for look in moments if look.person in self._nodes)
        self._ready = lru_cache(4096)(lambda version, at: Ready(self._version(version), parse(at)))
        self._present = cache(self._present_id)

    def _version(self, version: int | None) -> Loop:
        return self._plan if version is None else self._history[version][1]

    def walk(self, look: Look, in_force: _Course, going: _Course | None) -> bool:
        """Decide about somebody at one moment on both courses; whether the plan was asked."""
        at, now = look.at, parse(look.at)
        known = self.person(look.person, at)
        if known is None:
            return False
        version = next((place for place, (since, _) in reversed([*enumerate(self._history)]) if since <= now), None)
        courses: list[tuple[_Course, int | None]] = [(in_force, version)] if version is not None else []
        asked = going is not None and known.group in self._lists
        if asked and going is not None:
            courses.append((going, None))
        if (row := self._by_hand.get((at, look.person))) is not None:
            for course, place in courses:
                course.take(_by_hand(self._version(place), course.stands(known, self._plan), row, now), at)
            return False
        if self._history and (version is None or not self._runs(version, known, now)):
            return False
        for course, place in courses:
            loop = self._version(place)
            course.take(steps(loop, self._ready(place, at), known, course.stands(known, loop), now), at)
        return asked

    def _runs(self, version: int, known: Excerpt, now: datetime) -> bool:
        return bool(running([self._version(version)], known.group, self._sites, now))

    def person(self, person: str, at: str) -> Excerpt | None:
        """What was known of somebody at a moment; nothing where their id is a former one."""
        node = self._nodes[person]
        self._facts[node].move_on(at)
        return self._facts[node].person(node, self._sites)

    def present(self, person: str) -> str:
        """The id that somebody has now."""
        return self._present(person) if person in self._nodes else person

    def _present_id(self, person: str) -> str:
        node = self._nodes[person]
        self._facts[node].move_on(IN_THE_END)
        return self._facts[node].present_id(node)

    def stages(self) -> dict[str, str]:
        """Where everybody stands now, by the last move of all ids of theirs."""
        moves = (row for row in self.given if row["kind"] == "transition")
        moved = sorted(moves, key=lambda row: (row["at"], row["id"]))
        return {self.present(row["person"]): row["to_stage"] for row in moved}

    def known(self, person: str, stage: str, since: str) -> Known:
        """What is known of somebody since a moment."""
        found = self.person(person, IN_THE_END) if person in self._nodes else None
        return Known(stage) if found is None else _known(found.whole(), stage, since)


def try_plan(
    plan: Loop, history: Sequence[tuple[datetime, Loop]], packets: Iterable[Packet], looks: Iterable[Look],
    rows: Iterable[Row], sites: Mapping[str, Site], subject_of: Callable[[str], str], since: datetime,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Tried:
    """Decide anew, by a plan, about everybody at each moment at which they were looked at since a day.

    Shapes: `history` are the versions in force, each from when on, empty for a plan that was never declared: it is then
    asked whenever anybody was looked at. `rows` are the verdicts and moves that were given; `looks` in any order, also
    those before `since`, by which it is known where everybody stood. Sites are as they are declared now.
    """
    begin = iso(since)
    past = _Past(plan, history, packets, looks, rows, sites, subject_of)
    in_force, going = _Course(begin), None
    people: Counter[str] = Counter()
    for number, look in enumerate(past.timeline):
        if going is None and look.at >= begin:
            going = _Course(begin, in_force)
        if past.walk(look, in_force, going):
            people[look.person] += 1
        tell(number + 1, len(past.timeline))
    going = going or _Course(begin, in_force)
    by_plan, by_versions = going.at_gates(past.present), in_force.at_gates(past.present)
    stages = past.stages()
    differ = tuple(
        Differs(person, gate, running, planned, at, past.known(person, stages.get(person, ""), at))
        for person, gate, running, planned, at in _different(by_plan, by_versions)
    )
    names = dict.fromkeys((*(gate.name for gate in plan.gates), *sorted(gate for _, gate in by_versions)))
    known = {(one.person, one.gate): one.known for one in differ}
    gates = tuple(_at_gate(name, by_plan, by_versions, known, begin) for name in names)
    truth = Counter(tuple(row[name] for name in COMPARED) for row in past.given if row["at"] >= begin)
    return Tried(
        people.total(), len({past.present(person) for person in people}), gates, differ, truth.total(),
        (truth & in_force.decided).total(), (in_force.decided - truth).total(),
    )


def joined(tracks: Sequence[Tried]) -> Tried:
    """What the trials of a loop's tracks came to, as one; people are those of the track that most were looked at on."""
    return Tried(
        sum(one.looks for one in tracks), max(one.people for one in tracks),
        tuple(gate for one in tracks for gate in one.gates), tuple(who for one in tracks for who in one.differ),
        sum(one.given for one in tracks), sum(one.again for one in tracks), sum(one.unexplained for one in tracks),
    )


def _facts_of(
    packets: Iterable[Packet], subject_of: Callable[[str], str]
) -> tuple[dict[str, _Facts], dict[str, str]]:
    """The facts by strong node, shared by all nodes that some evidence may join, and the node of each person's id."""
    leads_to: dict[str, str] = {}

    def root(place: str) -> str:
        while (up := leads_to.setdefault(place, place)) != place:
            leads_to[place] = leads_to[up]
            place = up
        return place

    strong: dict[str, None] = {}
    every = list(packets)
    for packet in every:
        for event in readable(packet):
            strong.update(dict.fromkeys(event.identifiers))
            for node in event.nodes:
                leads_to[root(subject_of(node))] = root(packet.subject)
    theirs: dict[str, list[Packet]] = {}
    for packet in every:
        theirs.setdefault(root(packet.subject), []).append(packet)
    facts = {place: _Facts(arrived, subject_of) for place, arrived in theirs.items()}
    return {node: facts[root(subject_of(node))] for node in strong}, {person_id(node): node for node in strong}


def _by_hand(loop: Loop, positions: Sequence[Position], row: Row, now: datetime) -> Sequence[Decision]:
    """The same move by hand; none where the plan has no such stage, or they do not stand before it."""
    try:
        reason = row["reason"].removeprefix(f"{BY_HAND}: ")
        return moved_by_hand(loop, positions, row["to_stage"], reason, now)
    except BadShape:
        return ()


At = Mapping[tuple[str, str], Stood]


def _different(by_plan: At, by_versions: At) -> Iterator[tuple[str, str, str, str, str]]:
    for person, gate in sorted({*by_plan, *by_versions}):
        planned, stood = by_plan.get((person, gate)), by_versions.get((person, gate))
        if (planned and planned[:2]) != (stood and stood[:2]):
            at = min(one.at for one in (planned, stood) if one is not None)
            yield person, gate, str(stood or ""), str(planned or ""), at


def _at_gate(
    gate: str, by_plan: At, by_versions: At, known: Mapping[tuple[str, str], Known], begin: str
) -> AtGate:
    """The counts of one gate: who passed or was excluded since the beginning, and who is held in the end."""

    def counted(at: At) -> tuple[Counter[Outcome], dict[str, str]]:
        here = {person: stood for (person, name), stood in at.items() if name == gate}
        counts = Counter(
            stood.outcome for stood in here.values() if stood.outcome is Outcome.HOLD or stood.at >= begin
        )
        return counts, {
            person: stood.at for person, stood in here.items()
            if stood.outcome is Outcome.ADVANCE and stood.at >= begin
        }

    def moved(people: Iterable[str]) -> Moved:
        found = [known[person, gate] for person in people]
        money: Counter[str] = Counter()
        for one in found:
            money.update(one.won_minor)
        return Moved(len(found), sum(one.won > 0 for one in found), sum(one.open > 0 for one in found), dict(money))

    (planned, passed), (stood, did) = counted(by_plan), counted(by_versions)
    both = passed.keys() & did.keys()
    return AtGate(
        gate, {one: planned[one] for one in Outcome}, {one: stood[one] for one in Outcome}, len(both),
        sum(passed[person] < did[person] for person in both), sum(passed[person] > did[person] for person in both),
        moved(passed.keys() - did.keys()), moved(did.keys() - passed.keys()),
    )


def _known(profile: Profile, stage: str, since: str) -> Known:
    won = [deal for deal in profile.deals.values() if deal.state == "won" and (deal.won_at or deal.at) >= since]
    money: Counter[str] = Counter()
    for deal in won:
        if not deal.mixed:
            money[deal.currency] += deal.amount_minor - deal.refunded_minor
    opened = [deal for deal in profile.deals.values() if deal.state == "opened"]
    return Known(stage, len(won), len(opened), dict(money), profile.suppressed)
