"""closedloop customers: life after the sale: what they own, replace and buy next, who comes back, who brings others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from closedloop.capture.links import Handed, Tokens, may_lead_to
from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, known_site, named
from closedloop.errors import BadShape
from closedloop.events.deals import day_of
from closedloop.events.identifiers import Hasher
from closedloop.events.times import iso, parse
from closedloop.profiles.advocacy import Referred, advocates, growth
from closedloop.profiles.loyalty import alive, purchases_of, standings
from closedloop.profiles.ownership import Catalogue, Thing, age_of, replaced_within, replacements
from closedloop.profiles.profile import Profile
from closedloop.reports import cross_sell as selling
from closedloop.reports.statistics import wilson
from closedloop.runtime import clock, doors, settings
from closedloop.runtime.mail import handed_link
from closedloop.sites.definition import MARKETING, Site

app = typer.Typer(no_args_is_help=True, help="Customers: what they own, buy next and hand on, with the evidence.")
WEEK = timedelta(weeks=1)
SiteName = Annotated[str, typer.Option("--site", help="A site of the customer list.")]
AsOf = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="As of this day; now when left out.")]


@app.callback()
def customers() -> None:
    """Customers: what they own, buy next and hand on, with the evidence."""


@dataclass(frozen=True, slots=True)
class _People:
    """Everybody on a customer list, and the sites that share it."""

    site: Site
    catalogue: Catalogue
    profiles: Mapping[str, Profile]

    def told(self, person: str) -> dict[str, str]:
        """Who a person is, and whether they may be written to."""
        contact, profile = doors.state().contact(person), self.profiles[person]
        mail = profile.suppressed or profile.consent_to(MARKETING, self.site.site) or "not asked"
        return {
            "person": person, "email": contact.get("email", ""), "company": contact.get("company", ""), "mail": mail,
        }

    def histories(self) -> Iterable[tuple[str, dict[str, datetime]]]:
        """When each customer first bought each class of things."""
        for person, profile in self.profiles.items():
            bought: dict[str, datetime] = {}
            for thing in profile.owned:
                bought.setdefault(self.catalogue.called(thing), parse(thing.since))
            if bought:
                yield person, bought


def _people(site: str) -> _People:
    known = known_site(site)
    state, sites = doors.state(), doors.sites()
    persons = list(state.people(known.list_name))
    profiles = {}
    with console.progress("people", len(persons)) as bar:
        for person in persons:
            profile = state.profile(person).profile
            if profile is not None:
                profiles[person] = profile
            bar.advance(bar.task_ids[0])
    return _People(known, Catalogue(one for one in sites.values() if one.list_name == known.list_name), profiles)


def _moment(as_of: datetime | None, site: Site) -> datetime:
    return clock.now() if as_of is None else as_of.replace(tzinfo=ZoneInfo(site.time_zone))


@app.command("replacements", epilog="Example: closedloop customers replacements --site demo --as-of 2027-04-01")
def show_replacements(
    site: SiteName, as_of: AsOf = None,
    everybody: Annotated[bool, typer.Option("--all", help="Also those whose window is not open.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show who will soon replace what they own, by the life curves of the site's products; the likeliest first."""
    named(stage, outputs)
    people = _people(site)
    moment = _moment(as_of, people.site)
    owners = ((person, profile.owned) for person, profile in people.profiles.items() if profile.owned)
    found = replacements(owners, people.catalogue, moment)
    rows = [
        {
            **people.told(one.owner), "class": one.product_class, "product": one.thing.product,
            "since": _day(one.thing, people.site), "seller": one.thing.seller or one.thing.site,
            "age": round(one.age, 1), "six_months": round(one.soon, 3), "one_year": round(one.next_year, 3),
            "open": one.open, "why": one.why,
        }
        for one in found if everybody or one.open
    ]
    _show(as_json, {"as_of": iso(moment), "owners": len(found), "replacements": rows},
          f"windows that are open: {sum(one.open for one in found)} of {len(found)}", rows,
          ("person", "email", "mail", "class", "product", "since", "seller", "age", "one_year", "why"))


@app.command("cross-sell", epilog="Example: closedloop customers cross-sell --site demo --horizon-days 365")
def show_cross_sell(
    site: SiteName,
    horizon_days: Annotated[int, typer.Option(min=1, max=3650, help="How long after the first thing.")] = 365,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show what is bought after what, how sure that is, and to whom what is proven may be offered now."""
    named(stage, outputs)
    people, moment, horizon = _people(site), clock.now(), timedelta(days=horizon_days)
    histories = list(people.histories())
    pairs = selling.cross_sell((bought for _, bought in histories), moment, horizon)
    shown = [
        {
            "first": pair.first, "then": pair.then, "both": pair.both, "owners": pair.owners,
            "others_bought": pair.others_bought, "others": pair.others,
            "lift": round(pair.lift, 2) if pair.enough else None,
            "difference": f"{pair.difference.low:+.3f} to {pair.difference.high:+.3f}" if pair.enough else "",
            "words": pair.words,
        }
        for pair in pairs
    ]
    offers = [
        {
            **people.told(one.person), "owns": one.pair.first, "since": iso(one.since)[:10], "offer": one.pair.then,
            "lift": round(one.pair.lift, 2), "topics": list(people.catalogue.topics.get(one.pair.then, ())),
        }
        for one in selling.candidates(histories, pairs, moment, horizon)
    ]
    title = f"what {len(histories)} customers buy within {horizon_days} days after what"
    _show(as_json, {"as_of": iso(moment), "customers": len(histories), "pairs": shown, "candidates": offers}, title,
          shown, ("first", "then", "both", "owners", "others_bought", "others", "lift", "difference", "words"))
    if not as_json:
        _table("to whom it may be offered", offers, ("person", "email", "mail", "owns", "since", "offer", "lift"))


@app.command("loyalty", epilog="Example: closedloop customers loyalty --site demo")
def show_loyalty(
    site: SiteName,
    currency: Annotated[str, typer.Option(help="Whose sums are compared; the site's when left out.")] = "",
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show who comes back: recency, frequency and money in fifths of all customers, who is loyal, who still is one."""
    # numpy is loaded for this command alone.
    from closedloop.reports.buying import Bought, fitted

    named(stage, outputs)
    people, moment = _people(site), clock.now()
    every = ((person, purchases_of(profile.deals, moment)) for person, profile in people.profiles.items())
    bought = {person: purchases for person, purchases in every if purchases}
    paces = {
        person: Bought(len(each) - 1, (each[-1].at - each[0].at) / WEEK, (moment - each[0].at) / WEEK)
        for person, each in bought.items()
    }
    how = fitted(list(paces.values()))
    money = currency or people.site.currency or _usual(one.currency for each in bought.values() for one in each)
    rows = [
        {
            **people.told(one.person), "purchases": one.purchases, "days": one.days, "worth_minor": one.worth_minor,
            "recency": one.recency, "frequency": one.frequency, "money": one.money, "loyal": one.loyal,
            "alive": round(alive(*paces[one.person], how), 3) if how else None,
            "words": one.words,
        }
        for one in standings(bought.items(), money, moment)
    ]
    loyal = sum(bool(row["loyal"]) for row in rows)
    buying = how._asdict() if how else None
    _show(as_json, {"as_of": iso(moment), "currency": money, "buying": buying, "customers": rows},
          f"{loyal} of {len(rows)} customers are loyal; sums in minor units of {money or 'no currency'}", rows,
          ("person", "email", "mail", "recency", "frequency", "money", "worth_minor", "alive", "words"))
    if how is None and not as_json:
        console.out().print("Who still is a customer: not enough evidence; too few came back to say.")


def _usual(currencies: Iterable[str]) -> str:
    """The currency that most purchases were in."""
    told = [currency for currency in currencies if currency]
    return max(sorted(set(told)), key=told.count, default="")


@app.command("advocates", epilog="Example: closedloop customers advocates --site demo")
def show_advocates(site: SiteName, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show who brings others by their own links, what of it became a sale, and what word of mouth adds."""
    named(stage, outputs)
    people, moment = _people(site), clock.now()
    referred = {
        person: Referred(
            profile.nodes, profile.referred, tuple(iso(one.at) for one in purchases_of(profile.deals, moment))
        )
        for person, profile in people.profiles.items()
    }
    rows = [
        {
            **people.told(one.person), "brought": one.brought, "score": one.score, "influencer": one.influencer,
            "words": one.words, "ledger": [
                {"person": line.person, "depth": line.depth, "bought": line.bought_at, "adds": line.adds}
                for line in one.lines
            ],
        }
        for one in advocates(referred)
    ]
    added = growth(referred)
    sure = wilson(added.converted, added.invites)
    per = added.invites / added.customers if added.customers else 0.0
    told = {
        "customers": added.customers, "brought_by_customers": added.invites, "of_these_bought": added.converted,
        "k": _rounded(added.k), "k_interval": [_rounded(sure.low * per), _rounded(sure.high * per)] if sure else None,
        "multiplier": _rounded(added.multiplier),
    }
    _show(as_json, {"as_of": iso(moment), "word_of_mouth": told, "advocates": rows},
          f"{sum(bool(row['influencer']) for row in rows)} of {len(rows)} advocates are influencers", rows,
          ("person", "email", "mail", "score", "influencer", "words"))
    if not as_json:
        console.facts("word of mouth", {name: "not enough evidence" if value is None else value
                                        for name, value in told.items()})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@app.command("link", epilog="Example: closedloop customers link --email jane@example.com --site demo")
def show_link(
    email: Annotated[str, typer.Option(help="Whose link it is.")], site: SiteName,
    to: Annotated[str, typer.Option(help="The page that it leads to; the site's first origin when left out.")] = "",
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Print the link that one person hands on to others; whoever comes by it was brought by them."""
    named(stage, outputs)
    known = known_site(site)
    identifier = Hasher(doors.pepper(), known.list_name).address(email)
    if identifier is None:
        raise BadShape(f"{email!r} is no e-mail address")
    url = to or f"{known.origins[0]}/"
    if not may_lead_to(url, known):
        raise BadShape(f"{url} is no page of a host that the site lists")
    link = handed_link(
        Tokens(doors.link_keys()), settings.settings()[settings.PUBLIC_URL], Handed(known.site, identifier, url)
    )
    console.as_json({"link": link, "to": url}) if as_json else console.out().print(link)


def _day(thing: Thing, site: Site) -> str:
    """The site's own day on which something was bought."""
    return f"{day_of(parse(thing.since), site.time_zone)}"


def owned(profile: Profile, sites: Mapping[str, Site], site: str, as_of: datetime) -> list[dict[str, Any]]:
    """What a person owns, as `closedloop person show` tells it."""
    catalogue, found = Catalogue(one for one in sites.values() if one.list_name == profile.group), []
    for thing in profile.owned:
        name = catalogue.class_of(thing)
        life = catalogue.life(name)
        age = age_of(thing, as_of)
        found.append({
            "product": thing.product, "quantity": thing.quantity, "since": _day(thing, sites[site]),
            "seller": thing.seller or thing.site, "class": name, "age": round(age, 1),
            "replaced_in_a_year": round(replaced_within(1, age, life), 3) if life else None, "deal": thing.deal,
        })
    return found


def show_owned(things: Sequence[Mapping[str, Any]]) -> None:
    """Print what a person or an account owns; of an account, by whom it was bought."""
    columns = ("product", "quantity", "since", "seller", "class", "age", "replaced_in_a_year", "deal")
    _table("owns", things, (*columns, "person") if any("person" in thing for thing in things) else columns)


def _show(
    as_json: bool, content: Mapping[str, Any], title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> None:
    if as_json:
        console.as_json(content)
    else:
        _table(title, rows, columns)


def _table(title: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    console.table(title, [column.replace("_", " ") for column in columns], [
        ["yes" if row[column] is True else "no" if row[column] is False else row[column] for column in columns]
        for row in rows
    ])
