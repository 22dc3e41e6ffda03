"""What the rule packs and the linter of templates say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any


def test_no_finding_of_the_rule_packs_is_left_without_a_reason(prod: Any) -> None:
    assert prod.findings == []


def test_at_most_twelve_decisions_accept_a_finding_and_each_says_why(prod: Any) -> None:
    assert len(prod.reasons) <= 12
    assert all(len(reason) >= 20 for reason in prod.reasons.values())


def test_the_linter_of_templates_has_nothing_to_say(prod: Any) -> None:
    templates = sorted(str(path) for path in prod.folder.glob("*.template.json"))
    linter = Path(sys.executable).with_name("cfn-lint")
    # W3005: the CDK states a dependency that a reference already implies.
    done = subprocess.run([linter, "-i", "W3005", "--", *templates], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)
    assert len(templates) == 2
