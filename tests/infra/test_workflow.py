"""The state machine's definition: it names real functions, retries AWS's own errors only, and decides by outcomes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from closedloop.lake.runs import SHARD
from infra.stage_transitions import DEFINITION, SHARDS, TASKS

OWN_ERRORS_OF_AWS = {
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
}


def definition() -> dict[str, Any]:
    return dict(json.loads(DEFINITION.read_text()))


def states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def tasks() -> dict[str, dict[str, Any]]:
    return {name: state for name, state in states(definition()) if state["Type"] == "Task"}


def test_every_task_names_a_function_that_is_deployed(stateless: Any) -> None:
    named = {re.sub(r"\W", "", state["Parameters"]["FunctionName"]) for state in tasks().values()}
    assert named == set(TASKS)
    assert named <= set(stateless.functions())
    (machine,) = stateless.of("AWS::StepFunctions::StateMachine").values()
    assert set(machine["DefinitionSubstitutions"]) == named | set(SHARDS)


def test_every_task_is_named_after_its_function() -> None:
    for name, state in tasks().items():
        words = state["Parameters"]["FunctionName"].strip("${}").split("_")
        assert name == "".join(word.title() for word in words)


def test_every_task_has_a_timeout_beyond_its_functions_own(stateless: Any) -> None:
    for state in tasks().values():
        function = stateless.functions()[state["Parameters"]["FunctionName"].strip("${}")]
        assert state["TimeoutSeconds"] > function["Timeout"]


def test_only_errors_that_aws_itself_raises_are_retried() -> None:
    for name, state in tasks().items():
        (retry,) = state["Retry"]
        assert set(retry["ErrorEquals"]) == OWN_ERRORS_OF_AWS, name
        assert retry["JitterStrategy"] == "FULL", name
        assert (retry["IntervalSeconds"], retry["MaxAttempts"], retry["MaxDelaySeconds"]) == (2, 6, 60), name


def test_whatever_else_goes_wrong_is_caught_by_no_name_of_ours() -> None:
    for name, state in states(definition()):
        if state["Type"] in {"Task", "Map"}:
            assert [one["ErrorEquals"] for one in state["Catch"]] == [["States.ALL"]], name


def test_every_outcome_that_is_not_expected_fails_the_run() -> None:
    choices = {name: state for name, state in states(definition()) if state["Type"] == "Choice"}
    words = {rule["StringEquals"] for state in choices.values() for rule in state["Choices"]}
    assert words == {"selected", "nobody", "balanced", "decided", "performed"}
    failing = {name for name, state in states(definition()) if state["Type"] == "Fail"}
    assert all(state["Default"] in failing for state in choices.values())


def test_nothing_is_used_that_one_of_our_imitations_of_aws_leaves_out() -> None:
    text = DEFINITION.read_text()
    for word in ("ItemBatcher", "ResultWriter", "JSONata", "QueryLanguage", "aws-sdk:"):
        assert word not in text


def test_shards_run_apart_and_one_that_fails_stops_no_other() -> None:
    (shards,) = [state for _, state in states(definition()) if state["Type"] == "Map"]
    assert shards["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert shards["ResultPath"] is None
    assert (shards["MaxConcurrency"], shards["ToleratedFailurePercentage"]) == (20, 100)


def test_a_thousand_people_are_one_transition_and_a_run_six_more() -> None:
    # AWS Step Functions Developer Guide, "Transitions": an Express child of a distributed map is charged as one
    # whatever its states are; each state of the parent that is entered is one.
    machine = definition()
    (shards,) = [state for _, state in states(machine) if state["Type"] == "Map"]
    assert shards["ItemProcessor"]["ProcessorConfig"]["ExecutionType"] == "${shards_run_as}"
    assert (SHARDS, SHARD) == ({"shards_run_as": "EXPRESS"}, 1000)
    at, entered = machine["StartAt"], []
    while at:
        entered.append(at)
        state = machine["States"][at]
        at = state.get("Next") or (state["Choices"][0]["Next"] if state["Type"] == "Choice" else "")
    assert entered == ["SelectPeople", "IsAnyoneDue", "EachShard", "CloseRun", "IsBalanced", "Done"]
    inside = [state for state in shards["ItemProcessor"]["States"].values() if state["Type"] == "Task"]
    assert sum(state["TimeoutSeconds"] for state in inside) < 300, "an Express execution lasts five minutes at most"


def test_every_next_state_exists() -> None:
    def check(machine: dict[str, Any]) -> None:
        known = set(machine["States"])
        assert machine["StartAt"] in known
        for state in machine["States"].values():
            named = [state.get("Next"), state.get("Default")]
            named += [one["Next"] for one in (*state.get("Catch", []), *state.get("Choices", []))]
            assert {name for name in named if name} <= known
            if "ItemProcessor" in state:
                check(state["ItemProcessor"])

    check(definition())


def test_the_machine_is_standard_and_logs_no_input(stateless: Any) -> None:
    (machine,) = stateless.of("AWS::StepFunctions::StateMachine").values()
    assert machine["StateMachineType"] == "STANDARD"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False
