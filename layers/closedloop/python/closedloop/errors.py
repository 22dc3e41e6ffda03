"""The named facts that stop a piece of work, and who must act on each."""

from __future__ import annotations

from dataclasses import dataclass


class ClosedLoopError(Exception):
    """The root of every error that the product raises itself."""


class Refused(ClosedLoopError):
    """The sender must change something before trying again.

    Units: `status` is the HTTP status that a door answers with; `reason` is one sentence for the sender.
    """

    status = 400

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadShape(Refused):
    """What was sent cannot be read as what the route expects."""


@dataclass(frozen=True, slots=True)
class WrongField:
    """A field of a form, what the page calls it, and what is wrong with it in English and in Japanese."""

    name: str
    label: str
    english: str
    japanese: str


class WrongFields(BadShape):
    """What was filled into a form cannot be taken; the person must correct the fields named."""

    def __init__(self, fields: tuple[WrongField, ...]) -> None:
        self.fields = fields
        super().__init__("; ".join(f"{field.name}: {field.english}" for field in fields))


class TooLarge(Refused):
    """What was sent is over a cap."""

    status = 413


class BadSignature(Refused):
    """The sender could not show who it is."""

    status = 401


class UnknownKey(Refused):
    """No site has this key."""

    status = 401


class ForeignOrigin(Refused):
    """A browser on a page that the site does not list."""

    status = 403


class NotFound(Refused):
    """No such thing is known here."""

    status = 404


class BadDefinition(Refused):
    """A site or loop file says something it cannot mean; the owner must correct the lines named.

    Shapes: each problem is a line and a column, counted from 1 (0 where none can be named), and one sentence.
    """

    def __init__(self, file: str, problems: tuple[tuple[int, int, str], ...]) -> None:
        self.file = file
        self.problems = problems
        places = (":".join(str(part) for part in (file, line, column) if part) for line, column, _ in problems)
        super().__init__("\n".join(f"{place}: {text}" for place, (*_, text) in zip(places, problems, strict=True)))


class MissingSetting(ClosedLoopError):
    """The deployment lacks a setting that this function needs; the operator must act."""

    def __init__(self, name: str) -> None:
        super().__init__(f"setting {name} is missing")
        self.name = name


class TryAgain(ClosedLoopError):
    """The world moved or is busy: the same call may succeed later."""


class NotDurable(TryAgain):
    """The facts could not be stored; the sender keeps them and sends them again."""


class Throttled(TryAgain):
    """An outside service asks for patience; nothing was done."""


class Unstorable(ClosedLoopError):
    """The table will never take this, however often it is asked; an operator must look."""


class MailRefused(Refused):
    """The mail provider will not send this mail; an operator must look at the sender or the address."""


class NoticeRefused(Refused):
    """The receiver of a notice will not take it; an operator must look at where it goes and what is set for it."""


class OutcomeUnknown(ClosedLoopError):
    """Whether an effect happened is not known; a person must look before it is done again."""


class ProfileMoved(TryAgain):
    """Somebody folded the same person meanwhile."""

    def __init__(self, person: str) -> None:
        super().__init__(f"profile of {person} moved")
        self.person = person


class StageMoved(TryAgain):
    """The person's position is no longer the one that was decided on."""

    def __init__(self, person: str) -> None:
        super().__init__(f"position of {person} moved")
        self.person = person


class LoopMoved(TryAgain):
    """Somebody else changed the loop while this change was looked at; apply the file again to see against what."""

    def __init__(self, loop: str) -> None:
        super().__init__(f"loop {loop} was changed by somebody else meanwhile; look at it and apply the file again")
        self.loop = loop


class ReportFailed(ClosedLoopError):
    """The report function ended without a report; an operator must read its log."""


class NotReconciled(ClosedLoopError):
    """A report's numbers contradict each other; it is not published, and an operator must look.

    Shapes: `failed` lists the invariants that do not hold.
    """

    def __init__(self, failed: tuple[str, ...]) -> None:
        super().__init__("the report does not reconcile: " + "; ".join(failed))
        self.failed = failed
