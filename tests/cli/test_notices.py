"""closedloop notice and task, by the recipe of docs/connect-your-sales-team.md: what it says is what happens."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from closedloop.loops.definition import Campaign, Loop
from closedloop.runtime import clock, doors
from functions.decide_stages import handler as decide_stages
from functions.notify_sales import handler as notify_sales
from functions.perform_actions import handler as perform_actions
from functions.select_people import handler as select_people
from tests.cli.conftest import ROOT, Cloud, Run
from tests.cli.test_person import HASHER, JANE, follow, node, told
from tests.functions.gateway import Context

PAGE = (ROOT / "docs/connect-your-sales-team.md").read_text()
PHONE = HASHER.phone("+81312345678") or ""


def recipe() -> dict[str, Campaign]:
    """The campaigns of the page's first block."""
    block = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    return {one["name"]: Campaign.model_validate(one) for one in YAML(typ="safe").load(block)}


@pytest.fixture
def called(applied: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Jane filled in a form; the plan has her called and tells the CRM, whose address nobody set."""
    call = recipe()["first-call"].model_copy(update={"stage": "problem"})
    loop = Loop.model_validate({
        "loop": "calls", "sites": ["demo"], "strategy": "Call them", "currency": "JPY",
        "period": {"start": date(2026, 1, 1), "end": date(2099, 12, 31)},
        "objectives": [{"metric": "deals_won", "target": 3, "by": date(2099, 12, 31)}],
        "stages": ["research", "problem"], "campaigns": [call.model_dump(by_alias=True)],
        "gates": [{"name": "asked", "from": "research", "to": "problem", "when": {"did": {"event": "Form Submitted"}}}],
    })
    monkeypatch.setenv("EVENT_BUS", "default")
    monkeypatch.setenv("SALES_TOPIC", "arn:aws:sns:eu-west-1:123456789012:sales")
    follow(told(f"{JANE} 1", [node(JANE), PHONE]))
    doors.state().put_loop(loop, clock.now())
    doors.lake()
    selected = select_people.handle({"run": "tick-1"}, Context())
    assert selected["outcome"] == "selected"
    shard = {"run": "tick-1", "shard": 0}
    decide_stages.handle(shard, Context())
    assert perform_actions.handle(shard, Context())["counts"]["call_task_sent"] == 1
    return applied


def test_a_call_is_listed_with_whom_to_call_and_its_end_is_a_fact_once(called: Cloud, run: Run) -> None:
    (task,) = run("task", "list", "calls", "--json").json["tasks"]
    assert (task["who"], task["outcome"]) == (JANE, "")
    assert JANE in run("task", "list", "calls").out
    wrong = run("task", "done", task["task"], "--outcome", "Apointment Made")
    assert (wrong.status, "did you mean" in wrong.err) == (2, True)
    tried = run("task", "done", task["task"], "--outcome", "Appointment Made", "--dry-run", "--json")
    assert tried.json["written"] is False
    for _ in range(2):
        ended = run("task", "done", task["task"], "--outcome", "Appointment Made", "--json")
        assert (ended.status, ended.json["outcome"]) == (0, "Appointment Made"), ended.err
    other = run("task", "done", task["task"], "--outcome", "Call Not Reached")
    assert (other.status, "ended as 'Appointment Made'" in other.err) == (2, True)
    assert run("task", "list", "calls", "--json").json["tasks"] == []
    follow()
    profile = doors.state().profile(task["person"]).profile
    seen = profile.done("Appointment Made") if profile else None
    assert seen is not None
    assert seen.times == 1


def test_a_notice_that_failed_is_listed_and_lies_in_review_with_its_reason(
    called: Cloud, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (task,) = run("task", "list", "calls", "--json").json["tasks"]
    action = doors.state().action(task["person"], "#".join((task["task"].split("/")[0], task["task"].split("/")[3],
                                                            task["task"].split("/")[1])))
    assert action is not None
    detail: dict[str, Any] = {
        "person": action.person, "loop": action.loop, "version": action.version, "campaign": action.campaign,
        "at": task["at"], "channel": "crm",
    }
    assert notify_sales.handle({"detail": detail}, Context())["outcome"] == "failed"
    capsys.readouterr()
    (row,) = run("notice", "list", "calls", "--json").json["notices"]
    assert (row["channel"], row["outcome"]) == ("crm", "failed")
    (found,) = run("notice", "review", "calls", "--json").json["review"]
    assert found["reason"].startswith("notice_crm_url is not set")
    assert "notice_crm_url" in run("notice", "review", "calls").out


def test_the_page_names_only_commands_and_campaigns_that_there_are(run: Run) -> None:
    assert {name: campaign.kind for name, campaign in recipe().items()} == {
        "hot-lead": "sales_notice", "first-call": "call_task",
    }
    for words in re.findall(r"^closedloop (\w+ \w+)", PAGE, re.MULTILINE):
        assert run(*words.split(), "--help").status == 0
    assert Path(ROOT / "functions/notify_sales/README.md").exists()
