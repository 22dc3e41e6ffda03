"""The templates of production, synthesized once with both rule packs looking on, and read by every test here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.app import build_app, prepare

SKIP_LAYERS = {"aws:cdk:bundling-stacks": []}


@dataclass(frozen=True, slots=True)
class Template:
    """One synthesized template, asked in the words of a test."""

    body: dict[str, Any]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of each resource of a kind, by logical name."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.body["Resources"].items()
            if resource["Type"] == kind
        }

    def functions(self) -> dict[str, dict[str, Any]]:
        """Each Lambda's properties, by the name of its folder."""
        return {
            one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: one
            for one in self.of("AWS::Lambda::Function").values()
        }

    def statements(self, role: str) -> Iterator[dict[str, Any]]:
        """What a role may do."""
        for policy in self.of("AWS::IAM::Role")[role].get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]
        for policy in self.of("AWS::IAM::Policy").values():
            if {"Ref": role} in policy.get("Roles", []):
                yield from policy["PolicyDocument"]["Statement"]

    def actions(self, function: str) -> set[str]:
        """All that a function may do."""
        role = self.functions()[function]["Role"]["Fn::GetAtt"][0]
        return {action for statement in self.statements(role) for action in listed(statement["Action"])}


@dataclass(frozen=True, slots=True)
class Assembly:
    """Both templates, where they lie, and what the rule packs said of them."""

    folder: Path
    stateful: Template
    stateless: Template
    findings: list[str]
    reasons: dict[str, str]


def listed(value: Any) -> list[Any]:
    """CloudFormation writes a list of one as the one."""
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="session")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    folder = tmp_path_factory.mktemp("prod")
    prepare()
    import aws_cdk as cdk
    import cdk_nag

    context = {**SKIP_LAYERS, "stage": "prod"}
    app = build_app(context, output=folder / "cdk.out", build=folder / "build")
    cdk.Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks(app))
    cdk.Validations.of(app).add_plugins(cdk_nag.ServerlessChecks(app))
    output = folder / "cdk.out"
    try:
        app.synth()
    except Exception:
        # A finding stops the synthesis after everything is written; the test of the findings says which it was.
        if not (output / "validation-report.json").exists():
            raise
    report = json.loads((output / "validation-report.json").read_text())
    findings = [
        f"{violation['ruleName']} at {construct.get('constructPath')}"
        for plugin in report["pluginReports"]
        for violation in plugin.get("violations", [])
        for construct in violation.get("violatingConstructs", [])
    ]
    return Assembly(output, _read(output, "Stateful"), _read(output, "Stateless"), findings, _reasons())


@pytest.fixture(scope="session")
def stateful(prod: Assembly) -> Template:
    return prod.stateful


@pytest.fixture(scope="session")
def stateless(prod: Assembly) -> Template:
    return prod.stateless


def _read(output: Path, stack: str) -> Template:
    return Template(json.loads((output / f"{stack}.template.json").read_text()))


def _reasons() -> dict[str, str]:
    from infra import accepted
    from infra.packaging import Platform, Target
    from infra.stage import Stage
    from infra.stateful import Kept

    stage = Stage("prod", Target("3.14", Platform.ARM64), True, "", "", "", "", "", "", "", 1000)
    kept = Kept(*["x"] * len(Kept.__dataclass_fields__))
    decisions = [*accepted.in_stateful(), accepted.of_access_logs(), *accepted.in_stateless(stage, kept)]
    return {" ".join(decision.findings): decision.reason for decision in decisions}
