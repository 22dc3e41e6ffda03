"""Who is behind an event: real agents with a story each, and what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from hypothesis import given
from hypothesis import strategies as st

from closedloop.events import agents
from closedloop.events.agents import Evidence, Grade, grade_agent, grade_event, lists, worst
from tests.yardstick import megabytes_of_json

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "agents.json").read_text("utf-8"))["vectors"]
TABLE = json.loads(Path(agents.__file__).with_name("agents_table.json").read_text("utf-8"))
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@pytest.mark.parametrize("vector", VECTORS, ids=[row["story"] for row in VECTORS])
def test_an_agent_is_graded_as_its_story_says(vector: dict[str, Any]) -> None:
    found = grade_agent(vector["agent"], count_test_browsers=vector.get("count_test_browsers", False))
    assert found.grade == vector["grade"], found.reason
    assert found.reason == vector.get("reason", found.reason)


def test_each_story_is_told_once() -> None:
    stories = [row["story"] for row in VECTORS]
    assert len(set(stories)) == len(stories)


def test_every_example_of_the_list_is_a_machine_but_those_we_do_not_believe_and_the_picture_caches() -> None:
    others = {
        row["pattern"].replace("\\/", "/"): grade_agent(agent).grade
        for row in CRAWLER_USER_AGENTS_DATA for agent in row["instances"]
        if grade_agent(agent).grade is not Grade.MACHINE
    }
    human = {pattern for pattern, grade in others.items() if grade is Grade.HUMAN}
    assert human == {r"AP3A\.240617\.008", "MetaIAB Facebook", r"Code/1\."}
    assert human <= set(TABLE["not_believed"])
    assert set(others) - human == {
        "FastmailUA", "GoogleImageProxy", "Shortwave Image Fetcher", "YahooMailProxy", "YahooCacheSystem",
    }


def test_every_pattern_that_we_do_not_believe_is_on_the_list() -> None:
    on_it = {row["pattern"].replace("\\/", "/") for row in CRAWLER_USER_AGENTS_DATA}
    assert set(TABLE["not_believed"]) <= on_it


@pytest.mark.parametrize("row", TABLE["rules"], ids=lambda row: row.get("pattern", row.get("start"))[:40])
def test_each_rule_has_an_agent_that_it_alone_explains(row: dict[str, Any]) -> None:
    assert any(grade_agent(vector["agent"]).reason == row["reason"] for vector in VECTORS)


def test_a_crawlers_name_in_the_middle_of_a_word_is_none() -> None:
    assert lists().crawler("Slurp/1") == "Slurp"
    assert lists().crawler("XSlurp/1") == ""
    assert lists().crawler("XSlurp/1 Slurp/1") == "Slurp"


def test_new_agents_are_graded_fast() -> None:
    lists()

    def grade() -> None:
        agents._graded.cache_clear()
        for number in range(300):
            grade_agent(f"{CHROME} Edg/{number}")

    assert megabytes_of_json(grade) < 10


@pytest.mark.parametrize("agent", [
    "a" * 100_000, "compatible; http" * 10_000, "(;" * 50_000, "@-" * 50_000, "Spider" * 20_000,
    "Mozilla/5.0 (" * 9_000,
    "ContextualBot" * 9_000,
    "1" * 100_000, " " * 100_000 + "x",
])
def test_a_long_agent_costs_little(agent: str) -> None:
    lists()
    assert megabytes_of_json(lambda: (agents._graded.cache_clear(), grade_agent(agent))) < 3


@given(st.text(max_size=2000), st.booleans())
def test_no_agent_breaks_the_grading(agent: str, count: bool) -> None:
    found = grade_agent(agent, count_test_browsers=count)
    assert isinstance(found.grade, Grade)
    assert found.reason


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5,
)


@given(
    st.sampled_from(["Email Opened", "Email Link Clicked", "Order Completed", ""]), st.text(),
    st.dictionaries(st.sampled_from(["method", "grade", "userAgent", "library", "agent"]), ANY),
    st.dictionaries(st.sampled_from(["machine_open", "proxy_open", "x"]), ANY),
    st.sampled_from(["beacon", "form", "email", "deal", "link", "import", "", "x"]),
)
def test_no_event_breaks_the_grading(
    name: str, agent: str, context: dict[str, Any], properties: dict[str, Any], door: str
) -> None:
    found = grade_event(name, agent, context, properties, door=door)
    assert isinstance(found.grade, Grade)
    # Whatever else is said of it: an opened mail is never surely a person.
    assert name != "Email Opened" or door in ("deal", "import") or found.grade is not Grade.HUMAN


HUMAN, LIKELY, MACHINE = Grade
OPENED, CLICKED = "Email Opened", "Email Link Clicked"
PYTHON, GO = "python-requests/2.32", "Go-http-client/2.0"
EVENTS = [
    ("a page in a browser", HUMAN, "", CHROME, {}, {}, "beacon"),
    ("a page by a crawler", MACHINE, "", "Googlebot/2.1", {}, {}, "beacon"),
    ("a mail opened in a browser", LIKELY, OPENED, CHROME, {}, {}, "link"),
    ("a mail opened through Gmail's cache", LIKELY, OPENED, GMAIL, {}, {}, "link"),
    ("a mail opened by Apple's protection", MACHINE, OPENED, "Mozilla/5.0", {}, {}, "link"),
    ("a mail that our door says a machine opened", MACHINE, OPENED, CHROME, {}, {"machine_open": True}, "link"),
    ("SendGrid says that a machine opened", MACHINE, OPENED, "", {}, {"sg_machine_open": True}, "email"),
    ("Brevo says that a proxy opened", MACHINE, OPENED, "", {}, {"proxy_open": True}, "email"),
    ("SparkPost says: fetched ahead", MACHINE, OPENED, "", {}, {"is_prefetched": "true"}, "email"),
    ("SendGrid says that no machine opened", LIKELY, OPENED, "", {}, {"sg_machine_open": False}, "email"),
    ("a link clicked in a browser", HUMAN, CLICKED, CHROME, {}, {}, "link"),
    ("a link tried by HEAD", MACHINE, CLICKED, CHROME, {"method": "HEAD"}, {}, "link"),
    ("a link tried by head", MACHINE, CLICKED, CHROME, {"method": "head"}, {}, "link"),
    ("a click that the provider reports with the reader's agent", HUMAN, CLICKED,
     GO, {"agent": GO, "userAgent": CHROME}, {}, "email"),
    ("a click that the provider reports without one", LIKELY, CLICKED, "", {}, {}, "email"),
    ("a page view of a crawler, from an access log", MACHINE, "", "Googlebot/2.1", {}, {}, "import"),
    ("a page view of a reader, from an access log", HUMAN, "", CHROME, {}, {}, "import"),
    ("a click by a scanner, says the provider", MACHINE, CLICKED, PYTHON, {}, {}, "email"),
    ("a mail delivered", LIKELY, "Email Delivered", "SendGrid Event API", {}, {}, "email"),
    ("a mail bounced", LIKELY, "Email Bounced", "", {}, {}, "email"),
    ("a mail complained about", HUMAN, "Email Marked As Spam", "", {}, {}, "email"),
    ("a deal from the CRM", HUMAN, "Deal Won", PYTHON, {}, {}, "deal"),
    ("a list imported", HUMAN, "Form Submitted", "", {}, {}, "import"),
    ("a form without an agent", HUMAN, "Form Submitted", "", {}, {}, "form"),
    ("a form by a program", MACHINE, "Form Submitted", "curl/8.5.0", {}, {}, "form"),
    ("a server with its secret key", HUMAN, "Order Completed", PYTHON, {"grade": "server"}, {}, "beacon"),
    ("a server's library without one", LIKELY, "Order Completed", PYTHON,
     {"library": {"name": "analytics-python"}}, {}, "beacon"),
    ("a server's library that passes the buyer's agent on", HUMAN, "Order Completed", PYTHON,
     {"library": {"name": "analytics-python"}, "userAgent": CHROME}, {}, "beacon"),
    ("a crawler seen by a server's library", MACHINE, "", PYTHON,
     {"library": {"name": "@segment/analytics-node"}, "userAgent": "Googlebot/2.1"}, {}, "beacon"),
    ("a program that claims to be a browser", MACHINE, "", "curl/8.5.0", {"userAgent": CHROME}, {}, "beacon"),
    ("a page from an access log", HUMAN, "", "", {"userAgent": CHROME}, {}, "beacon"),
    ("an event without any agent", MACHINE, "", "", {}, {}, "beacon"),
]


@pytest.mark.parametrize(("grade", "name", "agent", "context", "properties", "door"), [row[1:] for row in EVENTS],
                         ids=[row[0] for row in EVENTS])
def test_an_event_is_graded_by_what_was_done(
    grade: Grade, name: str, agent: str, context: dict[str, Any], properties: dict[str, Any], door: str
) -> None:
    found = grade_event(name, agent, context, properties, door=door)
    assert found.grade is grade, found.reason
    assert found.reason


def test_a_test_browsers_events_count_where_the_site_says_so() -> None:
    headless = CHROME.replace("Chrome", "HeadlessChrome")
    assert grade_event("", headless, {}, {}, door="beacon").grade is Grade.MACHINE
    assert grade_event("", headless, {}, {}, door="beacon", count_test_browsers=True).grade is Grade.HUMAN


def test_of_several_pieces_of_evidence_the_worst_counts() -> None:
    human, machine = Evidence(Grade.HUMAN, "a"), Evidence(Grade.MACHINE, "b")
    assert worst([human, machine]) == worst([machine, human]) == machine
