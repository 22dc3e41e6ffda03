"""Failed events: told apart, listed without what was sent, and told again until they are well, each fact once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from closedloop.capture.mail import PROVIDERS
from closedloop.cli.main import main
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.identity.persons import person_id
from closedloop.runtime import clock, doors
from closedloop.runtime.failed import tell_again
from closedloop.sites.definition import Site
from closedloop.store.calls import CallFailed, Dynamo
from closedloop.store.ledger import packet_item
from closedloop.store.table import key
from functions.archive_events import handler as archive_events
from functions.capture_form import handler as capture_form
from functions.project_profiles import handler as project_profiles
from tests.accounts import EVENTS, LAKE, STATE, Account, forget
from tests.functions.every_door import beacon
from tests.functions.gateway import ORIGIN, Context, a_request
from tests.functions.streams import a_batch
from tests.functions.test_project_profiles import a_packet, poison

MAIL = Path("tests/vectors/mail")
Run = Callable[..., Any]


@pytest.fixture
def run(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A command on this account; its JSON, or its words."""
    vectors = MAIL.resolve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.functions.test_failed_events.MAIL", vectors)

    def closedloop(*words: str) -> Any:
        capsys.readouterr()
        forget()
        with pytest.raises(SystemExit) as end:
            main(list(words))
        if end.value.code:
            raise end.value
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in words else out

    return closedloop


def kept(account: Account, payload: Any, door: str = "beacon", **words: Any) -> FailedEvent:
    """Something that a former version of ours could not take."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    failed = FailedEvent(
        kind=words.get("kind", FailedKind.REFUSED), reason=words.get("reason", "not understood yet"),
        site=words.get("site", "demo"), door=door, handler=words.get("handler", f"capture_{door}"),
        code_version="0.0.9", received_at=words.get("received_at", clock.now().replace(microsecond=0)), payload=raw,
        sent=words.get("sent", {}),
    )
    account.ledger.fail(failed)
    return failed


def an_event(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Seen", "messageId": name, "anonymousId": f"of-{name}", **more}


def ids(account: Account) -> list[str]:
    return sorted({str(record["id"]) for record in account.records()})


# At the doors.


def test_replay_recovers_exactly_what_is_well_now_and_marks_it_and_nothing_is_stored_twice(
    account: Account, run: Run
) -> None:
    well = [kept(account, an_event(f"m-{number}")) for number in range(3)]
    ill = [kept(account, one) for one in (an_event("m-4", type="dance"), b"\xff{", an_event("x", event=""))]
    for again in range(2):
        done = run(*(("failed", "replay", "--days", "1") if again else ("replay", "--failed")), "--json")
        assert (done["recovered"], done["still"]) == (0 if again else 3, 3)
        assert ids(account) == ["demo/beacon/m-0", "demo/beacon/m-1", "demo/beacon/m-2"]
        assert len(account.packets()) == 3
    listed = run("failed", "list", "--json")
    assert {one["id"] for one in listed} == {one.id for one in ill}
    every = {one["id"]: one["replayed_at"] for one in run("failed", "list", "--all", "--json")}
    assert {name for name, at in every.items() if at} == {one.id for one in well}


def test_of_many_events_kept_together_the_good_ones_are_stored_and_the_whole_stays_open(
    account: Account, run: Run
) -> None:
    kept(account, [an_event("m-1"), an_event("m-2", type="dance"), an_event("m-3")])
    for _ in range(2):
        assert run("failed", "replay", "--days", "5", "--json")["still"] == 1
        assert ids(account) == ["demo/beacon/m-1", "demo/beacon/m-3"]
        assert len(account.packets()) == 2
    assert len(run("failed", "list", "--json")) == 1


def test_what_is_told_again_is_as_of_when_it_came_by_whom_it_came(account: Account, run: Run) -> None:
    came = clock.now().replace(microsecond=0) - timedelta(days=3)
    stated = {"agent": "Googlebot/2.1", "network": "203.0.113.0", "sent_at": came.isoformat()}
    kept(account, an_event("m-1", timestamp=(came - timedelta(days=2)).isoformat()), received_at=came, sent=stated)
    long_ago = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
    old = {"timestamp": long_ago.isoformat()}
    kept(account, an_event("m-2", **old), received_at=came, sent={"secret": "yes"})
    kept(account, an_event("m-3", **old), received_at=came)
    assert run("failed", "replay", "--days", "5", "--json")["recovered"] == 3
    by_id = {packet.records[0]["id"]: packet for packet in account.packets()}
    assert {packet.received_at for packet in by_id.values()} == {came}
    headers = by_id["demo/beacon/m-1"].headers
    assert (headers["agent"], headers["network"]) == ("Googlebot/2.1", "203.0.113.0")
    assert by_id["demo/beacon/m-1"].events[0].occurred_at == came - timedelta(days=2)
    # Only the owner's secret key may tell of long ago.
    by_the_owner, by_anybody = (by_id[f"demo/beacon/m-{number}"].events[0] for number in (2, 3))
    assert (by_the_owner.occurred_at, by_the_owner.late, by_anybody.late) == (long_ago, False, True)


def test_what_the_beacon_refuses_today_is_kept_with_all_that_telling_it_again_needs(account: Account) -> None:
    beacon("m", bad=True)
    (failed,) = account.failed()
    assert (failed.kind, failed.site, failed.door, failed.handler) == (
        *(FailedKind.REFUSED, "demo", "beacon"), "capture_beacon",
    )
    assert failed.sent["agent"].startswith("Mozilla/5.0")
    assert failed.sent["network"] == "203.0.113.0"
    assert "event" in tell_again(failed)


def a_robot(account: Account) -> FailedEvent:
    body = urlencode({"email": "jane@example.jp", "company": "Acme", "cl_website": "https://spam.example"})
    headers = {"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"}
    event = a_request("POST", "/v1/forms/guide", body, headers=headers, parts={"form": "guide"})
    assert capture_form.handle(event, Context())["statusCode"] == 303
    (failed,) = account.failed()
    return failed


def test_a_robots_form_is_let_in_only_by_a_person_who_names_it(account: Account, run: Run) -> None:
    failed = a_robot(account)
    assert failed.kind is FailedKind.QUARANTINED
    for words in (("replay", "--failed"), ("failed", "replay", "--door", "form", "--days", "1")):
        assert run(*words, "--json")["quarantined"] == 1
    assert account.packets() == []
    assert run("failed", "replay", failed.id, "--json")["recovered"] == 1
    (record,) = account.records()
    assert (record["name"], record["properties"]["form"]) == ("Form Submitted", "guide")
    assert run("failed", "replay", "--kind", "quarantined", "--days", "1", "--json")["recovered"] == 0


def reports() -> Mapping[str, tuple[bytes, str]]:
    others: Mapping[str, Any] = json.loads((MAIL / "others.json").read_text())
    bodies = {name: (json.dumps(report).encode(), "application/json") for name, report in others.items()}
    form = urlencode({"mandrill_events": json.dumps(others["mandrill"])}).encode()
    bodies["mandrill"] = (form, "application/x-www-form-urlencoded")
    bodies["sendgrid"] = (json.dumps(json.loads((MAIL / "sendgrid.json").read_text())[:1]).encode(), "application/json")
    return bodies


@pytest.mark.parametrize("provider", sorted(PROVIDERS - {"amazon_ses"}))
def test_a_report_of_any_mail_provider_can_be_told_again(account: Account, run: Run, provider: str) -> None:
    words = {"site": "mailing", "title": "m", "write_key": "pk_mailing_12345", "origins": ["https://m.example"]}
    account.state.put_site(Site.model_validate({**words, "webhooks": {"email": [provider]}}))
    body, kind = reports()[provider]
    kept(account, body, "email", site="mailing", sent={"provider": provider, "type": kind})
    if body.startswith(b"[{"):
        # One report out of the list that a request was.
        one = json.dumps(json.loads(body)[0]).encode()
        kept(account, one, "email", site="mailing", sent={"provider": provider, "type": kind})
    done = run("failed", "replay", "--site", "mailing", "--days", "1", "--json")
    assert done["still"] == 0, done
    (name,) = ids(account)
    assert name.startswith(f"mailing/{provider}/")


def test_a_deal_can_be_told_again(account: Account, run: Run) -> None:
    site = {
        "site": "selling", "title": "s", "write_key": "pk_selling_12345", "origins": ["https://s.example"],
        "currency": "JPY", "webhooks": {"deals": ["hubspot"]},
    }
    account.state.put_site(Site.model_validate(site))
    said = json.loads((MAIL.parent / "deals" / "hubspot.json").read_text())
    whole = next(one["body"] for one in said if isinstance(one["body"], dict) and one.get("facts"))
    change = next(one["body"][0] for one in said if isinstance(one["body"], list) and one.get("facts"))
    for told in (whole, change):
        kept(account, told, "deal", site="selling", sent={"provider": "hubspot", "type": "application/json"})
    done = run("failed", "replay", "--days", "1", "--json")
    assert done["recovered"] == 2, done
    assert all(name.startswith("selling/crm/hubspot-") for name in ids(account))


def test_what_no_door_takes_again_says_so(account: Account, run: Run) -> None:
    for door, site in (("link", "demo"), ("beacon", "gone"), ("email", "demo"), ("deal", "demo"), ("form", "demo")):
        kept(account, {"some": door}, door, site=site)
    done = run("failed", "replay", "--days", "5", "--json")
    assert (done["recovered"], done["still"]) == (0, 5)
    assert all(one["reason"] for one in done["events"])
    assert account.packets() == []


# On the streams.


def test_a_packet_of_a_site_that_was_not_declared_is_folded_and_archived_once_it_is(
    account: Account, machine: Any, run: Run
) -> None:
    packet = a_packet("jane", site="young")
    account.ledger.append([packet])
    for handler in (project_profiles, archive_events):
        handler.handle(a_batch([packet_item(packet)]), Context())
    (failed,) = account.failed()
    assert (failed.kind, failed.site, failed.door) == (FailedKind.UNREADABLE, "young", "form")
    assert run("failed", "replay", "--days", "5", "--json")["still"] == 1
    words = {"site": "young", "title": "y", "write_key": "pk_young_12345", "origins": ["https://y.example"]}
    account.state.put_site(Site.model_validate(words))
    assert run("failed", "replay", "--days", "5", "--json")["recovered"] == 1
    assert [item for item in account.items(STATE) if item["sk"]["S"] == "PROFILE"]
    assert len([key for key in account.texts_of(LAKE) if key.startswith("events/")]) == 1
    before = (account.items(STATE), account.texts_of(LAKE))
    assert tell_again(failed) == ""
    assert (account.items(STATE), account.texts_of(LAKE)) == before
    assert len(account.packets()) == 1


@pytest.mark.parametrize("kind", range(3))
def test_a_packet_that_cannot_be_read_still_fails_and_touches_nothing(
    account: Account, run: Run, kind: int
) -> None:
    item = poison(packet_item(a_packet("jane")), kind)
    project_profiles.handle(a_batch([item]), Context())
    assert len(account.failed()) == 1
    before = account.items(STATE)
    assert run("failed", "replay", "--days", "31", "--json")["still"] == 1
    assert account.items(STATE) == before


class TooLargeFor:
    """DynamoDB, for whom the profile of one person is more than an item holds."""

    def __init__(self, dynamo: Dynamo, profile: str) -> None:
        self._dynamo, self._profile = dynamo, profile

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if self._profile in json.dumps(parameters.get("TransactItems", parameters.get("Item", "")), default=repr):
            raise CallFailed(*self._refusal(operation))
        return self._dynamo.call(operation, parameters)

    def _refusal(self, operation: str) -> tuple[str, tuple[str, ...]]:
        if operation == "TransactWriteItems":
            return "TransactionCanceledException", ("ValidationError", "None")
        return "ValidationException", ()


@pytest.mark.parametrize("contact", ["", "huge@acme.example"])
def test_a_profile_over_the_tables_limit_is_a_failed_event_and_not_an_endless_retry(
    account: Account, machine: Any, monkeypatch: pytest.MonkeyPatch, contact: str
) -> None:
    packets = [a_packet("huge", contact=contact), a_packet("jane"), a_packet("ken")]
    account.ledger.append(packets)
    real = doors.dynamo()
    profile = json.dumps(key(f"P#{person_id('email:huge')}", "PROFILE"))[1:-1]
    monkeypatch.setattr(doors, "dynamo", lambda: TooLargeFor(real, profile))
    reply = project_profiles.handle(a_batch([packet_item(packet) for packet in packets]), Context())
    assert reply == {"batchItemFailures": []}
    (failed,) = account.failed()
    assert (failed.kind, failed.door) == (FailedKind.UNSTORABLE, "form")
    assert failed.reason.startswith("Unstorable: the profile of")
    assert len([item for item in account.items(STATE) if item["sk"]["S"] == "PROFILE"]) == 2


# What people see.


def test_the_list_shows_no_personal_data_and_one_shown_whole_does(account: Account, run: Run) -> None:
    canary, number = "canary.jane@secret.example", "+81 90-1234-5678"
    reason = f"properties.{canary}: expected text; properties.{number}: too long"
    failed = kept(account, an_event("m-1", traits={"email": canary}), reason=reason)
    replays = ("replay", "--dry-run", "--days", "1"), ("replay", "--days", "1", "--json")
    for words in (("list",), ("list", "--json"), *replays):
        text = str(run("failed", *words))
        assert failed.id[:20] in text or words[0] == "list"
        for secret in ("canary", "secret.example", "1234-5678"):
            assert secret not in text
    assert canary in run("failed", "show", failed.id)
    shown = run("failed", "show", failed.id[:18], "--json")
    assert (shown["kind"], shown["site"], shown["code_version"]) == ("refused", "demo", "0.0.9")


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((), 4), (("--site", "demo"), 3), (("--site", "rival"), 1), (("--door", "form"), 1), (("--days", "1"), 3),
        (("--kind", "unworkable"), 1), (("--site", "demo", "--door", "beacon"), 2), (("--site", "none"), 0),
    ],
)
def test_the_list_is_of_a_day_a_site_a_door_or_a_kind(
    account: Account, run: Run, words: tuple[str, ...], count: int
) -> None:
    kept(account, {"n": 1})
    kept(account, {"n": 2}, "form")
    kept(account, {"n": 3}, site="rival", kind=FailedKind.UNWORKABLE)
    old = kept(account, {"n": 4}, received_at=clock.now().replace(microsecond=0) - timedelta(days=2))
    assert len(run("failed", "list", *words, "--json")) == count
    assert len(run("failed", "list", "--day", f"{old.received_at:%Y-%m-%d}", "--json")) == 1


@pytest.mark.parametrize("id_", ["nonsense", "2026-11-24.zzzz", "2026-11-24.abcdef"])
def test_an_id_that_names_nothing_is_told_in_words(run: Run, capsys: pytest.CaptureFixture[str], id_: str) -> None:
    with pytest.raises(SystemExit) as end:
        run("failed", "show", id_)
    assert end.value.code == 2
    assert "closedloop failed list" in capsys.readouterr().err


def test_an_outage_in_the_middle_ends_the_replay_and_the_next_goes_on(account: Account, run: Run) -> None:
    failed = [kept(account, an_event(f"m-{number}")) for number in range(4)]
    account.ledger.mark_replayed(failed[0], clock.now())
    items = account.items()
    account.loses(EVENTS)
    with pytest.raises(SystemExit):
        run("failed", "replay", "--days", "5", "--json")
    account.create(EVENTS)
    for item in items:
        account.client("dynamodb").put_item(TableName=EVENTS, Item=item)
    assert run("failed", "replay", "--days", "5", "--json")["recovered"] == 3
    assert len(ids(account)) == 3


