"""The columns of a compacted day, in the order of its files: flat, typed alike in DuckDB and in Athena.

compacted/events/dt=DAY/part-0.parquet and compacted/decisions/dt=DAY/part-0.parquet hold one row for each distinct
line delivered; DAY is the UTC day of receipt, or of the decision. Keys are text: a job makes its own hashes and enums.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from closedloop.events import event as names
from closedloop.lake import layout


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its type, and how it is read from a line as delivered.

    Shapes: the type is one of TYPES; texts are empty and never NULL, `amount_minor` and `draw` may be NULL.
    Units: times are UTC without a zone, in microseconds; money is in minor units.
    """

    name: str
    type: str
    reading: str


# Each type in DuckDB's word and in Athena's.
TYPES: Mapping[str, str] = MappingProxyType({
    "VARCHAR": "string", "BIGINT": "bigint", "BOOLEAN": "boolean", "DOUBLE": "double", "TIMESTAMP": "timestamp",
})
# How many lines were delivered that say the very same.
COPIES = Column("copies", "BIGINT", "count(*)")


def _text(name: str, source: str = "") -> Column:
    return Column(name, "VARCHAR", f'coalesce("{source or name}", \'\')')


def _told(name: str, key: str = "") -> Column:
    """A text of the event's own properties."""
    return Column(name, "VARCHAR", f"coalesce(json_extract_string(properties, '$.{key or name}'), '')")


def _said(name: str, key: str = "") -> Column:
    """Whether the event's own properties say so."""
    return Column(name, "BOOLEAN", f"coalesce(json_extract_string(properties, '$.{key or name}') = 'true', false)")


def _time(name: str, source: str = "") -> Column:
    return Column(name, "TIMESTAMP", f'CAST(left("{source or name}", 23) AS TIMESTAMP)')


EVENTS: tuple[Column, ...] = (
    *map(_text, ("id", "packet")), Column("schema_version", "BIGINT", 'coalesce("schema", 0)'),
    *map(_text, ("site", "door", "type", "name", "visitor")),
    Column("known_id", "VARCHAR", "coalesce(ids[1], '')"),
    Column("ids_text", "VARCHAR", "coalesce(array_to_string(ids, ' '), '')"),
    _text("deal"), _time("occurred_at"), _time("received_at"), Column("late", "BOOLEAN", "coalesce(late, false)"),
    *map(_text, ("channel", "medium", "source")), _text("utm_campaign", "campaign"),
    *map(_text, ("term", "source_rule", "host", "path", "title", "topic", "grade", "grade_reason", "consent")),
    Column("amount_minor", "BIGINT", "amount_minor"), _text("currency"), _said("deal_is_open", "stage_is_open"),
    _told("of_list", "list"), _told("form"), _told("told_campaign", "campaign"), _told("of_loop", "loop"),
    *map(_told, ("message_id", "link", "hidden")), _told("cost_day", "day"), *map(_said, ("incentive", "soft")),
    # Only these two doors take back what they told.
    Column("retracts", "VARCHAR", "CASE WHEN door IN ('list', 'operator') "
           "THEN coalesce(json_extract_string(properties, '$.retracts'), '') ELSE '' END"),
    Column("traits", "VARCHAR", f"CASE WHEN type = 'identify' OR name = '{names.FORM_SUBMITTED}' "
           "THEN coalesce(traits, '') ELSE '' END"),
    _text("properties"), COPIES,
)
DECISIONS: tuple[Column, ...] = (
    *map(_text, ("id", "kind", "person", "anchor", "loop", "version", "gate", "campaign", "from_stage", "to_stage",
                 "outcome", "hold_kind", "reason", "arm")),
    Column("draw", "DOUBLE", "draw"), _time("decided_at", "at"), *map(_text, ("run", "detail")), COPIES,
)
COLUMNS: Mapping[str, tuple[Column, ...]] = MappingProxyType({layout.EVENTS: EVENTS, layout.DECISIONS: DECISIONS})

# What stands on a line as delivered, by name and type.
LINES: Mapping[str, Mapping[str, str]] = MappingProxyType({
    layout.EVENTS: {
        **dict.fromkeys((
            "id", "packet", "site", "door", "type", "name", "visitor", "deal", "occurred_at", "received_at", "channel",
            "medium", "source", "term", "campaign", "source_rule", "host", "path", "title", "topic", "grade",
            "grade_reason", "consent", "currency", "properties", "traits",
        ), "VARCHAR"),
        "schema": "BIGINT", "ids": "VARCHAR[]", "late": "BOOLEAN", "amount_minor": "BIGINT",
    },
    layout.DECISIONS: {
        **dict.fromkeys((
            "id", "kind", "person", "anchor", "loop", "version", "gate", "campaign", "from_stage", "to_stage",
            "outcome", "hold_kind", "reason", "arm", "at", "run", "detail",
        ), "VARCHAR"),
        "draw": "DOUBLE",
    },
})
# Whose facts lie together, so that a person's are read from one place.
SORTED: Mapping[str, str] = MappingProxyType({
    layout.EVENTS: "CASE WHEN known_id <> '' THEN known_id WHEN visitor <> '' THEN visitor ELSE deal END",
    layout.DECISIONS: "person",
})


def delivered(prefix: str, lines: Sequence[str], parquet: Sequence[str], only: Collection[str]) -> str:
    """The question for what was delivered, from files of lines and of compacted days, in the columns asked for."""
    columns = [column for column in COLUMNS[prefix] if column.name in only]
    read = ", ".join(f"{'1' if column is COPIES else column.reading} AS {column.name}" for column in columns)
    parts = [f"SELECT {read} FROM ({as_lines(lines, LINES[prefix])})"]  # noqa: S608  made of our own constants
    if parquet:
        names = ", ".join(column.name for column in columns)
        files = ", ".join(map(quoted, parquet))
        parts.append(f"SELECT {names} FROM read_parquet([{files}], hive_partitioning = false)")  # noqa: S608  the same
    return " UNION ALL ".join(parts)


def day(prefix: str, lines: Sequence[str]) -> str:
    """The question for one day as it is compacted: what says the very same once, a person's facts together in time."""
    read = ", ".join(f"{column.reading} AS {column.name}" for column in COLUMNS[prefix])
    names = ", ".join(column.name for column in COLUMNS[prefix])
    at = "decided_at" if prefix == layout.DECISIONS else "occurred_at"
    return (  # made of our own constants
        f"SELECT {names} FROM (SELECT {read} FROM ({as_lines(lines, LINES[prefix])}) GROUP BY ALL) "  # noqa: S608
        f"ORDER BY {SORTED[prefix]}, {at}, id, {names}"
    )


def as_lines(files: Sequence[str], columns: Mapping[str, str]) -> str:
    """The lines of files as rows; the same columns without a row where there is no file."""
    if not files:
        typed = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in columns.items())
        return f"SELECT * FROM (SELECT {typed}) WHERE false"  # noqa: S608  made of our own constants
    named = ", ".join(map(quoted, files))
    shape = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in columns.items())
    options = f"format = 'newline_delimited', columns = {{{shape}}}"
    return f"SELECT * FROM read_json([{named}], {options})"  # noqa: S608  quoted above


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"
