"""Lists: cells as values, files as rows, rows as facts, and a plan that says what would change and whom it is about."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from closedloop.capture.lists import cells
from closedloop.capture.lists.cells import BadCell
from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.capture.lists.plan import Planned, Version, plan
from closedloop.capture.lists.reading import CsvFile, Reject
from closedloop.capture.lists.rows import Fact, RowReader
from closedloop.errors import BadDefinition, BadShape, TooLarge
from closedloop.events.packet import Packet, event_of
from closedloop.runtime.lists import rejects_csv
from closedloop.sites.definition import Site
from closedloop.sites.document import Document
from tests.builders import HASHER, a_site, address

VECTORS: dict[str, list[Any]] = json.loads(Path("tests/vectors/lists/cells.json").read_text(encoding="utf-8"))
EXAMPLES = sorted(Path("examples/imports").glob("*.yaml"))
TOKYO, NOW = ZoneInfo("Asia/Tokyo"), datetime(2026, 11, 24, 14, tzinfo=UTC)
PEOPLE = """
source: desk
kind: people
key: [No]
fields: {email: mail, customer_number: No, at: day, name: {column: who}}
"""


# Cells.


@pytest.mark.parametrize(("order", "cell", "moment"), VECTORS["dates"])
def test_a_date_is_read_as_its_source_writes_it(order: str, cell: str, moment: str) -> None:
    assert cells.moment_of(cell, order, TOKYO, NOW) == datetime.fromisoformat(moment)


@pytest.mark.parametrize(("order", "cell", "reason"), VECTORS["no_dates"])
def test_a_date_that_cannot_be_is_refused(order: str, cell: str, reason: str) -> None:
    with pytest.raises(BadCell) as refused:
        cells.moment_of(cell, order, TOKYO, NOW)
    assert str(refused.value) == reason


@given(some.dates(datetime(1989, 1, 8).date(), NOW.date().replace(day=23)))
def test_every_day_reads_the_same_in_all_its_forms(day: Any) -> None:
    era, first = ("令和", 2018) if day.isoformat() >= "2019-05-01" else ("平成", 1988)
    forms = (f"{day:%Y-%m-%d}", f"{day.year}/{day.month}/{day.day}", f"{day.year}年{day.month}月{day.day}日",
             f"{day:%Y%m%d}", f"{era}{day.year - first}年{day.month}月{day.day}日")
    assert len({cells.moment_of(form, "ymd", TOKYO, NOW) for form in forms}) == 1


@pytest.mark.parametrize(("currency", "cell", "minor"), VECTORS["money"])
def test_money_is_read_with_its_separators(currency: str, cell: str, minor: int) -> None:
    assert cells.money_of(cell, currency) == minor


@pytest.mark.parametrize(("currency", "cell", "reason"), VECTORS["no_money"])
def test_what_may_be_another_sum_is_refused(currency: str, cell: str, reason: str) -> None:
    with pytest.raises(BadCell) as refused:
        cells.money_of(cell, currency)
    assert str(refused.value) == reason


@pytest.mark.parametrize(("kind", "cell", "kept"), VECTORS["texts"])
def test_a_text_is_kept_as_a_form_would_keep_it(kind: str, cell: str, kept: str) -> None:
    assert cells.text_of(cell, kind, "JP") == kept


@pytest.mark.parametrize(("kind", "cell", "reason"), VECTORS["no_texts"])
def test_a_text_that_is_not_what_its_field_holds_is_refused(kind: str, cell: str, reason: str) -> None:
    with pytest.raises(BadCell) as refused:
        cells.text_of(cell, kind, "JP")
    assert str(refused.value) == reason


@pytest.mark.parametrize(("cell", "number"), VECTORS["numbers"])
def test_a_number_keeps_its_zeros_and_letters(cell: str, number: str) -> None:
    assert cells.number_of(cell) == number


@pytest.mark.parametrize(("cell", "reason"), VECTORS["no_numbers"])
def test_a_number_that_names_nobody_is_refused(cell: str, reason: str) -> None:
    with pytest.raises(BadCell) as refused:
        cells.number_of(cell)
    assert str(refused.value) == reason


@pytest.mark.parametrize(("cell", "holds"), VECTORS["corporate_numbers"])
def test_the_check_digit_of_a_corporate_number_must_fit(cell: str, holds: bool) -> None:
    try:
        assert (cells.corporate_number_of(cell), holds) == ("7000012050002", True)
    except BadCell:
        assert not holds


# Files.


def a_mapping(text: str = PEOPLE, **changes: Any) -> ListMapping:
    values = Document(text, "map.yaml").values
    return ListMapping.model_validate({**values, **changes})


def read(content: bytes, **changes: Any) -> list[tuple[int, str]]:
    """Each row's line with its cells, or with the reason why it is none."""
    rows = CsvFile(content, a_mapping(**changes)).rows()
    return [(row.line, row.reason if isinstance(row, Reject) else "/".join(row.cells)) for row in rows]


QUOTE = "a quote opens here that never closes, or closes inside a cell"
HEADER = "No,mail,day,who\n"
GOOD = "1,a@x.example,2026/1/1,港 花子\n"


@pytest.mark.parametrize(("encoding", "found"), [("utf-8", "utf-8"), ("utf-8-sig", "utf-8"), ("cp932", "cp932")])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encoding_line_ends_and_separator_are_found(encoding: str, found: str, line_end: str, separator: str) -> None:
    text = (HEADER + GOOD).replace(",", separator).replace("\n", line_end)
    file = CsvFile(text.encode(encoding), a_mapping())
    assert (file.encoding, file.separator) == (found, separator)
    assert [(row.line, row.cells) for row in file.rows() if not isinstance(row, Reject)] == [
        (2, ("1", "a@x.example", "2026/1/1", "港 花子"))
    ]


def test_a_line_in_another_encoding_than_its_file_is_rejected_and_the_others_go_on() -> None:
    lines = [f"{n},a{n}@x.example,2026/1/1,港 花子\n" for n in range(1, 6)]
    mixed = HEADER.encode() + b"".join(line.encode("cp932" if n == 2 else "utf-8") for n, line in enumerate(lines))
    assert [line for line, reason in read(mixed) if "not written in utf-8" in reason] == [4]
    assert len(read(mixed)) == 5
    mixed = HEADER.encode() + b"".join(line.encode("utf-8" if n == 2 else "cp932") for n, line in enumerate(lines))
    assert [line for line, reason in read(mixed) if "cp932" in reason] == [4]
    assert len(read(mixed)) == 5


def test_utf8_that_would_read_as_other_signs_of_the_code_page_is_not_taken_for_them() -> None:
    # 春日 in UTF-8 is 譏･譌･ in the code page: no byte is wrong, and all of it is.
    mixed = (HEADER + GOOD + GOOD).encode("cp932") + "2,b@x.example,2026/1/1,春日\n".encode()
    assert read(mixed)[-1] == (4, "the row is written in utf-8, the file in cp932")


def test_half_width_kana_that_happen_to_be_utf8_are_taken_for_kana() -> None:
    kana = "1,a@x.example,2026/1/1,ﾃ･\n"
    assert read((HEADER + GOOD + GOOD + kana).encode("cp932"))[-1] == (4, "1/a@x.example/2026/1/1/ﾃ･")


@pytest.mark.parametrize(("text", "rows"), [
    (GOOD + "2,b,c\n" + GOOD, [2, (3, "expected 4 cells, found 3"), 4]),
    (GOOD + "2,b,c,d,e\n" + GOOD, [2, (3, "expected 4 cells, found 5"), 4]),
    (GOOD + '2,"b,c,d\n' + GOOD + GOOD, [2, (3, QUOTE), 4, 5]),
    (GOOD + '2,"b"x,c,d\n' + GOOD, [2, (3, QUOTE), 4]),
    (GOOD + '2,"b,c,d\n' + GOOD + '3,"x",c,d\n', [2, (3, QUOTE), 4, 5]),
    ('1,"a@x\n.example",2026/1/1,who\n' + GOOD, [2, 4]),
    ("\n\n,,,\n" + GOOD + "\n", [5]),
    (GOOD + f"2,b,c,{'x' * 10_000_000}\n" + GOOD, [2, (3, "a cell has over 131,072 characters"), 4]),
    (GOOD + "2,b\x00,c,d\n" + GOOD, [2, (3, "the row holds a sign that text cannot hold"), 4]),
])
def test_a_broken_row_costs_itself_alone(text: str, rows: list[int | tuple[int, str]]) -> None:
    found = read((HEADER + text).encode())
    assert [line for line, _ in found] == [row if isinstance(row, int) else row[0] for row in rows]
    assert [one for one in found if one in rows] == [row for row in rows if not isinstance(row, int)]


def test_rows_between_a_quote_that_never_closes_and_the_end_are_not_lost() -> None:
    found = read((HEADER + '2,"b,c,d\n' + GOOD * 500).encode())
    assert len(found) == 501
    assert found[0] == (2, QUOTE)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "the file is empty; expected a line with the names of the columns"),
    (b"No,mail,day\n", "the header has no column who; it has No, mail and day"),
    (b"No,mial,day,who\n", "the header has no column mail; did you mean mial?; it has No, mial, day and who"),
    (b"No,mail,day,who,mail\n", "the header names mail twice, so nobody can tell which is meant"),
    (HEADER.encode("utf-16"), "the file is UTF-16; save it as CSV UTF-8"),
])
def test_a_file_whose_columns_are_not_those_of_its_mapping_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(BadShape) as refused:
        read(content)
    assert str(refused.value) == reason


def test_a_file_that_no_function_could_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("closedloop.capture.lists.reading.MOST_BYTES", 10)
    with pytest.raises(TooLarge):
        read(HEADER.encode())


def test_lines_above_the_header_are_left_out_when_the_mapping_says_so() -> None:
    assert read(("a title\n\n" + HEADER + GOOD).encode(), skip_lines=2) == [(4, "1/a@x.example/2026/1/1/港 花子")]


def test_columns_may_be_written_in_full_width() -> None:
    assert read(("Ｎｏ,mail,day,who,more\n" + GOOD[:-1] + ",x\n").encode())[0][0] == 2


# Rows.


def facts(content: str, site: Site | None = None, **changes: Any) -> list[Fact | list[Reject]]:
    mapping = a_mapping(**changes)
    file = CsvFile(content.encode(), mapping)
    reader = RowReader(mapping, site or a_site(), HASHER, file.header, NOW)
    return [[row] if isinstance(row, Reject) else reader.fact(row) for row in file.rows()]


def a_fact(content: str, **changes: Any) -> Fact:
    (fact,) = facts(content, **changes)
    assert isinstance(fact, Fact), fact
    return fact


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_row_of_the_examples_is_a_fact_that_can_be_read_back(path: Path) -> None:
    mapping = Document(path.read_bytes(), path.name).read_as(ListMapping)
    file = CsvFile(path.with_suffix(".csv").read_bytes(), mapping)
    reader = RowReader(mapping, a_site(), HASHER, file.header, NOW)
    told = [reader.fact(row) for row in file.rows() if not isinstance(row, Reject)]
    assert len(told) >= 2
    for fact in told:
        assert isinstance(fact, Fact), fact
        event = event_of(Packet("I#x", "northwind", "list", NOW, ()), fact.record)  # type: ignore[arg-type]
        assert event.id.startswith("northwind/list/")
        assert event.occurred_at <= NOW


def test_no_record_holds_what_names_a_person() -> None:
    fact = a_fact(HEADER + GOOD)
    assert fact.contact == {address("a@x.example"): {"email": "a@x.example", "name": "港 花子"}}
    text = json.dumps([fact.record, fact.node, fact.key], ensure_ascii=False)
    assert "a@x" not in text
    assert "花子" not in text


def test_the_same_row_is_the_same_fact_and_other_words_are_another_of_the_same_key() -> None:
    one, same, other = (a_fact(HEADER + row) for row in (GOOD, GOOD.replace("港", " 港"), GOOD.replace("花子", "遥")))
    assert one.id == same.id
    assert (one.key == other.key, one.id == other.id) == (True, False)


def test_without_a_key_other_words_are_another_row() -> None:
    assert a_fact(HEADER + GOOD, key=[]).key != a_fact(HEADER + GOOD.replace("花子", "遥"), key=[]).key


def test_one_number_in_two_namespaces_is_two_customers() -> None:
    facts = [a_fact(HEADER + GOOD, namespace=name) for name in ("east", "west", None)]
    assert len({fact.customer for fact in facts}) == 3
    # Without a system of its own, a number is the site's user id.
    assert [fact.customer.partition(":")[0] for fact in facts] == ["customer", "customer", "user"]


def test_a_phone_alone_names_whom_a_row_is_about() -> None:
    fields = {"phone": {"column": "電話"}, "at": {"column": "日"}}
    told = a_fact("電話,日\n03-1234-5678,2024/4/1\n", fields=fields, attributes={}, key=[])
    assert told.phone == told.node == HASHER.phone("+81312345678")
    assert told.contact == {told.phone: {"phone": "+81312345678"}}


def test_all_that_is_wrong_with_a_row_is_told_at_once() -> None:
    (wrong,) = facts(HEADER + ",no address,2026/02/30,=cmd()\n")
    assert isinstance(wrong, list)
    assert [(one.line, one.column, one.reason) for one in wrong] == [
        (2, "mail", "expected an e-mail address"),
        (2, "who", "a formula; expected a value"),
        (2, "day", "the calendar has no such day or time"),
        (2, "", "names nobody: expected an e-mail address, a customer number or a phone number"),
        (2, "No", "is needed, since it names the row"),
    ]


DEALS = """
source: crm
kind: deals
fields: {deal: No, at: day, email: mail, stage: {column: who, values: {受注: won, 新規: opened, 入金: paid, x: x}}}
"""


@pytest.mark.parametrize(("stage", "name"), [("受注", "Deal Won"), ("新規", "Deal Opened")])
def test_a_deal_is_told_in_the_words_of_a_crm(stage: str, name: str) -> None:
    fact = a_fact(HEADER + f"D-1,a@x.example,2026/1/1,{stage}\n", text=DEALS)
    assert (fact.record["name"], fact.record["deal"], fact.node) == (name, "D-1", "deal:northwind:D-1")
    assert fact.record["properties"].get("stage_is_open") == (True if name == "Deal Opened" else None)


@pytest.mark.parametrize(("stage", "reason"), [
    ("入金", "a payment needs its amount"), ("謎", "expected one of 受注, 新規, 入金 or x"),
    ("x", "expected opened, changed, won, lost, paid, refunded or q1, or what the mapping says is one of these"),
])
def test_a_stage_that_nobody_knows_is_refused(stage: str, reason: str) -> None:
    site = a_site(webhooks={"deal_stages": {"q1": "changed"}})
    (wrong,) = facts(HEADER + f"D-1,a@x.example,2026/1/1,{stage}\n", site, text=DEALS)
    assert isinstance(wrong, list)
    assert [one.reason for one in wrong] == [reason]


# Plans.


@dataclass
class Known:
    """Whom we know: persons by identifier, and their addresses."""

    persons: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def known(self, identifiers: Collection[str]) -> Mapping[str, str]:
        return {name: self.persons[name] for name in identifiers if name in self.persons}

    def addresses(self, persons: Collection[str]) -> Mapping[str, frozenset[str]]:
        return {name: self.held.get(name, frozenset()) for name in persons}


def planned(
    content: str, known: Known | None = None, before: Mapping[str, Version] | None = None, **changes: Any
) -> list[tuple[int, str, str]]:
    """Each row's line, what becomes of it, and by what its person is known, or why it is rejected."""
    mapping = a_mapping(**changes)
    file = CsvFile(content.encode(), mapping)
    reader = RowReader(mapping, a_site(), HASHER, file.header, NOW)
    found = plan(file.rows(), reader, mapping.kind, before or {}, known or Known())
    return [(one.fact.line, one.change, one.why) if isinstance(one, Planned) else (one.line, "rejected", one.reason)
            for one in found]


OTHER = GOOD.replace("1,a@", "2,b@")


def test_rows_are_new_corrected_unchanged_or_doubled() -> None:
    fact, former = a_fact(HEADER + GOOD), a_fact(HEADER + OTHER.replace("花子", "遥"))
    before = {one.key: Version(one.id, one.node, ()) for one in (fact, former)}
    third = GOOD.replace("1,a@", "3,c@")
    assert [change for _, change, _ in planned(HEADER + GOOD + OTHER + third + third, before=before)] == [
        "unchanged", "corrected", "new", "doubled",
    ]


@pytest.mark.parametrize(("rows", "reason"), [
    (GOOD + GOOD.replace("花子", "遥"), "line 2 says other things under the same key"),
    (GOOD + GOOD.replace("a@", "b@"), "line 2 gives this customer number another address"),
])
def test_one_file_never_says_two_things_of_one_thing(rows: str, reason: str) -> None:
    key = [] if "address" in reason else ["No"]
    assert planned(HEADER + rows, key=key)[1] == (3, "rejected", reason)


SALES = "source: shop\nkind: purchases\nfields: {order: No, at: day, email: mail, product: who}\n"


def test_an_order_of_several_rows_is_no_order_a_row() -> None:
    assert planned(HEADER + GOOD + GOOD.replace("港", "台"), text=SALES)[1] == (
        3, "rejected", "line 2 has this order already; where an order has several rows, leave the field order out of "
        "the mapping",
    )


A, B = address("a@x.example"), address("b@x.example")
C = a_fact(HEADER + GOOD).customer


@pytest.mark.parametrize(("persons", "held", "expected"), [
    ({}, {}, ("new", "nobody was known by it yet")),
    ({A: "p1"}, {}, ("new", "by address")),
    ({C: "p1"}, {"p1": set()}, ("new", "by customer number")),
    ({A: "p1", C: "p1"}, {"p1": {A, B}}, ("new", "by address and customer number")),
    ({A: "p1", C: "p2"}, {"p1": {A}, "p2": set()}, ("new", "by both, who become one")),
    ({A: "p1", C: "p2"}, {"p1": {A}, "p2": {B}}, ("rejected", "the customer number is that of somebody")),
    ({C: "p2"}, {"p2": {B}}, ("rejected", "the customer number is that of somebody")),
])
def test_a_row_says_whom_it_is_about_and_never_makes_one_of_two_with_addresses(
    persons: dict[str, str], held: dict[str, set[str]], expected: tuple[str, str]
) -> None:
    known = Known(persons, {name: frozenset(nodes) for name, nodes in held.items()})
    ((_, change, why),) = planned(HEADER + GOOD, known)
    assert (change, why[: len(expected[1])]) == expected


def test_a_corrected_address_is_no_second_person() -> None:
    former = a_fact(HEADER + GOOD.replace("a@", "b@"))
    before = {former.key: Version(former.id, former.node, tuple(former.record["ids"]))}
    known = Known({C: "p2", B: "p2"}, {"p2": frozenset({B})})
    assert planned(HEADER + GOOD, known, before)[0][1] == "corrected"


# Mappings.


@pytest.mark.parametrize(("text", "problem"), [
    ("source: x\nkind: people\nfields:\n  email: m\n", "map.yaml:3:1: fields: a list of people needs at"),
    ("source: x\nkind: people\nfields:\n  at: d\n",
     "map.yaml:3:1: fields: nobody is named: expected email, customer_number or phone"),
    ("source: x\nkind: costs\nfields:\n  at: d\n  campaign: c\n  amount: a\n  email: m\n",
     "map.yaml:7:3: email: a list of costs has no such field; expected amount, currency, at or campaign"),
    ("source: x\nkind: people\nfields:\n  at: d\n  emial: m\n",
     "map.yaml:5:3: emial: unknown name; did you mean email?"),
    ("source: x\nkind: persons\nfields:\n  at: d\n",
     "map.yaml:2:1: kind: expected people, attendance, purchases, deals or costs, found 'persons'"),
    ("source: x\nkind: people\nfields:\n  at: {dates: dmy}\n  email: m\n",
     "map.yaml:4:3: at: expected a column of the file, or a value for every row"),
    ("source: x\nkind: people\nfields:\n  at: d\n  email: m\nattributes:\n  phone: p\n",
     "map.yaml:7:3: phone: is a field of its own; map it under fields"),
    ("source: x\nkind: people\nfields:\n  at: d\n  email: m\n  marketing: {column: c, values: {ja: yes}}\n",
     "map.yaml:6:26: values: expected each word to mean granted or denied"),
])
def test_a_mistake_in_a_mapping_is_told_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(BadDefinition) as refused:
        Document(text, "map.yaml").read_as(ListMapping)
    assert problem in str(refused.value).splitlines()


# What comes back.


def test_the_csv_of_rejects_computes_nothing_and_opens_in_a_spreadsheet() -> None:
    text = rejects_csv([Reject(3, "=cmd()", "is needed"), Reject(4, "", 'a "quote", and more')])
    assert text.startswith(b"\xef\xbb\xbf")
    assert text.decode("utf-8-sig").splitlines() == [
        "line,column,reason", "3,'=cmd(),is needed", '4,,"a ""quote"", and more"',
    ]
