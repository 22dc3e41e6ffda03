"""What people may ask for: who gets no mail, what is held about somebody, and to be forgotten."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, known_site, named
from closedloop.errors import BadShape, NotFound
from closedloop.events import event as names
from closedloop.events.erased import tombstone_of
from closedloop.events.event import Door, EventType, distinct
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet
from closedloop.events.times import iso, parse
from closedloop.identity.flow import gather
from closedloop.profiles.consents import proofs_of, standing
from closedloop.profiles.flow import events_of, read_person
from closedloop.runtime import clock, doors, rights
from closedloop.sites.definition import Site
from closedloop.store.rights import FOR_GOOD

suppressions = typer.Typer(no_args_is_help=True, help="Who gets no mail, and why.")

Email = Annotated[str | None, typer.Option(help="The person's e-mail address.")]
UserId = Annotated[str | None, typer.Option(help="The person's id on the site, where no address is known.")]
OfSite = Annotated[str, typer.Option("--site", help="A site of the customer list.")]
Address = Annotated[str, typer.Option("--email", help="The e-mail address.")]
Reason = Annotated[str, typer.Option(help="Why, for whoever asks later; it goes when the person is erased.")]
CODES = ("asked", "withdrew", "unlawful", "unneeded")


def register(person: typer.Typer) -> None:
    """Put the commands about one person beside the others."""
    jane = "--email jane@example.com --site demo"
    person.command(epilog=f"Example: closedloop person consents {jane}")(consents)
    person.command(epilog=f"Example: closedloop person export {jane} --out jane.zip")(export)
    person.command(epilog=f"Example: closedloop person erase {jane} --dry-run")(erase)
    person.command(epilog="Example: closedloop person erasures")(erasures)


def _identifier(site: Site, email: str | None, user_id: str | None = None) -> str:
    if (email is None) == (user_id is None):
        raise BadShape("say who it is: either --email or --user-id")
    hasher = Hasher(doors.pepper(), site.list_name)
    found = hasher.address(email) if email is not None else hasher.user(user_id or "")
    if found is None:
        raise BadShape(f"{email or user_id!r} names nobody")
    return found


def consents(
    site: OfSite, email: Email = None, user_id: UserId = None, as_json: AsJson = False, stage: Stage = None,
    outputs: Outputs = None,
) -> None:
    """Show what somebody agreed to, for each company and purpose, and the proof of every word ever said."""
    named(stage, outputs)
    nearby = gather(_identifier(known_site(site), email, user_id), doors.state())
    proofs = proofs_of(distinct(events_of(nearby, doors.ledger())))
    stands = standing(proofs)
    content = [
        {**asdict(proof), "at": iso(proof.at), "stands": stands.get((proof.site, proof.purpose)) == proof}
        for proof in proofs
    ]
    if as_json:
        console.as_json(content)
        return
    console.table("consent as it stands", ("company", "purpose", "word", "since"), [
        (company, purpose, proof.word, f"{proof.at:%Y-%m-%d %H:%M}") for (company, purpose), proof in stands.items()
    ])
    told: list[tuple[object, ...]] = []
    for proof in proofs:
        row = (proof.site, proof.purpose, proof.word + ("" if proof.counts else " (not believed)"),
               f"{proof.version} {proof.text[:8]}".strip(), proof.source)
        # A page says the same again and again; --json has every word.
        if not any(row == (*one[1:],) for one in told[-8:]):
            told.append((f"{proof.at:%Y-%m-%d %H:%M}", *row))
    console.table(
        "the proof of it, oldest first", ("when (UTC)", "company", "purpose", "word", "text and hash", "where"), told
    )


def export(
    site: OfSite, email: Email = None, user_id: UserId = None,
    out: Annotated[Path | None, typer.Option(help="The zip to write; PERSON.zip when left out.")] = None,
    as_of: Annotated[str | None, typer.Option(help="What was received by then, such as 2026-11-24T06:00:00Z.")] = None,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Write everything that is held about somebody into one zip, as JSON and CSV; nobody else is in it."""
    from closedloop.runtime.export import export as zipped

    named(stage, outputs)
    moment = _moment(as_of)
    subject = _subject(site, email, user_id)
    with console.bars() as progress:
        held = rights.held(subject, progress)
    if not held.counts:
        raise NotFound("nothing is held about this person")
    path = out or Path(f"{subject.erasure.person}.zip")
    path.write_bytes(zipped(subject, held, moment))
    content = {"file": str(path), "as_of": iso(moment), **held.counts}
    console.as_json(content) if as_json else console.facts("everything that is held", content)


def _moment(stated: str | None) -> Any:
    if stated is None:
        return clock.now()
    try:
        return parse(stated)
    except ValueError as error:
        raise BadShape(f"--as-of {stated}: expected a time such as 2026-11-24T06:00:00Z") from error


def _subject(site: str, email: str | None, user_id: str | None, why: str = "", asked_by: str = "") -> rights.Subject:
    known = known_site(site)
    return rights.whom(_identifier(known, email, user_id), known, clock.now(), why, asked_by)


def erase(
    site: OfSite, email: Email = None, user_id: UserId = None,
    why: Annotated[str, typer.Option(help="Why: asked, withdrew, unlawful or unneeded.")] = "asked",
    asked_by: Annotated[str, typer.Option(help="Who asked: person, guardian, authority or company.")] = "person",
    confirm: Annotated[bool, typer.Option("--confirm", help="Erase; nobody can bring it back.")] = False,
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Erase somebody from the tables and the lake: totals stay, nobody mails them, and no replay brings them back.

    Cut off, the same command goes on where it was. Backups of the tables still hold what they held for up to 35 days.
    """
    if confirm == dry_run:
        raise BadShape("say --dry-run to see what would go, or --confirm to erase it for good")
    if why not in CODES or asked_by not in ("person", "guardian", "authority", "company"):
        raise BadShape(f"expected --why {', '.join(CODES)}, and --asked-by person, guardian, authority or company")
    named(stage, outputs)
    subject = _subject(site, email, user_id, why, asked_by)
    begun = doors.state().erasing(subject.erasure.identifier) is not None
    with console.bars() as progress:
        if not begun:
            subject = rights.counted(subject, rights.held(subject, progress))
        found = dict(subject.erasure.counts)
        if confirm and (begun or found):
            rights.erase(subject, progress)
    since = doors.state().tombstones().get(tombstone_of(subject.erasure.identifier))
    state = "went on" if begun else "found" if dry_run else "erased" if found else "nothing is held"
    content = {
        "state": state, "erasure": subject.erasure.name if confirm and found else None, **found,
        "erased_since": iso(since) if since else None,
    }
    console.as_json(content) if as_json else console.facts(f"erasure: {state}", content)


def erasures(as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """List the erasures that were done: when, why, who asked and how much it was; nothing about the persons."""
    named(stage, outputs)
    done = doors.state().erasures()
    if as_json:
        console.as_json(done)
        return
    console.table(f"{len(done)} erasures", ("erasure", "list", "began (UTC)", "ended", "why", "asked by", "packets"), [
        (one["erasure"], one["group"], one["began_at"][:16], one["ended_at"][:16], one["why"], one["asked_by"],
         one["counts"].get("packets", 0)) for one in done
    ])


@suppressions.command("list", epilog="Example: closedloop suppression list")
def list_(as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """List the addresses that get no mail, by their identifiers, with the reason."""
    named(stage, outputs)
    found = sorted(doors.state().suppressions(), key=lambda one: (one.at, one.identifier))
    if as_json:
        console.as_json([asdict(one) for one in found])
        return
    console.table(f"{len(found)} addresses get no mail", ("address", "reason", "since", "can be taken back"), [
        (one.identifier, one.reason, one.at[:16], "no" if one.reason in FOR_GOOD else "yes") for one in found
    ])


@suppressions.command(epilog="Example: closedloop suppression show --email jane@example.com --site demo")
def show(
    email: Address, site: OfSite, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show whether an address may be mailed, what operators changed about it, and how often it was mailed of late."""
    named(stage, outputs)
    identifier = _identifier(known_site(site), email)
    state = doors.state()
    standing_ = state.suppression(identifier)
    content = {
        "address": identifier, "suppressed": standing_.reason if standing_ else "",
        "since": standing_.at if standing_ else "", "changes": state.suppression_facts(identifier),
        "mailed": {name: iso(at) for one in state.mailed([identifier]) for name, at in sorted(one.sent.items())},
    }
    console.as_json(content) if as_json else console.facts(email, content)


@suppressions.command(epilog="Example: closedloop suppression add --email jane@acme.example --site demo --reason phone")
def add(
    email: Address, site: OfSite, reason: Reason, dry_run: DryRun = False, as_json: AsJson = False,
    stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Let nobody mail an address of this customer list again."""
    named(stage, outputs)
    known = known_site(site)
    identifier, state = _identifier(known, email), doors.state()
    found = state.suppression(identifier)
    if not dry_run and found is None:
        _tell(names.MAIL_SUPPRESSED, known, identifier)
        state.add_suppression(identifier, reason, clock.now())
    _say(identifier, found.reason if found else "manual", changed=found is None, dry_run=dry_run, as_json=as_json)


@suppressions.command(epilog="Example: closedloop suppression remove --email jo@acme.example --site demo --reason wish")
def remove(
    email: Address, site: OfSite, reason: Reason, dry_run: DryRun = False, as_json: AsJson = False,
    stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Let an address be mailed again, as the person wishes; a dead address, a complaint and an erasure stay."""
    named(stage, outputs)
    known = known_site(site)
    identifier, state = _identifier(known, email), doors.state()
    found, of_person = state.suppression(identifier), _suppressed(identifier)
    standing_ = of_person if of_person in FOR_GOOD else found.reason if found else of_person
    if standing_ in FOR_GOOD:
        raise BadShape(f"this address is suppressed for good: {standing_}")
    if not dry_run and standing_:
        # Told first: whoever folds the person afterwards suppresses the address no more.
        _tell(names.MAIL_ALLOWED, known, identifier)
        state.lift_suppression(identifier, reason, clock.now())
    _say(identifier, "", changed=bool(standing_), dry_run=dry_run, as_json=as_json)


def _suppressed(identifier: str) -> str:
    profile, _ = read_person(gather(identifier, doors.state()), doors.ledger(), doors.sites())
    return profile.suppressed if profile else ""


def _tell(name: str, site: Site, identifier: str) -> None:
    """Tell the ledger what an operator decided about somebody who is known; a stranger does not become known by it."""
    if next(iter(events_of(gather(identifier, doors.state()), doors.ledger())), None) is None:
        return
    now = clock.now()
    record = {
        "id": f"{site.site}/{Door.OPERATOR}/{clock.new_id()}", "type": EventType.TRACK.value, "name": name,
        "at": iso(now), "ids": [identifier],
    }
    doors.ledger().append([Packet(f"I#{identifier}", site.site, Door.OPERATOR, now, (record,))])


def _say(identifier: str, reason: str, *, changed: bool, dry_run: bool, as_json: bool) -> None:
    content = {
        "address": identifier, "suppressed": reason, "changed": changed and not dry_run,
        "would_change": changed if dry_run else None,
    }
    console.as_json(content) if as_json else console.facts("suppression", content)
