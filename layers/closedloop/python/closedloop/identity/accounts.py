"""Accounts: the companies that persons buy for, resolved on reading from what each person's facts say of their company.

A person's company is told in three ways, of each of which the latest counts:

| key    | told by                                                                  |
|--------|--------------------------------------------------------------------------|
| group  | an explicit `group` call, or `groupId` beside another one                |
| number | a corporate number (法人番号) whose check digit fits, in a list, form or call |
| domain | the registered domain of an address given in clear, unless anybody has mail there |

The strongest key is the person's account, in this order. So that colleagues of whom less is known are of the same one,
a domain or number follows what most persons who have it say more strongly; where two are said equally often, it is an
account of its own. Nothing is stored as a merge: one fact more, or one taken back, and the accounts are others.
Keys are keyed hashes; the clear domain, number and id lie among the person's contact, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from closedloop.events.event import Event, distinct
from closedloop.events.identifiers import Hasher, legal
from closedloop.identity.domains import company_domain
from closedloop.identity.roles import UNKNOWN
from closedloop.sites.definition import Role

# The strongest first: the kind of the key, and what its clear words are called among the contact.
KINDS = {"group": "company_id", "number": "corporate_number", "domain": "company_domain"}
# How much a point of somebody counts for their account, as of whom no more is known.
# Source: analytics reference 3.5; those that it does not name count like a user.
WEIGHTS = {"decision_maker": 1.5, "influencer": 1.0, "user": 1.0, "buyer": 1.0, UNKNOWN: 0.7}
CAP = 2
BREADTH = 4

Keys = tuple[str, ...]


def company_facts(events: Iterable[Event], addresses: Iterable[str]) -> dict[str, str]:
    """What a person's facts say of their company, in clear, for their contact; nothing where they say nothing.

    Shapes: `addresses` in the order in which they were received.
    """
    found: dict[str, str] = {}
    every = list(events)
    # Few events say anything of a company; the others need not be put in order.
    says = any(event.group or "corporate_number" in event.traits for event in every)
    for event in distinct(every) if says else ():
        number = corporate_number(event.traits.get("corporate_number"))
        if number:
            found["corporate_number"] = number
        if legal(event.group):
            found["company_id"] = event.group.strip()
    for address in addresses:
        domain = company_domain(address)
        if domain:
            found["company_domain"] = domain
    return found


def corporate_number(told: object) -> str:
    """A corporate number in its 13 digits; empty for what is none.

    Source: Ministry of Finance ordinance on corporate numbers: the first digit checks the others.
    """
    if not isinstance(told, str | int) or isinstance(told, bool):
        return ""
    from stdnum.jp import cn

    number = normalize("NFKC", str(told)).strip()
    return str(cn.compact(number)) if cn.is_valid(number) else ""


def keys_of(contact: Mapping[str, str], hasher: Callable[[], Hasher]) -> Keys:
    """The account keys that a person's contact says, the strongest first."""
    return tuple(hasher().account(kind, contact[name]) for kind, name in KINDS.items() if contact.get(name))


def accounts_of(persons: Mapping[str, Keys]) -> dict[str, tuple[str, ...]]:
    """Which persons each account has, from the keys of every person near.

    Shapes: an account is named by its strongest key; persons are in order of their ids.
    """
    follows: dict[str, str] = {}
    # Numbers before domains: what a number follows is settled when domains ask.
    for kind in list(KINDS)[1:]:
        said: dict[str, Counter[str]] = {}
        for keys in persons.values():
            for key in keys[1:]:
                if key.startswith(f"{kind}:"):
                    said.setdefault(key, Counter())[follows.get(keys[0], keys[0])] += 1
        for key, counts in said.items():
            most = counts.most_common(2)
            if len(most) == 1 or most[0][1] > most[1][1]:
                follows[key] = most[0][0]
    found: dict[str, list[str]] = {}
    for person, keys in sorted(persons.items()):
        if keys:
            found.setdefault(follows.get(keys[0], keys[0]), []).append(person)
    return {account: tuple(members) for account, members in sorted(found.items())}


def near(key: str, members: Callable[[str], Iterable[tuple[str, Keys]]], most: int) -> dict[str, Keys]:
    """Everybody whose keys bear on an account: those who have one of its keys, and what these bring.

    Shapes: at most so many keys are read; what is further off is left out.
    """
    persons: dict[str, Keys] = {}
    waiting, read = [key], set[str]()
    while waiting and len(read) < most:
        one = waiting.pop(0)
        if one in read:
            continue
        read.add(one)
        for person, keys in members(one):
            persons[person] = keys
            waiting += sorted(set(keys) - read)
    return persons


@dataclass(frozen=True, slots=True)
class Member:
    """One person of an account: their role and why, how engaged they are, and the stages where they stood.

    Shapes: `stages` are by loop, in the order reached, the present one last.
    Units: `score` in points as of now.
    """

    person: str
    role: str
    why: str
    score: float
    stages: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Line:
    """What one person adds to an account's interest.

    Units: points; `counted` is the score, as far as it counts; `adds` is that times the weight of the role.
    """

    member: Member
    counted: float
    weight: float
    adds: float


@dataclass(frozen=True, slots=True)
class Interest:
    """How much an account is interested: the sum of its lines; how many persons are, and of how many roles.

    Source: analytics reference 3.5.
    """

    total: float
    breadth: int
    depth: int
    lines: tuple[Line, ...]


def interest_of(members: Sequence[Member], threshold: float) -> Interest:
    """An account's interest; one heavy reader counts for twice the threshold at most, and imitates no group."""
    lines = tuple(
        Line(one, counted := min(one.score, CAP * threshold), WEIGHTS[one.role], round(WEIGHTS[one.role] * counted, 2))
        for one in sorted(members, key=lambda one: (-one.score, one.person))
    )
    return Interest(
        total=round(sum(line.adds for line in lines), 2),
        breadth=sum(one.score >= threshold / BREADTH for one in members),
        depth=len({one.role for one in members}),
        lines=lines,
    )


def missing_roles(members: Iterable[Member], wanted: Iterable[Role]) -> list[Role]:
    """The roles that nobody of an account is known to have."""
    present = {one.role for one in members}
    return [role for role in wanted if role not in present]


@dataclass(frozen=True, slots=True)
class Touched:
    """Which roles of an account a stage has reached, with how many persons of each, and which are missing there.

    Units: `share` of the wanted roles that were touched, from 0 to 1.
    """

    loop: str
    stage: str
    roles: Mapping[str, int]
    missing: tuple[Role, ...]
    share: float


def coverage_of(
    members: Sequence[Member], stages: Mapping[str, Sequence[str]], wanted: Sequence[Role]
) -> Iterator[Touched]:
    """Every stage of each loop that somebody of an account has reached, in the loop's order.

    Shapes: `stages` are the names of each loop's stages; of a role that is not wanted nothing is missed.
    """
    for loop, names in sorted(stages.items()):
        for stage in names:
            reached = Counter(one.role for one in members if stage in one.stages.get(loop, ()))
            if reached:
                missing = tuple(role for role in wanted if role not in reached)
                share = round(1 - len(missing) / len(wanted), 2)
                yield Touched(loop, stage, dict(sorted(reached.items())), missing, share)
