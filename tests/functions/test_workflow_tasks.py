"""select, decide, perform, close: a run moves people and mails them once, and the same run again changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from moto.backends import get_backend

from closedloop.capture.links import UNSUBSCRIBE, Tokens
from closedloop.events.times import iso
from closedloop.loops.definition import Loop
from closedloop.loops.flow import close, decide_shard, perform_shard, select
from closedloop.loops.moves import balance
from closedloop.runtime import clock, doors
from closedloop.runtime.mail import SesMailer
from closedloop.store.boto import BotoCalls
from closedloop.store.calls import Dynamo
from closedloop.store.state import State
from functions.close_run import handler as close_run
from functions.decide_stages import handler as decide_stages
from functions.follow_link import handler as follow_link
from functions.perform_actions import handler as perform_actions
from functions.project_profiles import handler as project_profiles
from functions.select_people import handler as select_people
from tests.accounts import MACHINE, REGION, STATE, Account
from tests.functions.gateway import Context, a_request
from tests.functions.streams import a_batch
from tests.functions.test_project_profiles import a_packet, stored

ACCOUNT_ID = MACHINE.split(":")[4]
LOOP = {
    "loop": "autumn-pumps",
    "sites": ["demo"],
    "strategy": "Win water works",
    "period": {"start": date(2026, 1, 1), "end": date(2099, 12, 31)},
    "currency": "JPY",
    "objectives": [{"metric": "deals_won", "target": 3, "by": date(2099, 12, 31)}],
    "stages": ["research", "problem"],
    "campaigns": [
        {"name": "search-ads", "stage": "research", "touchpoint": "ad"},
        {
            "name": "case-mail",
            "stage": "problem",
            "touchpoint": "email",
            "mail": {
                "subject": "How {{ first_name }} saves",
                "text": "Dear {{ first_name }},\n{{ link }}\n",
                "link": "https://www.northwind.example/cases",
            },
        },
    ],
    "gates": [
        {"name": "interested", "from": "research", "to": "problem", "when": {"did": {"event": "Form Submitted"}}}
    ],
}


@pytest.fixture
def mailing(account: Account, machine: Any) -> Iterator[Account]:
    """A loop with one mail, and a sender that SES knows."""
    account.client("sesv2").create_email_identity(EmailIdentity="pumps@northwind.example")
    account.state.put_loop(Loop.model_validate(LOOP), clock.now())
    account.mails_before = 0
    account.mails_before = len(sent(account))
    yield account
    account.client("sesv2").delete_email_identity(EmailIdentity="pumps@northwind.example")


def people(account: Account, *names: str, event: str = "Form Submitted") -> None:
    """People who filled in a form, folded."""
    packets = [
        a_packet(name, event=event, contact=f"{name}@example.jp", id=f"demo/form/{name}/{event}") for name in names
    ]
    for packet, name in zip(packets, names, strict=True):
        packet.contact[f"email:{name}"]["first_name"] = name.title()  # type: ignore[index]
    assert project_profiles.handle(a_batch(stored(account, packets)), Context()) == {"batchItemFailures": []}


def run(name: str, **words: Any) -> dict[str, Any]:
    """One run of the workflow, task by task as the state machine calls them."""
    selected = select_people.handle({"run": name, "at": "2026-11-24T06:10:00.000Z", **words}, Context())
    if selected["outcome"] == "nobody":
        return selected
    shards = json.loads(doors.lake().get(selected["manifest"]))
    for shard in shards:
        assert decide_stages.handle(shard, Context())["outcome"] == "decided"
        assert perform_actions.handle(shard, Context())["outcome"] == "performed"
    return close_run.handle({"run": name}, Context())


def sent(account: Account) -> list[Any]:
    """The mails that left, as the imitation of SES in this process kept them."""
    backend: Any = get_backend("ses")
    return list(backend[ACCOUNT_ID][REGION].sent_messages)[account.mails_before :]


def outcomes(account: Account) -> list[str]:
    return sorted(item["outcome"]["S"] for item in account.items(STATE) if item["sk"]["S"].startswith("M#"))


def decided(account: Account) -> list[dict[str, Any]]:
    """Everything that was decided or done, without the mark of when it is due."""
    return sorted(
        (item for item in account.items(STATE) if item["sk"]["S"][:2] in ("T#", "V#", "A#", "M#", "PO")),
        key=lambda item: (item["pk"]["S"], item["sk"]["S"]),
    )


def test_a_run_moves_people_mails_them_once_and_balances(mailing: Account) -> None:
    people(mailing, "jane", "ken")
    people(mailing, "mia", event="Seen")
    closed = run("tick-1")
    assert (closed["outcome"], closed["selected"]) == ("balanced", 3)
    assert closed["counts"]["moved"] + closed["counts"]["held"] == 3
    assert closed["mails"] == {"sent": 2}
    assert len(sent(mailing)) == 2
    assert outcomes(mailing) == ["sent", "sent"]


def test_the_same_run_again_and_a_later_one_change_nothing(mailing: Account) -> None:
    people(mailing, "jane")
    run("tick-1")
    before = decided(mailing)
    assert run("tick-1", persons=[before[0]["pk"]["S"].removeprefix("P#")])["outcome"] == "balanced"
    assert run("tick-2")["outcome"] == "nobody"
    assert decided(mailing) == before
    assert len(sent(mailing)) == 1


def test_at_night_everybody_on_the_list_of_a_running_loop_is_looked_at_due_or_not(mailing: Account) -> None:
    people(mailing, "jane", "ken")
    people(mailing, "mia", event="Seen")
    run("tick-1")
    assert run("tick-2")["outcome"] == "nobody"
    night = run("night-1", scope="everybody")
    assert (night["outcome"], night["selected"], night["counts"]["unchanged"]) == ("balanced", 3, 3)
    names = [select_people.handle({"scheduled_time": "2026-11-24T01:30:00Z", **scope}, Context())["run"]
             for scope in ({}, {"scope": "everybody"})]
    assert len(set(names)) == 2, "a tick of the same minute writes other shards"
    over = Loop.model_validate({**LOOP, "period": {"start": date(2026, 1, 1), "end": date(2026, 1, 2)},
                                "objectives": [{"metric": "deals_won", "target": 3, "by": date(2026, 1, 2)}]})
    doors.state().put_loop(over, clock.now())
    assert run("night-2", scope="everybody")["outcome"] == "nobody"


class Recorder:
    """The calls of a table, which it lets through."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self.calls: list[tuple[str, Any]] = []

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.calls.append((operation, parameters.get("ConsistentRead")))
        return self._dynamo.call(operation, parameters)


def test_to_look_at_somebody_again_takes_one_read_of_half_the_price_and_no_write(mailing: Account) -> None:
    people(mailing, "jane", "ken")
    run("tick-1")
    select_people.handle({"run": "night-1", "scope": "everybody", "at": "2026-11-24T06:10:00.000Z"}, Context())
    recorder = Recorder(BotoCalls(mailing.client("dynamodb")))
    state = State(recorder, STATE)
    decided = decide_shard(
        "night-1", 0, state, doors.runs(), doors.state().loops(), doors.state().sites(), clock.now()
    )
    assert decided["counts"]["unchanged"] == 2
    assert recorder.calls == [("Query", False), ("Query", False)]
    perform_shard("night-1", 0, state, doors.runs(), doors.mail())
    assert len(recorder.calls) == 2


def test_a_gate_asks_what_is_around_a_person_too(mailing: Account) -> None:
    """Their company's domain by the site's rules, and since when they have stood where they are."""
    site = doors.state().sites()["demo"]
    rivals = site.accounts.model_copy(update={"competitor_domains": ("example.jp",)})
    mailing.state.put_site(site.model_copy(update={"accounts": rivals}), ("sk_demo",))
    waits = {"in_stage": {"at_least_days": 30}}
    gate = {"name": "interested", "from": "research", "to": "problem", "when": waits}
    rule = {"when": {"kind": ["competitor"]}, "reason": "a competitor"}
    doors.state().put_loop(Loop.model_validate({**LOOP, "gates": [gate]}), clock.now())
    people(mailing, "jane")
    assert run("tick-1")["outcome"] == "balanced"
    (verdict,) = [item for item in mailing.items(STATE) if "hold_kind" in item]
    assert (verdict["hold_kind"]["S"], verdict["reason"]["S"]) == ("too early", "at this stage for 30 days: 0 days")
    doors.state().put_loop(Loop.model_validate({**LOOP, "gates": [{**gate, "exclude": [rule]}]}), clock.now())
    assert run("night-1", scope="everybody")["counts"]["excluded"] == 1


def test_people_walk_each_track_of_a_loop_by_themselves_and_are_mailed_by_its_campaigns(mailing: Account) -> None:
    mail = {**LOOP["campaigns"][1], "name": "valve-mail"}
    track = {**{name: LOOP[name] for name in ("stages", "gates")}, "track": "valves", "campaigns": [mail],
             "enter": {"did": {"event": "Valves Asked"}}}
    track["gates"] = [{**LOOP["gates"][0], "name": "valves-wanted", "when": {"did": {"event": "Valves Asked"}}}]
    doors.state().put_loop(Loop.model_validate({**LOOP, "tracks": [track]}), clock.now())
    people(mailing, "jane")
    people(mailing, "ken", event="Valves Asked")
    closed = run("tick-1")
    assert (closed["outcome"], closed["counts"]["moved"], closed["mails"]) == ("balanced", 2, {"sent": 2})
    places = sorted((item["sk"]["S"], item["stage"]["S"]) for item in decided(mailing) if item["sk"]["S"][:3] == "POS")
    assert places == [("POS#autumn-pumps", "problem"), ("POS#autumn-pumps", "research"),
                      ("POS#autumn-pumps_valves", "problem")]
    done = [item for item in decided(mailing) if item["sk"]["S"].startswith("M#")]
    assert {(item["loop"]["S"], item["campaign"]["S"]) for item in done} == {
        ("autumn-pumps", "case-mail"), ("autumn-pumps_valves", "valve-mail")}
    before = decided(mailing)
    assert run("night-1", scope="everybody")["outcome"] == "balanced"
    assert decided(mailing) == before
    lane = doors.state().loop("autumn-pumps_valves")
    assert lane is not None
    assert lane.loop == "autumn-pumps_valves"
    assert [loop.loop for _, loop in doors.state().loop_history(lane.loop)] == [lane.loop]
    assert doors.state().loop("autumn-pumps_seals") is None
    count = balance(doors.state().every_decision(), lane.loop, clock.now(), lambda person: person)
    assert count == {"problem": 1}


def test_no_more_come_to_a_stage_than_it_can_take_whatever_runs_beside_and_the_others_come_when_there_is_room(
    mailing: Account,
) -> None:
    narrow = {**LOOP, "capacities": {"problem": {"people": 5}}}
    doors.state().put_loop(Loop.model_validate(narrow), clock.now())
    names = [f"p{number}" for number in range(12)]
    people(mailing, *names)
    files, loops, sites, now = doors.runs(), doors.state().loops(), doors.state().sites(), clock.now()
    for name in ("tick-a", "tick-b"):
        select_people.handle({"run": name, "at": "2026-11-24T06:10:00.000Z"}, Context())
    told: list[dict[str, Any]] = []

    class WithAnotherRun(State):
        """The state as one run sees it, while a whole other run goes by after it has counted the slots."""

        def slots_taken(self, loop: str, stage: str, window: str) -> int:
            found = super().slots_taken(loop, stage, window)
            if not told:
                told.append({})
                told[0] = decide_shard("tick-b", 0, doors.state(), files, loops, sites, now)
            return found

    told.append(decide_shard("tick-a", 0, WithAnotherRun(doors.dynamo(), STATE), files, loops, sites, now))
    assert [sum(one["counts"].values()) for one in told] == [12, 12]
    for name in ("tick-d", "tick-e", "night-1"):
        run(name, **({"scope": "everybody"} if name == "night-1" else {}))
    places = [item["stage"]["S"] for item in decided(mailing) if item["sk"]["S"].startswith("POS#")]
    assert Counter(places) == {"problem": 5, "research": 7}
    slots = [item["sk"]["S"].rpartition("#")[2] for item in mailing.items(STATE) if item["pk"]["S"].startswith("R#")]
    assert sorted(slots) == [f"{number:07d}" for number in range(1, 6)]
    holds = [item for item in decided(mailing) if item.get("hold_kind", {}).get("S") == "capacity"]
    assert len(holds) == 7
    assert all("5 of 5 came to problem since" in item["reason"]["S"] for item in holds)
    assert len(sent(mailing)) == 5
    wider = {**LOOP, "capacities": {"problem": {"people": 7}}}
    doors.state().put_loop(Loop.model_validate(wider), clock.now())
    assert run("night-2", scope="everybody")["counts"]["moved"] == 2
    assert run("night-3", scope="everybody")["counts"]["moved"] == 0


def test_who_stands_at_a_stage_too_long_is_put_into_the_outbox_once_and_counted_in_the_run(mailing: Account) -> None:
    strict = {**LOOP, "service_levels": {"research": {"days": 3, "to": ["slack"], "language": "en"}}}
    doors.state().put_loop(Loop.model_validate(strict), clock.now())
    people(mailing, "mia", event="Seen")
    run("tick-1")
    assert doors.state().run("tick-1")["counts"].get("over_service_level") is None  # type: ignore[index]
    (standing,) = [item for item in decided(mailing) if item["sk"]["S"].startswith("POS#")]
    person, later = standing["pk"]["S"].removeprefix("P#"), clock.now() + timedelta(days=4)
    state, files = doors.state(), doors.runs()
    for name in ("late-1", "late-2"):
        select(name, [person], state, files, later)
        decide_shard(name, 0, state, files, state.loops(), state.sites(), later)
        perform_shard(name, 0, state, files, doors.mail())
        assert close(name, state, files, later)["outcome"] == "balanced"
    counts = [state.run(name)["counts"].get("over_service_level") for name in ("late-1", "late-2")]  # type: ignore[index]
    assert counts == [1, None]
    (notice,) = [action for action in state.actions(person) if action.kind == "sales_notice"]
    since = standing["since"]["S"]
    assert notice.campaign == f"~late-research-{since}"
    assert notice.about["to"] == ["slack"]
    assert notice.about["why"]["en"] == [f"has stood at research since {since[:10]}, longer than 3 days"]


def perform_at(moment: datetime, run: str) -> dict[str, Any]:
    """What `run` selected, performed at another time."""
    return perform_shard(run, 0, doors.state(), doors.runs(), replace(doors.mail(), now=lambda: moment))["counts"]


def is_due(moment: datetime) -> bool:
    return list(doors.state().due(moment)) != []


def test_a_mail_waits_for_the_end_of_quiet_hours_and_is_due_again_then(mailing: Account) -> None:
    quiet = {**LOOP, "policies": {"quiet_hours": {"from": "21:00", "to": "08:00"}}}
    mailing.state.put_loop(Loop.model_validate(quiet), clock.now())
    people(mailing, "jane")
    night, morning = datetime(2098, 1, 1, 14, 0, tzinfo=UTC), datetime(2098, 1, 1, 23, 0, tzinfo=UTC)
    decide_stages.handle(json.loads(doors.lake().get(
        select_people.handle({"run": "evening", "at": iso(night)}, Context())["manifest"]))[0], Context())
    assert perform_at(night, "evening") == {"later": 1}
    assert [is_due(moment) for moment in (night, morning - timedelta(seconds=1), morning)] == [False, False, True]
    assert perform_at(morning - timedelta(seconds=1), "evening") == {"later": 1}
    assert len(sent(mailing)) == 0
    assert perform_at(morning, "evening") == {"sent": 1}
    assert perform_at(morning, "evening") == {}
    assert len(sent(mailing)) == 1


def test_a_person_gets_no_more_mails_than_the_cap_allows(mailing: Account) -> None:
    capped = json.loads(Loop.model_validate({
        **LOOP, "policies": {"frequency_cap": {"mails": 1, "within_days": 3}},
    }).model_dump_json(by_alias=True))
    capped["campaigns"].append({**capped["campaigns"][1], "name": "second-mail"})
    mailing.state.put_loop(Loop.model_validate(capped), clock.now())
    people(mailing, "jane")
    first = datetime(2098, 1, 1, 3, 0, tzinfo=UTC)
    decide_stages.handle(json.loads(doors.lake().get(
        select_people.handle({"run": "first", "at": iso(first)}, Context())["manifest"]))[0], Context())
    assert perform_at(first, "first") == {"later": 1, "sent": 1}
    assert perform_at(first + timedelta(days=2), "first") == {"later": 1}
    third = first + timedelta(days=3)
    assert [is_due(moment) for moment in (third - timedelta(seconds=1), third)] == [False, True]
    assert perform_at(third, "first") == {"sent": 1}
    assert outcomes(mailing) == ["sent", "sent"]


class Post:
    """SES's client, as the mailer sees it: keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[dict[str, Any]] = []

    def send_email(self, **mail: Any) -> dict[str, str]:
        self.mails.append(mail)
        return {"MessageId": f"m-{len(self.mails)}"}


def test_a_mail_carries_both_headers_of_unsubscribing_and_its_link_stops_the_mails(mailing: Account) -> None:
    people(mailing, "jane")
    selected = select_people.handle({"run": "tick-1"}, Context())
    assert selected["selected"] == 1
    decide_stages.handle({"run": "tick-1", "shard": 0}, Context())
    post = Post()
    perform_shard("tick-1", 0, doors.state(), doors.runs(), replace(doors.mail(), mailer=SesMailer(post)))
    [mail] = post.mails
    assert mail["Destination"] == {"ToAddresses": ["jane@example.jp"]}
    simple = mail["Content"]["Simple"]
    assert simple["Subject"]["Data"] == "How Jane saves"
    headers = {header["Name"]: header["Value"] for header in simple["Headers"]}
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link, mailto = headers["List-Unsubscribe"].split(", ")
    assert mailto == "<mailto:pumps@northwind.example?subject=unsubscribe>"
    assert link.startswith("<https://c.northwind.example/u/")
    token = link.strip("<>").rpartition("/")[2]
    assert "jane" not in token
    assert Tokens(doors.link_keys()).read(UNSUBSCRIBE, token).campaign == "case-mail"

    asked = a_request("POST", f"/u/{token}", "List-Unsubscribe=One-Click", parts={"token": token})
    assert follow_link.handle(asked, Context())["statusCode"] == 200
    fresh = [item for item in mailing.items() if item["door"]["S"] == "link"]
    project_profiles.handle(a_batch(fresh), Context())
    assert [item["reason"]["S"] for item in mailing.items(STATE) if item["sk"]["S"] == "SUPPRESSED"] == ["unsubscribed"]


@pytest.mark.parametrize("event", ["Email Unsubscribed", "Email Marked As Spam", "Email Bounced"])
def test_a_suppressed_address_gets_nothing(mailing: Account, event: str) -> None:
    people(mailing, "jane")
    people(mailing, "jane", event=event)
    mailing.state.suppress("email:ken", "manual", clock.now())
    people(mailing, "ken")
    closed = run("tick-1")
    assert closed["outcome"] == "balanced"
    assert closed["mails"] == {"failed": 2}
    assert sent(mailing) == []
    assert outcomes(mailing) == ["failed", "failed"]


def test_an_address_suppressed_between_the_decision_and_the_mail_gets_nothing(mailing: Account) -> None:
    people(mailing, "jane")
    select_people.handle({"run": "tick-1"}, Context())
    decide_stages.handle({"run": "tick-1", "shard": 0}, Context())
    mailing.state.suppress("email:jane", "manual", clock.now())
    perform_actions.handle({"run": "tick-1", "shard": 0}, Context())
    assert sent(mailing) == []


def test_a_run_with_nobody_to_decide_about_says_so(mailing: Account) -> None:
    assert run("tick-1") == {"outcome": "nobody", "run": "tick-1", "selected": 0}


def test_no_address_stands_in_the_files_of_a_run_or_in_a_log(
    mailing: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    people(mailing, "jane")
    run("tick-1")
    files = b"".join(mailing.texts_of("the-lake").values())
    assert b"jane@" not in files
    assert "jane@" not in capsys.readouterr().out
