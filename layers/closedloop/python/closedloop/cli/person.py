"""closedloop person: who somebody is to us, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from closedloop.cli import console, customers
from closedloop.cli.deployed import AsJson, Outputs, Stage, known_site, named
from closedloop.cli.scores import scores
from closedloop.errors import BadShape, NotFound
from closedloop.events.identifiers import Hasher
from closedloop.events.times import iso
from closedloop.identity.flow import gather
from closedloop.profiles.flow import events_of, read_person
from closedloop.runtime import clock, doors

app = typer.Typer(no_args_is_help=True, help="Persons: one customer list, every number with its reasons.")


@app.callback()
def persons() -> None:
    """Persons: one customer list, every number with its reasons."""


@app.command(epilog="Example: closedloop person show --email jane@example.com --site demo")
def show(
    email: Annotated[str, typer.Option(help="The person's e-mail address.")],
    site: Annotated[str, typer.Option(help="A site of the customer list.")],
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show a person: profile, stage on each loop, every verdict with its reason, and what each score is made of."""
    named(stage, outputs)
    identifier = Hasher(doors.pepper(), known_site(site).list_name).address(email)
    if identifier is None:
        raise BadShape(f"{email!r} is no e-mail address")
    state, sites, now = doors.state(), doors.sites(), clock.now()
    nearby = gather(identifier, state)
    profile, contact = read_person(nearby, doors.ledger(), sites)
    if profile is None:
        raise NotFound("nobody is known by this address")
    events = events_of(nearby, doors.ledger())
    numbers = scores(profile, events, contact, sites, now)
    decisions = state.decisions(profile.person)
    positions = {loop.loop: state.position(profile.person, loop.loop).stage for loop in doors.loops()}
    content: dict[str, Any] = {
        "person": profile.person, "contact": contact, "nodes": sorted(nearby.strong | nearby.near),
        "first": profile.first_at, "last": profile.last_at, "came_from": profile.first_source,
        "attributes": profile.attributes, "stages": positions,
        "deals": {name: (deal.standing, deal.amount_minor, deal.currency) for name, deal in profile.deals.items()},
        "owns": customers.owned(profile, sites, site, now),
        "brought_by": [one._asdict() for one in profile.referred],
        "suppressed": profile.suppressed, "machine": profile.machine, "consent": profile.consent,
        "asked_to_confirm": [
            {
                "at": iso(asked.question.at), "site": asked.question.site, "form": asked.question.form,
                "text": asked.question.version, "outcome": asked.status, "reason": asked.reason,
            }
            for asked in state.questions(identifier)
        ],
        "decisions": decisions, **numbers.as_json(),
    }
    if as_json:
        console.as_json(content)
        return
    console.facts(email, {name: content[name] for name in (
        "person", "contact", "nodes", "first", "last", "came_from", "attributes", "stages", "deals",
        "suppressed", "machine", "consent", "asked_to_confirm",
    )})
    console.table("owns", ("product", "how many", "since", "from", "class", "age", "replaced in a year", "deal"), [
        tuple(one.values()) for one in content["owns"]
    ])
    numbers.show()
    console.table("decisions", ("when", "kind", "loop", "gate", "what", "why"), [
        (row["at"][:16], row["kind"], row["loop"], row["gate"],
         _became(row), row["reason"])
        for row in decisions
    ])


def _became(row: Mapping[str, Any]) -> str:
    if row["kind"] == "transition":
        return f"{row['from_stage'] or '·'} → {row['to_stage']}"
    return f"{row['outcome']} {row['hold_kind'] or row['campaign']}"
