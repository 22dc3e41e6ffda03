"""closedloop site tail: what came in, in the words of the checks, for somebody who is just building a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from closedloop.cli.main import main
from closedloop.runtime import clock
from functions.archive_events import handler as archive_events
from functions.capture_beacon import handler as capture_beacon
from tests.accounts import Account, forget
from tests.functions.gateway import CHROME, KEY, ORIGIN, Context, a_request
from tests.functions.streams import a_batch

Run = Callable[..., str]
CANARY = "canary.jane@secret.example"


@pytest.fixture
def run(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    monkeypatch.chdir(tmp_path)

    def closedloop(*words: str) -> str:
        capsys.readouterr()
        forget()
        with pytest.raises(SystemExit) as end:
            main(["site", "tail", *words])
        if end.value.code:
            raise end.value
        return capsys.readouterr().out

    return closedloop


def come_in(account: Account, *events: dict[str, Any], agent: str = CHROME) -> None:
    """Events of a page, taken by the door and written to the lake."""
    before = {item["sk"]["S"] for item in account.items()}
    body = json.dumps({"batch": events, "writeKey": KEY})
    event = a_request("POST", "/v1/batch", body, headers={"origin": ORIGIN, "user-agent": agent})
    assert capture_beacon.handle(event, Context())["statusCode"] == 200
    new = [item for item in account.items() if item["sk"]["S"] not in before]
    archive_events.handle(a_batch(new, first=len(before) + 1), Context())


def a_page(name: str, path: str = "/products/pumps/p-200", **more: Any) -> dict[str, Any]:
    url = f"{ORIGIN}{path}?utm_source=news&utm_medium=email&utm_campaign=guide"
    return {
        "type": "page", "messageId": name, "anonymousId": f"browser-{name}",
        "context": {"page": {"url": url, "path": path, "title": CANARY}}, **more,
    }


def lines(out: str) -> dict[str, dict[str, Any]]:
    return {one["id"].rpartition("/")[2]: one for one in map(json.loads, out.splitlines())}


def test_each_event_is_told_with_its_verdict_its_grade_its_source_and_what_to_mend(account: Account, run: Run) -> None:
    come_in(
        account, a_page("m-1"), a_page("m-2", path="/about"), a_page("m-3", timestamp="2020-01-01T00:00:00Z"),
        {"type": "identify", "messageId": "m-4", "userId": "null", "anonymousId": "browser-4"},
        {"type": "dance", "messageId": "m-5", "anonymousId": "x"},
    )
    come_in(account, a_page("m-6"), agent="Googlebot/2.1 (+http://www.google.com/bot.html)")
    told = lines(run("demo", "--no-follow", "--json"))
    first = told["m-1"]
    assert (first["verdict"], first["door"], first["what"]) == ("accepted", "beacon", "page /products/pumps/p-200")
    assert first["source"].startswith("Email/news")
    assert first["grade"].startswith(("human", "likely"))
    assert first["notes"] == []
    assert first["who"] == "browser-m-1"
    assert told["m-2"]["notes"][0].startswith("no topic")
    assert told["m-3"]["notes"][0].startswith("late")
    assert told["m-4"]["notes"][0].startswith("id refused")
    assert told["m-6"]["grade"].startswith("machine (")
    (failed,) = (one for one in told.values() if one["verdict"] == "failed")
    assert (failed["door"], failed["what"]) == ("beacon", "refused")
    assert failed["notes"][0].startswith("type")
    main_id = failed["notes"][1].rpartition(" ")[2]
    assert main_id in account.failed()[0].id


def test_people_read_the_same_in_one_line_each_at_the_sites_own_time(account: Account, run: Run) -> None:
    come_in(account, a_page("m-1"), a_page("m-2", path="/about"))
    out = run("demo", "--no-follow").splitlines()
    assert len([line for line in out if " accepted " in line]) == 2
    assert any("page /products/pumps/p-200" in line and "Email/news" in line for line in out)
    assert any(line.strip().startswith("no topic") for line in out)


def test_no_clear_personal_data_is_shown(account: Account, run: Run) -> None:
    come_in(
        account, a_page("m-1", path=f"/users/{CANARY}"), a_page("m-2", traits={"email": CANARY}),
        {"type": "identify", "messageId": "m-3", "userId": CANARY, "traits": {"phone": "+819012345678"}},
        {"type": "track", "event": f"Wrote to {CANARY}", "messageId": "m-4", "anonymousId": "x"},
    )
    for words in ((), ("--json",)):
        out = run("demo", "--no-follow", *words)
        for secret in ("canary", "secret.example", "9012345678"):
            assert secret not in out
    assert lines(run("demo", "--no-follow", "--json"))["m-3"]["who"].startswith("email:")


def test_it_goes_on_until_it_is_stopped_and_tells_everything_once(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    come_in(account, a_page("m-1"))
    steps = iter([
        lambda: come_in(account, a_page("m-2"), a_page("m-3")),
        # The stream delivers a batch again, under another name.
        lambda: archive_events.handle(a_batch(account.items(), first=500), Context()),
    ])

    def meanwhile(seconds: float) -> None:
        step = next(steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(clock, "sleep", meanwhile)
    out = run("demo", "--json").splitlines()
    assert sorted(json.loads(line)["id"].rpartition("/")[2] for line in out if line.startswith('{"at"')) == [
        "m-1", "m-2", "m-3",
    ]


def test_only_the_site_that_was_named_and_only_since(account: Account, run: Run) -> None:
    come_in(account, a_page("m-1"))
    assert run("rival", "--no-follow", "--json") == ""
    assert run("demo", "--no-follow", "--json", "--since", "0s") == ""
    assert len(run("demo", "--no-follow", "--json", "--since", "1d").splitlines()) == 1


@pytest.mark.parametrize("words", [("demo", "--since", "soon"), ("nowhere",)])
def test_what_cannot_be_told_is_said_in_words(
    run: Run, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(*words, "--no-follow")
    assert end.value.code == 2
    assert "expected a number" in (err := capsys.readouterr().err) or "no site" in err
