"""What one line of the lake says: flat, without personal data, with every reading that a report needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import urlsplit

from closedloop.events.agents import grade_event
from closedloop.events.event import Event
from closedloop.events.identifiers import visitor_node
from closedloop.events.sources import source_of
from closedloop.events.times import iso
from closedloop.sites.definition import Site


class EventRow(TypedDict):
    """One event as it lies in the lake, under events/dt=DAY-RECEIVED/.

    Shapes: `visitor` and `ids` are nodes of identity ("v:SITE:ID", "email:HASH"); `deal` is "deal:SITE:ID"; texts are
    empty and money is None where an event has none; `properties` and `traits` are JSON text.
    Units: times are UTC, ISO 8601 with milliseconds; money is in minor units.
    """

    id: str
    packet: str
    schema: int
    site: str
    door: str
    type: str
    name: str
    visitor: str
    ids: list[str]
    deal: str
    occurred_at: str
    received_at: str
    late: bool
    channel: str
    medium: str
    source: str
    term: str
    campaign: str
    source_rule: str
    host: str
    path: str
    title: str
    topic: str
    grade: str
    grade_reason: str
    consent: str
    amount_minor: int | None
    currency: str
    properties: str
    traits: str


class DecisionRow(TypedDict):
    """One decision as it lies in the lake, under decisions/dt=DAY/: a transition, a verdict or an action.

    Shapes: `kind` is transition, verdict or action; `anchor` is the strong node that the person was named after, so a
    later merge is followed; `outcome` is advance, hold or exclude for a verdict, pending, sent, failed or unknown for
    an action; `hold_kind` says why somebody is held; `arm` is treated, holdout or empty; `detail` is JSON text.
    """

    id: str
    kind: str
    person: str
    anchor: str
    loop: str
    version: str
    gate: str
    campaign: str
    from_stage: str
    to_stage: str
    outcome: str
    hold_kind: str
    reason: str
    arm: str
    draw: float | None
    at: str
    run: str
    detail: str


def event_row(event: Event, site: Site, schema: int) -> EventRow:
    """An event with its readings: where the visitor came from, what the page is about, how human it looks."""
    page = _mapping(event.context.get("page"))
    url = str(page.get("url") or "")
    parts = urlsplit(url)
    path = str(page.get("path") or parts.path or "")
    campaign = _mapping(event.context.get("campaign"))
    source = source_of(url, str(page.get("referrer") or ""), campaign, site.own_hosts)
    evidence = grade_event(
        event.name, str(event.context.get("agent") or ""), event.context, event.properties, door=event.door.value,
        count_test_browsers=site.count_test_browsers,
    )
    amount = event.properties.get("amount_minor")
    return EventRow(
        id=event.id, packet=event.packet, schema=schema, site=event.site, door=event.door.value,
        type=event.type.value, name=event.name,
        visitor=visitor_node(event.site, event.visitor) if event.visitor else "", ids=list(event.identifiers),
        deal=next((node for node in event.nodes if node.startswith("deal:")), ""),
        occurred_at=iso(event.occurred_at), received_at=iso(event.received_at), late=event.late,
        channel=source.channel, medium=source.medium, source=source.source, term=source.term,
        campaign=source.campaign or str(event.properties.get("campaign") or ""), source_rule=source.rule,
        host=parts.netloc, path=path, title=str(page.get("title") or ""),
        topic=str(event.context.get("topic") or "") or site.topic_of(path) or "",
        grade=evidence.grade.value, grade_reason=evidence.reason,
        consent=json.dumps(event.context.get("consent") or {}, sort_keys=True),
        amount_minor=amount if isinstance(amount, int) and not isinstance(amount, bool) else None,
        currency=str(event.properties.get("currency") or ""),
        properties=json.dumps(event.properties, ensure_ascii=False, sort_keys=True),
        traits=json.dumps(event.traits, ensure_ascii=False, sort_keys=True),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
