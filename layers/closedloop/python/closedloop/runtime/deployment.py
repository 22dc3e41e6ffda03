"""Which deployment a command speaks to: the local run, or a stage in an AWS account."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path

from closedloop.errors import Refused
from closedloop.runtime import settings

LOCAL = Path(".local/outputs.json")
OUTPUTS = {
    "EventsTable": settings.EVENTS_TABLE, "StateTable": settings.STATE_TABLE, "LakeBucket": settings.LAKE_BUCKET,
    "ReportsBucket": settings.REPORTS_BUCKET, "SecretName": settings.SECRET_NAME,
    "SiteSecretsPrefix": settings.SITE_SECRETS_PREFIX, "StageTransitionsArn": settings.STAGE_TRANSITIONS_ARN,
    "ReportFunction": settings.REPORT_FUNCTION, "Endpoint": settings.PUBLIC_URL,
}


class NoDeployment(Refused):
    """No deployment was named and none is running here; the operator must name one."""


def use(stage: str | None, outputs: Path | None) -> str:
    """Take the settings of a deployment for this process: a stage's stacks, a file of outputs, or what is set already.

    Shapes: gives back in words which deployment it is. Errors: NoDeployment.
    """
    if stage:
        os.environ.update(_of_stage(stage))
        return f"stage {stage}"
    path = outputs or LOCAL
    if path.exists():
        try:
            content = json.loads(path.read_text())
            os.environ.update({**content["environment"], settings.REPORT_FUNCTION: content["report_function"]})
        except (ValueError, KeyError, TypeError) as error:
            raise NoDeployment(f"{path} is not the outputs.json of a local run") from error
        return f"local run ({path})"
    if outputs:
        raise NoDeployment(f"{outputs} does not exist")
    if settings.STATE_TABLE in os.environ:
        return "the environment's settings"
    raise NoDeployment("no deployment: start one here with `make run`, or name a stage with --stage")


def operator() -> str:
    """Who is at the keyboard, by the name they are logged in with."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user may have no name.
        return f"user {os.getuid()}"


def _of_stage(stage: str) -> dict[str, str]:
    from botocore.exceptions import BotoCoreError, ClientError

    from closedloop.runtime import doors

    found = {settings.STAGE: stage}
    for stack in (f"closedloop-{stage}-stateful", f"closedloop-{stage}-stateless"):
        try:
            described = doors.boto("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        except (ClientError, BotoCoreError) as error:
            raise NoDeployment(f"stack {stack} cannot be read: {error}") from error
        for output in described.get("Outputs", ()):
            if output["OutputKey"] in OUTPUTS:
                found[OUTPUTS[output["OutputKey"]]] = output["OutputValue"]
    return found
