"""What storing an event costs in DynamoDB: write units from the very items that are put; nothing is timed here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench import traffic
from bench.endpoint import Endpoint
from bench.protocol import Figure, Row
from bench.units import item_bytes, write_units
from closedloop.capture.flow import Doors, accept_beacon
from closedloop.capture.wire import Bad
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import Profile
from closedloop.runtime import http
from closedloop.sites.definition import Site
from closedloop.store import schema
from closedloop.store.ledger import Ledger
from closedloop.store.state import State

SIZES = (1, 10, 25)
WANTED = {1: 2.0, 10: 0.5, 25: None}
PEOPLE = (1, 10, 30, 100, 300)
# What a known person of the invented world has in the median, roundly.
USUAL = 30


@dataclass
class Recorder:
    """Notes each call that a store makes, and answers that it went well."""

    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((operation, parameters))
        return {}

    @property
    def put(self) -> list[Mapping[str, Any]]:
        """The items written, whatever call carried them."""
        items = []
        for operation, parameters in self.calls:
            if operation == "PutItem":
                items.append(parameters["Item"])
            elif operation == "BatchWriteItem":
                items += [one["PutRequest"]["Item"] for ones in parameters["RequestItems"].values() for one in ones]
            else:
                raise ValueError(f"{operation} is not counted here")
        return items


class _OneSite:
    """The example site under its own key."""

    def __init__(self) -> None:
        self._site = traffic.site()

    def site_of_key(self, hashed: str) -> tuple[Site, bool]:
        return self._site, False

    def site(self, name: str) -> Site:
        return self._site

    def site_of_origin(self, origin: str) -> str:
        return self._site.site


def _none_fails(site: str, door: str, bad: Any, received: Any) -> None:
    failed: list[Bad] = list(bad)
    raise AssertionError(f"{failed[0].reason}")


def captured(size: int, seed: int) -> Recorder:
    """The calls that one beacon of so many events makes."""
    recorder = Recorder()
    ledger = Ledger(recorder, "events", lambda attempt: None)
    doors = Doors(
        keys=_OneSite(), facts=ledger, fail=_none_fails, pepper=traffic.PEPPER, now=lambda: traffic.NOW,
        new_id=lambda: "a-new-id",
    )
    visitor, body, _, agent = next(traffic.requests(1, size, seed))
    event = traffic.gateway_event(body, visitor, "text/plain;charset=UTF-8", agent)
    answer = accept_beacon(http.request(event), doors)
    assert answer.status == 200, answer.body
    return recorder


def profile(events: int, number: int = 0) -> Profile:
    """The profile of somebody who gave an address and has so many events."""
    facts, nodes = traffic.known_person(number, events)
    folded = fold(facts, nodes, {"demo": traffic.site()})
    assert folded is not None
    return folded


def profile_item(folded: Profile) -> Mapping[str, Any]:
    """A profile as it is put after a change, not for the first time."""
    recorder = Recorder()
    State(recorder, "state").put_profile(folded, seen=1, due_at=traffic.NOW + timedelta(seconds=1))
    (item,) = recorder.put
    return item


def due_entry(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the index of those due must hold of a profile, were it to project keys alone."""
    return {name: item[name] for name in (schema.PK, schema.SK, schema.DUE, schema.DUE_AT)}


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    found = []
    known = {
        count: tuple(float(item_bytes(profile_item(profile(count, number)))) for number in range(samples))
        for count in PEOPLE
    }
    for size in SIZES:
        recorders = [captured(size, seed) for seed in range(samples)]
        calls = tuple(float(len(recorder.calls)) for recorder in recorders)
        packet = [sum(write_units(item_bytes(item)) for item in recorder.put) for recorder in recorders]
        both = zip(packet, known[USUAL], strict=True)
        limit = WANTED[size]
        case = f"{size} event{'s' * (size > 1)} a request"
        found += [
            Row("wru", case, "write calls/request", Figure("ours", calls), None, ("value", "<=", 1)),
            Row("wru", f"{case}, packet alone", "WRU/event", Figure("ours", tuple(units / size for units in packet))),
            Row(
                "wru", f"{case}, with the profile of {USUAL} events", "WRU/event",
                Figure("ours", tuple((units + write_units(int(weight))) / size for units, weight in both)), None,
                ("value", "<=", limit) if limit else None,
            ),
        ]
    entries = [due_entry(profile_item(profile(USUAL, number))) for number in range(samples)]
    for what, weights in (
        ("all attributes", known[USUAL]), ("keys alone", tuple(float(item_bytes(entry)) for entry in entries)),
    ):
        units = tuple(float(write_units(int(weight))) for weight in weights)
        case = f"due index beside the profile of {USUAL} events, {what}"
        found.append(Row("wru", case, "WRU/profile write", Figure("ours", units)))
    found += [
        Row("wru", f"a profile's item, of {count} event{'s' * (count > 1)}", "bytes", Figure("ours", weights))
        for count, weights in known.items()
    ]
    return found
