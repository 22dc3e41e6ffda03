"""The shape of a loop's file as JSON Schema, for editors that help while a plan is written."""

from __future__ import annotations

from typing import Any

from closedloop.loops.definition import Loop


def json_schema() -> dict[str, Any]:
    """What may stand in a loop's file, and what each name means.

    Source: JSON Schema 2020-12; `patternErrorMessage` is a word of yaml-language-server's.
    """
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A loop of Closed Loop"}
    return {**dialect, **_told(Loop.model_json_schema(by_alias=True))}


def _told(node: Any) -> Any:
    """A part of the schema without the titles that programs give, and with the first sentences of its descriptions."""
    if isinstance(node, list):
        return [_told(part) for part in node]
    if not isinstance(node, dict):
        return node
    plain: dict[str, Any] = {}
    for name, part in node.items():
        if name == "properties":
            plain[name] = {word: _told(told) for word, told in part.items()}
        elif name == "description":
            plain[name] = part.partition("\n\n")[0].replace("\n", " ")
        elif name != "title":
            plain[name] = _told(part)
    if "patternProperties" in plain:
        plain["additionalProperties"] = False
    return plain
