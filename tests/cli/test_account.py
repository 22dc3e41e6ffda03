"""closedloop account: which companies there are, who is who there, which role is missing, how keen they are and why."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import pack
from closedloop.events.times import iso
from closedloop.identity.persons import person_id
from closedloop.loops.flow import decide_shard
from closedloop.profiles.flow import project, readable
from closedloop.runtime import clock, doors
from tests.accounts import forget
from tests.builders import CHROME
from tests.cli.conftest import NOW, PEPPER, STATE, Cloud, Run, a_file, the_examples

HASHER = Hasher(PEPPER.encode(), "demo")
NTA = "7000012050002"
PRESIDENT, ENGINEER, BUYER = "sato@mizu.co.jp", "kato@tokyo.mizu.co.jp", "ito@mizu.co.jp"
RIVAL, STRANGER = "spy@contoso.co.jp", "someone@gmail.com"
EVERYBODY = (
    (PRESIDENT, "Mizu KK", {"job_title": "代表取締役"}, 1), (ENGINEER, "Mizu KK", {"job_title": "Engineer"}, 9),
    (BUYER, "水株式会社", {"department": "購買部", "corporate_number": NTA}, 0), (RIVAL, "Contoso", {}, 1),
    (STRANGER, "", {}, 3),
)


def node(email: str) -> str:
    return HASHER.address(email) or ""


@pytest.fixture
def people(applied: Cloud) -> Cloud:
    """Three of one company, of whom one tells its number, a competitor, and somebody of whom no company is known."""
    forget()
    site = the_examples()[0].model_copy(update={"accounts": the_examples()[0].accounts.model_copy(
        update={"competitor_domains": ("contoso.co.jp",), "own_domains": ("northwind.example",)}
    )})
    doors.state().put_site(site, ["sk_of_the_owner"])
    forget()
    at = NOW - timedelta(hours=1)
    for email, company, traits, views in EVERYBODY:
        context = {"page": {"path": "/products/pumps"}, "agent": CHROME}
        form = {
            "id": f"demo/form/{email}", "type": "track", "name": "Form Submitted", "at": iso(at), "visitor": email[:3],
            "ids": [node(email)], "traits": {"industry": "water", "employees": "250"} | traits, "context": context,
            "properties": {"form": "guide"},
        }
        pages = [{
            "id": f"demo/beacon/{email}-{n}", "type": "page", "at": iso(at - timedelta(hours=n + 1)),
            "visitor": email[:3], "context": context,
        } for n in range(views)]
        contact = {node(email): {"email": email, **({"company": company} if company else {})}}
        doors.ledger().append(pack(
            [(f"V#demo#{email[:3]}", one, contact if one is form else {}) for one in (*pages, form)],
            site="demo", door=Door.FORM, received_at=at, headers={},
        ))
    follow()
    return applied


def follow() -> None:
    """What the ledger holds becomes profiles, as its stream makes them."""
    forget()
    packets = list(doors.ledger().every_packet())
    project([(str(n), packet, readable(packet)) for n, packet in enumerate(packets)], doors.state(), doors.ledger(),
            doors.sites(), lambda: NOW)


def decided(*emails: str) -> None:
    """The workflow has decided about these."""
    forget()
    doors.runs().put_people("tick", [person_id(node(email)) for email in emails])
    decide_shard("tick", 0, doors.state(), doors.runs(), doors.loops(), doors.sites(), NOW)


def test_every_company_is_listed_once_the_keenest_first(people: Cloud, run: Run) -> None:
    found = run("account", "list", "--site", "demo", "--json").json
    assert [(one["company"], one["persons"], one["kind"]) for one in found] == [
        ("Mizu KK", 3, ""), ("Contoso", 1, "competitor"),
    ]
    mizu = found[0]
    assert mizu["account"].startswith("number:")
    assert (mizu["company_domains"], mizu["corporate_numbers"]) == (["mizu.co.jp"], [NTA])
    assert mizu["roles"] == {"buyer": 1, "decision_maker": 1, "user": 1}
    assert mizu["missing"] == ["influencer"]
    assert found[0]["interest"] > found[1]["interest"] > 0


def test_an_account_is_shown_by_whatever_names_it_and_its_lines_sum_to_its_interest(people: Cloud, run: Run) -> None:
    shown = run("account", "show", "mizu.co.jp", "--site", "demo", "--json").json
    assert {one["contact"]["email"]: one["role"] for one in shown["members"]} == {
        PRESIDENT: "decision_maker", ENGINEER: "user", BUYER: "buyer",
    }
    assert {one["why"] for one in shown["members"]} == {
        "job_title is 代表取締役", "job_title is Engineer", "department is 購買部",
    }
    lines = shown["ledger"]
    assert sum(round(line["adds"] * 100) for line in lines) == round(shown["interest"] * 100)
    for line in lines:
        assert line["counted"] == min(line["score"], 2 * shown["threshold"])
        assert line["adds"] == round(line["counted"] * line["weight"], 2)
    assert (shown["breadth"], shown["depth"]) == (3, 3)
    for word in ("www.mizu.co.jp", ENGINEER, NTA, "７０００-0120-50002", shown["account"]):
        assert run("account", "show", word, "--site", "demo", "--json").json["members"] == shown["members"], word


def test_coverage_says_which_roles_a_stage_has_reached(people: Cloud, run: Run) -> None:
    assert run("account", "show", "mizu.co.jp", "--site", "demo", "--json").json["coverage"] == []
    decided(PRESIDENT, ENGINEER)
    shown = run("account", "show", "mizu.co.jp", "--site", "demo", "--json").json
    stages = {one["contact"]["email"]: one["stages"] for one in shown["members"]}
    assert stages[BUYER] == {}
    for one in shown["coverage"]:
        reached = [email for email, on in stages.items() if one["stage"] in on.get(one["loop"], ())]
        assert sum(one["roles"].values()) == len(reached) > 0
        assert "buyer" in one["missing"] and "influencer" in one["missing"]
    first = the_examples()[1].stages[0]
    assert shown["coverage"][0] == {
        "loop": "autumn-pumps", "stage": first, "roles": {"decision_maker": 1, "user": 1},
        "missing": ["influencer", "buyer"], "share": 0.5,
    }


def test_a_changed_rule_changes_who_is_who_at_once(people: Cloud, run: Run) -> None:
    forget()
    site = doors.state().site("demo")
    assert site is not None
    rules: dict[str, Any] = {
        "titles": [{"words": ["Engineer"], "role": "influencer"}], "roles": ["influencer"], "threshold": 1,
    }
    doors.state().put_site(type(site).model_validate({**site.model_dump(), "accounts": rules}))
    shown = run("account", "show", "mizu.co.jp", "--site", "demo", "--json").json
    assert (shown["roles"], shown["missing"]) == ({"buyer": 1, "decision_maker": 1, "influencer": 1}, [])
    assert all(line["counted"] <= 2 for line in shown["ledger"])


def test_interest_is_told_of_one_topic_too(people: Cloud, run: Run) -> None:
    def interest(topic: str) -> float:
        return float(run("account", "show", NTA, "--site", "demo", "--topic", topic, "--json").json["interest"])

    assert interest("pumps") > 0
    assert interest("valves") == 0


def test_people_read_it_in_tables(people: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    decided(PRESIDENT)
    listed, shown = run("account", "list", "--site", "demo").out, run("account", "show", NTA, "--site", "demo").out
    assert "Mizu KK" in listed and "competitor" in listed and "influencer" in listed
    for words in (PRESIDENT, "代表取締役", "coverage: roles touched at each stage", "sum of the last column", "25%"):
        assert words in shown, words


def test_what_names_no_account_is_answered_in_words(people: Cloud, run: Run) -> None:
    for word in ("nobody.co.jp", "1180301018771", "a-group", "group:0", "-"):
        ran = run("account", "show", "--site", "demo", "--", word)
        assert (ran.status, "closedloop account list --site demo" in ran.err) == (2, True), word
    for word in (STRANGER, "x@docomo.ne.jp", "x@"):
        ran = run("account", "show", word, "--site", "demo")
        assert (ran.status, "of no company" in ran.err) == (2, True), word


def test_a_list_without_companies_is_empty(applied: Cloud, run: Run) -> None:
    assert run("account", "list", "--site", "demo", "--json").json == []
    assert run("account", "list", "--site", "nowhere").status == 2


def test_a_person_is_shown_with_their_role_and_why(people: Cloud, run: Run) -> None:
    shown = run("person", "show", "--email", PRESIDENT, "--site", "demo", "--json").json
    assert shown["role"] == {"role": "decision_maker", "why": "job_title is 代表取締役"}
    assert shown["contact"]["company_domain"] == "mizu.co.jp"


def test_whoever_is_erased_is_of_no_account_and_the_others_stay(
    people: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)
    person = person_id(node(PRESIDENT))
    assert any(person in repr(item) for item in people.items(STATE) if item["pk"]["S"].startswith("A#"))
    assert run("person", "erase", "--email", PRESIDENT, "--site", "demo", "--confirm").status == 0
    assert not any(person in repr(item) for item in people.items(STATE) if item["pk"]["S"].startswith("A#"))
    [mizu, _] = run("account", "list", "--site", "demo", "--json").json
    assert (mizu["persons"], mizu["missing"]) == (2, ["decision_maker", "influencer"])


def test_no_progress_or_log_line_names_anybody(people: Cloud, run: Run) -> None:
    said = run("account", "list", "--site", "demo", "--json").err
    assert not any(email in said for email, *_ in EVERYBODY)


CARDS = """mail,会社,法人番号,役職,立場,日付
mori@mizu.co.jp,水株式会社,7000-0120-50002,係長,,2026/11/01
abe@gmail.com,水株式会社,7000012050002,,決裁者,2026/11/02
oda@kaze.example,風,,担当,,2026/11/03
"""
CARDS_MAP = """source: cards
kind: people
fields: {email: mail, company: 会社, corporate_number: 法人番号, at: 日付}
attributes: {job_title: 役職, role: {column: 立場, values: {決裁者: decision_maker}}}
"""


def test_a_list_of_business_cards_makes_accounts_with_roles(applied: Cloud, run: Run) -> None:
    files = a_file("cards.csv", CARDS), a_file("cards.yaml", CARDS_MAP)
    said = run("import", "people", files[0], "--map", files[1], "--site", "demo", "--json")
    assert said.status == 0, said.err
    follow()
    found = run("account", "list", "--site", "demo", "--json").json
    assert [(one["company"], one["roles"], one["corporate_numbers"]) for one in found] == [
        ("風", {"user": 1}, []), ("水株式会社", {"decision_maker": 1, "influencer": 1}, [NTA]),
    ]
