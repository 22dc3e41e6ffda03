"""What tells the company's people to act: given to the bus by whoever claimed it, and delivered once for each channel.

The bus carries ids alone; who somebody is and what they did is read when the notice is delivered, so that neither the
bus nor its dead letters nor any log holds a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from closedloop.errors import NoticeRefused, OutcomeUnknown, TryAgain
from closedloop.events.times import iso
from closedloop.loops import notices
from closedloop.loops.definition import CALL_TASK, SALES_NOTICE, CallTask, Loop, SalesNotice
from closedloop.loops.notices import Notice
from closedloop.loops.once import is_another_ids
from closedloop.sites.definition import MARKETING

if TYPE_CHECKING:
    from closedloop.loops.flow import MailDoors
    from closedloop.profiles.profile import Profile
    from closedloop.store.actions import Action
    from closedloop.store.state import State

# Whoever claimed it has given it to the bus, or delivered it, within a minute, or died over it; doing it again is safe.
LEASE = timedelta(minutes=2)
# Who refused mails is not called either; a wrong address says nothing of a telephone.
REFUSED = frozenset(("unsubscribed", "complained", "suppressed"))


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice on its way to one channel; the event of the bus says this and nothing else."""

    person: str
    loop: str
    version: str
    campaign: str
    at: str
    channel: str

    @property
    def key(self) -> str:
        return f"{self.loop}#{self.version}#{self.campaign}"

    @property
    def id(self) -> str:
        """The name of the notice, the same on every delivery."""
        words = "\n".join((self.person, self.key, self.channel))
        return f"notice_{hashlib.sha256(words.encode()).hexdigest()[:32]}"


def refusal(profile: Profile | None, loop: Loop | None, kind: str) -> str:
    """Why somebody may not be handed over now; empty when they may."""
    if profile is None:
        return "nobody is known by this id any more"
    if loop is None:
        return "the loop is no longer there"
    if kind == SALES_NOTICE:
        return ""
    if profile.suppressed in REFUSED:
        return f"suppressed: {profile.suppressed}"
    return "marketing was refused" if profile.consent_to(MARKETING, loop.sites[0]) == "denied" else ""


def asked_for(action: Action, loop: Loop | None) -> SalesNotice | None:
    """What the plan, or whoever asked for it, says of a notice: where it goes and how."""
    campaign = next((one for one in loop.campaigns if one.name == action.campaign), None) if loop else None
    if campaign is not None:
        return campaign.sales_notice or campaign.call_task
    told = {name: action.about[name] for name in ("to", "language", "note") if name in action.about}
    return SalesNotice.model_validate(told) if action.campaign.startswith("~") else None


def perform_handover(action: Action, profile: Profile | None, run: str, state: State, doors: MailDoors) -> str:
    """Give one notice or call to those who act on it; at least once, and the same name every time.

    Shapes: the outcome is sent, failed, or later.
    """
    now = doors.now()
    if action.status == "claimed" and action.claimed_at is not None and now - action.claimed_at < LEASE:
        return "later"
    another = action.status == "pending" and profile is not None and len(profile.nodes) > 1 \
        and is_another_ids(action, profile, state)
    if not state.take(action, run, now):
        return "later"
    taken = replace(action, status="claimed")
    loop = doors.loops.get(action.loop)
    asked = asked_for(action, loop)
    anchor = profile.anchor if profile else ""
    reason = refusal(profile, loop, action.kind) or ("the same is another id's of this person" if another else "")
    if not reason and asked is None:
        reason = "the loop no longer has this campaign"
    if reason or asked is None or loop is None:
        state.end(taken, "failed", anchor, reason, "", run, doors.now())
        return "failed"
    try:
        doors.tell([
            Delivery(action.person, action.loop, action.version, action.campaign, iso(action.at), channel)
            for channel in asked.to
        ])
    except TryAgain:
        state.release(taken)
        return "later"
    tasks = []
    if action.kind == CALL_TASK and isinstance(asked, CallTask):
        until = notices.due_by(action.at, asked.within_days, loop)
        tasks = [state.task_write(action, asked.outcomes, until)]
    state.end(taken, "sent", anchor, "", "", run, doors.now(), also=tasks)
    return "sent"


def deliver(
    told: Delivery, state: State, loops: Mapping[str, Loop], send: Mapping[str, Callable[[str, Notice], None]],
    now: Callable[[], datetime],
) -> str:
    """Deliver one notice to one channel, unless it was; how it ended is kept for whoever looks at what needs review.

    Shapes: the outcome is delivered, failed, or already.
    Errors: TryAgain when somebody else is at it or the receiver did not take it now; the bus delivers it again.
    """
    status = state.take_delivery(told, now(), LEASE)
    if status in ("delivered", "failed"):
        return "already"
    if status == "taken":
        raise TryAgain("somebody else delivers this notice")
    action = state.action(told.person, told.key)
    loop = loops.get(told.loop)
    asked = asked_for(action, loop) if action else None
    stored = state.living(told.person)
    if action is None or asked is None or loop is None or stored.profile is None:
        state.end_delivery(told, "failed", "whom or what it is about is no longer there", now())
        return "failed"
    notice = notice_of(told, action, asked, loop, stored.profile, state)
    try:
        send[told.channel](loop.sites[0], notice)
    except NoticeRefused as error:
        state.end_delivery(told, "failed", error.reason, now())
        return "failed"
    except (TryAgain, OutcomeUnknown) as error:
        # Whether it arrived or not: it is the same notice by its name, so it is delivered again.
        state.end_delivery(told, "unknown", str(error), now())
        raise TryAgain(str(error)) from error
    state.end_delivery(told, "delivered", "", now())
    return "delivered"


def notice_of(
    told: Delivery, action: Action, asked: SalesNotice, loop: Loop, profile: Profile, state: State
) -> Notice:
    """The notice itself: who, why now and what they did, in the language of the plan."""
    about = action.about
    if "why" in about:
        why: Sequence[str] = about["why"].get(asked.language) or about["why"].get("en", ())
    else:
        gate = next((one for one in loop.gates if one.name == about.get("gate")), None)
        verdict = state.verdict(action.person, action.loop, int(about.get("position", 0)), str(about.get("gate", "")))
        tree: Mapping[str, Any] | None = verdict[0] if verdict else None
        why = notices.why_now(gate, tree, verdict[1] if verdict else "", asked.language)
    task = asked if isinstance(asked, CallTask) else None
    return Notice(
        id=told.id, kind=action.kind, loop=loop.loop, campaign=action.campaign, person=action.person, at=told.at,
        language=asked.language, who=notices.who(state.contact(profile.person)), why=tuple(why),
        story=notices.story(profile, loop, asked.language), note=asked.note,
        until=iso(notices.due_by(action.at, task.within_days, loop)) if task else "",
        outcomes=task.outcomes if task else (), version=action.version,
    )
