"""A list that is dropped into S3: every row once, corrections replace, and what is undone leaves no trace."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from closedloop.capture.lists.flow import take_back
from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.errors import NotFound
from closedloop.events.identifiers import Hasher
from closedloop.identity.persons import person_id
from closedloop.lake.imports import Journal
from closedloop.runtime import lists
from functions.import_list import handler
from functions.project_profiles import handler as projector
from tests.accounts import EVENTS, LAKE, PEPPER, STATE, Account, forget
from tests.functions.gateway import Context
from tests.functions.streams import a_batch

MAPPING = ListMapping.model_validate({
    "source": "dealer", "kind": "people", "key": ["No"], "namespace": "dealer",
    "fields": {"customer_number": "No", "email": "mail", "last_name": "name", "phone": "tel", "at": "day"},
    "attributes": {"industry": "industry"},
})
HEADER = "No,name,mail,tel,day,industry\n"
ADA = "1,水野,ada@water.example,03-1234-5678,2024/4/1,water\n"
BEN = "2,佐藤,ben@kita.example,,2023/1/9,chemicals\n"
KEY = "imports/people/demo/dealer/2026 年 11.csv"
HASHER = Hasher(PEPPER.encode(), "demo")


def node(email: str) -> str:
    return HASHER.address(email) or ""


def number(of: str) -> str:
    return HASHER.customer(of, "dealer") or ""


class Desk:
    """Somebody who drops files, and the streams that follow."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.seen: set[tuple[str, str]] = set()
        lists.lists().put_mapping("demo", MAPPING)

    def drop(self, content: str | bytes, key: str = KEY) -> list[str]:
        """Put a file there and deliver S3's message; which messages stay in the queue."""
        body = content.encode() if isinstance(content, str) else content
        self.account.client("s3").put_object(Bucket=LAKE, Key=key, Body=body)
        told = {"Records": [{"s3": {"object": {"key": quote_plus(key, safe="/"), "size": len(body)}}}]}
        return self.deliver(json.dumps(told))

    def deliver(self, body: str) -> list[str]:
        again = handler.handle({"Records": [{"messageId": "m-1", "body": body}]}, Context())
        self.follow()
        return [one["itemIdentifier"] for one in again["batchItemFailures"]]

    def follow(self) -> None:
        """What the ledger took since the last time goes to the projector, as its stream does."""
        items = [item for item in self.account.items(EVENTS) if (item["pk"]["S"], item["sk"]["S"]) not in self.seen]
        self.seen |= {(item["pk"]["S"], item["sk"]["S"]) for item in items}
        if items:
            items.sort(key=lambda item: item["sk"]["S"])
            assert projector.handle(a_batch(items), Context()) == {"batchItemFailures": []}

    def undo(self, name: str) -> dict[str, Any]:
        report = take_back(name, lists.list_doors())
        self.follow()
        return {"state": report.state, **report.counts}

    def imports(self) -> list[tuple[str, str]]:
        return [(head.name, head.state) for head in Journal(lists.doors.lake()).heads()]

    def files(self, end: str) -> list[Any]:
        """What was written to the lake under imported/, by the end of its name."""
        return [body for key, body in sorted(self.account.texts_of(LAKE).items())
                if key.startswith("imported/") and key.endswith(end)]

    def people(self) -> dict[str, Any]:
        """Every live profile's text and contact, by person; ids that nobody has any more are left out."""
        found = {}
        for item in self.account.items(STATE):
            if item["sk"]["S"] == "PROFILE":
                person = item["pk"]["S"][2:]
                profile = self.account.state.profile(person).profile
                if profile is not None:
                    found[person] = (profile.as_text(), self.account.state.contact(person))
        return found


@pytest.fixture
def desk(account: Account, machine: Any) -> Desk:
    return Desk(account)


def test_every_row_becomes_a_person_of_the_one_list(desk: Desk) -> None:
    assert desk.drop(HEADER + ADA + BEN) == []
    assert sorted(contact["last_name"] for _, contact in desk.people().values()) == ["佐藤", "水野"]
    profile = desk.account.state.profile(person_id(node("ada@water.example"))).profile
    assert profile is not None
    assert (set(profile.nodes), profile.attributes) == (
        {node("ada@water.example"), number("1"), HASHER.phone("+81312345678")}, {"industry": "water"}
    )
    assert [record["properties"]["list"] for record in desk.account.records()] == ["dealer", "dealer"]
    assert list(desk.account.state.people("demo")) != []


def test_the_same_file_and_the_same_message_again_change_nothing(desk: Desk) -> None:
    desk.drop((HEADER + ADA + BEN).encode("cp932"))
    before = desk.account.items(EVENTS), desk.people(), desk.imports()
    assert desk.drop((HEADER + ADA + BEN).encode("cp932")) == []
    assert desk.drop(HEADER + ADA + BEN) == []
    assert (desk.account.items(EVENTS), desk.people(), desk.imports()) == before


def test_a_corrected_row_replaces_the_former_wherever_it_lies(desk: Desk) -> None:
    desk.drop(HEADER + ADA + BEN)
    moved = ADA.replace("ada@", "ada.mizuno@").replace(",03-1234-5678", ",")
    desk.drop(HEADER + moved + BEN)
    people = desk.people()
    held = sorted(contact["email"] for _, contact in people.values())
    assert held == ["ada.mizuno@water.example", "ben@kita.example"]
    assert "phone" not in people[person_id(node("ada.mizuno@water.example"))][1]
    assert [state for _, state in desk.imports()] == ["done", "done"]
    assert json.loads(desk.files("report.json")[0])["rows"] == 2


def test_an_undone_import_leaves_every_profile_as_it_was(desk: Desk) -> None:
    desk.drop(HEADER + ADA)
    before = desk.people()
    corrected = ADA.replace("water\n", "food\n").replace("水野", "青木")
    desk.drop(HEADER + corrected + BEN)
    (_, (name, _)) = desk.imports()
    assert desk.undo(name) == {"state": "undone", "retracted": 2, "brought back": 1}
    assert desk.people() == before
    assert [state for _, state in desk.imports()] == ["done", "undone"]
    items = desk.account.items(EVENTS)
    assert desk.undo(name) == {"state": "undone before"}
    assert desk.account.items(EVENTS) == items


def test_an_undone_import_may_be_made_again_and_undone_again(desk: Desk) -> None:
    desk.drop(HEADER + ADA)
    there = desk.people()
    ((first, _),) = desk.imports()
    desk.undo(first)
    assert desk.people() == {}
    desk.drop(HEADER + ADA)
    assert desk.people() == there
    assert desk.imports() == [(first, "undone"), (f"{first}-2", "done")]
    desk.undo(f"{first}-2")
    assert desk.people() == {}
    assert list(desk.account.state.people("demo")) == []


def test_whom_an_import_joined_are_two_again_when_it_is_undone(desk: Desk) -> None:
    desk.drop(HEADER + "1,,ada@water.example,,2024/4/1,\n".replace("1,", "7,"))
    lists.lists().put_mapping("demo", MAPPING.model_copy(update={"source": "desk", "key": ()}))
    desk.drop(HEADER + "1,,,,2024/4/1,water\n", "imports/people/demo/desk/a.csv")
    before = desk.people()
    assert len(before) == 2
    desk.drop(HEADER + "1,水野,ada@water.example,,2024/4/1,\n", "imports/people/demo/desk/b.csv")
    assert len(desk.people()) == 1
    desk.undo(desk.imports()[-1][0])
    assert desk.people() == before
    assert len(list(desk.account.state.people("demo"))) == 2


def test_undoing_what_was_corrected_since_leaves_the_correction(desk: Desk) -> None:
    desk.drop(HEADER + ADA)
    desk.drop(HEADER + ADA.replace("water\n", "food\n"))
    there = desk.people()
    (first, _), (second, _) = desk.imports()
    assert desk.undo(first) == {"state": "undone"}
    assert desk.people() == there
    assert desk.undo(second) == {"state": "undone", "retracted": 1}
    assert desk.people() == {}


def test_rejected_rows_come_back_as_a_csv_and_the_rest_goes_on(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "3,青木,nobody,,2024/4/1,\n4,=cmd(),eve@x.example,,2024/02/30,\n"
    assert desk.drop(HEADER + ADA + bad + BEN) == []
    assert len(desk.people()) == 2
    (rejects,) = desk.files("rejects.csv")
    assert rejects.decode("utf-8-sig").splitlines() == [
        "line,column,reason", "3,mail,expected an e-mail address", "4,name,a formula; expected a value",
        "4,day,the calendar has no such day or time",
    ]
    said = capsys.readouterr().out
    assert "ListRowsRejected" in said
    assert "ada@" not in said
    assert "eve@" not in said


@pytest.mark.parametrize(("key", "content", "reason"), [
    ("imports/people/demo/dealer/a.csv", "No,name\n1,x\n", "the header has no column day, industry, mail and tel"),
    ("imports/people/demo/nobody/a.csv", HEADER, "this source has no mapping of this kind"),
    ("imports/people/nobody/dealer/a.csv", HEADER, "no site of this name is known"),
    ("imports/a.csv", HEADER, "expected a file under imports/KIND/SITE/SOURCE/"),
])
def test_a_file_that_cannot_be_a_list_says_why_and_nothing_is_written(
    desk: Desk, key: str, content: str, reason: str
) -> None:
    assert desk.drop(content, key) == []
    (told,) = (json.loads(body) for name, body in desk.account.texts_of(LAKE).items() if "imported/refused/" in name)
    assert (told["file"], told["reason"][: len(reason)]) == (key, reason)
    assert desk.account.items(EVENTS) == []


def test_an_outage_in_the_middle_is_made_good_by_the_same_message(desk: Desk) -> None:
    rows = "".join(f"{n},水野,ada{n}@water.example,,2024/4/1,water\n" for n in range(1, 61))
    desk.account.loses(EVENTS)
    assert handler_says(desk, HEADER + rows) == ["m-1"]
    ((name, state),) = desk.imports()
    assert state == "writing"
    desk.account.create(EVENTS)
    desk.drop(HEADER + rows)
    assert desk.imports() == [(name, "done")]
    assert len(desk.people()) == 60


def handler_says(desk: Desk, content: str) -> list[str]:
    """As `drop`, while the ledger cannot be read."""
    desk.follow = lambda: None  # type: ignore[method-assign]
    again = desk.drop(content)
    del desk.follow
    forget()
    return again


def test_while_one_import_of_a_source_is_unfinished_no_other_begins(desk: Desk) -> None:
    desk.account.loses(EVENTS)
    handler_says(desk, HEADER + ADA)
    desk.account.create(EVENTS)
    assert desk.drop(HEADER + BEN) == ["m-1"]
    ((name, _),) = desk.imports()
    desk.undo(name)
    assert desk.drop(HEADER + BEN) == []
    assert len(desk.people()) == 1


def test_two_who_write_at_once_are_one_after_the_other(desk: Desk) -> None:
    doors = lists.list_doors()
    doors.claims.claim("demo#people#dealer", "another", doors.now())
    assert desk.drop(HEADER + ADA) == ["m-1"]
    doors.claims.release("demo#people#dealer", "another")
    assert desk.drop(HEADER + ADA) == []


def test_a_folder_that_the_console_makes_is_no_file(desk: Desk) -> None:
    assert desk.drop("", "imports/people/demo/dealer/") == []
    assert desk.files("") == []


def test_s3_s_own_test_is_no_file_and_what_is_no_message_stays_for_the_dead_letters(desk: Desk) -> None:
    assert desk.deliver(json.dumps({"Event": "s3:TestEvent"})) == []
    assert desk.deliver("{") == ["m-1"]
    assert desk.deliver('{"Records": [{}]}') == ["m-1"]


def test_an_import_that_never_was_cannot_be_undone(desk: Desk) -> None:
    with pytest.raises(NotFound):
        desk.undo("nothing")
