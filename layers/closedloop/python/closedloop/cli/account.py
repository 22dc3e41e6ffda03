"""closedloop account: the companies that persons buy for, who is who there, who is touched and who is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer

from closedloop.cli import console, customers
from closedloop.cli.deployed import AsJson, Outputs, Stage, known_site, named
from closedloop.errors import BadShape, NotFound
from closedloop.events.identifiers import Hasher
from closedloop.identity.accounts import (
    CAP,
    KINDS,
    Keys,
    Member,
    accounts_of,
    corporate_number,
    coverage_of,
    interest_of,
    keys_of,
    missing_roles,
    near,
)
from closedloop.identity.domains import company_domain, is_below
from closedloop.identity.persons import ids_of
from closedloop.identity.roles import role_of
from closedloop.loops.definition import Loop
from closedloop.profiles.interest import remaining, shown
from closedloop.profiles.profile import Profile
from closedloop.runtime import clock, doors
from closedloop.sites.definition import Site

app = typer.Typer(no_args_is_help=True, help="Accounts: the companies that persons buy for, and who is who there.")
# Beyond so many keys of one company, something glues strangers together.
MOST_KEYS = 500
TheSite = Annotated[str, typer.Option(help="A site of the customer list.")]
Topic = Annotated[str, typer.Option(help="Count interest in this topic alone.")]


@app.callback()
def accounts() -> None:
    """Accounts: the companies that persons buy for, and who is who there."""


@dataclass(frozen=True, slots=True)
class _Account:
    """An account as a command shows it: its key, whom it has, and what is known of each."""

    key: str
    members: tuple[Member, ...]
    profiles: Mapping[str, Profile]
    contacts: Mapping[str, Mapping[str, str]]
    site: Site

    def told(self, name: str) -> list[str]:
        """What its persons' contacts say under a name, the most frequent first."""
        said = Counter(contact[name] for contact in self.contacts.values() if contact.get(name))
        return [word for word, _ in sorted(said.items(), key=lambda item: (-item[1], item[0]))]

    @property
    def kind(self) -> str:
        rules, domains = self.site.accounts, self.told("company_domain")
        kinds = (("own", rules.own_domains), ("competitor", rules.competitor_domains))
        return next((kind for kind, listed in kinds if any(is_below(one, listed) for one in domains)), "")

    def facts(self) -> dict[str, Any]:
        """What a list says of it."""
        interest = interest_of(self.members, self.site.accounts.threshold)
        names = {f"{name}s": self.told(name) for name in KINDS.values()}
        return {
            "account": self.key, "company": next(iter(self.told("company")), ""), "kind": self.kind, **names,
            "persons": len(self.members), "roles": dict(sorted(Counter(one.role for one in self.members).items())),
            "missing": missing_roles(self.members, self.site.accounts.roles), "interest": interest.total,
            "breadth": interest.breadth, "depth": interest.depth,
        }


@app.command("list", epilog="Example: closedloop account list --site demo")
def every(
    site: TheSite, topic: Topic = "", as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """List the accounts of a customer list: persons, roles, the role that is missing, interest; the keenest first."""
    named(stage, outputs)
    its, state, now = known_site(site), doors.state(), clock.now()
    persons = {
        person: keys for one in state.account_keys(its.list_name) for person, keys in state.members(one)
    }
    with console.progress("reading persons", len(persons)) as bar:
        found = [one.facts() for one in _read(persons, its, topic, now, (), lambda: bar.advance(bar.task_ids[0]))]
    found.sort(key=lambda one: (-one["interest"], one["account"]))
    if as_json:
        console.as_json(found)
        return
    console.table("accounts", ("account", "company", "domain", "kind", "persons", "roles", "missing", "interest"), [
        (one["account"], one["company"], ", ".join(one["company_domains"]), one["kind"], one["persons"],
         _counted(one["roles"]), ", ".join(one["missing"]), f"{one['interest']:.2f}")
        for one in found
    ])


@app.command(epilog="Example: closedloop account show acme.co.jp --site demo")
def show(
    account: Annotated[str, typer.Argument(
        help="A domain, an e-mail address there, a corporate number, the id of a group call, or what list prints."
    )],
    site: TheSite, topic: Topic = "", as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show an account: its persons with roles and stages, which roles were touched where, and what its interest is."""
    named(stage, outputs)
    its, state, now, loops = known_site(site), doors.state(), clock.now(), _loops_of(site)
    asked = _asked(account, its)
    persons: dict[str, Keys] = {}
    for one in asked:
        persons |= near(one, state.members, MOST_KEYS)
    near_by = list(_read(persons, its, topic, now, loops))

    def named_by(one: _Account) -> tuple[bool, int]:
        return one.key in asked, sum(bool(set(asked) & set(persons[member.person])) for member in one.members)

    found = max(near_by, key=named_by, default=None)
    if found is None or not any(named_by(found)):
        raise NotFound(f"no account {account!r} is known; closedloop account list --site {site} names those there are")
    rules = its.accounts
    interest = interest_of(found.members, rules.threshold)
    covered = list(coverage_of(found.members, {loop.loop: loop.stages for loop in loops}, rules.roles))
    content = found.facts() | {
        "members": [{
            "person": one.person, "contact": dict(found.contacts[one.person]), "role": one.role, "why": one.why,
            "score": one.score, "stages": {loop: list(stages) for loop, stages in one.stages.items()},
            "deals": {name: (deal.standing, deal.amount_minor, deal.currency)
                      for name, deal in found.profiles[one.person].deals.items()},
        } for one in found.members],
        "coverage": [{
            "loop": one.loop, "stage": one.stage, "roles": dict(one.roles), "missing": list(one.missing),
            "share": one.share,
        } for one in covered],
        "owns": [
            {"person": one.person} | thing for one in found.members
            for thing in customers.owned(found.profiles[one.person], doors.sites(), site, now)
        ],
        "threshold": rules.threshold,
        "ledger": [{
            "person": line.member.person, "role": line.member.role, "score": line.member.score,
            "counted": line.counted, "weight": line.weight, "adds": line.adds,
        } for line in interest.lines],
    }
    console.as_json(content) if as_json else _show(content, topic)


def _show(content: Mapping[str, Any], topic: str) -> None:
    console.facts(content["company"] or content["account"], {
        "account": content["account"], "kind": content["kind"],
        **{f"{name}s": ", ".join(content[f"{name}s"]) for name in KINDS.values()},
        "persons": content["persons"], "roles": _counted(content["roles"]), "missing": ", ".join(content["missing"]),
        "breadth": content["breadth"], "depth": content["depth"],
    })
    console.table("persons", ("person", "name", "address", "role", "why", "stages", "deals"), [
        (one["person"], _name(one["contact"]), one["contact"].get("email"), one["role"], one["why"],
         "; ".join(f"{loop}: {' → '.join(stages)}" for loop, stages in one["stages"].items()),
         ", ".join(f"{name} {deal[0]}" for name, deal in one["deals"].items()))
        for one in content["members"]
    ])
    console.table("coverage: roles touched at each stage", ("loop", "stage", "touched", "missing", "share"), [
        (one["loop"], one["stage"], _counted(one["roles"]), ", ".join(one["missing"]), f"{one['share']:.0%}")
        for one in content["coverage"]
    ])
    customers.show_owned(content["owns"])
    about = f" in {topic}" if topic else ""
    console.table(
        f"interest{about} {content['interest']:.2f} = the sum of the last column",
        ("person", "role", "score", f"counted, at most {CAP * content['threshold']:g}", "weight", "adds"),
        [(line["person"], line["role"], f"{line['score']:.2f}", f"{line['counted']:.2f}", line["weight"],
          f"{line['adds']:.2f}") for line in content["ledger"]],
    )


def _asked(account: str, site: Site) -> tuple[str, ...]:
    """The keys that somebody may mean by a word: what list prints, or the clear name of each kind."""
    kind, _, rest = account.partition(":")
    if kind in KINDS and rest:
        return (account,)
    domain = company_domain(account if "@" in account else f"somebody@{account}")
    if "@" in account and not domain:
        raise BadShape("this address is of no company: it is none, or anybody has mail there")
    clear = {"company_id": account, "corporate_number": corporate_number(account), "company_domain": domain}
    return keys_of(clear, lambda: Hasher(doors.pepper(), site.list_name))


def _read(
    persons: Mapping[str, Keys], site: Site, topic: str, now: datetime, loops: Iterable[Loop],
    tell: Any = lambda: None,
) -> Iterator[_Account]:
    """The accounts of these persons; who has no profile any more became another person, or nobody."""
    state, profiles = doors.state(), dict[str, Profile]()
    for person in sorted(persons):
        profile = state.profile(person).profile
        if profile is not None and profile.group == site.list_name:
            profiles[person] = profile
        tell()
    for key, members in accounts_of({person: persons[person] for person in profiles}).items():
        yield _Account(
            key, tuple(_member(profiles[one], site, topic, now, loops) for one in members),
            {one: profiles[one] for one in members}, {one: state.contact(one) for one in members}, site,
        )


def _member(profile: Profile, site: Site, topic: str, now: datetime, loops: Iterable[Loop]) -> Member:
    score = (
        remaining(profile.interest.get(topic, 0), profile.ignored.get(topic), now) if topic
        else shown(profile.engagement, now)
    )
    known = role_of(profile.attributes, site)
    return Member(profile.person, known.role, known.why, score, dict(_stages(profile, loops)))


def _stages(profile: Profile, loops: Iterable[Loop]) -> Iterator[tuple[str, list[str]]]:
    """The stages that a person reached on each loop, under whichever id they had then."""
    loops = list(loops)
    if not loops:
        return
    rows = [row for one in ids_of(profile.nodes) for row in doors.state().decisions(one) if row["kind"] == "transition"]
    for loop in loops:
        own = sorted((row for row in rows if row["loop"] == loop.loop), key=lambda row: str(row["at"]))
        if own:
            yield loop.loop, list(dict.fromkeys(str(row["to_stage"]) for row in own))


def _loops_of(site: str) -> list[Loop]:
    group = known_site(site).list_name
    sites = doors.sites()
    return [
        loop for loop in doors.loops() if any(one in sites and sites[one].list_name == group for one in loop.sites)
    ]


def _counted(roles: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {role}" for role, count in roles.items())


def _name(contact: Mapping[str, str]) -> str:
    parts = (contact.get("last_name"), contact.get("first_name"))
    return contact.get("name") or " ".join(part for part in parts if part)
