"""closedloop import on a deployment: a dry run writes nothing, rejects come back as a file, an import is undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from closedloop.runtime import lists
from tests.cli.conftest import EVENTS, ROOT, STATE, Cloud, Run, a_file

EXAMPLES = ROOT / "examples/imports"
KINDS = {
    "people": ("group-company", "business-cards"), "attendance": ("seminar-tool", "service-desk"),
    "purchases": ("dealer", "installed-base"), "deals": ("crm",), "costs": ("costs",),
}
NAMED = [(kind, name) for kind, names in KINDS.items() for name in names]


def imported(run: Run, kind: str, name: str, *more: str | Path) -> Any:
    ran = run("import", kind, EXAMPLES / f"{name}.csv", "--map", EXAMPLES / f"{name}.yaml", "--site", "demo", *more)
    assert ran.status == 0, ran.err
    return ran


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_the_example_of_each_source_is_imported_once(applied: Cloud, run: Run, kind: str, name: str) -> None:
    first = imported(run, kind, name, "--json").json
    assert (first["state"], first["new"], first["rejected"]) == ("imported", first["rows"], 0)
    items = applied.items(EVENTS)
    assert len(items) == first["rows"]
    assert imported(run, kind, name, "--json").json["state"] == "imported before"
    assert applied.items(EVENTS) == items


def test_a_dry_run_says_what_would_change_and_writes_nothing(applied: Cloud, run: Run) -> None:
    before = applied.items(EVENTS), applied.items(STATE)
    content = imported(run, "people", "group-company", "--dry-run", "--json", "--matches", "matches.csv").json
    assert (content["state"], content["new"]) == ("planned", 3)
    assert content["matched"] == {"nobody was known by it yet": 3}
    assert Path("matches.csv").read_text(encoding="utf-8-sig").splitlines()[1] == "2,new,,nobody was known by it yet"
    assert (applied.items(EVENTS), applied.items(STATE)) == before
    assert run("import", "list", "--json").json == []
    assert "whom the rows are about" in imported(run, "people", "group-company", "--dry-run").out


def test_rejected_rows_come_back_in_a_file_beside_the_others_facts(applied: Cloud, run: Run) -> None:
    text = (EXAMPLES / "group-company.csv").read_text(encoding="utf-8").replace("ken@", "ken at ")
    ran = run("import", "people", a_file("list.csv", text), "--map", EXAMPLES / "group-company.yaml", "--site", "demo")
    assert ran.status == 0
    assert len(applied.items(EVENTS)) == 2
    assert Path("list.rejects.csv").read_text(encoding="utf-8-sig").splitlines() == [
        "line,column,reason", "3,メールアドレス,expected an e-mail address",
    ]
    assert "list.rejects.csv" in ran.out


def test_imports_are_listed_and_undone_by_their_name(applied: Cloud, run: Run) -> None:
    name = imported(run, "attendance", "seminar-tool", "--json").json["import"]
    ((listed),) = run("import", "list", "--site", "demo", "--json").json
    assert (listed["name"], listed["state"], listed["counts"]["new"]) == (name, "done", 2)
    assert run("import", "undo", name, "--json").json == {
        "import": name, "kind": "attendance", "source": "seminar-tool", "state": "undone", "retracted": 2,
        "brought back": 0, "gone": 0,
    }
    assert run("import", "undo", name, "--json").json["state"] == "undone before"
    assert name in run("import", "list").out
    unknown = run("import", "undo", "nothing")
    assert (unknown.status, "no import 'nothing' is known" in unknown.err) == (2, True)


def test_a_mapping_is_declared_for_what_is_dropped_into_s3(applied: Cloud, run: Run) -> None:
    dry = run("import", "mapping", EXAMPLES / "dealer.yaml", "--site", "demo", "--dry-run", "--json").json
    assert lists.lists().mapping("demo", "purchases", "kanto-dealer") is None
    told = run("import", "mapping", EXAMPLES / "dealer.yaml", "--site", "demo", "--json").json
    assert told == {**dry, "written": True}
    assert told["drop_files_into"] == "s3://the-lake/imports/purchases/demo/kanto-dealer/"
    assert lists.lists().mapping("demo", "purchases", "kanto-dealer") is not None


def test_a_mapping_of_another_kind_is_refused_with_its_line(applied: Cloud, run: Run) -> None:
    ran = run("import", "people", EXAMPLES / "dealer.csv", "--map", EXAMPLES / "dealer.yaml", "--site", "demo")
    assert ran.status == 2
    assert "dealer.yaml:3:1: kind: this maps purchases; expected people" in ran.err
