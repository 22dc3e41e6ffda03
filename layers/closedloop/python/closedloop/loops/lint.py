"""What a loop says that cannot be kept: by its sites, by the calendar, by what was declared before.

Asked when a loop is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from closedloop.capture.links import may_lead_to
from closedloop.loops.actions import NotATemplate, landing, variables
from closedloop.loops.changes import kept
from closedloop.loops.definition import Campaign, Condition, Loop, Mail, Metric, Track
from closedloop.sites.definition import Place, Site, product_key
from closedloop.sites.words import did_you_mean, listed

if TYPE_CHECKING:
    from closedloop.sites.document import Document

# What a mail's template may always use; the rest are the fields of forms and what pages say of people.
ALWAYS = ("email", "first_name", "link", "unsubscribe_link", "referral_link")


def problems_with(
    loop: Loop, sites: Mapping[str, Site] | None, document: Document, now: datetime, *,
    former: Sequence[Loop] = (), loops: Iterable[str] | None = None, applied: bool = False,
) -> tuple[tuple[int, int, str], ...]:
    """Everything in a loop's file that cannot be kept, each with its line and column.

    Shapes: `sites` and `loops` are all that are known, None where nobody can be asked; `former` are the versions by
    which people were decided about (see changes.py); `applied` says that the file says what stands already.
    """
    problems = [*kept(former, loop), *_holdouts(loop), *_clicked(loop)]
    if not applied:
        problems += _past(loop, now, began=bool(former))
    if loops is not None and loop.follows is not None and loop.follows not in (known_loops := list(loops)):
        near = did_you_mean(loop.follows, known_loops)
        problems.append((("follows",), f"no loop {loop.follows!r} is known{near}"))
    known = [sites[name] for name in loop.sites if name in sites] if sites else []
    if sites is not None:
        problems += _sites(loop, sites)
    if known:
        problems += [*_topics(loop, known), *_wanted(loop, known), *_told(loop, known), *_mails(loop, known)]
    found = {(*document.at(place), f"{_name(place)}: {text}") for place, text in problems}
    found |= {
        (*document.at(place, line, word), f"{_name(place)}: {text}")
        for place, line, word, text in _templates(loop, known)
    }
    return tuple(sorted(found))


def _past(loop: Loop, now: datetime, *, began: bool) -> Iterator[tuple[Place, str]]:
    today = now.astimezone(ZoneInfo(loop.time_zone)).date()
    if loop.period.end < today:
        yield ("period", "end"), f"the period ended on {loop.period.end}, and today is {today}; nobody can run it"
        return
    for where, steps in tracks_of(loop):
        for at, objective in enumerate(steps.objectives):
            if objective.by < today and not began:
                text = f"{objective.by} is over: today is {today}, and nothing can be reached by then"
                yield (*where, "objectives", at, "by"), text


def _holdouts(loop: Loop) -> Iterator[tuple[Place, str]]:
    for where, steps in tracks_of(loop):
        order = {stage: place for place, stage in enumerate(steps.stages)}
        last = max(order[campaign.stage] for campaign in steps.campaigns)
        for at, gate in enumerate(steps.gates):
            if gate.holdout and order[gate.to] > last:
                text = f"no campaign stands at {gate.to} or behind it, so there is nothing that a holdout could measure"
                yield (*where, "gates", at, "holdout"), text
    if loop.universal_holdout and not any(one.kind for _, of in tracks_of(loop) for one in of.campaigns):
        text = "no campaign of this loop is sent to anybody, so there is nothing to keep a share of them out of"
        yield ("universal_holdout",), text


def _clicked(loop: Loop) -> Iterator[tuple[Place, str]]:
    mailed = [campaign.name for _, campaign, _ in _mailed(loop)]
    for place, condition in conditions(loop):
        if condition.clicked is not None and (name := condition.clicked.campaign) not in mailed:
            expected = f"expected a campaign with a mail, {listed(mailed)}" if mailed else "no campaign has a mail"
            yield (*place, "clicked", "campaign"), f"{expected}, found {name!r}{did_you_mean(name, mailed)}"


def _name(place: Place) -> str:
    return next((step for step in reversed(place) if isinstance(step, str)), "")


def _sites(loop: Loop, sites: Mapping[str, Site]) -> Iterator[tuple[Place, str]]:
    for place, name in enumerate(loop.sites):
        if name not in sites:
            near = did_you_mean(name, sites)
            yield ("sites", place), f"no site {name!r} is known{near or '; apply its file first'}"
        elif loop.sites[0] in sites and sites[name].list_name != (first := sites[loop.sites[0]]).list_name:
            yield ("sites", place), f"{name} shares no customer list with {first.site}; give both the same group"


def _topics(loop: Loop, sites: list[Site]) -> Iterator[tuple[Place, str]]:
    topics = sorted({topic for site in sites for topic in site.known_topics})
    for place, condition in conditions(loop):
        if condition.interest is not None and condition.interest.topic not in topics:
            topic = condition.interest.topic
            near = did_you_mean(topic, topics)
            yield (*place, "interest", "topic"), (
                f"expected a topic of the loop's sites, {listed(topics)}, found {topic!r}{near}"
            )


def _wanted(loop: Loop, sites: list[Site]) -> Iterator[tuple[Place, str]]:
    if any(site.target_attributes for site in sites):
        return
    text = "no site of the loop has target_attributes, so nobody has any fit"
    for place, condition in conditions(loop):
        if condition.fit is not None and condition.fit.at_least > 0:
            yield (*place, "fit"), text
    for where, steps in tracks_of(loop):
        for at, objective in enumerate(steps.objectives):
            if objective.metric is Metric.NEW_PERSONS_WITH_FIT and objective.fit > 0:
                yield (*where, "objectives", at, "metric"), text


def _told(loop: Loop, sites: list[Site]) -> Iterator[tuple[Place, str]]:
    """What gates ask that no site of the loop says, so that it is true of nobody."""
    purposes = any(site.kinds.purposes for site in sites)
    named = {product_key(name) for site in sites for name in site.products}
    named |= {product_key(name) for site in sites for products in site.products.values() for name in products.names}
    for place, condition in conditions(loop):
        for at, kind in enumerate(condition.kind or ()):
            if kind in ("studying", "looking") and not purposes:
                text = f"no site of the loop says what its pages are for (kinds.purposes), so nobody is {kind}"
                yield (*place, "kind", at), text
        if condition.owns is not None and product_key(condition.owns.product) not in named:
            product = condition.owns.product
            near = did_you_mean(product, [name for site in sites for name in site.products])
            yield (*place, "owns", "product"), f"no site of the loop declares a product {product!r}{near}"


def _mailed(loop: Loop) -> Iterator[tuple[Place, Campaign, Mail]]:
    for where, steps in tracks_of(loop):
        for at, campaign in enumerate(steps.campaigns):
            if campaign.mail is not None:
                yield (*where, "campaigns", at, "mail"), campaign, campaign.mail


def _mails(loop: Loop, sites: list[Site]) -> Iterator[tuple[Place, str]]:
    sender = sites[0]
    for place, campaign, mail in _mailed(loop):
        if sender.mail_sender is None:
            yield place, f"site {sender.site} has no mail_sender, and mails leave in its name"
        if not may_lead_to(landing(mail, campaign.name), sender):
            hosts = sorted({*sender.own_hosts, *sender.link_hosts})
            yield (*place, "link"), f"expected a page, by https, of {listed(hosts)}, found {mail.link!r}"


def _templates(loop: Loop, sites: list[Site]) -> Iterator[tuple[Place, int, str, str]]:
    """What is wrong inside a mail's texts: the place of the text, the line in it and the word."""
    fields = {field.kept_as for site in sites for form in site.forms.values() for field in form.fields}
    wanted = {target.attribute for site in sites for target in site.target_attributes}
    known = sorted({*ALWAYS, *fields, *wanted})
    for place, _, mail in _mailed(loop):
        for name in ("subject", "text", "html"):
            try:
                used = variables(getattr(mail, name))
            except NotATemplate as error:
                yield (*place, name), error.line, "", str(error)
                continue
            for variable, line in used:
                near = "" if variable in known else did_you_mean(variable, known)
                if near:
                    yield (*place, name), line, variable, f"nothing is called {variable}{near}"


def conditions(loop: Loop) -> Iterator[tuple[Place, Condition]]:
    """Every condition of a loop's gates and audiences, joined or single, with its place in the file."""
    for where, steps in tracks_of(loop):
        if steps.enter is not None:
            yield from _below((*where, "enter"), steps.enter)
        for at, campaign in enumerate(steps.campaigns):
            if campaign.audience is not None:
                yield from _below((*where, "campaigns", at, "audience"), campaign.audience)
        for at, gate in enumerate(steps.gates):
            yield from _below((*where, "gates", at, "when"), gate.when)
            for rule_at, rule in enumerate(gate.exclude):
                yield from _below((*where, "gates", at, "exclude", rule_at, "when"), rule.when)


def tracks_of(loop: Loop) -> Iterator[tuple[Place, Loop | Track]]:
    """The loop itself and each of its further tracks, with its place in the file."""
    yield (), loop
    for at, track in enumerate(loop.tracks):
        yield ("tracks", at), track


def _below(place: Place, condition: Condition) -> Iterator[tuple[Place, Condition]]:
    yield place, condition
    for name, parts in (("all", condition.all), ("any", condition.any)):
        for at, part in enumerate(parts or ()):
            yield from _below((*place, name, at), part)
    if condition.not_ is not None:
        yield from _below((*place, "not"), condition.not_)
