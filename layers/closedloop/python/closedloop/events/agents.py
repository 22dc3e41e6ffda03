"""Who is behind an event: a person, probably a person, or a machine.

Two lists are asked, our own rules (`agents_table.json`) and crawler-user-agents; then what was done, which tells more
than a name. A grade is evidence with its reason, never a deletion: machines are counted apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from closedloop.events.event import (
    EMAIL_CLICKED,
    EMAIL_COMPLAINED,
    EMAIL_OPENED,
    MAIL_ALLOWED,
    MAIL_SUPPRESSED,
    Door,
)

AGENT_CHARS = 1024
# How mail providers say that a machine fetched the picture or followed the link: ours, SendGrid, Brevo, SparkPost.
MACHINE_FLAGS = ("machine_open", "machine_click", "sg_machine_open", "proxy_open", "is_prefetched")
FLAGS = frozenset(MACHINE_FLAGS)
SERVER_LIBRARIES = (
    "analytics-python", "analytics-node", "@segment/analytics-node", "analytics-ruby", "analytics-go", "analytics-java",
    "analytics-php", "analytics.net", "rudder-sdk-python", "rudder-analytics-python", "@rudderstack/rudder-sdk-node",
)


class Grade(StrEnum):
    """How sure we are that a person did it."""

    HUMAN = "human"
    LIKELY = "likely"
    MACHINE = "machine"


ORDER = (Grade.HUMAN, Grade.LIKELY, Grade.MACHINE)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A grade, and the sentence that says why."""

    grade: Grade
    reason: str


SIGNED = Evidence(Grade.HUMAN, "stated by a signed source")
NEVER = r"(?!)"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an agent begins with or has inside, unless it has something else, and what that says."""

    start: re.Pattern[str]
    inside: re.Pattern[str]
    unless: re.Pattern[str]
    plain: bool
    evidence: Evidence

    def fits(self, agent: str, lowered: str) -> bool:
        text = lowered if self.plain else agent
        return bool((self.start.match(text) or self.inside.search(text)) and not self.unless.search(text))


@dataclass(frozen=True, slots=True)
class Lists:
    """Both lists, ready to be asked."""

    rules: tuple[Rule, ...]
    words: re.Pattern[str]
    others: re.Pattern[str]
    test_browsers: re.Pattern[str]
    browsers: re.Pattern[str]
    phones: re.Pattern[str]
    devices: re.Pattern[str]

    def crawler(self, agent: str) -> str:
        """The name under which an agent is on the list of crawlers; empty when it is not."""
        found = self.words.search(agent)
        while found:
            # A name begins where no letter stands before it: a phone's may end like a crawler's.
            if not agent[found.start() - 1 : found.start()].isalpha():
                return found.group()
            found = self.words.search(agent, found.start() + 1)
        found = self.others.search(agent)
        return found.group() if found else ""


@lru_cache(maxsize=1)
def lists() -> Lists:
    """The lists of agents, read and compiled once."""
    from importlib.resources import files

    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    data = json.loads(files(__package__).joinpath("agents_table.json").read_text("utf-8"))
    patterns = (row["pattern"].replace("\\/", "/") for row in CRAWLER_USER_AGENTS_DATA)
    words, others = _by_shape(pattern for pattern in patterns if pattern not in data["not_believed"])
    return Lists(
        tuple(
            Rule(
                re.compile(row.get("start", NEVER)), re.compile(row.get("pattern", NEVER)),
                re.compile(row.get("unless", NEVER)), bool(row.get("plain")),
                Evidence(Grade(row["grade"]), row["reason"]),
            )
            for row in data["rules"]
        ),
        re.compile(words), re.compile(others),
        *(re.compile(data[part]) for part in ("test_browsers", "browsers", "phones", "devices")),
    )


def _by_shape(patterns: Iterable[str]) -> tuple[str, str]:
    """Some 1,500 patterns as two expressions: plain words, and the rest.

    The words become a tree by their first two letters: one alternation of them all takes 540 us an agent, the tree 20.
    """
    tree: dict[str, dict[str, list[str]]] = {}
    others = [NEVER]
    for pattern in patterns:
        word = re.sub(r"\\([^A-Za-z0-9])", r"\1", pattern)
        if len(word) > 2 and not re.search(r"\\[A-Za-z0-9]|(?<!\\)[][(){}|^$*+?.]", pattern):
            tree.setdefault(word[0], {}).setdefault(word[1], []).append(re.escape(word[2:]))
        else:
            others.append(f"(?:{pattern})")
    return "|".join(
        f"{re.escape(first)}(?:"
        + "|".join(f"{re.escape(second)}(?:{'|'.join(rest)})" for second, rest in branch.items()) + ")"
        for first, branch in tree.items()
    ), "|".join(others)


def grade_agent(agent: str, *, count_test_browsers: bool = False) -> Evidence:
    """Grade by what the agent says of itself; it may lie, so "human" here means only that nothing speaks against it.

    Shapes: `count_test_browsers` lets headless browsers count, as a site under test wants.
    Source: crawler-user-agents 1.67.0, and rules of our own with their reasons.
    """
    return _graded(agent[:AGENT_CHARS].strip(), count_test_browsers)


@lru_cache(maxsize=8192)
def _graded(agent: str, count_test_browsers: bool) -> Evidence:
    if agent in ("", "-"):
        return Evidence(Grade.MACHINE, "gives no agent, as no browser does")
    known = lists()
    if known.test_browsers.search(agent):
        if not count_test_browsers:
            return Evidence(Grade.MACHINE, "a browser driven by a program")
        # What is left must still look like a person's: a crawler may run the same browser.
        agent = known.test_browsers.sub("Chrome", agent)
    lowered = agent.lower()
    for rule in known.rules:
        if rule.fits(agent, lowered):
            return rule.evidence
    if name := known.crawler(agent):
        return Evidence(Grade.MACHINE, f"on the list of crawlers as {name.strip()[:60]}")
    if known.browsers.match(lowered) or known.phones.search(agent):
        return Evidence(Grade.HUMAN, "a browser, and nothing speaks against it")
    if known.devices.search(agent):
        return Evidence(Grade.LIKELY, "an app that names a person's device")
    return Evidence(Grade.MACHINE, "names neither a browser nor a device")


def grade_event(
    name: str, agent: str, context: Mapping[str, Any], properties: Mapping[str, Any],
    *, door: str = "", count_test_browsers: bool = False,
) -> Evidence:
    """Grade one event by what was done, through which door, and by the agents that are told.

    Shapes: `agent` is the sender's own, from the request; context.userAgent is the one that the sender speaks of, such
    as a mail client; context.method the HTTP method; context.grade "server" is set by a door that saw a secret key, and
    by nobody else. An opened mail is never better than likely: providers fetch pictures for people and without them.
    Source: Apple, "Protect Mail Activity"; webhook pages of SendGrid, Brevo and SparkPost.
    """
    if door == Door.LINK and properties.get("hidden") is True:
        return Evidence(Grade.MACHINE, "followed a link of a mail that no person sees")
    if str(context.get("method", "")).upper() == "HEAD":
        return Evidence(Grade.MACHINE, "a HEAD request: a link was tried, not followed")
    for flag in () if FLAGS.isdisjoint(properties) else MACHINE_FLAGS:
        if properties.get(flag) is True or properties.get(flag) in ("true", "True", "1"):
            return Evidence(Grade.MACHINE, f"the mail provider says so ({flag})")
    evidence = _of_door(name, agent, context, door, count_test_browsers)
    if name == EMAIL_OPENED and evidence.grade is Grade.HUMAN:
        return Evidence(Grade.LIKELY, "an opened mail is weak evidence: a picture was fetched")
    return evidence


def _of_door(name: str, agent: str, context: Mapping[str, Any], door: str, count_test_browsers: bool) -> Evidence:
    told = context.get("userAgent")
    told = told if isinstance(told, str) else ""
    if door in (Door.DEAL, Door.LIST) or (door == Door.IMPORT and not agent and not told):
        # The agent here is the system that hands the facts over.
        return SIGNED
    if door == Door.OPERATOR and name not in (MAIL_SUPPRESSED, MAIL_ALLOWED):
        # Somebody of the company was told it, as on the telephone; what an operator decides is nobody's deed.
        return SIGNED
    if door == Door.EMAIL:
        # The request is the provider's; only what it says of the reader's agent counts.
        told = told or agent
        if told and name in (EMAIL_OPENED, EMAIL_CLICKED):
            return grade_agent(told, count_test_browsers=count_test_browsers)
        if name == EMAIL_COMPLAINED:
            return Evidence(Grade.HUMAN, "a person complained, says the mailbox provider")
        return Evidence(Grade.LIKELY, "the mail provider says so, but not by whom it was done")
    if context.get("grade") == "server":
        return SIGNED
    if door == Door.FORM and not agent and not told:
        return Evidence(Grade.HUMAN, "a form that passed the checks of its door")
    if _is_server_library(context):
        if told and agent:
            return grade_agent(told, count_test_browsers=count_test_browsers)
        return Evidence(Grade.LIKELY, "a server speaks of a person, without a secret key")
    first = grade_agent(agent or told, count_test_browsers=count_test_browsers)
    if agent and told and told != agent:
        return worst((first, grade_agent(told, count_test_browsers=count_test_browsers)))
    return first


def worst(evidences: Iterable[Evidence]) -> Evidence:
    """Of several pieces of evidence the one that speaks most against a person; the first of equals."""
    return max(evidences, key=lambda evidence: ORDER.index(evidence.grade))


def _is_server_library(context: Mapping[str, Any]) -> bool:
    library = context.get("library")
    name = library.get("name") if isinstance(library, Mapping) else None
    return isinstance(name, str) and name.lower().startswith(SERVER_LIBRARIES)
