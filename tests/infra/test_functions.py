"""Each function as it will run: its files, its log, its ceiling, its time, its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from closedloop.runtime import settings
from closedloop.runtime.doors import SPILL_BUDGET_S
from closedloop.store.signed import BUDGET_S
from closedloop.store.signed import TIMEOUT_S as TIMEOUT_OF_A_CALL_S
from infra.http_api import TIMEOUT_S

ROOT = Path(__file__).resolve().parents[2]
DOORS = ("capture_beacon", "capture_form", "capture_email", "capture_deal", "follow_link", "serve_tracker")

# What a door's calls may spend before it gives up, in seconds: the last attempt at the table, and at the spill.
CALLS_S = BUDGET_S + TIMEOUT_OF_A_CALL_S + SPILL_BUDGET_S + TIMEOUT_OF_A_CALL_S


def test_every_folder_of_functions_is_deployed_and_nothing_else_is(stateless: Any) -> None:
    folders = {path.name for path in (ROOT / "functions").iterdir() if (path / "handler.py").exists()}
    assert set(stateless.functions()) == folders


def test_every_function_has_the_same_handler_runtime_and_processor(stateless: Any) -> None:
    functions = stateless.functions().values()
    assert {one["Handler"] for one in functions} == {"handler.handle"}
    assert {one["Runtime"] for one in functions} == {"python3.14"}
    assert {one["Architectures"][0] for one in functions} == {"arm64"}


def test_every_function_writes_json_to_a_log_that_forgets_after_thirty_days(stateless: Any) -> None:
    logs = stateless.of("AWS::Logs::LogGroup")
    for name, function in stateless.functions().items():
        assert function["LoggingConfig"]["LogFormat"] == "JSON", name
        assert logs[function["LoggingConfig"]["LogGroup"]["Ref"]]["RetentionInDays"] == 30, name


def test_no_log_at_all_is_kept_longer(stateless: Any) -> None:
    assert {one["RetentionInDays"] for one in stateless.of("AWS::Logs::LogGroup").values()} == {30}


def test_every_function_has_a_ceiling_and_together_they_leave_room_in_the_account(stateless: Any) -> None:
    ceilings = [one["ReservedConcurrentExecutions"] for one in stateless.functions().values()]
    assert sum(ceilings) <= 1000 - 100


@pytest.mark.parametrize("function", DOORS)
def test_the_api_waits_longer_than_a_door_and_a_door_longer_than_its_calls(stateless: Any, function: str) -> None:
    timeout = stateless.functions()[function]["Timeout"]
    # The tracker is a file of its own: serving it calls nobody.
    assert (0 if function == "serve_tracker" else CALLS_S) < timeout < TIMEOUT_S
    assert {one["TimeoutInMillis"] for one in stateless.of("AWS::ApiGatewayV2::Integration").values()} == {30_000}


def test_every_setting_is_one_that_the_product_knows(stateless: Any) -> None:
    known = {value for name, value in vars(settings).items() if name.isupper() and isinstance(value, str)}
    for name, function in stateless.functions().items():
        own = {key for key in function["Environment"]["Variables"] if not key.startswith("POWERTOOLS_")}
        assert own <= known, name


def test_no_function_is_told_to_log_what_it_was_sent(stateless: Any) -> None:
    for function in stateless.functions().values():
        assert "POWERTOOLS_LOGGER_LOG_EVENT" not in function["Environment"]["Variables"]


def test_no_function_has_more_than_five_layers(stateless: Any) -> None:
    assert all(len(one["Layers"]) <= 5 for one in stateless.functions().values())


def test_the_report_runs_alone_with_room_on_its_disk(stateless: Any) -> None:
    report = stateless.functions()["report_loop"]
    assert report["ReservedConcurrentExecutions"] == 1
    assert (report["Timeout"], report["MemorySize"], report["EphemeralStorage"]["Size"]) == (900, 2048, 2048)
