"""Carries parcels of facts through the doors with a few threads, and keeps count of what became of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime

from closedloop.world.post import Post, Reply, Request, deliver

THREADS = 4


@dataclass(frozen=True, slots=True)
class Parcel:
    """One request to come: its route, how many facts it carries, and how it is made at the moment of sending.

    Shapes: when a `needed` parcel is refused, the rest of its lane stays at home.
    """

    route: str
    facts: int
    make: Callable[[datetime], Request]
    needed: bool = False


# Parcels that must arrive one after the other.
Lane = Sequence[Parcel]


@dataclass(frozen=True, slots=True)
class Failure:
    """Facts that were not taken: where, the HTTP status (200 for bad events of a batch that was taken), and why."""

    route: str
    status: int
    reason: str
    facts: int


@dataclass(frozen=True, slots=True)
class RouteCount:
    """Facts and requests of one route."""

    requests: int
    sent: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a world's facts.

    Shapes: `events_accepted` counts the facts of requests answered with 2xx (or, for a link, with a redirect), less
    those that the answer itself calls bad. `left_out` counts, by reason, what was not sent at all.
    """

    events_sent: int
    events_accepted: int
    by_route: dict[str, RouteCount]
    failures: tuple[Failure, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


class Tally:
    """The counts of a play that is going on."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._accepted: Counter[str] = Counter()
        self._failed: Counter[tuple[str, int, str]] = Counter()
        self.left_out: Counter[str] = Counter()

    def add(self, parcel: Parcel, reply: Reply) -> None:
        """Count one parcel that was answered."""
        self._requests[parcel.route] += 1
        self._sent[parcel.route] += parcel.facts
        if reply.status >= 400:
            self._failed[parcel.route, reply.status, _reason(reply)] += parcel.facts
            return
        bad = _bad(reply)
        for reason in bad:
            self._failed[parcel.route, reply.status, reason] += 1
        self._accepted[parcel.route] += parcel.facts - len(bad)

    @property
    def played(self) -> Played:
        return Played(
            events_sent=self._sent.total(), events_accepted=self._accepted.total(),
            by_route={route: RouteCount(self._requests[route], self._sent[route], self._accepted[route])
                      for route in sorted(self._sent)},
            failures=tuple(Failure(*what, facts) for what, facts in sorted(self._failed.items())),
            left_out=dict(sorted(self.left_out.items())),
        )


def _reason(reply: Reply) -> str:
    """The door's own words, cut to one line."""
    text = reply.body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, dict):
        text = next((str(content[key]) for key in ("reason", "error", "message") if content.get(key)), text)
    return " ".join(text.split())[:200] or f"status {reply.status}"


def _bad(reply: Reply) -> list[str]:
    """The reasons of the events that a batch's answer calls bad."""
    try:
        content = json.loads(reply.body)
    except ValueError:
        return []
    bad = content.get("bad") if isinstance(content, dict) else None
    return [str(one.get("reason", "")) for one in bad if isinstance(one, dict)] if isinstance(bad, list) else []


@dataclass(frozen=True, slots=True)
class Courier:
    """Carries lanes of parcels; the clock and the patience are handed in.

    Units: `wait` takes seconds.
    """

    post: Post
    now: Callable[[], datetime]
    wait: Callable[[float], None]
    threads: int = THREADS

    def carry(self, lanes: Iterable[Lane], tally: Tally, on_facts: Callable[[int], None]) -> None:
        """Carry all lanes, several at once, each lane's parcels in order; counting happens in this thread.

        Errors: NoAnswer, when nobody answers at all.
        """
        with ThreadPoolExecutor(self.threads) as pool:
            under_way: set[Future[list[tuple[Parcel, Reply]]]] = set()
            try:
                for lane in lanes:
                    if len(under_way) >= 2 * self.threads:
                        under_way = self._settle(under_way, tally, on_facts)
                    under_way.add(pool.submit(self._walk, lane))
                while under_way:
                    under_way = self._settle(under_way, tally, on_facts)
            finally:
                for future in under_way:
                    future.cancel()

    def _walk(self, lane: Lane) -> list[tuple[Parcel, Reply]]:
        answered = []
        for parcel in lane:
            reply = deliver(parcel.make, post=self.post, now=self.now, wait=self.wait)
            answered.append((parcel, reply))
            if parcel.needed and reply.status >= 400:
                break
        return answered

    def _settle(
        self, under_way: set[Future[list[tuple[Parcel, Reply]]]], tally: Tally, on_facts: Callable[[int], None]
    ) -> set[Future[list[tuple[Parcel, Reply]]]]:
        done, rest = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            for parcel, reply in future.result():
                tally.add(parcel, reply)
                on_facts(parcel.facts)
        return rest

