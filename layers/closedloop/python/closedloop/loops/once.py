"""One mail, at most once: claimed before it is sent, and ended with what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from closedloop.errors import MailRefused, OutcomeUnknown, Throttled
from closedloop.identity.persons import ids_of
from closedloop.loops.actions import WrittenMail

if TYPE_CHECKING:
    from closedloop.profiles.profile import Profile
    from closedloop.store.actions import Action
    from closedloop.store.state import State

# Whoever claimed a mail has sent it within minutes, or died over it.
CLAIM_LIFE = timedelta(minutes=15)
BEGUN = ("claimed", "sent", "unknown")


class Mailer(Protocol):
    """Sends one mail; the provider's name for it comes back.

    Errors: Throttled when nothing was sent; MailRefused when it never will be; OutcomeUnknown.
    """

    def send(self, mail: WrittenMail) -> str: ...


class End(Protocol):
    """Writes how a mail ended, once, for whoever has claimed it or found it as it says; the outcome comes back."""

    def __call__(self, outcome: str, reason: str, message: str = "", *, claimed: bool = False) -> str: ...


def is_lost(claimed_at: datetime | None, now: datetime) -> bool:
    """Whether whoever claimed a mail can no longer tell how it ended."""
    return claimed_at is not None and now - claimed_at > CLAIM_LIFE


def send_once(
    mail: WrittenMail, mailer: Mailer, claim: Callable[[], bool], release: Callable[[], None], end: End
) -> str:
    """Send what one could claim; the outcome is sent, failed, unknown, or later when nothing was sent.

    Shapes: `claim` is false when somebody else has it; `release` gives it back.
    """
    if not claim():
        return "later"
    try:
        message = mailer.send(mail)
    except Throttled:
        release()
        return "later"
    except MailRefused as error:
        return end("failed", error.reason, claimed=True)
    except OutcomeUnknown as error:
        return end("unknown", str(error), claimed=True)
    return end("sent", "", message, claimed=True)


def is_another_ids(action: Action, profile: Profile, state: State) -> bool:
    """Whether this is due, or was begun, under another id that the person has or had; one of them does it."""
    standing = {person: state.action_status(person, action.key) for person in ids_of(profile.nodes)}
    begun = any(status in BEGUN for person, status in standing.items() if person != action.person)
    waiting = [person for person, status in standing.items() if status == "pending"]
    return begun or waiting[:1] != [action.person]
