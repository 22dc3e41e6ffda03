"""closedloop person export, erase and consents, suppression, and site notice: what they say and do."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher
from closedloop.runtime import clock, doors
from tests.builders import a_packet, a_record
from tests.cli.conftest import EVENTS, PEPPER, STATE, Cloud, Run, a_person

ADA = ("--email", "ada@water.example", "--site", "demo")
IDENTIFIER = Hasher(PEPPER.encode(), "demo").address("ada@water.example") or ""


@pytest.fixture(autouse=True)
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)


def test_an_export_is_written_and_is_the_same_again(applied: Cloud, run: Run) -> None:
    person = a_person()
    said = run("person", "export", *ADA, "--as-of", "2026-11-24T06:00:00Z", "--json")
    assert said.status == 0, said.err
    assert said.json["file"] == f"{person}.zip"
    assert run("person", "export", *ADA, "--as-of", "2026-11-24T06:00:00Z", "--out", "again.zip").status == 0
    assert Path(f"{person}.zip").read_bytes() == Path("again.zip").read_bytes()
    with zipfile.ZipFile("again.zip") as packed:
        (contact,) = json.loads(packed.read("contact.json"))
        assert (contact["email"], contact["first_name"]) == ("ada@water.example", "Ada")
        assert packed.read("contact.csv").startswith(b"\xef\xbb\xbfat,identifier,")
    nobody = run("person", "export", "--email", "no@where.example", "--site", "demo")
    assert (nobody.status, nobody.err.splitlines()[-1]) == (2, "nothing is held about this person")


def test_nothing_is_erased_before_it_is_confirmed(applied: Cloud, run: Run) -> None:
    a_person()
    before = applied.items(EVENTS), applied.items(STATE)
    for words in ((), ("--dry-run", "--confirm"), ("--confirm", "--why", "a long story about Ada")):
        assert run("person", "erase", *ADA, *words).status == 2
    dry = run("person", "erase", *ADA, "--dry-run", "--json").json
    assert (dry["state"], dry["packets"], dry["events"]) == ("found", 1, 4)
    assert (applied.items(EVENTS), applied.items(STATE)) == before


def test_whoever_is_erased_is_gone_and_the_record_says_so_without_them(applied: Cloud, run: Run) -> None:
    person = a_person()
    said = run("person", "erase", *ADA, "--confirm", "--why", "withdrew", "--json")
    assert (said.status, said.json["state"], said.json["packets"]) == (0, "erased", 1), said.err
    assert applied.items(EVENTS) == []
    assert run("person", "show", *ADA).status == 2
    again = run("person", "erase", *ADA, "--confirm", "--json").json
    assert (again["state"], again["erased_since"]) == ("nothing is held", said.json["erased_since"])
    listed = run("person", "erasures", "--json")
    ((done),) = listed.json
    assert (done["why"], done["asked_by"], done["counts"]["packets"]) == ("withdrew", "person", 1)
    assert not [word for word in ("ada@", IDENTIFIER, person) if word in listed.out + said.out]
    assert done["erasure"] in run("person", "erasures").out
    taken_back = run("suppression", "remove", *ADA, "--reason", "please")
    assert (taken_back.status, "suppressed for good: erased" in taken_back.err) == (2, True)


def test_an_operator_suppresses_and_takes_back_and_both_are_kept(applied: Cloud, run: Run) -> None:
    a_person()
    assert run("suppression", "add", *ADA, "--reason", "by phone", "--dry-run", "--json").json["would_change"] is True
    assert run("suppression", "list", "--json").json == []
    assert run("suppression", "add", *ADA, "--reason", "by phone", "--json").json["changed"] is True
    assert run("suppression", "add", *ADA, "--reason", "again", "--json").json["changed"] is False
    assert [(one["identifier"], one["reason"]) for one in run("suppression", "list", "--json").json] == [
        (IDENTIFIER, "manual"),
    ]
    assert "suppressed" in run("person", "show", *ADA).out
    assert run("suppression", "remove", *ADA, "--reason", "asked for news", "--json").json["changed"] is True
    shown = run("suppression", "show", *ADA, "--json").json
    assert (shown["suppressed"], [(one["what"], one["why"]) for one in shown["changes"]]) == (
        "", [("added", "by phone"), ("removed", "asked for news")],
    )
    told = [record.get("name") for packet in doors.ledger().every_packet() for record in packet.records]
    assert told.count("Mail Suppressed") == told.count("Mail Allowed") == 1


def test_a_complaint_stands_whatever_an_operator_wishes(applied: Cloud, run: Run) -> None:
    a_person()
    record = {**a_record(type="track", name="Email Marked As Spam", ids=[IDENTIFIER]), "id": "demo/email/1"}
    doors.ledger().append([a_packet(record, site="demo", door=Door.EMAIL)])
    run("suppression", "add", *ADA, "--reason", "by phone")
    said = run("suppression", "remove", *ADA, "--reason", "sales wants it")
    assert (said.status, "complained" in said.err) == (2, True)


def test_a_stranger_is_suppressed_and_does_not_become_known_by_it(applied: Cloud, run: Run) -> None:
    stranger = ("--email", "no@where.example", "--site", "demo")
    assert run("suppression", "add", *stranger, "--reason", "a letter").status == 0
    assert applied.items(EVENTS) == []
    assert len(run("suppression", "list", "--json").json) == 1


def test_consents_are_shown_with_their_proof(applied: Cloud, run: Run) -> None:
    a_person()
    agreed = {
        **a_record(type="track", name="Form Submitted", ids=[IDENTIFIER]), "id": "demo/form/9",
        "context": {"consent": {"marketing": "granted", "version": "2026-11", "source": "form guide"}},
        "properties": {"consents": [{"purpose": "marketing", "version": "2026-11", "text": "5f" * 32}]},
    }
    doors.ledger().append([a_packet(agreed, site="demo", door=Door.FORM)])
    (proof,) = run("person", "consents", *ADA, "--json").json
    assert (proof["site"], proof["purpose"], proof["word"], proof["version"], proof["text"], proof["event"]) == (
        "demo", "marketing", "granted", "2026-11", "5f" * 32, "demo/form/9",
    )
    assert proof["stands"] is True
    shown = run("person", "consents", *ADA).out
    assert "marketing" in shown and "guide" in shown and "granted" in shown


@pytest.mark.parametrize(("lang", "title"), [("ja", "外部送信に関する公表事項"), ("en", "What this website sends")])
def test_the_notice_of_a_site_is_printed_ready_to_publish(applied: Cloud, run: Run, lang: str, title: str) -> None:
    page = run("site", "notice", "demo", "--lang", lang, "--format", "html")
    assert (page.status, page.err) == (0, "")
    assert page.out.startswith("<!doctype html>") and title in page.out and "c.northwind.example" in page.out
    assert run("site", "notice", "demo", "--lang", lang).out.startswith(f"# {title}")


def test_somebody_must_be_named_in_one_way(applied: Cloud, run: Run) -> None:
    for words in ((), ("--email", "ada@water.example", "--user-id", "7"), ("--email", "no address")):
        assert run("person", "erase", "--site", "demo", "--dry-run", *words).status == 2
