"""What sales is told about one person: who it is, why now, and what they did; in Japanese or in English."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from closedloop.events import event as names
from closedloop.events.times import parse
from closedloop.loops.definition import Condition, Gate, Loop
from closedloop.profiles.profile import Profile, Seen

# So many lines of each kind are read on the way to a call.
MOST_LINES = 8
Two = tuple[str, str]

WORDS: Mapping[str, Two] = {
    "sales_notice": ("Sales notice", "営業への通知"),
    "call_task": ("Call to make", "架電タスク"),
    "who": ("Who", "どなたか"), "why": ("Why now", "今連絡する理由"), "story": ("What they did", "これまでの行動"),
    "do": ("What to do", "お願いしたいこと"), "until": ("To be done by", "期限"), "end": ("How it ended", "結果の登録"),
    "name": ("Name", "氏名"), "company": ("Company", "会社名"), "title": ("Title", "役職"),
    "email": ("E-mail", "メール"),
    "phone": ("Phone", "電話"),
    "entered": ("became known to us", "新しく顧客リストに載りました"),
    "times": ("{n} times", "{n}回"), "saw": ("saw {path}", "{path} を閲覧"),
    "deal_opened": ("a deal was opened", "商談が始まりました"), "deal_won": ("a deal was won", "受注しました"),
    "deal_lost": ("a deal was lost", "失注しました"),
}
# What sites and our own doors call things; every other name is told as it is.
EVENTS: Mapping[str, Two] = {
    names.FORM_SUBMITTED: ("filled in a form", "フォームを送信"),
    names.EMAIL_CLICKED: ("followed a link in a mail", "メールのリンクを開きました"),
    names.CONSENT_CONFIRMED: ("confirmed the address", "メールアドレスを確認"),
    names.REFERRAL_FOLLOWED: ("came by somebody's link", "紹介リンクから来訪"),
    names.SEMINAR_ATTENDED: ("attended a seminar", "セミナーに参加"),
}
# What mails do by themselves says nothing of what somebody did.
UNTOLD = frozenset((
    names.EMAIL_SENT, names.EMAIL_ACCEPTED, names.EMAIL_DELIVERED, names.EMAIL_OPENED, names.EMAIL_BOUNCED,
    names.DEAL_CHANGED,
))
NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of one person, ready to be sent; it holds clear names, so it is delivered and never logged.

    Shapes: `id` is the same however often it is delivered; `who` are labels and values; `until` is an ISO time, empty
    but for a task; `language` is ja or en.
    """

    id: str
    kind: str
    loop: str
    campaign: str
    person: str
    at: str
    language: str
    who: Mapping[str, str]
    why: tuple[str, ...]
    story: tuple[str, ...]
    note: str = ""
    until: str = ""
    outcomes: tuple[str, ...] = ()
    version: str = ""

    @property
    def title(self) -> str:
        """One line that names nobody, for subjects."""
        return f"{WORDS[self.kind][self.language == 'ja']}: {self.campaign} ({self.loop})"

    def as_json(self) -> dict[str, Any]:
        """The notice as a CRM takes it.

        Source: Standard Webhooks, "Payload structure": type, timestamp, data.
        """
        return {"type": self.kind, "timestamp": self.at, "data": asdict(self)}

    def as_text(self) -> str:
        """The notice as people read it."""
        ja = self.language == "ja"

        def part(name: str, lines: Sequence[str]) -> str:
            return "\n".join((WORDS[name][ja], *(f"- {line}" for line in lines))) if lines else ""

        task = f"{self.loop}/{self.campaign}/{self.person}/{self.version}"
        ends = [f"closedloop task done {task} --outcome '{outcome}'" for outcome in self.outcomes]
        parts = (
            self.title,
            part("who", [f"{WORDS[name][ja]}: {value}" for name, value in self.who.items()]),
            part("why", self.why), part("story", self.story), part("do", [self.note] if self.note else []),
            part("until", [self.until] if self.until else []), part("end", ends),
        )
        return "\n\n".join(one for one in parts if one) + "\n"


def who(contact: Mapping[str, str]) -> dict[str, str]:
    """Who somebody is, by what they told of themselves."""
    name = contact.get("name") or " ".join(
        part for part in (contact.get("last_name", ""), contact.get("first_name", "")) if part
    )
    told = {"name": name, **{field: contact.get(field, "") for field in ("company", "title", "email", "phone")}}
    return {field: value for field, value in told.items() if value}


def story(profile: Profile, loop: Loop, language: str) -> tuple[str, ...]:
    """What somebody did, the newest first, a line for each kind of thing."""
    ja, zone = language == "ja", ZoneInfo(loop.time_zone)
    found: list[tuple[str, str]] = []

    def note(what: str, seen: Seen) -> None:
        often = f" ({WORDS['times'][ja].format(n=seen.times)})" if seen.times > 1 else ""
        found.append((seen.moments[-1], what + often))

    for event, seen in profile.did.items():
        if event not in UNTOLD and seen.moments:
            note(EVENTS[event][ja] if event in EVENTS else event, seen)
    for path, seen in profile.visited.items():
        if seen.moments:
            note(WORDS["saw"][ja].format(path=path), seen)
    for deal in profile.deals.values():
        found.append((deal.at, WORDS[f"deal_{deal.state}"][ja]))
    return tuple(
        f"{parse(at).astimezone(zone):%Y-%m-%d %H:%M} {what}" for at, what in sorted(found, reverse=True)[:MOST_LINES]
    )


def why_now(gate: Gate | None, tree: Mapping[str, Any] | None, reason: str, language: str) -> tuple[str, ...]:
    """Why a gate let somebody through, a line for each condition that held, from the record of its verdict.

    Shapes: `gate` and `tree` are None where no gate was asked.
    """
    ja = language == "ja"
    if tree is None:
        return (WORDS["entered"][ja] if reason in ("", "became known") else reason,)
    if not tree.get("holds"):
        # Let through to price the gate: what is missing is no reason to call.
        return (WORDS["entered"][ja],)
    return tuple(_held(gate.when if gate else None, tree, ja))[:MOST_LINES]


def _held(condition: Condition | None, tree: Mapping[str, Any], ja: bool) -> Iterator[str]:
    """The conditions that held, by the record; the plan's own condition says them in words where it still fits."""
    parts = tree.get("parts", ())
    if tree["question"] == "not":
        yield _said(parts[0], ja, "は該当しません" if ja else "is not so")
        return
    if not parts:
        yield _in_words(condition, tree, ja)
        return
    asked = (condition.all or condition.any or ()) if condition is not None else ()
    fits = len(asked) == len(parts)
    for place, part in enumerate(parts):
        if part["holds"]:
            yield from _held(asked[place] if fits else None, part, ja)


def _said(answer: Mapping[str, Any], ja: bool, end: str = "") -> str:
    found = f": {answer['found']}" if answer.get("found") else ""
    return f"{answer['question']}{found}{' ' if end and not ja else ''}{end}"


def _in_words(condition: Condition | None, answer: Mapping[str, Any], ja: bool) -> str:
    """One condition in words: what is asked by the plan, what was found by the record."""
    if condition is None:
        return _said(answer, ja)
    found = str(answer.get("found", ""))
    number = match.group() if (match := NUMBER.match(found)) else found
    for name, words in PHRASES.items():
        if (asked := getattr(condition, name)) is not None:
            return words(asked, found, number)[ja]
    return _said(answer, ja)


def _days(often: Any, ja: bool) -> str:
    if often.within_days is None:
        return ""
    return f"、{often.within_days}日以内" if ja else f" within {often.within_days} days"


PHRASES: Mapping[str, Callable[[Any, str, str], Two]] = {
    "interest": lambda asked, found, number: (
        f"cares about {asked.topic}: {found} (asked for {asked.at_least:g})",
        f"「{asked.topic}」への関心 {number}点(基準 {asked.at_least:g}点)",
    ),
    "engagement": lambda asked, found, number: (
        f"has been active lately: {number} (asked for {asked.at_least:g})",
        f"最近の活動 {number}点(基準 {asked.at_least:g}点)",
    ),
    "fit": lambda asked, found, number: (
        f"fits the people we look for: {number} of 100 (asked for {asked.at_least:g})",
        f"ターゲットとの一致度 {number}(基準 {asked.at_least:g})",
    ),
    "visited": lambda asked, found, number: (
        f"saw pages under {asked.path} {number} times{_days(asked, False)}",
        f"{asked.path} 以下のページを{number}回閲覧{_days(asked, True)}",
    ),
    "did": lambda asked, found, number: (
        f"{EVENTS[asked.event][0] if asked.event in EVENTS else asked.event}, {number} times{_days(asked, False)}",
        f"{EVENTS[asked.event][1] if asked.event in EVENTS else asked.event} {number}回{_days(asked, True)}",
    ),
    "deal": lambda asked, found, number: WORDS[f"deal_{asked}"],
    "attribute": lambda asked, found, number: (f"is what we look for: {found}", f"属性が条件に一致: {found}"),
    "consent": lambda asked, found, number: (f"agreed to {asked}", f"「{asked}」に同意済み"),
    "kind": lambda asked, found, number: (f"is of kind {' or '.join(asked)}: {found}", f"種別: {found}"),
    "role": lambda asked, found, number: (f"is {' or '.join(asked)}: {found}", f"役割 {'・'.join(asked)}: {found}"),
    "owns": lambda asked, found, number: (f"owns {asked.product}: {found}", f"{asked.product} を所有: {found}"),
    "in_stage": lambda asked, found, number: (
        f"has stood at this stage for {number} days", f"この段階に{number}日とどまっています",
    ),
}


def due_by(at: datetime, within_days: int, loop: Loop) -> datetime:
    """Until when a call is to be made: six in the evening of its last day, in the loop's time zone."""
    zone = ZoneInfo(loop.time_zone)
    day = at.astimezone(zone).date() + timedelta(days=within_days)
    return datetime.combine(day, time(18, 0), zone)
