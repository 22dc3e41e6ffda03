"""Reads a definition file: YAML 1.2, checked against its model, with errors that name file and line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from closedloop.errors import BadDefinition

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)


class Document:
    """A definition file as read: its values, and the line on which each of them stands.

    Errors: BadDefinition when it is no YAML, holds an alias, or names a key twice.
    """

    def __init__(self, text: str, file: str) -> None:
        # ruamel reads YAML 1.2, where `on` and `no` are words; it is not in the functions' layers.
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError
        from ruamel.yaml.events import AliasEvent

        self.file = file
        yaml = YAML(typ="rt", pure=True)
        try:
            for event in yaml.parse(text):
                if isinstance(event, AliasEvent):
                    raise BadDefinition(file, ((event.start_mark.line + 1, "aliases (*name) are not allowed; write the value out"),))
            self.values: Any = yaml.load(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = error.problem or error.context or "cannot be read as YAML"
            raise BadDefinition(file, ((mark.line + 1 if mark else 0, what),)) from error
        except (YAMLError, ValueError) as error:
            raise BadDefinition(file, ((0, f"cannot be read as YAML: {error}"),)) from error

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the value at a path, or of the nearest thing around it."""
        node: Any = self.values
        line = 1
        for step in path:
            try:
                marks = node.lc
                where = marks.key(step) if isinstance(node, dict) else marks.item(step)
                line, node = where[0] + 1, node[step]
            except (KeyError, IndexError, AttributeError, TypeError):
                break
        return line

    def read_as(self, model: type[Model]) -> Model:
        """The document as the definition it claims to be.

        Errors: BadDefinition with every problem found, each with its line and what was expected.
        """
        if not isinstance(self.values, dict):
            raise BadDefinition(self.file, ((1, "expected a mapping of names to values"),))
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            problems = tuple(
                (self.line(detail["loc"]), _sentence(detail, model)) for detail in error.errors(include_url=False)
            )
            raise BadDefinition(self.file, problems) from error


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    place = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), _names(model), n=1)
        return f"{place}: unknown name" + (f"; did you mean {near[0]}?" if near else "")
    if detail["type"] == "missing":
        return f"{place}: is missing"
    message = detail["msg"].removeprefix("Value error, ")
    given = detail.get("input")
    shown = f" (found {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{place}: {message}{shown}" if place else f"{message}{shown}"


def _names(model: type[BaseModel]) -> list[str]:
    """Every name that a file of this kind may use, at any depth."""
    names: set[str] = set()
    for definition in [model.model_json_schema(), *model.model_json_schema().get("$defs", {}).values()]:
        names.update(definition.get("properties", {}))
    return sorted(names)
