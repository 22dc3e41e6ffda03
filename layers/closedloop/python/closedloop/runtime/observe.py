"""One structured log line and the metrics of each outcome, with ids and counts and never what was sent."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from closedloop.errors import ClosedLoopError, Refused

NAMESPACE = "ClosedLoop"


@cache
def _logger() -> Any:
    from aws_lambda_powertools import Logger

    return Logger(log_uncaught_exceptions=False)


def note(context: Any, what: str, **facts: str | int | float | None) -> None:
    """One line about what happened, with the request's id."""
    _logger().info(what, extra={"request_id": getattr(context, "aws_request_id", ""), **facts})


def alarming(context: Any, what: str, **facts: str | int | float | None) -> None:
    """One line that an operator should see."""
    _logger().error(what, extra={"request_id": getattr(context, "aws_request_id", ""), **facts})


def stored(context: Any, facts: Mapping[str, str | int]) -> None:
    """One line about what a door took, written without the logger, which costs as much as the rest of a request."""
    line = {"level": "INFO", "message": "stored", "request_id": getattr(context, "aws_request_id", ""), **facts}
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    if facts.get("refused_ids"):
        count("RefusedIds", int(facts["refused_ids"]))


def refused(context: Any, error: Refused) -> None:
    note(context, "refused", error=type(error).__name__, status=error.status)
    count("Refused", 1)


def not_durable(context: Any, error: ClosedLoopError) -> None:
    alarming(context, "not stored", error=type(error).__name__)
    count("NotStored", 1)


def count(name: str, value: int) -> None:
    """Add to a metric of this function; the line is CloudWatch's embedded metric format."""
    from aws_lambda_powertools.metrics import MetricUnit, single_metric

    with single_metric(name=name, unit=MetricUnit.Count, value=value, namespace=NAMESPACE):
        pass
