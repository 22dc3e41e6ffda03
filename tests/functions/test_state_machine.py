"""The file of the state machine that is deployed, run by moto's interpreter over the functions themselves."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from string import Template
from typing import Any
from urllib.parse import urlsplit

import pytest
from moto.awslambda.models import LambdaFunction
from moto.core.config import default_user_config

from closedloop.lake import runs
from functions.close_run import handler as close_run
from functions.decide_stages import handler as decide_stages
from functions.perform_actions import handler as perform_actions
from functions.select_people import handler as select_people
from infra.stage_transitions import DEFINITION, TASKS
from tests.accounts import Account
from tests.functions.gateway import Context
from tests.functions.test_workflow_tasks import decided, mailing, outcomes, people, sent

__all__ = ("mailing",)

HANDLERS = {
    "select_people": select_people.handle, "decide_stages": decide_stages.handle,
    "perform_actions": perform_actions.handle, "close_run": close_run.handle,
}
AT = "2026-11-24T06:10:00.000Z"
PATIENCE = 600


@contextmanager
def interpreting() -> Iterator[None]:
    """State machines are run, and not only kept; the one that hot events start, by the projector, is only kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(default_user_config["stepfunctions"], "execute_state_machine", True)
        yield


@dataclass
class Machine:
    """The state machine, and what it invoked."""

    states: Any
    arn: str
    invoked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=count)
    broken: Callable[[str, dict[str, Any]], bool] = lambda name, event: False

    def run(self, **words: Any) -> str:
        """Start it and wait for its end: how it ended."""
        with interpreting():
            began = self.states.start_execution(
                stateMachineArn=self.arn, name=f"run-{next(self.names)}", input=json.dumps({"at": AT, **words})
            )["executionArn"]
            for _ in range(PATIENCE):
                status = str(self.states.describe_execution(executionArn=began)["status"])
                if status != "RUNNING":
                    return status
                threading.Event().wait(0.05)
        raise AssertionError("the machine does not end")

    def calls(self) -> Counter[str]:
        return Counter(name for name, _ in self.invoked)


@pytest.fixture
def machine_of_the_file(mailing: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    monkeypatch.setenv("MOTO_PORT", str(urlsplit(mailing.url).port))
    iam, functions, states = (mailing.client(name) for name in ("iam", "lambda", "stepfunctions"))
    iam.create_role(RoleName="tasks", AssumeRolePolicyDocument="{}")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("handler.py", "")
    role = "arn:aws:iam::123456789012:role/tasks"
    arns = {
        name: functions.create_function(
            FunctionName=name, Runtime="python3.13", Role=role, Handler="handler.handle",
            Code={"ZipFile": archive.getvalue()},
        )["FunctionArn"] for name in TASKS
    }
    with interpreting():
        arn = states.create_state_machine(
            name="of_the_file", roleArn=role,
            # moto knows no Express children; everything else is as deployed.
            definition=Template(DEFINITION.read_text()).safe_substitute(arns, shards_run_as="STANDARD"),
        )["stateMachineArn"]
    machine, one_by_one = Machine(states, arn), threading.Lock()

    def invoke(function: LambdaFunction, event: Any) -> tuple[str, bool, str]:
        name, told = function.function_name, json.loads(event) if isinstance(event, str | bytes) else event
        machine.invoked.append((name, told))
        if machine.broken(name, told):
            return json.dumps({"errorMessage": "it died"}), True, ""
        # As an environment of Lambda, this process does one thing after another.
        with one_by_one:
            return json.dumps(HANDLERS[name](told, Context())), False, ""

    # Lambda itself needs Docker in moto; every invocation passes through here.
    monkeypatch.setattr(LambdaFunction, "_invoke_lambda", invoke)
    # Two people a shard, so that five are a map.
    monkeypatch.setattr(runs, "SHARD", 2)
    yield machine
    with interpreting():
        states.delete_state_machine(stateMachineArn=arn)
    for name in TASKS:
        functions.delete_function(FunctionName=name)
    iam.delete_role(RoleName="tasks")


def test_the_deployed_file_runs_shard_by_shard_balances_and_changes_nothing_when_run_again(
    machine_of_the_file: Machine, mailing: Account
) -> None:
    machine = machine_of_the_file
    people(mailing, "jane", "ken", "li", "mia")
    people(mailing, "noa", event="Seen")
    assert machine.run(run="night") == "SUCCEEDED"
    shards = {(event["run"], event["shard"]) for name, event in machine.invoked if name == "decide_stages"}
    assert shards == {("night", 0), ("night", 1), ("night", 2)}
    assert machine.calls() == {"select_people": 1, "decide_stages": 3, "perform_actions": 3, "close_run": 1}
    noted = mailing.state.run("night")
    assert noted is not None
    counts = noted["counts"]
    assert noted["selected"] == 5 == sum(counts[name] for name in ("moved", "held", "excluded", "unchanged", "later"))
    assert (noted["closed_at"] is not None, counts["failed"], counts["mail_sent"]) == (True, 0, 4)
    assert (outcomes(mailing), len(sent(mailing))) == (["sent"] * 4, 4)
    before = decided(mailing)
    assert machine.run(run="night") == "SUCCEEDED"
    assert machine.run(run="later") == "SUCCEEDED"
    assert (decided(mailing), len(sent(mailing))) == (before, 4)
    assert [event["run"] for name, event in machine.invoked if name == "close_run"].count("later") == 0


def test_a_shard_that_dies_stops_no_other_and_the_run_ends_as_failed(
    machine_of_the_file: Machine, mailing: Account
) -> None:
    machine = machine_of_the_file
    people(mailing, "jane", "ken", "li")
    machine.broken = lambda name, event: name == "decide_stages" and event["shard"] == 0
    assert machine.run(run="tick") == "FAILED"
    assert len(outcomes(mailing)) == 1, "the other shard was decided and mailed"
    machine.broken = lambda name, event: False
    assert machine.run(run="next") == "SUCCEEDED"
    assert (outcomes(mailing), len(sent(mailing))) == (["sent"] * 3, 3)
