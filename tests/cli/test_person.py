"""closedloop person merge, split, undo and show --why: who is who is decided, shown, and taken back to the byte."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from closedloop.events.event import CONSENT_CONFIRMED, FORM_SUBMITTED, Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet, pack
from closedloop.events.times import iso
from closedloop.identity.persons import person_id
from closedloop.profiles.check import check
from closedloop.profiles.flow import project, readable
from closedloop.runtime import doors
from tests.accounts import forget
from tests.builders import CHROME
from tests.cli.conftest import NOW, PEPPER, Cloud, Ran, Run

HASHER = Hasher(PEPPER.encode(), "demo")
JANE, KEN = "jane@acme.example", "ken@acme.example"
DESK, NUMBER = HASHER.phone("+81312345678") or "", HASHER.customer("7", "dealer") or ""
DECIDED = ("--site", "demo", "--reason", "she says so", "--json")


def node(email: str) -> str:
    return HASHER.address(email) or ""


def told(name: str, ids: list[str], days_ago: float = 5, door: Door = Door.FORM, event: str = FORM_SUBMITTED) -> Packet:
    record = {
        "id": f"demo/{door}/{name}", "type": "track", "name": event, "ids": ids,
        "at": iso(NOW - timedelta(days=days_ago)), "properties": {"form": "guide"},
    }
    contact = {ids[0]: {"email": name.partition(" ")[0]}} if "@" in name else {}
    return pack([(f"I#{ids[0]}", record, contact)], site="demo", door=door,
                received_at=NOW - timedelta(days=days_ago), headers={"agent": CHROME})[0]


def verified(email: str) -> Packet:
    return told(f"confirm-{email[:3]}", [node(email)], 4, Door.LINK, CONSENT_CONFIRMED)


def follow(*packets: Packet) -> None:
    """What is new in the ledger becomes profiles, as its stream makes them."""
    forget()
    doors.ledger().append(packets)
    every = list(doors.ledger().every_packet())
    project([(str(n), packet, readable(packet)) for n, packet in enumerate(every)], doors.state(), doors.ledger(),
            doors.sites(), lambda: NOW)
    assert check(every, lambda person: doors.state().profile(person).profile, doors.sites()).stale == ()


def people() -> dict[str, str]:
    """Everybody on the list, with their profile to the byte."""
    state = doors.state()
    found = {person: state.profile(person).profile for person in state.people("demo")}
    return {person: profile.as_text() for person, profile in found.items() if profile}


@pytest.fixture
def two(applied: Cloud) -> Cloud:
    """Jane and Ken, who filled in a form each, with the telephone of their company."""
    follow(told(f"{JANE} 1", [node(JANE), DESK]), told(f"{KEN} 1", [node(KEN), DESK], 3), told("call", [DESK], 1))
    return applied


def names(ran: Ran, when: str) -> list[set[str]]:
    assert ran.status == 0, ran.err
    return [set(one["names"]) for one in ran.json[when]]


def test_a_merge_joins_and_its_undo_gives_back_every_byte(two: Cloud, run: Run) -> None:
    before = people()
    assert set(before) == {person_id(node(JANE)), person_id(node(KEN))}
    ran = run("person", "merge", JANE, KEN, *DECIDED)
    assert names(ran, "before") == sorted([{node(JANE)}, {node(KEN)}], key=sorted)
    # The telephone was of two people; of one person it is theirs.
    assert names(ran, "after") == [{node(JANE), node(KEN), DESK}]
    follow()
    (together,) = people().values()
    assert together not in before.values()
    again = run("person", "merge", JANE, KEN, *DECIDED)
    assert (again.status, "are one person already" in again.err) == (2, True)
    assert run("person", "undo", JANE, KEN, *DECIDED).json["undo"] == ran.json["merge"]
    follow()
    assert people() == before
    assert run("person", "undo", JANE, KEN, *DECIDED).err == "nothing was decided between these two\n"


def test_a_split_parts_what_was_told_together_and_its_undo_gives_back_every_byte(applied: Cloud, run: Run) -> None:
    follow(told(f"{JANE} 1", [node(JANE), NUMBER]), told("bought", [NUMBER], 2))
    before = people()
    assert list(before) == [person_id(node(JANE))]
    ran = run("person", "split", JANE, "customer:dealer:7", *DECIDED)
    assert names(ran, "after") == sorted([{node(JANE)}, {NUMBER}], key=sorted)
    follow()
    assert set(people()) == {person_id(node(JANE)), person_id(NUMBER)}
    assert (said := run("person", "merge", JANE, "customer:dealer:7", *DECIDED)).status == 2
    assert "a split keeps them apart" in said.err
    assert run("person", "undo", "customer:dealer:7", JANE, *DECIDED).json["undo"] == ran.json["split"]
    follow()
    assert people() == before


def test_a_dry_run_shows_whom_it_would_concern_and_writes_nothing(two: Cloud, run: Run) -> None:
    before = [list(doors.ledger().every_packet()), people()]
    said = run("person", "merge", JANE, KEN, *DECIDED, "--dry-run").json
    assert (said["written"], {one["email"] for one in said["before"]}) == (False, {JANE, KEN})
    assert [list(doors.ledger().every_packet()), people()] == before


def test_two_verified_persons_are_never_made_one_and_it_says_why(two: Cloud, run: Run) -> None:
    follow(verified(JANE), verified(KEN))
    before = people()
    said = run("person", "merge", JANE, KEN, *DECIDED)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(
        "both have an address of their own that was verified, the one on 2026-11-20 by the button"
    )
    follow()
    assert people() == before


@pytest.mark.parametrize(("words", "message"), [
    (("merge", JANE, JANE), "are one person already"),
    (("merge", JANE, "+81312345678"), "this phone is shared by people who are not one"),
    (("split", JANE, KEN), "are not two names of one person"),
    (("undo", JANE, KEN), "nothing was decided"),
    (("merge", JANE, "p_nobody"), "no person 'p_nobody' is known"),
    (("merge", JANE, "customer:7"), "expected SYSTEM:NUMBER"),
])
def test_what_cannot_be_decided_is_refused_in_words(
    two: Cloud, run: Run, words: tuple[str, ...], message: str
) -> None:
    said = run("person", *words, *DECIDED)
    assert (said.status, message in said.err) == (2, True), said.err


def test_a_reason_is_asked_for_and_holds_no_address(two: Cloud, run: Run) -> None:
    for reason in (" ", f"{JANE} says so", "x" * 301):
        said = run("person", "merge", JANE, KEN, "--site", "demo", "--reason", reason)
        assert (said.status, "needs a reason" in said.err) == (2, True)


# Finding and explaining.


@pytest.mark.parametrize("words", [
    ("--email", " Jane@ACME.example"), ("--customer", "dealer:7"), ("--phone", "090-1234-5678"), ("--user", "u-1"),
    ("--person", person_id(node(JANE))),
])
def test_a_person_is_found_by_whatever_names_them(applied: Cloud, run: Run, words: tuple[str, str]) -> None:
    mobile, user = HASHER.phone("+819012345678") or "", HASHER.user("u-1") or ""
    follow(told(f"{JANE} 1", [node(JANE), user, NUMBER, mobile]))
    assert run("person", "show", *words, "--site", "demo", "--json").json["person"] == person_id(node(JANE))


def test_whom_to_show_is_said_once(two: Cloud, run: Run) -> None:
    for words in ((), ("--email", JANE, "--phone", "03-1234-5678")):
        assert "say whom, once" in run("person", "show", *words, "--site", "demo").err
    assert "is shared by several people" in run("person", "show", "--phone", "03-1234-5678", "--site", "demo").err


def test_why_tells_source_time_strength_and_effect_of_every_piece(two: Cloud, run: Run) -> None:
    follow(verified(JANE), told(f"{JANE} 2", [node(JANE), NUMBER], 2))
    ran = run("person", "show", "--email", JANE, "--site", "demo", "--why", "--json").json
    told_of: list[tuple[Any, ...]] = [
        (row["source"], row["at"][:10], row["strength"], row["effect"].partition(":")[0]) for row in ran["evidence"]
    ]
    assert told_of == [
        ("demo link", "2026-11-20", "verified", "verifies the address"),
        ("demo form", "2026-11-22", "customer", "joins"),
        ("demo form", "2026-11-19", "phone", "contested"),
        ("demo form", "2026-11-21", "phone", "contested"),
    ]
    assert set(ran["names"]) == {node(JANE), NUMBER}
    shown = run("person", "show", "--email", JANE, "--site", "demo", "--why").out
    assert "why this is one person" in shown
    assert "shared by several people" in run("person", "show", "--phone", "03-1234-5678", "--site", "demo", "--why").out
