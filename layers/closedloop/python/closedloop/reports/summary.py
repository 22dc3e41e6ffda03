"""A report for machines: summary.json, its JSON Schema, and a report read again from it."""

from __future__ import annotations

import json

from closedloop.reports.metrics import SCHEMA, SUMMARY, Report


def summary(report: Report) -> bytes:
    """A report for machines, in the shape that `schema` tells."""
    return SUMMARY.dump_json(report, indent=1) + b"\n"


def schema() -> bytes:
    """What stands in a report for machines, as JSON Schema."""
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": f"Closed Loop report, schema {SCHEMA}", **SUMMARY.json_schema(mode="serialization")}
    return json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def read_summary(body: bytes) -> Report | None:
    """A report again from its summary; nothing where it was written in another shape than today's."""
    return SUMMARY.validate_json(body) if json.loads(body).get("schema") == SCHEMA else None
