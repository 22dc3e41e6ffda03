"""The nemesis: kills at the boundary of any call, throttles, and loses answers, by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from closedloop.errors import MailRefused, OutcomeUnknown, Throttled, TryAgain
from closedloop.loops.actions import WrittenMail
from closedloop.store.calls import CallFailed, Dynamo

Value = TypeVar("Value")


class Killed(BaseException):
    """The process is gone; nothing may catch this."""


class Nemesis:
    """Stands before every call of a function; at rest it lets everything through.

    Shapes: `meanwhile` is what another function does between two calls of this one; `boundary` is the point at which
    this life ends: before call n is 2n, after it 2n+1; none ends it itself. Each life that ends moves the next end one
    boundary further, until a life is too short for it.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.at_rest = False
        self.throttle, self.lose = 0.04, 0.02
        self.boundary: int | None = None
        self.kills: list[int] = []
        self.overlaps = 0
        self.meanwhile: Callable[[], None] | None = None
        self._walk = seed % 7
        self._passed = 0

    def live(self, work: Callable[[], Value]) -> Value | None:
        """One life of a function: its result, or nothing when it died or gave up, as Lambda sees it."""
        self._passed = 0
        self.boundary = None if self.at_rest or self.rng.random() < 0.4 else self._walk
        try:
            result = work()
        except Killed:
            self.kills.append(self._walk)
            self._walk += 1
            return None
        except TryAgain:
            return None
        if self.boundary is not None:
            self._walk = 0
        return result

    def dies_at(self, boundary: int, work: Callable[[], object]) -> bool:
        """One life that ends at a boundary; false when it was over before it came there."""
        self._passed, self.boundary = 0, boundary
        try:
            work()
        except Killed:
            return True
        return False

    def around(self, act: Callable[[], Value], *, may_fail: bool = True) -> Value:
        if self.at_rest:
            return act()
        self._pass()
        roll = self.rng.random() if may_fail else 1.0
        if roll < self.throttle:
            raise CallFailed("ThrottlingException")
        result = act()
        self._pass()
        if roll < self.throttle + self.lose:
            raise CallFailed("TimeoutError")
        return result

    def _pass(self) -> None:
        if self._passed == self.boundary:
            raise Killed
        self._passed += 1
        if self.meanwhile is not None and self.rng.random() < 0.006:
            # Another function comes between these two calls, and is done before the second.
            other, kept = self.meanwhile, (self._passed, self.boundary)
            self.meanwhile, self.at_rest = None, True
            other()
            self.meanwhile, self.at_rest = other, False
            self._passed, self.boundary = kept
            self.overlaps += 1


class Disturbed:
    """DynamoDB behind a nemesis."""

    def __init__(self, dynamo: Dynamo, nemesis: Nemesis) -> None:
        self._dynamo, self._nemesis = dynamo, nemesis

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return self._nemesis.around(lambda: self._dynamo.call(operation, parameters))


class DisturbedS3:
    """S3 behind a nemesis: it may only kill, as any failure of S3 ends the function too."""

    def __init__(self, s3: Any, nemesis: Nemesis) -> None:
        self._s3, self._nemesis = s3, nemesis

    def put_object(self, **parameters: Any) -> Any:
        return self._nemesis.around(lambda: self._s3.put_object(**parameters), may_fail=False)

    def get_object(self, **parameters: Any) -> Any:
        return self._nemesis.around(lambda: self._s3.get_object(**parameters), may_fail=False)


class Post:
    """A mail provider that notes what it sent, and sometimes fails in each of its ways."""

    def __init__(self, nemesis: Nemesis, is_suppressed: Callable[[str], bool]) -> None:
        self.sent: list[tuple[str, str]] = []
        self.sent_in_vain: list[str] = []
        self._nemesis, self._is_suppressed = nemesis, is_suppressed

    def send(self, mail: WrittenMail) -> str:
        roll = 1.0 if self._nemesis.at_rest else self._nemesis.rng.random()
        if roll < 0.10:
            raise Throttled("TooManyRequestsException")
        if roll < 0.15:
            raise MailRefused("MessageRejected")
        if roll < 0.20:
            raise OutcomeUnknown("no answer, and nothing was sent")
        return self._nemesis.around(lambda: self._take(mail, answers=roll >= 0.25), may_fail=False)

    def _take(self, mail: WrittenMail, *, answers: bool) -> str:
        if self._is_suppressed(mail.to):
            self.sent_in_vain.append(mail.to)
        self.sent.append((mail.to, mail.tags["campaign"]))
        if not answers:
            raise OutcomeUnknown("no answer, but it was sent")
        return f"m-{len(self.sent)}"
