"""The first of the README's two commands, once through: from page views to a report that reconciles."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import ROOT

pytestmark = pytest.mark.system


def test_the_loop_closes_and_says_so_in_one_line_of_json(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "infra.demo", "--once", "--people", "60", "--seed", "7",
            "--out", str(tmp_path / "out"), "--dir", str(tmp_path / "run"),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["events_accepted"] == result["events_sent"] == result["events_in_ledger"] > 500
    assert result["persons"] == 60
    assert result["transitions"] > 60
    assert result["mails"] > 0
    assert result["deals"] > 0
    assert result["reconciles"] is True
    assert result["seconds"] > 0
    assert Path(result["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(Path(result["summary"]).read_text(encoding="utf-8"))["loop"] == "autumn-pumps"
