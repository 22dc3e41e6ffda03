"""closedloop loop try: what a plan would have decided about the people of the past."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.cli.loop import File, checked
from closedloop.errors import BadShape, NotFound
from closedloop.events.times import iso
from closedloop.loops.definition import Loop
from closedloop.loops.gates import Outcome
from closedloop.loops.trial import Known, Look, Moved, Tried, joined, try_plan
from closedloop.reports.words import Language, Words
from closedloop.runtime import clock, doors
from closedloop.sites.definition import version_of
from closedloop.sites.document import Document
from closedloop.store.ledger import subject_of

SPAN = re.compile(r"([1-9]\d{0,3})d\Z")
READERS, PAGE = 16, 500
SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command to those of loops."""
    app.command("try", epilog="Example: closedloop loop try my-loop.yaml --since 90d")(try_)


def try_(
    file: File,
    since: Annotated[str, typer.Option(help="Since when: 90d, or a day such as 2026-10-01.")] = "90d",
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Decide anew, by a plan, about the people of the past: who would have moved, and who differs; nothing is written.

    Every moment at which a run looked at somebody is taken again, with the facts as they were known then. It reads the
    whole ledger and all that was decided, for an operator.
    """
    where = named(stage, outputs)
    begin = _since(since, clock.now())
    document = Document(file.read_bytes(), str(file))
    plan = document.read_as(Loop)
    before = checked(plan, document)
    tried = _tried(plan, begin)
    content = {
        "loop": plan.loop, "plan": version_of(plan), "running": version_of(before) if before else None,
        "since": iso(begin), "where": where, "written": False,
    }
    if as_json:
        console.as_json({**content, **asdict(tried)})
    else:
        _show(content, tried)


def _since(text: str, now: datetime) -> datetime:
    try:
        found = SPAN.fullmatch(text)
        return now - timedelta(days=int(found[1])) if found else datetime.combine(date.fromisoformat(text), time(), UTC)
    except (ValueError, OverflowError):
        raise BadShape(f"--since: expected days such as 90d, or a day such as 2026-10-01, found {text!r}") from None


def _tried(plan: Loop, begin: datetime) -> Tried:
    state, runs, sites = doors.state(), doors.runs(), doors.sites()
    history = state.loop_history(plan.loop)
    with console.bars() as tell:
        packets = []
        for packet in doors.ledger().every_packet():
            packets.append(packet)
            if len(packets) % PAGE == 0:
                tell("the ledger", len(packets), None)
        rows = []
        for row in state.every_decision():
            rows.append(row)
            if len(rows) % PAGE == 0:
                tell("what was decided", len(rows), None)
        # Where everybody stood when the trial begins is known from all that was decided before.
        shards = runs.decided(min([begin, *(at for at, _ in history)]))
        looks = []
        with ThreadPoolExecutor(READERS) as pool:
            for number, (at, people) in enumerate(pool.map(lambda shard: runs.looked_at(*shard), shards)):
                looks += [Look(at, person) for person in people]
                tell("the runs", number + 1, len(shards))
        if not looks:
            raise NotFound("no run has looked at anybody since then, so there is nothing to try a plan on")

        def tried(lane: Loop) -> Tried:
            return try_plan(
                lane, state.loop_history(lane.loop), packets, looks, rows, sites, subject_of, begin,
                lambda done, of: tell(f"deciding anew on {lane.loop}", done, of),
            )

        return joined([tried(lane) for lane in plan.lanes])


def _show(content: Mapping[str, object], tried: Tried) -> None:
    console.facts(f"trial of {content['loop']}", {
        **content, "decided_about": f"{tried.people:,} people, {tried.looks:,} times",
        "verdicts_come_to_again": f"{tried.again:,} of {tried.given:,} given, {tried.unexplained:,} others",
    })
    console.table("At each gate, by the plan / as it ran", ("gate", "moved", "held", "excluded", "sooner, later"), [
        (gate.gate, *(f"{gate.plan[one]:,} / {gate.running[one]:,}" for one in Outcome), f"{gate.sooner}, {gate.later}")
        for gate in tried.gates
    ])
    for gate in tried.gates:
        for whose, moved in (("by the plan alone", gate.only_plan), ("as it ran alone", gate.only_running)):
            if moved.people:
                console.out().print(f"- {gate.gate}, {whose}: {_moved(moved)}", markup=False, highlight=False)
    if not tried.differ:
        console.out().print("Nobody differs.")
        return
    console.table(f"Who differs, {min(SHOWN, len(tried.differ))} of {len(tried.differ):,}", (
        "person", "gate", "as it ran", "by the plan", "since then",
    ), [
        (one.person, one.gate, one.running or "not asked", one.plan or "not asked", _since_then(one.known))
        for one in tried.differ[:SHOWN]
    ])
    console.out().print(
        "What is known of them was so under the plan as it ran; what the new one adds, only its holdout can measure.",
        highlight=False,
    )


def _moved(moved: Moved) -> str:
    bought = f"{moved.bought:,} bought since" if moved.bought else "none bought since"
    money = f" ({_money(moved.won_minor)})" if moved.won_minor else ""
    return f"{moved.people:,} moved, {bought}{money}, {moved.may_buy:,} with an open deal"


def _since_then(known: Known) -> str:
    """Where they stand in truth, what they bought, and whether they refused mails."""
    bought = _money(known.won_minor) or ("bought" if known.won else "")
    return ", ".join(filter(None, (known.stage, bought, known.no_mail)))


def _money(minor: Mapping[str, int]) -> str:
    words = Words(Language.EN)
    return ", ".join(words.money(amount, currency) for currency, amount in sorted(minor.items()))
