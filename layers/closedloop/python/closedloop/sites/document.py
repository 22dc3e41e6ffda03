"""Reads a definition file: YAML 1.2, checked against its model, with errors that name file, line and column.

Of YAML's values only those of its core schema are read: `on`, `no`, `1_000` and 2026-09-01 are words, as in the file.
Source: YAML 1.2.2, chapter 10.3, core schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from closedloop.errors import BadDefinition
from closedloop.sites.definition import Place
from closedloop.sites.words import did_you_mean, listed, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)

# A definition is kept as one item of DynamoDB, which holds 400 KB; no plan that people wrote comes near.
LARGEST = 200_000
DEEPEST = 40

NOTHING = re.compile(r"(?:null|Null|NULL|~|)")
BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
INT = re.compile(r"[-+]?[0-9]{1,30}")
OCTAL, HEX = re.compile(r"0o[0-7]{1,30}"), re.compile(r"0x[0-9a-fA-F]{1,30}")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,30}|[0-9]{1,30}(?:\.[0-9]{0,30})?)(?:[eE][-+]?[0-9]{1,5})?")
INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class Document:
    """A definition file as read: its values, and where each of them stands.

    Errors: BadDefinition when it is no text, no YAML or too large, holds an alias or tag, or gives a name twice.
    """

    def __init__(self, content: str | bytes, file: str) -> None:
        self.file = file
        self._places: dict[Place, tuple[int, int]] = {}
        self._blocks: set[Place] = set()
        text = self._text(content)
        self._text_lines = text.splitlines()
        # ruamel is not in the functions' layers: only commands read files.
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            self.values: Any = self._document(iter(YAML(typ="safe", pure=True).parse(text)))
        except MarkedYAMLError as error:
            raise self._bad(*_spoken(error)) from error
        except (YAMLError, ValueError) as error:
            # ruamel's reader names a sign that no YAML may hold, and how far from the start it is.
            at = getattr(error, "position", 0)
            before = text[:at] if isinstance(at, int) else ""
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            raise self._bad(line, column, "there is a sign here that text cannot hold; write the line again") from error

    def _bad(self, line: int, column: int, text: str) -> BadDefinition:
        return BadDefinition(self.file, ((line, column, text),))

    def _text(self, content: str | bytes) -> str:
        if len(content) > LARGEST:
            raise self._bad(0, 0, f"expected at most {LARGEST // 1000} KB, found {-(-len(content) // 1000)} KB")
        if isinstance(content, str):
            return content.removeprefix("\ufeff")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            column = len(content[: error.start].rpartition(b"\n")[2].decode()) + 1
            raise self._bad(line, column, "expected UTF-8 text; save the file as UTF-8") from error

    def _document(self, events: Iterator[Any]) -> Any:
        next(events)
        first = next(events)
        if not hasattr(first, "version"):
            raise self._bad(1, 1, "the file is empty; expected names and values, such as title: My site")
        if first.version or first.tags:
            raise self._bad(1, 1, "lines that begin with % are not allowed; a file is read as YAML 1.2")
        values = self._value((), next(events), events)
        next(events)
        after = next(events)
        if hasattr(after, "version"):
            raise self._bad(*_at(after.start_mark), "a second document begins here; a file holds one")
        return values

    def _value(self, place: Place, event: Any, events: Iterator[Any]) -> Any:
        """The value that begins with an event, and everything inside it.

        Source: ruamel.yaml's events: scalars, and starts and ends of sequences and mappings.
        """
        kind, at = type(event).__name__, _at(event.start_mark)
        self._places.setdefault(place, at)
        if kind == "AliasEvent":
            raise self._bad(*at, "aliases (*name) are not allowed; write the value out")
        if event.anchor is not None:
            raise self._bad(*at, "anchors (&name) are not allowed; write the value out where it is needed")
        if event.tag is not None:
            raise self._bad(*at, f"tags ({event.tag}) are not allowed; write the plain value")
        if len(place) > DEEPEST:
            raise self._bad(*at, f"this is nested deeper than {DEEPEST} levels")
        if kind == "ScalarEvent":
            if event.style in ("|", ">"):
                self._blocks.add(place)
            return _plain(event.value) if event.implicit[0] else event.value
        if kind == "SequenceStartEvent":
            entries: list[Any] = []
            while type(event := next(events)).__name__ != "SequenceEndEvent":
                entries.append(self._value((*place, len(entries)), event, events))
            return entries
        return self._mapping(place, events)

    def _mapping(self, place: Place, events: Iterator[Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while type(key := next(events)).__name__ != "MappingEndEvent":
            at = _at(key.start_mark)
            if type(key).__name__ != "ScalarEvent" or key.anchor is not None or key.tag is not None or not key.value:
                raise self._bad(*at, "expected a plain name before the colon")
            if key.value in values:
                first, _ = self._places[*place, key.value]
                raise self._bad(*at, f"{key.value} is given twice; the first time on line {first}")
            self._places[*place, key.value] = at
            values[key.value] = self._value((*place, key.value), next(events), events)
        return values

    def at(self, place: Place, inside: int = 0, word: str = "") -> tuple[int, int]:
        """Line and column of what stands at a place, its name where it has one, or of the nearest thing around it.

        Shapes: `inside` counts the lines of a text from 1; a text of several lines begins below its name, and the
        column is then that of `word` in it.
        """
        near = (place[:size] for size in range(len(place), 0, -1))
        line, column = next((self._places[one] for one in near if one in self._places), (1, 1))
        if place not in self._blocks or not inside:
            return line, column
        words = self._text_lines[line + inside - 1] if line + inside <= len(self._text_lines) else ""
        found = re.search(rf"\b{re.escape(word)}\b" if word else r"\S", words)
        return line + inside, found.start() + 1 if found else 1

    def read_as(self, model: type[Model]) -> Model:
        """The document as the definition it claims to be.

        Errors: BadDefinition with every problem found, each with its line and what was expected.
        """
        if not isinstance(self.values, dict):
            raise self._bad(1, 1, f"expected names and values, such as title: My site, found {_shown(self.values)}")
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            schema = model.model_json_schema()
            details = error.errors(include_url=False)
            meant = {(*_place(one)[:-1], _meant(one, schema)) for one in details if one["type"] == "extra_forbidden"}
            found = {
                (*self.at(_place(one)), _sentence(one, schema)) for one in details
                if not (one["type"] == "missing" and _place(one) in meant) and not _follows(one)
            }
            raise BadDefinition(self.file, tuple(sorted(found))) from error


def _plain(word: str) -> Any:
    """A word without quotes, as YAML's core schema reads it."""
    if NOTHING.fullmatch(word):
        return None
    if BOOL.fullmatch(word):
        return word.lower() == "true"
    if INT.fullmatch(word):
        return int(word)
    if OCTAL.fullmatch(word) or HEX.fullmatch(word):
        return int(word, 0)
    if FLOAT.fullmatch(word) or INFINITE.fullmatch(word):
        return float(word.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf").replace(".nan", "nan")
                     .replace(".NaN", "nan").replace(".NAN", "nan"))
    return word


def _at(mark: Any) -> tuple[int, int]:
    """Where one of ruamel's marks stands, counted from 1."""
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _spoken(error: Any) -> tuple[int, int, str]:
    """What ruamel stumbled over, as somebody would say it who writes plans and not programs."""
    problem, context = str(error.problem or ""), str(error.context or "")
    mark = error.problem_mark or error.context_mark
    opened = _at(error.context_mark or mark)
    here = _at(mark)
    if "'\\t'" in problem or "tab" in problem.lower():
        return *here, "a tab stands here; indent with spaces"
    if "quoted scalar" in context and "end of" in problem:
        return *opened, "a quote that opens here is never closed"
    if "flow" in context:
        return *opened, "a bracket opens here; expected values with commas between, and a bracket that closes"
    if "mapping values are not allowed" in problem:
        return *here, "a colon does not fit here; put a value that holds one in quotes, or look at the line above"
    if "sequence entries are not allowed" in problem:
        return *here, "an entry of a list (- ...) begins on a line of its own"
    if "escape" in problem:
        return *here, "a backslash in double quotes begins a special sign; use single quotes"
    if "<scalar>" in problem:
        return *here, "something follows where the value has ended; put the whole value in quotes"
    if "could not find expected ':'" in problem:
        return *opened, "expected name: value, with a colon and a space"
    if "expected <block end>" in problem or "did not find expected" in problem:
        return *here, "this line is indented otherwise than those that it belongs to"
    if "cannot start any token" in problem:
        return *here, "a value that begins with this sign needs quotes"
    return *here, f"cannot be read as YAML: {problem or context}"


def _place(detail: ErrorDetails) -> Place:
    return tuple(step for step in detail["loc"] if step != "[key]")


def _meant(detail: ErrorDetails, schema: Mapping[str, Any]) -> str:
    """The known name that an unknown one was probably meant to be."""
    place = _place(detail)
    return nearest(str(place[-1]), _schema_at(schema, place[:-1]).get("properties", ()))


def _follows(detail: ErrorDetails) -> bool:
    """Whether this says no more than that an entry of a list was refused."""
    return detail["type"] == "too_short" and bool(detail.get("input"))


# What pydantic calls what it found, and what was expected; the braces are filled from its own figures.
EXPECTED = {
    "string_type": "text", "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number",
    "finite_number": "a number that is not endless", "bool_type": "true or false",
    "greater_than": "more than {gt:g}", "greater_than_equal": "at least {ge:g}", "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}", "string_too_short": "some text",
    "too_short": "at least one entry", "dict_type": "names and values below it",
    "model_type": "names and values below it", "model_attributes_type": "names and values below it",
}


def _sentence(detail: ErrorDetails, schema: Mapping[str, Any]) -> str:
    """One problem: the name it is about, what was expected, what was found."""
    place, kind, given = _place(detail), detail["type"], detail.get("input")
    context: Mapping[str, Any] = detail.get("ctx") or {}
    name = next((step for step in reversed(place) if isinstance(step, str)), "")
    says = f"{name}: " if name else ""
    if kind == "extra_forbidden":
        known = sorted(_schema_at(schema, place[:-1]).get("properties", {}))
        near = did_you_mean(name, known)
        return f"{name}: unknown name{near or f'; expected {listed(known)}'}"
    if kind == "missing":
        return f"{says}is missing"
    if kind in ("said", "value_error"):
        return f"{says}{detail['msg'].removeprefix('Value error, ')}"
    if detail["loc"][-1] == "[key]":
        keys = _schema_at(schema, place[:-1]).get("propertyNames", {})
        return f"{name}: {keys.get('patternErrorMessage', 'expected text of at most 300 characters')}"
    found = f", found {_shown(given)}"
    if kind in ("literal_error", "enum"):
        options = _options(_schema_at(schema, place))
        return f"{says}expected {listed(options)}{found}{did_you_mean(str(given), options)}"
    if kind == "string_pattern_mismatch":
        return f"{says}{_schema_at(schema, place).get('patternErrorMessage', 'expected another form')}{found}"
    if kind == "string_too_long":
        return f"{says}expected at most {context['max_length']} characters, found {len(str(given))}"
    if kind in ("tuple_type", "list_type"):
        example = given if isinstance(given, str) and given.isalnum() else "a"
        return f"{says}expected a list, such as [{example}]{found}"
    if kind in EXPECTED:
        return f"{says}expected {EXPECTED[kind].format(**context)}{found}{_hint(kind, given)}"
    return f"{says}{detail['msg']}{found}"


def _hint(kind: str, given: Any) -> str:
    """What to write instead, where that is plain."""
    if kind == "string_type" and isinstance(given, bool | int | float):
        return "; put it in quotes"
    if kind == "bool_type" and isinstance(given, str):
        meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
        word = given.lower()
        return f"; write {meant[word]}" if word in meant else "; leave out the quotes" if BOOL.fullmatch(given) else ""
    if kind in ("int_type", "float_type") and isinstance(given, str):
        if FLOAT.fullmatch(given):
            return "; leave out the quotes"
        bare = re.sub(r"(?<=\d)[_,](?=\d)", "", given)
        return f"; write {bare}" if bare != given and FLOAT.fullmatch(bare) else ""
    return ""


def _shown(value: Any) -> str:
    """A value as it stands in the file, short."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "names and values"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = str(value) if isinstance(value, int | float) else f"'{value}'"
    return text if len(text) <= 60 else f"{text[:57]}...'"


def _schema_at(schema: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """What the model says of a place: its JSON Schema, with what it refers to put in."""

    def told(node: Mapping[str, Any]) -> Mapping[str, Any]:
        while True:
            options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
            if options:
                node = {**options[0], **{name: value for name, value in node.items() if name != "anyOf"}}
            elif "$ref" in node:
                node = schema["$defs"][node["$ref"].rpartition("/")[2]]
            else:
                return node

    node = told(schema)
    for step in place:
        below: Any = node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step)
        if below is None:
            below = next(iter(node.get("patternProperties", {}).values()), None) or node.get("additionalProperties")
        if not isinstance(below, Mapping):
            return {}
        node = told(below)
    return node


def _options(node: Mapping[str, Any]) -> list[str]:
    """The words that may stand at a place."""
    return [str(option) for option in node.get("enum", (node["const"],) if "const" in node else ())]
