"""The house: floors stand only on those below, and importing a module does nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

PYPROJECT = Path("pyproject.toml")
FEATURES = ("attribution", "capture", "events", "identity", "loops", "profiles", "reports", "sites")
# A function that only decides must not pay for these; ruamel comes when a file is read.
FOREIGN = (
    "boto3", "botocore", "aws_lambda_powertools", "duckdb", "django", "ruamel.yaml", "typer", "rich",
)


def test_the_contracts_of_the_house_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    broken = lint_imports(config_filename=str(PYPROJECT), no_cache=True)
    assert broken == 0, capsys.readouterr().out


def test_every_package_stands_on_a_floor() -> None:
    contracts = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    floors = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    names = (part.strip() for floor in floors for part in floor.replace(":", "|").split("|"))
    named = {name.removeprefix("closedloop.") for name in names}
    house = Path("layers/closedloop/python/closedloop")
    built = {path.stem for path in house.iterdir() if path.suffix in ("", ".py") and path.stem[0] not in "_."}
    assert (built - named, named - built) == (set(), {"functions"})


@pytest.mark.parametrize("feature", FEATURES)
def test_a_features_pure_modules_bring_no_service_with_them(feature: str) -> None:
    house = Path("layers/closedloop/python")
    files = (path for path in (house / "closedloop" / feature).rglob("*.py") if path.stem != "__init__")
    modules = sorted(".".join(path.relative_to(house).with_suffix("").parts) for path in files)
    asked = f"import sys, {', '.join(modules)}; print([n for n in {FOREIGN!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
