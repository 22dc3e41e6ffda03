"""Definition files: what is wrong is named with its line, in words; what is right is read as it is written."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from closedloop.capture.mail import PROVIDERS
from closedloop.errors import BadDefinition
from closedloop.events.event import EMAIL_OPENED
from closedloop.loops.definition import COUNTED_IN_A_WINDOW, Cost, Loop
from closedloop.loops.lint import problems_with
from closedloop.loops.schema import json_schema
from closedloop.profiles.fold import MOMENTS
from closedloop.sites.definition import MAIL_OPENED, EmailProvider, Site, version_of
from closedloop.sites.document import LARGEST, Document
from closedloop.sites.words import did_you_mean, listed

VECTORS = sorted(Path("tests/vectors/definitions").glob("*.yaml"))
# The plan that the files started-... change after its start.
STARTED = Path("tests/vectors/plans/started.yaml")
EXAMPLES = Path("examples")
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


def read(path: Path, sites: Sequence[str] = ("demo",)) -> Site | Loop:
    """A file as it is read when it is applied: a site, a loop, or a loop that is held against all that is known."""
    document = Document(path.read_bytes(), path.name)
    if path.name.startswith("site-"):
        return document.read_as(Site)
    loop = document.read_as(Loop)
    if path.name.startswith("started-"):
        plan = STARTED.with_stem("started-with-tracks") if "-tracks-" in path.name else STARTED
        former, sites = [Document(plan.read_bytes(), plan.name).read_as(Loop)], ("demo", "other")
    else:
        former = []
    if path.name.startswith(("applied-", "started-")) and (problems := problems_with(
        loop, the_sites(*sites), document, NOW, former=former, loops=["spring", "autumn"],
    )):
        raise BadDefinition(path.name, problems)
    return loop


def the_sites(*names: str) -> dict[str, Site]:
    return {name: the_example("sites/demo.yaml", Site).model_copy(update={"site": name}) for name in names}


def the_example(name: str, model: type[Any]) -> Any:
    return Document((EXAMPLES / name).read_bytes(), name).read_as(model)


def problems_of(text: str | bytes, model: type[Site] | type[Loop]) -> str:
    with pytest.raises(BadDefinition) as refused:
        Document(text, "a.yaml").read_as(model)
    return str(refused.value)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_bad_file_is_refused_with_line_and_words(path: Path) -> None:
    with pytest.raises(BadDefinition) as refused:
        read(path)
    assert f"{refused.value}\n" == path.with_suffix(".expected").read_text()


def test_there_are_many_bad_files_and_none_is_blamed_without_line_and_column() -> None:
    assert len(VECTORS) >= 20
    for path in VECTORS:
        for line in path.with_suffix(".expected").read_text().splitlines():
            assert re.match(rf"{re.escape(path.name)}:[1-9]\d*:[1-9]\d*: \S", line), line


# Words of the libraries below that mean nothing to whoever wrote the file.
FOREIGN = (
    "input should", "pydantic", "parse", "scalar", "block end", "dict", "tuple", "nonetype", "validation", "regex",
    "pattern", "str_type", "ruamel",
)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_no_message_speaks_the_language_of_a_library(path: Path) -> None:
    words = path.with_suffix(".expected").read_text().lower()
    assert [word for word in FOREIGN if word in words] == []


def test_the_examples_are_read_and_fit_each_other() -> None:
    document = Document((EXAMPLES / "loops/autumn-pumps.yaml").read_bytes(), "autumn-pumps.yaml")
    assert problems_with(document.read_as(Loop), the_sites("demo"), document, NOW, loops=()) == ()


def test_somebody_who_buys_at_once_needs_no_gate_in_between() -> None:
    loop: Loop = the_example("loops/autumn-pumps.yaml", Loop)
    assert [gate.name for gate in loop.gates_from("research")] == ["walk-in", "interested"]


SITE = "site: a\ntitle: A\nwrite_key: pk_12345678\norigins: [https://a.example]\n"

# What YAML 1.1 would read as true, false, 1000, a day, 190, 8 is a word or the plain number in 1.2.
WORDS = (
    ("on", "on"), ("no", "no"), ("NO", "NO"), ("yes", "yes"), ("y", "y"), ("off", "off"), ("1_000", "1_000"),
    ("2026-09-01", "2026-09-01"), ("2026-09-01T10:00:00Z", "2026-09-01T10:00:00Z"), ("3:10", "3:10"), ("=", "="),
    ("'on'", "on"), ("0o", "0o"), ("1e", "1e"), ("12:30:45", "12:30:45"), ("+-1", "+-1"), ("ポンプ", "ポンプ"),
    ("<<", "<<"), ("10kg", "10kg"),
)


@pytest.mark.parametrize(("written", "meant"), WORDS)
def test_words_stay_words(written: str, meant: str) -> None:
    assert Document(f"a: {written}\n", "a.yaml").values == {"a": meant}


VALUES = (
    ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-7", -7), ("+3", 3),
    ("010", 10), ("0o10", 8), ("0x1F", 31), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("-.inf", float("-inf")),
    ("[1, a, ~]", [1, "a", None]), ("{b: {c: 1}}", {"b": {"c": 1}}), ("[]", []), ('""', ""), ("'12'", "12"),
    ("|\n  two\n  lines\n", "two\nlines\n"), ("'it''s'", "it's"), ('"\\u3042"', "あ"),
)


@pytest.mark.parametrize(("written", "meant"), VALUES)
def test_values_are_those_of_the_core_schema(written: str, meant: object) -> None:
    found = Document(f"a: {written}\n", "a.yaml").values["a"]
    assert found == meant
    assert type(found) is type(meant)


def test_names_before_the_colon_are_text_even_when_they_look_like_numbers() -> None:
    assert Document("404: a\ntrue: b\non: c\n", "a.yaml").values == {"404": "a", "true": "b", "on": "c"}


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem() -> None:
    text = "\ufeff" + SITE.replace("\n", "\r\n")
    assert Document(text.encode("utf-8"), "a.yaml").read_as(Site).title == "A"


def test_a_very_large_file_is_refused_before_it_is_read() -> None:
    text = SITE + "# x\n" * (LARGEST // 4)
    assert problems_of(text, Site) == "a.yaml: expected at most 200 KB, found 201 KB"
    assert problems_of(b"\xff" * 10_000_000, Site) == "a.yaml: expected at most 200 KB, found 10000 KB"


def test_a_bomb_of_aliases_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 20))
    told = problems_of(bomb, Site)
    assert told == "a.yaml:1:4: anchors (&name) are not allowed; write the value out where it is needed"


def test_every_problem_of_a_file_is_told_at_once() -> None:
    told = problems_of("site: A A\ntitle: 1\nwrite_key: x\norigins: a\ncolour: red\n", Site).splitlines()
    assert [line.split(":")[1] for line in told] == ["1", "2", "3", "4", "5"]


def test_a_number_with_thousands_of_digits_is_no_number() -> None:
    assert ": page: expected a whole number, found '999" in problems_of(f"{SITE}points: {{page: {'9' * 5000}}}\n", Site)


def test_a_file_without_the_sender_that_mails_need_is_refused_with_the_line_of_the_mail() -> None:
    site = the_example("sites/demo.yaml", Site).model_copy(update={"mail_sender": None, "target_attributes": ()})
    document = Document((EXAMPLES / "loops/autumn-pumps.yaml").read_bytes(), "autumn-pumps.yaml")
    lines = (EXAMPLES / "loops/autumn-pumps.yaml").read_text().splitlines()
    told = problems_with(document.read_as(Loop), {"demo": site}, document, NOW)
    assert [(lines[line - 1].strip(), text) for line, _, text in told] == [
        ("- {metric: new_persons_with_fit, target: 150, by: 2027-03-31, fit: 60}",
         "metric: no site of the loop has target_attributes, so nobody has any fit"),
        ("mail:", "mail: site demo has no mail_sender, and mails leave in its name"),
        ("- fit: {at_least: 60}", "fit: no site of the loop has target_attributes, so nobody has any fit"),
    ]


def test_sites_of_a_loop_share_one_customer_list() -> None:
    text = (EXAMPLES / "loops/autumn-pumps.yaml").read_text().replace("sites: [demo]", "sites:\n  - demo\n  - other")
    document = Document(text, "autumn-pumps.yaml")
    assert problems_with(document.read_as(Loop), the_sites("demo", "other"), document, NOW) == (
        (6, 5, "sites: other shares no customer list with demo; give both the same group"),
    )


def test_names_that_are_kept_in_two_places_agree() -> None:
    assert frozenset(typing.get_args(EmailProvider)) == PROVIDERS
    assert MAIL_OPENED == EMAIL_OPENED
    assert COUNTED_IN_A_WINDOW == MOMENTS


def test_a_list_reads_as_people_write_it() -> None:
    said = [listed(names) for names in ((), ("a",), ("a", "b"), ("a", "b", "c"))]
    assert said == ["nothing", "a", "a or b", "a, b or c"]
    assert did_you_mean("Pumps", ["pump", "valves"]) == "; did you mean pump?"
    assert did_you_mean("turbine", ["pump", "valves"]) == ""


def test_a_day_is_read_as_a_day() -> None:
    loop: Loop = the_example("loops/autumn-pumps.yaml", Loop)
    assert (loop.period.start, loop.objectives[0].by) == (date(2026, 9, 1), date(2027, 3, 31))


WRITTEN = st.text(alphabet="ab:-#'\"|>[]{}&*!%@`,?~ \t\n0.1_on\u3042\\\x07", max_size=60)


@settings(deadline=None)
@given(WRITTEN | st.binary(max_size=60), st.sampled_from([Site, Loop]))
def test_whatever_is_written_is_read_or_refused_with_a_reason(text: str | bytes, model: type[Any]) -> None:
    with pytest.raises(BadDefinition) as refused:
        Document(text, "a.yaml").read_as(model)
    for line, column, words in refused.value.problems:
        assert line >= 0
        assert column >= 0
        assert words


NAMES = st.sampled_from(
    ["when", "all", "any", "not", "fit", "at_least", "deal", "name", "from", "to", "exclude", "attribute"]
)
PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-10**20, 10**20) | st.text("ab1-_. :", max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3), max_leaves=8,
)


# Reading YAML in pure Python takes its time, so a few dozen are enough here.
@settings(deadline=None, max_examples=40)
@given(PARTS, st.sampled_from(["gates", "campaigns", "objectives", "stages", "period", "sites", "currency"]))
def test_whatever_shape_a_part_has_its_problems_have_words(part: object, name: str) -> None:
    text = (EXAMPLES / "loops/autumn-pumps.yaml").read_text()
    start = re.search(rf"^{name}:.*\n(?:(?:  |#).*\n)*", text, re.MULTILINE)
    assert start is not None
    changed = f"{text[:start.start()]}{name}: {json.dumps(part)}\n{text[start.end():]}"
    with pytest.raises(BadDefinition) as refused:
        Document(changed, "a.yaml").read_as(Loop)
    for line, column, words in refused.value.problems:
        assert line > 0
        assert column > 0
        assert "Input should" not in words
        assert "{" not in words.replace("{ ", "")


# The schema that editors use.

SCHEMA = jsonschema.Draft202012Validator(json_schema())
OF_LOOPS = [path for path in VECTORS if path.stem.startswith("loop-")]
# What a schema cannot say: sums, order, names that refer to names, days of the calendar.
ABOVE_A_SCHEMA = {
    "loop-assumed-gate-unknown", "loop-audience-without-mail", "loop-capacity-at-unknown-stage",
    "loop-capacity-where-everybody-enters", "loop-budget-below-costs",
    "loop-campaign-for-unknown-stage", "loop-campaign-without-a-gate", "loop-capacity-of-unknown-stage",
    "loop-cost-after-the-end", "loop-cost-two-ways", "loop-empty-all", "loop-ends-before-it-starts",
    "loop-gate-backwards", "loop-gate-to-unknown-stage", "loop-mail-on-a-form",
    "loop-names-twice", "loop-notice-in-a-mail", "loop-notice-twice-to-one", "loop-two-actions-at-once",
    "loop-no-day-of-the-calendar", "loop-objective-after-the-end", "loop-objective-without-fit", "loop-open-as-proof",
    "loop-quiet-hours-without-end", "loop-stage-beside-the-path", "loop-stage-that-no-gate-leads-to",
    "loop-stage-that-nobody-leaves", "loop-time-zone", "loop-track-backwards",
    "loop-track-costs-more-than-the-budget", "loop-track-names-twice", "loop-track-objective-after-the-end",
    "loop-track-of-broken-path", "loop-track-of-unknown-stage", "loop-window-too-busy",
}


def test_the_schema_is_one_and_lies_beside_the_example_that_names_it() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    kept = json.loads((EXAMPLES / "loops/loop.schema.json").read_text())
    assert kept == json_schema(), "write it again: closedloop loop schema > examples/loops/loop.schema.json"
    first = (EXAMPLES / "loops/autumn-pumps.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=./loop.schema.json"


def test_every_name_of_a_loop_says_what_it_means_and_no_name_is_titled_by_a_program() -> None:
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        for name, told in part.get("properties", {}).items():
            assert str(told.get("description", "")).endswith("."), name
    assert json.dumps(schema).count('"title"') == 1


def test_an_editor_finds_nothing_wrong_with_an_example() -> None:
    for path in (EXAMPLES / "loops").glob("*.yaml"):
        assert list(SCHEMA.iter_errors(Document(path.read_bytes(), path.name).values)) == []


@pytest.mark.parametrize("path", OF_LOOPS, ids=lambda path: path.stem)
def test_an_editor_marks_the_mistakes_that_a_schema_can_tell(path: Path) -> None:
    values = Document(path.read_bytes(), path.name).values
    assert SCHEMA.is_valid(values) == (path.stem in ABOVE_A_SCHEMA)


def without_nothing(part: Any) -> Any:
    """The same without names that are given no value."""
    if isinstance(part, dict):
        return {name: without_nothing(value) for name, value in part.items() if value is not None}
    return [without_nothing(value) for value in part] if isinstance(part, list) else part


@settings(deadline=None, max_examples=60)
@given(PARTS, st.sampled_from(["gates", "campaigns", "objectives", "stages", "period", "budget", "assumptions"]))
def test_an_editor_marks_nothing_that_is_read_all_the_same(part: object, name: str) -> None:
    values = {**Document((EXAMPLES / "loops/autumn-pumps.yaml").read_bytes(), "a.yaml").values, name: part}
    values = without_nothing(values)
    if SCHEMA.is_valid(values):
        return
    with pytest.raises(ValidationError):
        Loop.model_validate(values)


# Versions.


def test_a_name_that_is_written_with_its_own_default_makes_no_other_version() -> None:
    path = EXAMPLES / "loops/autumn-pumps.yaml"
    text = path.read_text()
    same = text.replace("touchpoint: seminar}", "touchpoint: seminar, incentive: false}")
    other = text.replace("touchpoint: seminar}", "touchpoint: seminar, incentive: true}")
    versions = [version_of(Document(one, "a.yaml").read_as(Loop)) for one in (text, same, other)]
    assert text not in (same, other)
    assert versions[0] == versions[1] != versions[2]


def test_a_loop_is_read_back_from_the_store_as_the_same_version() -> None:
    loop: Loop = the_example("loops/autumn-pumps.yaml", Loop)
    assert Loop.model_validate_json(loop.model_dump_json(by_alias=True)) == loop


def test_what_a_campaign_costs_by_day_counts_day_by_day() -> None:
    by_day = Cost.model_validate({"by_day": {"2026-10-01": 150, "2026-10-03": 60}})
    assert [by_day.until(date(2026, 10, day)) for day in (1, 2, 3)] == [150, 150, 210]
    assert (by_day.total_minor, Cost(amount_minor=99).until(date(2026, 1, 1))) == (210, 99)
    assert Cost.model_validate_json(by_day.model_dump_json()) == by_day
