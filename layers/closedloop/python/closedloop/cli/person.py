"""closedloop person: who somebody is to us, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from closedloop.cli import console, customers
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, known_site, named
from closedloop.cli.scores import scores
from closedloop.cli.who import name_in, name_of
from closedloop.errors import BadShape, NotFound
from closedloop.events.times import iso
from closedloop.identity import decisions as deciding
from closedloop.identity.flow import Neighbourhood, gather
from closedloop.identity.persons import anchor_of, person_id
from closedloop.identity.roles import role_of
from closedloop.profiles.flow import events_of, read_person
from closedloop.runtime import clock, doors

SiteName = Annotated[str, typer.Option(help="A site of the customer list.")]
Reason = Annotated[str, typer.Option(help="Why, for whoever asks later; without an address.")]
One = Annotated[str, typer.Argument(help="An address, +81..., p_..., user:ID, customer:SYSTEM:NUMBER or phone:NUMBER.")]
Other = Annotated[str, typer.Argument(help="The same for the other.")]

CALLED = {"email": "address", "phone": "phone number", "customer": "customer number", "person": "id"}

app = typer.Typer(no_args_is_help=True, help="Persons: one customer list, every number with its reasons.")


@app.callback()
def persons() -> None:
    """Persons: one customer list, every number with its reasons."""


@app.command(epilog="Example: closedloop person show --email jane@example.com --site demo --why")
def show(
    site: SiteName,
    email: Annotated[str | None, typer.Option(help="The person's e-mail address.")] = None,
    phone: Annotated[str | None, typer.Option(help="A phone number of theirs.")] = None,
    user: Annotated[str | None, typer.Option(help="Their id as the site's own user.")] = None,
    customer: Annotated[str | None, typer.Option(help="Their customer number in a system: SYSTEM:NUMBER.")] = None,
    person: Annotated[str | None, typer.Option(help="The person's id: p_...")] = None,
    by_what: Annotated[bool, typer.Option("--why", help="Show the evidence by which they are this person.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show a person: profile, stage on each loop, every verdict with its reason, and what each score is made of."""
    named(stage, outputs)
    asked = {"email": email, "phone": phone, "user": user, "customer": customer, "person": person}
    told = [(kind, words) for kind, words in asked.items() if words is not None]
    if len(told) != 1:
        raise BadShape("say whom, once: by --email, --phone, --user, --customer or --person")
    ((kind, words),) = told
    identifier = name_of(kind, words, known_site(site))
    state, sites, now = doors.state(), doors.sites(), clock.now()
    nearby = gather(identifier, state)
    if by_what:
        _show_why(words, nearby, as_json=as_json)
        return
    if not nearby.strong and nearby.contested:
        raise NotFound(f"this {CALLED.get(kind, kind)} is shared by several people; --why shows between whom")
    profile, contact = read_person(nearby, doors.ledger(), sites)
    if profile is None:
        raise NotFound(f"nobody is known by this {CALLED.get(kind, kind)}")
    events = events_of(nearby, doors.ledger())
    numbers = scores(profile, events, contact, sites, now)
    decisions = state.decisions(profile.person)
    positions = {loop.loop: state.position(profile.person, loop.loop).stage for loop in doors.loops()}
    content: dict[str, Any] = {
        "person": profile.person, "contact": contact, "nodes": sorted(nearby.strong | nearby.near),
        "first": profile.first_at, "last": profile.last_at, "came_from": profile.first_source,
        "attributes": profile.attributes, "role": role_of(profile.attributes, sites[site])._asdict(),
        "stages": positions,
        "deals": {name: (deal.standing, deal.amount_minor, deal.currency) for name, deal in profile.deals.items()},
        "owns": customers.owned(profile, sites, site, now),
        "brought_by": [one._asdict() for one in profile.referred],
        "suppressed": profile.suppressed, "machine": profile.machine, "consent": profile.consent,
        "asked_to_confirm": [
            {
                "at": iso(asked.question.at), "site": asked.question.site, "form": asked.question.form,
                "text": asked.question.version, "outcome": asked.status, "reason": asked.reason,
            }
            for name in sorted(nearby.strong) for asked in state.questions(name)
        ],
        "decisions": decisions, **numbers.as_json(),
    }
    if as_json:
        console.as_json(content)
        return
    console.facts(words, {name: content[name] for name in (
        "person", "contact", "nodes", "first", "last", "came_from", "attributes", "role", "stages", "deals",
        "suppressed", "machine", "consent", "asked_to_confirm",
    )})
    customers.show_owned(content["owns"])
    numbers.show()
    console.table("decisions", ("when", "kind", "loop", "gate", "what", "why"), [
        (row["at"][:16], row["kind"], row["loop"], row["gate"],
         _became(row), row["reason"])
        for row in decisions
    ])


@app.command(epilog="Example: closedloop person merge jane@old.example jane@new.example --site demo --reason moved")
def merge(
    one: One, other: Other, site: SiteName, reason: Reason,
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Decide that two persons are one; refused where both have a verified address. Profiles and stages follow."""
    named(stage, outputs)
    decision = deciding.merge(*_both(one, other, site), site, reason, doors.state(), clock.now())
    _decide("merge", decision, dry_run=dry_run, as_json=as_json)


@app.command(epilog="Example: closedloop person split jane@x.example customer:dealer:7 --site demo --reason Kens")
def split(
    one: One, other: Other, site: SiteName, reason: Reason,
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Decide that two names of one person are two people's; what both share belongs to each from when they told it."""
    named(stage, outputs)
    decision = deciding.split(*_both(one, other, site), site, reason, doors.state(), clock.now())
    _decide("split", decision, dry_run=dry_run, as_json=as_json)


@app.command(epilog="Example: closedloop person undo jane@old.example jane@new.example --site demo --reason mistaken")
def undo(
    one: One, other: Other, site: SiteName, reason: Reason,
    decision: Annotated[str, typer.Option(help="Which of several decisions, by its name.")] = "",
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Take back a merge or split: who is who is as if it had never been decided."""
    named(stage, outputs)
    taken_back = deciding.undo(*_both(one, other, site), reason, doors.state(), clock.now(), decision)
    _decide("undo", taken_back, dry_run=dry_run, as_json=as_json)


def _both(one: str, other: str, site: str) -> tuple[str, str]:
    known = known_site(site)
    return name_in(one, known), name_in(other, known)


def _decide(what: str, decision: deciding.Decision, *, dry_run: bool, as_json: bool) -> None:
    """Write a decision, or say what it would do; the projector folds everybody whom it touches."""
    state = doors.state()
    loops = doors.loops()

    def told(names: frozenset[str]) -> dict[str, Any]:
        person = person_id(anchor_of(names))
        places = {loop.loop: state.position(person, loop.loop).stage for loop in loops}
        return {
            "person": person, "email": state.contact(person).get("email", ""), "names": sorted(names),
            "stages": {loop: place for loop, place in places.items() if place},
        }

    if not dry_run:
        doors.ledger().append([decision.packet])
    content: dict[str, Any] = {
        what: "" if dry_run and what != "undo" else decision.name, "written": not dry_run,
        "before": [told(names) for names in decision.before], "after": [told(names) for names in decision.after],
    }
    if as_json:
        console.as_json(content)
        return
    console.table(
        f"{what} would concern" if dry_run else f"{what} {decision.name}: written; all follows within seconds",
        ("person", "", "address held", "names", "stages"),
        [
            (row["person"], when, row["email"], "\n".join(map(_short, row["names"])), row["stages"])
            for when in ("before", "after") for row in content[when]
        ],
    )


def _show_why(words: str, nearby: Neighbourhood, *, as_json: bool) -> None:
    """Every piece of evidence: between what, from where, since when, how strong, and what it does."""
    reasons = deciding.why(nearby, doors.state())
    if as_json:
        console.as_json({
            "person": person_id(anchor_of(nearby.strong)) if nearby.strong else "",
            "names": sorted(nearby.strong), "contested": sorted(nearby.contested),
            "evidence": [
                {
                    "one": row.link.node, "other": row.link.strong, "source": row.link.source, "at": iso(row.link.at),
                    "kind": row.link.kind.value, "strength": row.link.strength.name.lower(),
                    "weight": int(row.link.strength), "effect": row.effect, "event": row.link.event,
                } for row in reasons
            ],
        })
        return
    console.table(
        f"{words}: why this is one person" if nearby.strong else f"{words}: shared by several people",
        ("between", "and", "source", "since", "strength", "what it does"),
        [
            (_short(row.link.node), _short(row.link.strong), row.link.source, f"{row.link.at:%Y-%m-%d %H:%M}",
             f"{row.link.strength.name.lower()} {int(row.link.strength)}", row.effect)
            for row in reasons
        ],
    )


def _short(node: str) -> str:
    """A node for a narrow table; --json has it whole."""
    return node if len(node) <= 24 else f"{node[:23]}…"


def _became(row: Mapping[str, Any]) -> str:
    if row["kind"] == "transition":
        return f"{row['from_stage'] or '·'} → {row['to_stage']}"
    return f"{row['outcome']} {row['hold_kind'] or row['campaign']}"
