"""The lake's rows, hand-written, and what the questions answer about them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some
from ruamel.yaml import YAML

from closedloop.events.agents import SIGNED
from closedloop.events.event import Door, Event, EventType
from closedloop.events.times import iso, parse
from closedloop.identity.evidence import links_of
from closedloop.identity.persons import Persons, person_id
from closedloop.lake.queries import engine, gather
from closedloop.loops.definition import Loop
from closedloop.reports.facts import Facts
from closedloop.sites.definition import Site

ROOT = Path(__file__).parents[2]
DAY = datetime.fromisoformat("2026-10-05T03:00:00+00:00")


def the_loop(**changes: Any) -> Loop:
    read = YAML(typ="safe", pure=True).load((ROOT / "examples/loops/autumn-pumps.yaml").read_text(encoding="utf-8"))
    return Loop.model_validate({**read, **changes})


def the_site() -> Site:
    read = YAML(typ="safe", pure=True).load((ROOT / "examples/sites/demo.yaml").read_text(encoding="utf-8"))
    return Site.model_validate(read)


def an_event(id_: str, name: str = "", *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    properties = changes.pop("properties", {})
    traits = changes.pop("traits", {})
    row = {
        "id": id_, "packet": "pk", "schema": 1, "site": "demo", "door": "beacon", "type": "track" if name else "page",
        "name": name, "visitor": "", "ids": [], "deal": "", "occurred_at": iso(at),
        "received_at": iso(at + timedelta(seconds=1)), "late": False, "channel": "internal", "medium": "", "source": "",
        "term": "", "campaign": "", "source_rule": "", "host": "", "path": "/", "title": "", "topic": "",
        "grade": "human", "grade_reason": "", "consent": "{}",
        "amount_minor": properties.get("amount_minor"), "currency": properties.get("currency", ""),
        "properties": json.dumps(properties), "traits": json.dumps(traits),
    }
    return {**row, **changes}


def a_page(id_: str, visitor: str, *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    return an_event(id_, at=at, visitor=f"v:demo:{visitor}" if visitor else "", **changes)


def a_form(
    id_: str, visitor: str, email: str, *, at: datetime = DAY, form: str = "guide", **traits: Any
) -> dict[str, Any]:
    return an_event(id_, "Form Submitted", at=at, door="form", visitor=f"v:demo:{visitor}", ids=[f"email:{email}"],
                    properties={"form": form}, traits=traits)


def a_deal(id_: str, name: str, email: str, amount: int | None, *, at: datetime = DAY, deal: str = "d1",
           currency: str = "JPY", **changes: Any) -> dict[str, Any]:
    properties = {} if amount is None else {"amount_minor": amount, "currency": currency}
    return an_event(id_, name, at=at, door="deal", deal=f"deal:demo:{deal}", ids=[f"email:{email}"] if email else [],
                    properties=properties, grade="likely", **changes)


def a_move(
    id_: str, email: str, from_stage: str, to_stage: str, *, at: datetime = DAY, **changes: Any
) -> dict[str, Any]:
    return a_decision(id_, "transition", email, from_stage=from_stage, to_stage=to_stage, at=at, **changes)


def a_verdict(id_: str, email: str, gate: str, outcome: str, *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    return a_decision(id_, "verdict", email, gate=gate, outcome=outcome, at=at, **changes)


def a_decision(id_: str, kind: str, email: str, *, at: datetime = DAY, **changes: Any) -> dict[str, Any]:
    anchor = f"email:{email}"
    row = {
        "id": id_, "kind": kind, "person": person_id(anchor), "anchor": anchor, "loop": "autumn-pumps", "version": "v1",
        "gate": "", "campaign": "", "from_stage": "", "to_stage": "", "outcome": "", "hold_kind": "", "reason": "",
        "arm": "", "draw": None, "at": iso(at), "run": "r1", "detail": "{}",
    }
    return {**row, **changes}


def write(folder: Path, events: Iterable[Mapping[str, Any]], decisions: Iterable[Mapping[str, Any]] = ()) -> Path:
    for prefix, rows, moment in (("events", events, "received_at"), ("decisions", decisions, "at")):
        days: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            days.setdefault(row[moment][:10], []).append(row)
        for day, listed in days.items():
            target = folder / prefix / f"dt={day}" / "batch.ndjson.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in listed)
            target.write_bytes(gzip.compress(text.encode()))
    return folder


def ask(folder: Path, loop: Loop | None = None, *, as_of: datetime = DAY + timedelta(days=60)) -> Facts:
    with engine(memory="300MB", spill=folder / "spill") as connection:
        return gather(connection, folder, loop or the_loop(), {"demo": the_site()}, as_of)


def test_each_event_counts_once_and_the_copy_received_first_counts(tmp_path: Path) -> None:
    first = a_page("e1", "b1", channel="Direct")
    later = {**first, "received_at": iso(DAY + timedelta(hours=5)), "grade": "machine"}
    facts = ask(write(tmp_path, [later, first, first, a_page("e2", "b2", grade="machine")]))
    assert (facts.quality.delivered, facts.quality.distinct_ids, facts.quality.counted) == (4, 2, 2)
    assert (facts.users.anonymous, facts.users.page_views, facts.quality.machine) == (1, 1, 1)


def test_what_a_list_took_back_is_counted_until_then_and_again_when_it_is_told_again(tmp_path: Path) -> None:
    def told(day: int) -> dict[str, Any]:
        return {**a_deal("demo/list/a", "Order Completed", "jane", 500), "door": "list",
                "received_at": iso(DAY + timedelta(days=day))}

    gone = an_event("demo/list/gone", "List Row Retracted", at=DAY + timedelta(days=5), door="list", ids=["email:jane"],
                    deal="deal:demo:d1", properties={"retracts": "demo/list/a"})
    folder = write(tmp_path, [told(1), gone, told(20)])
    for day, won in ((2, 500), (10, 0), (30, 500)):
        found = ask(folder, as_of=DAY + timedelta(days=day))
        assert sum(deal.revenue_minor for deal in found.deals) == won


def test_to_be_on_a_list_is_no_activity(tmp_path: Path) -> None:
    listed = an_event("demo/list/p", type="identify", door="list", ids=["email:jane"], at=DAY + timedelta(days=3))
    met = an_event("demo/list/s", "Seminar Attended", door="list", ids=["email:ken"], at=DAY + timedelta(days=3))
    assert sum(day.people for day in ask(write(tmp_path, [listed, met])).first_days) == 1


def mailed(id_: str, name: str, seconds: float, door: str = "link", **properties: Any) -> dict[str, Any]:
    browser = {"visitor": "v:demo:b1"} if name == "Email Link Clicked" and "hidden" not in properties else {}
    return an_event(id_, name, at=DAY + timedelta(seconds=seconds), door=door, ids=["email:ada"], **browser,
                    properties={"loop": "autumn-pumps", "campaign": "case-mail", **properties})


def test_what_a_scanner_follows_in_a_mail_is_counted_as_a_machines(tmp_path: Path) -> None:
    scanned = [
        mailed("m1", "Email Delivered", 0, "email"), mailed("m2", "Email Opened", 1),
        mailed("m3", "Email Link Clicked", 2),
        {**mailed("m4", "Email Link Clicked", 3, hidden=True), "grade": "machine"},
        a_page("p1", "b1", at=DAY + timedelta(seconds=3)),
    ]
    read = [mailed("m5", "Email Link Clicked", 4000), a_page("p2", "b1", at=DAY + timedelta(seconds=4001))]
    facts = ask(write(tmp_path, [*scanned, *read]))
    assert {(mail.name, mail.machine) for mail in facts.mails} == {
        ("Email Delivered", False), ("Email Opened", True), ("Email Link Clicked", True), ("Email Link Clicked", False),
    }
    assert (facts.quality.machine, facts.quality.human_page_views) == (4, 1)


def test_a_browser_that_rushes_is_counted_as_a_machine_but_a_server_is_not(tmp_path: Path) -> None:
    moments = [DAY + timedelta(seconds=0.5 * number) for number in range(30)]
    rush = [a_page(f"r{number}", "b1", at=at) for number, at in enumerate(moments)]
    told = [a_page(f"s{number}", "b2", at=at, grade_reason=SIGNED.reason) for number, at in enumerate(moments)]
    facts = ask(write(tmp_path, [*rush, *told, a_page("p1", "b3")]))
    assert (facts.quality.machine, facts.users.anonymous, facts.users.page_views) == (30, 2, 31)


def test_two_browsers_of_one_address_are_one_user_from_their_first_page_on(tmp_path: Path) -> None:
    facts = ask(write(tmp_path, [
        a_page("e1", "phone", at=DAY - timedelta(days=2)), a_form("e2", "phone", "ada"),
        a_page("e3", "desk"), a_form("e4", "desk", "ada", at=DAY + timedelta(hours=1)), a_page("e5", "other"),
        a_page("e6", ""),
    ]))
    assert (facts.users.known, facts.users.anonymous) == (1, 1)
    assert (facts.users.page_views, facts.users.page_views_of_nobody) == (4, 1)


def test_who_has_a_browser_changes_when_somebody_else_names_themselves_on_it(tmp_path: Path) -> None:
    told = [
        ("ada", 0), ("ada", 1), ("bob", 2), ("bob", 3), ("ada", 4),
    ]
    events = [a_form(f"f{n}", "shared", who, at=DAY + timedelta(hours=hour)) for n, (who, hour) in enumerate(told)]
    pages = [a_page(f"p{hour}", "shared", at=DAY + timedelta(hours=hour, minutes=30)) for hour in range(-1, 5)]
    folder = write(tmp_path, [*events, *pages])
    with engine(memory="300MB", spill=tmp_path / "spill") as connection:
        gather(connection, folder, the_loop(), {"demo": the_site()}, DAY + timedelta(days=1))
        owners = dict(connection.execute("SELECT id, person FROM acts WHERE type = 'page'").fetchall())
    ada, bob = person_id("email:ada"), person_id("email:bob")
    assert [owners[f"p{hour}"] for hour in range(-1, 5)] == [ada, ada, ada, bob, bob, ada]


SAID = some.lists(some.tuples(
    some.sampled_from(["", "b1", "b2"]), some.lists(some.sampled_from(["email:a", "email:b", "user:c", "user:d"]),
                                                    max_size=2, unique=True),
    some.sampled_from(["", "d1", "d2"]), some.integers(0, 8), some.sampled_from(["beacon", "link"]),
    some.sampled_from(["Deal Changed", "Deal Paid", "Order Refunded"]),
), max_size=14)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SAID)
@example([
    ("", [], "d1", 0, "beacon", "Deal Paid"), ("", ["email:a", "email:b"], "d1", 1, "beacon", "Deal Changed"),
])
@example([
    ("b1", ["email:a"], "", 0, "link", "x"), ("b1", ["email:b"], "d1", 0, "beacon", "x"),
    ("b1", ["email:a"], "d2", 3, "link", "x"),
])
def test_the_lake_finds_the_same_persons_as_the_product(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, list[str], str, int, str, str]]
) -> None:
    events, rows = [], []
    for n, (browser, ids, deal, hour, door, name) in enumerate(said):
        at = DAY + timedelta(hours=hour)
        rows.append(an_event(
            f"e{n}", name, at=at, ids=ids, door=door, visitor=f"v:demo:{browser}" if browser else "",
            deal=f"deal:demo:{deal}" if deal else "",
        ))
        events.append(Event(f"e{n}", "demo", EventType.TRACK, name, browser or None, tuple(ids), deal or None, at, at,
                            Door(door), "pk", {}, {}, {}))
    persons = Persons([link for event in events for link in links_of(event)],
                      sorted({one for event in events for one in event.identifiers}))
    folder = write(tmp_path_factory.mktemp("lake"), rows)
    with engine(memory="300MB", spill=folder / "spill") as connection:
        gather(connection, folder, the_loop(), {"demo": the_site()}, DAY + timedelta(days=1))
        found = dict(connection.execute("SELECT id, person FROM acts").fetchall())
    assert found == {event.id: persons.owner_of(event) or "" for event in events}


def test_people_who_come_back_on_another_day_are_counted_from_their_first(tmp_path: Path) -> None:
    facts = ask(write(tmp_path, [
        a_page("e1", "b1"), a_page("e2", "b1", at=DAY + timedelta(minutes=5)),
        a_page("e3", "b2"), a_page("e4", "b2", at=DAY + timedelta(days=6)),
        a_page("e5", "b3"), a_page("e6", "b3", at=DAY + timedelta(days=29)),
        a_page("e7", "b4"), a_page("e8", "b4", at=DAY + timedelta(days=30)),
        a_page("e9", "old", at=DAY - timedelta(days=90)), a_page("e10", "old"),
    ]))
    (first,) = facts.first_days
    assert (first.day, first.people, first.back_7, first.back_30) == (date(2026, 10, 5), 4, 1, 2)


def test_an_opened_mail_is_no_return(tmp_path: Path) -> None:
    facts = ask(write(tmp_path, [
        a_form("e1", "b1", "ada"),
        an_event("e2", "Email Opened", at=DAY + timedelta(days=3), ids=["email:ada"],
                 properties={"campaign": "case-mail", "loop": "autumn-pumps"}),
    ]))
    assert facts.first_days[0].back_30 == 0 and not facts.new_persons[0].back_30
    assert [(mail.name, mail.people) for mail in facts.mails] == [("Email Opened", 1)]


def test_new_persons_carry_the_fit_of_what_they_last_said(tmp_path: Path) -> None:
    facts = ask(write(tmp_path, [
        a_form("e1", "b1", "ada", industry="student", employees=500),
        a_form("e2", "b1", "ada", at=DAY + timedelta(days=1), industry="Water"),
        a_form("e3", "b2", "old", at=DAY - timedelta(days=60), industry="water"),
    ]))
    assert [(new.person, new.fit) for new in facts.new_persons] == [(person_id("email:ada"), 100)]


def test_touchpoints_are_arrivals_forms_clicks_and_meetings_each_visit_once(tmp_path: Path) -> None:
    minutes = iter(range(600))

    def at(gap: int) -> datetime:
        start = next(minutes)
        for _ in range(gap):
            start = next(minutes)
        return DAY + timedelta(minutes=start)

    facts = ask(write(tmp_path, [
        a_page("e1", "b1", at=at(0), channel="Paid Search", source="google", campaign="search-ads"),
        a_page("e2", "b1", at=at(1), channel="Paid Search", source="google", campaign="search-ads"),  # a reload
        a_page("e3", "b1", at=at(1)),
        a_page("e4", "b1", at=at(1), channel="Direct"),  # typed within the visit
        a_form("e5", "b1", "ada", at=at(1)),
        a_page("e6", "b1", at=at(60), channel="Direct"),
        a_page("e7", "b1", at=at(60), channel="Referral", source="news.example"),
        an_event("e8", "Email Delivered", at=at(1), ids=["email:ada"], properties={"campaign": "case-mail"}),
        an_event("e9", "Email Link Clicked", at=at(1), ids=["email:ada"], properties={"campaign": "case-mail"}),
        a_page("e10", "b1", at=at(0), channel="Email", source="mail", campaign="case-mail"),  # what the click opens
        an_event("e11", "Seminar Attended", at=at(60), ids=["email:ada"], door="import"),
    ]))
    (met,) = facts.touches.values()
    assert [touch.channel for touch in met] == [
        "search-ads", "pump-guide", "Direct", "Referral/news.example", "case-mail", "pump-seminar",
    ]


def test_a_newer_cost_for_the_same_day_replaces_the_older(tmp_path: Path) -> None:
    def a_cost(id_: str, day: str, amount: int, hour: int, currency: str = "JPY") -> dict[str, Any]:
        return an_event(id_, "Campaign Cost Reported", at=DAY + timedelta(hours=hour), door="import", properties={
            "campaign": "search-ads", "day": day, "amount_minor": amount, "currency": currency})

    facts = ask(write(tmp_path, [
        a_cost("c1", "2026-10-01", 100, 0), a_cost("c2", "2026-10-01", 70, 1), a_cost("c3", "2026-10-02", 5, 0),
        a_cost("c4", "2026-08-31", 1000, 0), a_cost("c5", "2026-10-01", 9, 0, "USD"),
    ]))
    assert [(cost.currency, cost.amount_minor) for cost in facts.costs] == [("JPY", 75), ("USD", 9)]


def test_a_failed_event_archived_twice_is_one(tmp_path: Path) -> None:
    for batch in ("one", "two"):
        target = tmp_path / f"failed/dt=2026-10-05/{batch}.ndjson.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(b'{"id": "x1", "reason": "no shape"}\n'))
    assert ask(tmp_path).quality.failed == 1


def test_what_was_not_yet_received_is_not_yet_known(tmp_path: Path) -> None:
    late = {**a_page("e1", "b1"), "received_at": iso(DAY + timedelta(days=9))}
    folder = write(tmp_path, [late], [a_move("t1", "ada", "", "research", at=DAY + timedelta(days=9))])
    facts = ask(folder, as_of=DAY + timedelta(days=1))
    assert (facts.quality.delivered, facts.users.page_views, facts.stages) == (0, 0, ())


def test_days_are_those_of_the_loop_s_time_zone(tmp_path: Path) -> None:
    last_moment = parse("2026-08-31T14:59:59.999Z")
    facts = ask(write(tmp_path, [
        a_page("e1", "b1", at=last_moment), a_page("e2", "b2", at=last_moment + timedelta(milliseconds=1)),
    ]))
    assert facts.users.anonymous == 1
    assert [first.day for first in facts.first_days] == [date(2026, 9, 1)]


def test_each_kind_of_experiment_counts_its_own_arms_and_their_deals(tmp_path: Path) -> None:
    plain = the_loop().model_dump(mode="json", by_alias=True)
    plain["universal_holdout"] = 0.1
    plain["gates"][0]["reverse_holdout"] = 0.1
    later = DAY + timedelta(days=1)
    arms = {"ada": "treated", "bob": "holdout", "cyd": "treated", "dan": "treated", "eve": "treated"}
    decisions = [
        *(a_move(f"t{who}", who, "", "research", arm=arm) for who, arm in arms.items()),
        a_verdict("v1", "ada", "interested", "advance", arm="treated"),
        a_verdict("v2", "bob", "interested", "advance", arm="kept out"),
        a_verdict("v3", "cyd", "interested", "advance", arm="let through"),
        a_verdict("v4", "dan", "interested", "hold", arm="refused", hold_kind="wrong target"),
        # Who waited and is ready now is in the holdout's experiment too.
        a_verdict("v5", "eve", "interested", "hold", arm="refused", hold_kind="wrong target"),
        a_verdict("v6", "eve", "interested", "hold", arm="holdout", hold_kind="holdout", at=later),
        a_verdict("v7", "bob", "asks", "hold", arm="kept out", hold_kind="has not acted yet"),
        # Who is ready and waits for room is in an arm as whoever went on.
        a_verdict("v8", "gus", "interested", "hold", arm="treated", hold_kind="capacity"),
    ]
    events = [
        *(a_form(f"f{who}", who, who) for who in arms),
        *(a_deal(f"d{who}", "Deal Won", who, 300, at=later, deal=who) for who in ("bob", "cyd", "ada")),
    ]
    found = ask(write(tmp_path, events, decisions), Loop.model_validate(plain)).arms
    assert [(one.kind, one.gate, one.eligible, one.treated, one.holdout, one.mixed, one.treated_won, one.holdout_won)
            for one in found] == [
        ("universal", "", 5, 4, 1, 0, 2, 1),
        ("holdout", "interested", 3, 2, 1, 0, 1, 0),
        ("reverse", "interested", 3, 1, 2, 0, 1, 0),
    ]


def test_who_became_one_with_somebody_further_on_has_one_path_and_the_report_reconciles(tmp_path: Path) -> None:
    both = an_event("e0", "x", ids=["email:ada", "user:u1"])
    number, hour = {"person": person_id("user:u1"), "anchor": "user:u1"}, timedelta(hours=1)
    facts = ask(write(tmp_path, [both], [
        a_move("t1", "u1", "", "research", **number),
        a_move("t2", "u1", "research", "problem", gate="interested", at=DAY + hour, **number),
        a_move("t3", "ada", "", "research", at=DAY + hour),
        # As the workflow writes it for the id that goes on: where the other stood first, then what its gates say.
        a_move("t4", "ada", "research", "problem", at=DAY + 2 * hour),
        a_move("t5", "ada", "problem", "proposal", gate="asks", at=DAY + 3 * hour),
    ]))
    assert (facts.broken_paths, facts.paths, facts.persons_in_loop) == (0, 2, 1)
    # They stand once, where the id that goes on does; the other's stay ends where that one goes on from it.
    assert [(one.stage, one.entered, one.left, one.now) for one in facts.stages] == [
        ("problem", 2, 2, 0), ("proposal", 1, 0, 1), ("research", 2, 2, 0)
    ]
    assert {(stay.stage, stay.end, stay.hours) for stay in facts.stays} == {
        ("research", "moved", 1), ("problem", "joined", 1), ("problem", "moved", 1), ("proposal", "still", 1437)
    }


def test_who_became_one_and_was_not_decided_about_since_counts_once_too(tmp_path: Path) -> None:
    both = an_event("e0", "x", ids=["email:ada", "user:u1"])
    number, hour = {"person": person_id("user:u1"), "anchor": "user:u1"}, timedelta(hours=1)
    before = [
        a_move("t1", "u1", "", "research", **number),
        a_move("t2", "u1", "research", "problem", gate="interested", at=DAY + hour, **number),
    ]
    for moves, stands in ((before, "problem"), ([*before, a_move("t3", "ada", "", "research")], "research")):
        facts = ask(write(tmp_path / stands, [both], moves))
        assert [one.stage for one in facts.stages if one.now] == [stands]
        assert (sum(one.now for one in facts.stages), facts.persons_in_loop, facts.broken_paths) == (1, 1, 0)


def test_a_gate_judges_who_became_one_once(tmp_path: Path) -> None:
    both = an_event("e0", "x", ids=["email:ada", "user:u1"])
    facts = ask(write(tmp_path, [both], [
        a_verdict("v1", "ada", "interested", "hold", hold_kind="wrong target"),
        a_verdict("v2", "u1", "interested", "advance", person=person_id("user:u1"), anchor="user:u1"),
        a_move("t1", "u1", "research", "problem", gate="interested", person=person_id("user:u1"), anchor="user:u1"),
    ]))
    assert [(one.gate, one.outcome, one.people) for one in facts.verdicts] == [("interested", "advance", 1)]


def test_a_person_merged_from_both_arms_is_counted_apart(tmp_path: Path) -> None:
    both = an_event("e0", "x", ids=["email:ada", "user:u1"])
    glued = an_event("e1", "x", ids=["email:bob", "user:u1"])
    facts = ask(write(tmp_path, [both, glued], [
        a_verdict("v1", "ada", "interested", "advance", arm="treated"),
        a_move("t1", "ada", "research", "problem", gate="interested"),
        a_verdict("v2", "bob", "interested", "hold", arm="holdout", hold_kind="holdout"),
        a_verdict("v3", "cyd", "interested", "hold", arm="holdout", hold_kind="holdout"),
    ]))
    (arms,) = facts.arms
    assert (arms.eligible, arms.treated, arms.holdout, arms.mixed) == (2, 0, 1, 1)
