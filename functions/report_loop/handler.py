"""Comes from the schedule, or `closedloop report build`; reads the lake; writes reports to S3, `latest/` last."""

from __future__ import annotations

from typing import Any

from closedloop.runtime.report import build_reports


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return build_reports(event, context)
