"""The recipe docs/answer-a-person.md does what it says: its commands run as they stand, in their order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from closedloop.runtime import clock
from tests.cli.conftest import EVENTS, ROOT, Cloud, Run, a_person

PAGE = (ROOT / "docs/answer-a-person.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]


def test_every_command_of_the_recipe_runs_in_its_order(
    applied: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    a_person()
    assert len(COMMANDS) == 11
    for words in COMMANDS:
        assert words[0] == "closedloop"
        said = run(*words[1:])
        assert said.status == 0, (words, said.err)
    assert Path("ada.zip").exists()
    assert applied.items(EVENTS) == []
    # Three minutes, as the page says, less what the other work took by this clock.
    assert 120 <= sum(slept) <= 181
