"""The State table: what is declared, who is who, profiles on their version, and what is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from closedloop.errors import LoopMoved, ProfileMoved, Unstorable
from closedloop.events.identifiers import visitor_node
from closedloop.identity.evidence import EvidenceKind
from closedloop.identity.flow import gather, is_everybodys
from closedloop.identity.persons import person_id
from closedloop.sites.definition import key_hash, version_of
from closedloop.store import evidence, schema
from closedloop.store.calls import Dynamo
from closedloop.store.profiles import StoredProfile
from closedloop.store.state import State
from tests.builders import HASHER, JANE, KEN, NOW, SITE, a_link, a_loop, a_profile, a_site, address, minutes, user

Rows = Callable[[str], list[dict[str, Any]]]
CONTACT = {"email": "jane@acme.example", "last_name": "ジェーン"}


# What owners declare.


def test_a_site_is_found_by_name_by_key_and_by_origin(state: State) -> None:
    site = a_site()
    state.put_site(site, secret_keys=["sk_a_secret"])
    assert state.site(SITE) == site
    assert state.sites() == {SITE: site}
    assert state.site_of_key(key_hash(site.write_key)) == (site, False)
    assert state.site_of_key(key_hash("sk_a_secret")) == (site, True)
    assert state.site_of_origin("https://www.northwind.example") == SITE


OLD, NEW = "pk_old_12345678", "pk_new_12345678"


def test_a_new_write_key_ends_the_old_one_unless_the_file_lists_it(state: State) -> None:
    state.put_site(a_site(write_key=OLD), secret_keys=["sk_a_secret"])
    state.put_site(a_site(write_key=NEW, former_write_keys=[OLD]), secret_keys=["sk_a_secret"])
    for word in (OLD, NEW):
        found = state.site_of_key(key_hash(word))
        assert found is not None
        assert (found[0].write_key, found[1]) == (NEW, False)
    state.put_site(a_site(write_key=NEW), secret_keys=["sk_a_secret"])
    assert state.site_of_key(key_hash(OLD)) is None
    assert state.site_of_key(key_hash(NEW)) is not None
    assert state.site_of_key(key_hash("sk_a_secret")) is not None


def test_an_origin_that_the_file_lists_no_longer_leads_nowhere(state: State) -> None:
    state.put_site(a_site(origins=["https://a.example", "https://b.example"]))
    state.put_site(a_site(origins=["https://b.example"]))
    assert state.site_of_origin("https://a.example") is None
    assert state.site_of_origin("https://b.example") == SITE


def test_what_another_site_has_by_now_is_not_taken_back(state: State) -> None:
    state.put_site(a_site(write_key=OLD, origins=["https://a.example", "https://b.example"]))
    state.put_site(a_site("contoso", write_key=OLD, origins=["https://a.example"]))
    state.put_site(a_site(write_key=NEW, origins=["https://b.example"]))
    found = state.site_of_key(key_hash(OLD))
    assert found is not None
    assert found[0].site == "contoso"
    assert state.site_of_origin("https://a.example") == "contoso"


class DiesAt:
    """Carries so many calls and no more."""

    def __init__(self, dynamo: Dynamo, calls: int) -> None:
        self._dynamo, self._left = dynamo, calls

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return self._dynamo.call(operation, parameters)


def test_a_declaration_broken_off_anywhere_and_made_again_leaves_no_old_key(
    engine: tuple[Dynamo, Any], tables: tuple[str, str]
) -> None:
    state = State(engine[0], tables[1])
    for calls in range(12):
        state.put_site(a_site(write_key=OLD))
        try:
            State(DiesAt(engine[0], calls), tables[1]).put_site(a_site(write_key=NEW))
        except KeyboardInterrupt:
            # At every moment one of the two works: no page is shut out in between.
            assert [state.site_of_key(key_hash(word)) for word in (OLD, NEW)] != [None, None]
        state.put_site(a_site(write_key=NEW))
        assert state.site_of_key(key_hash(OLD)) is None
        assert state.site_of_key(key_hash(NEW)) is not None


def test_a_stranger_is_nobodys_site(state: State) -> None:
    state.put_site(a_site())
    assert state.site("contoso") is None
    assert state.site_of_key(key_hash("pk_guessed00")) is None
    assert state.site_of_origin("https://www.contoso.example") is None


def test_no_write_key_lies_in_the_table_but_the_public_one_of_its_pages(
    state: State, tables: tuple[str, str], rows: Rows
) -> None:
    state.put_site(a_site(), secret_keys=["sk_a_secret"])
    assert "sk_a_secret" not in repr(rows(tables[1]))


def test_a_changed_loop_is_a_new_version_beside_the_old_one(state: State, tables: tuple[str, str], rows: Rows) -> None:
    first, second = a_loop(), a_loop(strategy="Meet shipyards")
    assert state.put_loop(first, NOW) == version_of(first)
    assert state.put_loop(second, minutes(1)) == version_of(second)
    assert state.put_loop(first, minutes(2)) == version_of(first)
    versions = {row[schema.SK]["S"]: row for row in rows(tables[1]) if row[schema.SK]["S"].startswith("V#")}
    assert set(versions) == {f"V#{version_of(first)}", f"V#{version_of(second)}"}
    assert versions[f"V#{version_of(first)}"]["at"]["S"] == "2026-11-24T06:00:00.000Z"
    assert state.loop("autumn") == first
    assert state.loops() == [first]
    assert state.loop_history("autumn") == [(NOW, first), (minutes(1), second), (minutes(2), first)]


def test_the_same_loop_again_is_no_new_version(state: State) -> None:
    for minute in range(3):
        state.put_loop(a_loop(), minutes(minute))
    assert state.loop_history("autumn") == [(NOW, a_loop())]
    assert state.loop_history("nosuch") == []


def test_who_took_a_version_is_kept_with_it_and_only_with_a_new_one(state: State) -> None:
    loop = a_loop()
    state.put_loop(loop, NOW, approval={"by": "Jane", "from_report": "v1"})
    state.put_loop(loop, minutes(1), approval={"by": "Ken"})
    assert state.loop_approvals("autumn") == [
        {"at": "2026-11-24T06:00:00.000Z", "version": version_of(loop), "by": "Jane", "from_report": "v1"},
    ]
    assert state.loop_approvals("nosuch") == []
    assert state.loop_history("autumn") == [(NOW, loop)]


def test_a_change_that_was_checked_against_another_version_is_not_written(state: State) -> None:
    first, second, third = a_loop(), a_loop(strategy="Meet shipyards"), a_loop(strategy="Meet mills")
    state.put_loop(first, NOW, seen="")
    state.put_loop(second, minutes(1), seen=version_of(first))
    for seen in ("", version_of(first)):
        with pytest.raises(LoopMoved):
            state.put_loop(third, minutes(2), seen=seen)
    assert state.loop_history("autumn") == [(NOW, first), (minutes(1), second)]


# Who is who.


def test_evidence_is_read_from_both_its_ends(state: State) -> None:
    for link in (a_link(), a_link(user(), JANE)):
        state.put_link(link)
        assert link in state.links(link.node)
        assert link in state.links(link.strong)


@pytest.mark.parametrize("node", [visitor_node(SITE, "jane-laptop"), user()])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_of_repeated_evidence_the_earliest_stays_whatever_comes_first(
    state: State, node: str, order: tuple[int, ...]
) -> None:
    links = [a_link(node, at=minutes(number), event=f"e{number}") for number in range(3)]
    for number in order:
        state.put_link(links[number])
    assert state.links(node) == [links[0]]
    assert state.links(JANE) == [links[0]]


@pytest.mark.parametrize("node", [user(), visitor_node(SITE, "b1")])
def test_dropped_evidence_is_gone_from_both_its_ends_and_gives_way_to_any_other(state: State, node: str) -> None:
    link, later = a_link(node, JANE, event="e1"), a_link(node, JANE, at=minutes(9), event="e2")
    state.put_link(link)
    state.drop_link(later)
    assert state.links(JANE) == state.links(node) == [link]
    state.drop_link(link)
    assert state.links(JANE) == state.links(node) == []
    state.put_link(later)
    assert state.links(JANE) == state.links(node) == [later]


def test_what_was_told_and_what_was_clicked_are_kept_apart(state: State) -> None:
    told, clicked = a_link(at=minutes(5)), a_link(kind=EvidenceKind.CLICK)
    state.put_link(told)
    state.put_link(clicked)
    assert sorted(state.links(told.node), key=lambda link: link.at) == [clicked, told]


def test_two_people_on_one_browser_are_both_evidence_about_it(state: State) -> None:
    jane, ken = a_link(), a_link(strong=KEN, at=minutes(9), event="northwind/form/f2")
    state.put_link(jane)
    state.put_link(ken)
    assert sorted(state.links(jane.node), key=lambda link: link.at) == [jane, ken]
    assert state.links(JANE) == [jane]


def test_an_address_that_confirmed_itself_is_told_once_and_dropped_like_any_evidence(state: State) -> None:
    told, later = (
        a_link(JANE, JANE, minutes(at), EvidenceKind.CONFIRMED, f"northwind/link/confirm-{at}") for at in (3, 9)
    )
    for link in (later, told, later):
        state.put_link(link)
    assert state.links(JANE) == [told]
    state.drop_link(told)
    assert state.links(JANE) == []
    state.put_link(later)
    assert state.links(JANE) == [later]


def test_what_was_decided_is_seen_from_both_ends_beside_what_was_told(state: State) -> None:
    decided = [a_link(JANE, KEN, minutes(5), kind, f"northwind/operator/{kind}") for kind in (
        EvidenceKind.MERGED, EvidenceKind.SPLIT,
    )]
    told = a_link(JANE, user())
    for link in (*decided, told):
        state.put_link(link)
    assert set(state.links(KEN)) == set(decided)
    assert set(state.links(JANE)) == {*decided, told}
    state.drop_link(decided[0])
    assert state.links(KEN) == [decided[1]]


def test_of_a_switchboards_phone_no_more_is_read_than_shows_that_it_is_one(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MOST_OF_A_PHONE", 30)
    desk, login = HASHER.phone("+81312345678") or "", user()
    for number in range(35):
        for name in (desk, login):
            state.put_link(a_link(address(f"person{number}@acme.example"), name, event=f"e{number}"))
    assert (len(state.links(desk)), len(state.links(login))) == (30, 35)
    assert is_everybodys(desk, state)
    assert gather(desk, state).strong == frozenset()


@pytest.mark.parametrize("odd", ["jane#E", "jane|laptop", "../jane", "jane-laptop#E#told#email:1", "jane/laptop"])
def test_odd_signs_in_a_node_reach_no_other_node(state: State, odd: str) -> None:
    state.put_link(a_link(f"v:{SITE}:{odd}"))
    assert state.links(f"v:{SITE}:jane-laptop") == []
    assert state.links(f"v:{SITE}:jane") == []
    assert [link.node for link in state.links(f"v:{SITE}:{odd}")] == [f"v:{SITE}:{odd}"]


# Profiles.


def test_a_profile_comes_back_as_it_was_written(state: State) -> None:
    profile = a_profile(interest={"pumps": 10**30}, attributes={"industry": "製造", "employees": 250, "share": 0.25})
    assert state.profile("p_jane") == StoredProfile(0, None)
    state.put_profile(profile, 0, NOW)
    assert state.profile("p_jane") == StoredProfile(1, profile)


@pytest.mark.parametrize("contact", [None, CONTACT])
def test_a_profile_is_written_only_on_the_version_seen(state: State, contact: dict[str, str] | None) -> None:
    state.put_profile(a_profile(), 0, NOW, contact)
    for stale in (0, 2):
        with pytest.raises(ProfileMoved):
            state.put_profile(a_profile(events=99), stale, NOW, {"email": "wrong@acme.example"})
        with pytest.raises(ProfileMoved):
            state.put_profile(a_profile(events=99), stale, NOW)
    state.put_profile(a_profile(events=3), 1, NOW)
    assert state.profile("p_jane") == StoredProfile(2, a_profile(events=3))
    assert state.contact("p_jane") == (contact or {})


def test_a_customer_list_names_its_own_people_only(state: State) -> None:
    for person, group in (("p_jane", SITE), ("p_ken", SITE), ("p_li", "contoso"), ("p_odd", "northwind#1")):
        state.put_profile(a_profile(person, group=group), 0, NOW)
    assert sorted(state.people(SITE)) == ["p_jane", "p_ken"]
    assert list(state.people("contoso")) == ["p_li"]


def test_the_first_reason_to_mail_nobody_stays(state: State) -> None:
    assert state.suppressed([JANE]) == ""
    state.suppress(JANE, "complained", NOW)
    state.suppress(JANE, "bounced", minutes(1))
    assert state.suppressed([KEN, JANE]) == "complained"
    assert state.suppressed([KEN]) == ""


# Two ids become one.


def test_a_person_who_becomes_one_with_another_leaves_a_sign_and_nothing_else(state: State) -> None:
    now_id, former = person_id(JANE), person_id(user())
    state.put_profile(a_profile(former, [user()]), 0, NOW, {"last_name": "Jane"})
    state.put_profile(a_profile(now_id, [JANE, user()]), 0, NOW, CONTACT, {former: 1})
    assert state.profile(former) == StoredProfile(2, None, now_id)
    assert state.contact(former) == {}
    assert list(state.people(SITE)) == [now_id]
    assert list(state.due(NOW)) == [now_id]
    state.mark_due(former, NOW)
    assert list(state.due(NOW)) == [now_id]


def test_a_former_id_that_never_was_is_closed_too(state: State) -> None:
    state.put_profile(a_profile(), 0, NOW, None, {"p_user": 0})
    assert state.profile("p_user") == StoredProfile(1, None, "p_jane")
    with pytest.raises(ProfileMoved):
        state.put_profile(a_profile("p_user"), 0, NOW)


def test_of_whom_nothing_is_known_any_more_nothing_is_left_until_something_is(state: State) -> None:
    profile = a_profile()
    state.put_profile(profile, 0, NOW, CONTACT)
    with pytest.raises(ProfileMoved):
        state.drop_profile(profile.person, 7, NOW, profile.group)
    state.drop_profile(profile.person, 1, NOW, profile.group)
    assert state.profile(profile.person) == StoredProfile(2, None)
    assert (state.contact(profile.person), list(state.people(profile.group)), list(state.due(NOW))) == ({}, [], [])
    state.enlist(profile.group, profile.person)
    state.put_profile(profile, 2, NOW)
    assert state.profile(profile.person) == StoredProfile(3, profile)
    assert list(state.people(profile.group)) == [profile.person]


def test_two_ids_become_one_whole_or_not_at_all(state: State) -> None:
    state.put_profile(a_profile("p_user", [user()]), 0, NOW, CONTACT)
    state.put_profile(a_profile("p_user", [user()], events=3), 1, NOW)
    with pytest.raises(ProfileMoved):
        state.put_profile(a_profile(nodes=[JANE, user()]), 0, NOW, CONTACT, {"p_user": 1})
    assert state.profile("p_jane") == StoredProfile(0, None)
    assert state.profile("p_user").version == 2
    assert state.contact("p_user") == CONTACT


# What is due.


def test_a_new_profile_is_due_at_once_and_not_before(state: State) -> None:
    state.put_profile(a_profile(), 0, NOW)
    assert list(state.due(minutes(-1))) == []
    assert list(state.due(NOW)) == ["p_jane"]


def test_everybody_due_is_found_over_all_shards(state: State) -> None:
    people = {f"p_{number}" for number in range(30)}
    for person in people:
        state.put_profile(a_profile(person), 0, NOW)
    assert set(state.due(NOW)) == people


def test_who_is_settled_is_due_no_more_until_marked(state: State) -> None:
    state.put_profile(a_profile(), 0, NOW)
    assert state.settle("p_jane", 1, NOW)
    assert list(state.due(minutes(9))) == []
    state.mark_due("p_jane", minutes(1))
    assert list(state.due(minutes(9))) == ["p_jane"]
    assert state.profile("p_jane") == StoredProfile(1, a_profile())


def test_who_changed_meanwhile_stays_due(state: State) -> None:
    state.put_profile(a_profile(), 0, NOW)
    state.put_profile(a_profile(events=3), 1, NOW)
    assert not state.settle("p_jane", 1, NOW)
    assert list(state.due(NOW)) == ["p_jane"]


def test_who_was_marked_after_the_decision_stays_due(state: State) -> None:
    state.put_profile(a_profile(), 0, NOW)
    state.mark_due("p_jane", minutes(1))
    assert not state.settle("p_jane", 1, NOW)
    assert list(state.due(minutes(1))) == ["p_jane"]


def test_a_stranger_cannot_be_marked_due(state: State) -> None:
    state.mark_due("p_nobody", NOW)
    assert list(state.due(NOW)) == []
    assert state.profile("p_nobody") == StoredProfile(0, None)


# Runs.


def test_a_run_is_noted_from_its_beginning_to_its_counts(state: State) -> None:
    assert state.run("tick-1") is None
    state.begin_run("tick-1", 7, NOW)
    state.begin_run("tick-1", 5, minutes(1))
    began = {"run": "tick-1", "began_at": "2026-11-24T06:00:00.000Z", "selected": 5, "closed_at": None, "counts": {}}
    assert state.run("tick-1") == began
    state.close_run("tick-1", {"moved": 3, "held": 2}, minutes(2))
    state.begin_run("tick-1", 1, minutes(3))
    assert state.run("tick-1") == {**began, "closed_at": "2026-11-24T06:02:00.000Z", "counts": {"moved": 3, "held": 2}}


def test_a_longer_name_is_another_run(state: State) -> None:
    state.begin_run("tick-1", 7, NOW)
    assert state.run("tick-10") is None
    assert state.run("tick-1#RUN") is None


def test_a_profile_that_newer_code_wrote_can_be_read(
    state: State, engine: tuple[Any, Any], tables: tuple[str, str]
) -> None:
    state.put_profile(replace(a_profile(), fit=60), 0, NOW)
    engine[1].update_item(
        TableName=tables[1],
        Key={schema.PK: {"S": "P#p_jane"}, schema.SK: {"S": "PROFILE"}},
        UpdateExpression="SET body = :body",
        ExpressionAttributeValues={":body": {"S": a_profile(fit=60).stored().told[:-1] + ',{},"curious"]'}},
    )
    assert state.profile("p_jane").profile == a_profile(fit=60)


@pytest.mark.parametrize("contact", [None, {"email": "jane@acme.example"}])
def test_a_profile_that_no_table_takes_says_so_for_good(state: State, contact: dict[str, str] | None) -> None:
    names = {f"{number:04d}" + "長" * 300: number for number in range(600)}
    with pytest.raises(Unstorable):
        state.put_profile(replace(a_profile(), interest=names), 0, NOW, contact)
    state.put_profile(a_profile(), 0, NOW, contact)
