"""Double opt-in, the whole way: a consent counts once its address pressed the button, and nobody is bombed."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from closedloop.capture.confirm import confirm
from closedloop.capture.flow import Doors
from closedloop.capture.forms import accept_form
from closedloop.capture.links import Tokens
from closedloop.capture.request import Request
from closedloop.errors import MailRefused, OutcomeUnknown, Throttled
from closedloop.events.confirmations import OPEN_FOR, questions_of
from closedloop.events.packet import Packet
from closedloop.identity.persons import person_id
from closedloop.loops.actions import WrittenMail
from closedloop.loops.definition import Loop
from closedloop.loops.flow import MailDoors, perform_shard
from closedloop.loops.once import CLAIM_LIFE
from closedloop.loops.questions import perform_question
from closedloop.profiles.flow import project
from closedloop.profiles.fold import fold
from closedloop.runtime import clock, doors, http
from closedloop.runtime.mail import asking_mails, links_of
from closedloop.sites.definition import Site
from closedloop.store.boto import BotoCalls
from closedloop.store.calls import Dynamo
from closedloop.store.state import State
from functions.capture_form import handler as capture_form
from functions.decide_stages import handler as decide_stages
from functions.follow_link import handler as follow_link
from functions.perform_actions import handler as perform_actions
from functions.project_profiles import handler as project_profiles
from functions.select_people import handler as select_people
from tests.accounts import PEPPER, STATE, Account
from tests.functions.gateway import Context, a_request
from tests.functions.streams import a_batch
from tests.functions.test_workflow_tasks import sent

ORIGIN = "https://letters.example"
TEXT = "お知らせのメールを受け取ります"
SITE = Site.model_validate({
    "site": "letters",
    "title": "文具 <Letters>",
    "write_key": "pk_letters_12345678",
    "origins": [ORIGIN],
    "mail_sender": {
        "name": "Letters", "address": "hello@letters.example", "postal_address": "1-1 Kyoto",
        "contact": f"{ORIGIN}/ask",
    },
    "forms": {
        "join": {
            "thanks": "/thanks",
            "double_opt_in": True,
            "fields": [{"name": "email", "kind": "email", "required": True}, {"name": "first_name"}],
            "consents": [{"name": "news", "texts": {"2026-11": TEXT}}],
        }
    },
})
MAIL = {"subject": "Welcome", "text": "Read {{ link }}", "link": f"{ORIGIN}/welcome"}
LOOP = Loop.model_validate({
    "loop": "letters-2026",
    "sites": ["letters"],
    "strategy": "Write letters",
    "period": {"start": date(2026, 1, 1), "end": date(2099, 12, 31)},
    "currency": "JPY",
    "objectives": [{"metric": "deals_won", "target": 3, "by": date(2099, 12, 31)}],
    "stages": ["research", "problem"],
    "campaigns": [{"name": "welcome", "stage": "problem", "touchpoint": "email", "mail": MAIL}],
    "gates": [
        {"name": "joined", "from": "research", "to": "problem", "when": {"did": {"event": "Form Submitted"}}}
    ],
})
START = datetime.fromisoformat("2026-11-24T06:00:00+00:00")
LINK = re.compile(r"https://c\.northwind\.example/c/([A-Za-z0-9_.-]+)")
Reply = dict[str, Any]


# The whole way through the functions.


@pytest.fixture
def letters(account: Account, machine: Any) -> Iterator[Account]:
    """A site whose form asks for a confirmation, a loop with a mail, and a sender that SES knows."""
    account.client("sesv2").create_email_identity(EmailIdentity="hello@letters.example")
    account.state.put_site(SITE)
    account.state.put_loop(LOOP, clock.now())
    account.mails_before = 0
    account.mails_before = len(sent(account))
    yield account
    account.client("sesv2").delete_email_identity(EmailIdentity="hello@letters.example")


def join(email: str, submission: str = "s-1", *, news: str = "2026-11") -> None:
    content = {"fields": {"email": email, "first_name": "BUY NOW", "news": news}, "submission_id": submission}
    headers = {"origin": ORIGIN, "content-type": "application/json"}
    event = a_request("POST", "/v1/forms/join", json.dumps(content), headers=headers, parts={"form": "join"})
    assert capture_form.handle(event, Context())["statusCode"] == 200


def caught_up(account: Account) -> None:
    """The stream of everything in the ledger, and a run of the workflow."""
    batch = a_batch([item for item in account.items() if item["kind"]["S"] == "packet"])
    assert project_profiles.handle(batch, Context()) == {"batchItemFailures": []}
    selected = select_people.handle({"run": "tick"}, Context())
    for shard in json.loads(doors.lake().get(selected["manifest"])) if selected["selected"] else ():
        decide_stages.handle(shard, Context())
        perform_actions.handle(shard, Context())


def press(token: str, method: str = "POST") -> Reply:
    return follow_link.handle(a_request(method, f"/c/{token}", parts={"token": token}), Context())


def consent(account: Account, email: str) -> str:
    who = {name: fields["email"] for packet in account.packets() for name, fields in packet.contact.items()}
    [identifier] = [name for name, address in who.items() if address == email]
    profile = account.state.profile(person_id(identifier)).profile
    return profile.consent.get("marketing", "") if profile else ""


def test_a_consent_counts_when_the_address_pressed_the_button_and_mails_wait_for_it(letters: Account) -> None:
    join("hanako@example.jp")
    caught_up(letters)
    [question] = sent(letters)
    assert question.destinations["ToAddresses"] == ["hanako@example.jp"]
    assert TEXT in question.body
    assert "BUY NOW" not in question.body + question.subject, "nobody's words go to another's address"
    assert "hanako" not in question.body
    assert consent(letters, "hanako@example.jp") == "unconfirmed"

    found = LINK.search(question.body)
    assert found is not None
    for method in ("GET", "HEAD", "GET"):
        page = press(found[1], method)
        assert (page["statusCode"], "<form method=\"post\">" in page["body"]) == (200, True)
        assert TEXT in page["body"]
        assert "文具 &lt;Letters&gt;" in page["body"]
        assert "hanako" not in json.dumps(page)
    caught_up(letters)
    assert (consent(letters, "hanako@example.jp"), len(sent(letters))) == ("unconfirmed", 1), "scanners follow links"

    assert press(found[1])["statusCode"] == 200
    caught_up(letters)
    assert consent(letters, "hanako@example.jp") == "granted"
    assert [mail.subject for mail in sent(letters)[1:]] == ["Welcome"]
    confirmed = next(record for record in letters.records() if record["name"] == "Consent Confirmed")
    [asked] = [record for record in letters.records() if record["name"] == "Form Submitted"]
    assert confirmed["properties"]["consents"] == asked["properties"]["consents"]
    assert confirmed["properties"]["submission"] == asked["id"]

    press(found[1])
    caught_up(letters)
    assert len({record["id"] for record in letters.records()}) == 2, "pressed twice is confirmed once"
    assert len(sent(letters)) == 2


def test_without_the_box_nobody_is_asked_and_nobody_waits(letters: Account) -> None:
    join("ken@example.jp", news="")
    caught_up(letters)
    assert [mail.subject for mail in sent(letters)] == ["Welcome"]
    assert consent(letters, "ken@example.jp") == ""


def test_a_batch_delivered_again_asks_once(letters: Account) -> None:
    join("hanako@example.jp")
    for _ in range(3):
        caught_up(letters)
    assert len(sent(letters)) == 1


@pytest.mark.parametrize("token", ["", "x", "a.b", "é"])
def test_a_link_that_we_did_not_sign_confirms_nothing(letters: Account, token: str) -> None:
    reply = press(token)
    assert (reply["statusCode"], letters.records()) == (404, [])


def test_a_link_of_another_purpose_or_key_confirms_nothing(letters: Account) -> None:
    join("hanako@example.jp")
    caught_up(letters)
    said = sent(letters)[0].body
    stop = re.search(r"/u/([A-Za-z0-9_.-]+)", said)
    confirm = LINK.search(said)
    assert stop is not None and confirm is not None
    assert press(stop[1])["statusCode"] == 404
    unsubscribe = a_request("POST", f"/u/{confirm[1]}", parts={"token": confirm[1]})
    assert follow_link.handle(unsubscribe, Context())["statusCode"] == 404
    assert [record["name"] for record in letters.records()] == ["Form Submitted"]


# Who is asked, and how often: the same code under a clock of its own.


@dataclass
class Post:
    """The door of SES: it keeps what left and when, or fails as it is told."""

    at: Callable[[], datetime]
    mails: list[tuple[datetime, WrittenMail]] = field(default_factory=list)
    fails: Exception | None = None
    during: Callable[[], None] | None = None

    def send(self, mail: WrittenMail) -> str:
        if self.during:
            self.during()
        if self.fails:
            raise self.fails
        self.mails.append((self.at(), mail))
        return f"m-{len(self.mails)}"


class World:
    """The site under a clock that is set."""

    def __init__(self, account: Account) -> None:
        self.account, self.state, self.ledger = account, account.state, account.ledger
        self.at = START
        self.post = Post(lambda: self.at)
        tokens, url = Tokens([b"a key"]), "https://c.northwind.example"
        self.doors = MailDoors(
            self.post, links_of(tokens, url), asking_mails(tokens, url, PEPPER.encode()), lambda _: None, {},
            {"letters": SITE}, lambda: self.at,
        )
        self.capture = Doors(doors.keys(), self.ledger, doors.fail, PEPPER.encode(), lambda: self.at, lambda: "new")
        self.told: set[str] = set()

    def join(self, email: str, submission: str, address: str = "203.0.113.7") -> None:
        content = {"fields": {"email": email, "news": "2026-11"}, "submission_id": submission}
        headers = {"origin": ORIGIN, "content-type": "application/json"}
        request = Request(
            "POST", "/v1/forms/join", headers, path_values={"form": "join"}, body=json.dumps(content).encode(),
            network=http.network(address),
        )
        assert accept_form(request, self.capture).status == 200

    def fresh(self) -> list[Packet]:
        """What came since the stream was read last."""
        packets = [packet for packet in self.account.packets() if packet.id not in self.told]
        self.told |= {packet.id for packet in packets}
        return packets

    def project(self) -> None:
        """What the projector makes of questions; profiles are folded when they are looked at."""
        for packet in self.fresh():
            for question in questions_of(packet, packet.events):
                self.state.ask(question)

    def tick(self) -> Counter[str]:
        """What a run does about the questions of everybody who is due."""
        counts: Counter[str] = Counter()
        packets = [(packet.contact, packet.events) for packet in self.account.packets()]
        for person in sorted(set(self.state.due(self.at))):
            for asked in self.state.to_do(person)[1]:
                who = asked.question.identifier
                events = [event for _, told in packets for event in told if who in event.identifiers]
                contact = {name: value for known, _ in packets for name, value in known.get(who, {}).items()}
                profile = fold(events, [who], {"letters": SITE})
                counts[perform_question(asked, profile, contact, self.state, self.doors)] += 1
        return counts

    def ended(self) -> list[tuple[str, str]]:
        return sorted(
            (item["outcome"]["S"], item.get("reason", {}).get("S", ""))
            for item in self.account.items(STATE) if item["sk"]["S"].startswith("A#~question#")
        )


@pytest.fixture
def world(account: Account) -> World:
    account.state.put_site(SITE)
    return World(account)


def most_within(moments: list[datetime], span: timedelta) -> int:
    """The most mails that left within any span of this length."""
    return max((sum(1 for at in moments if start <= at < start + span) for start in moments), default=0)


def test_a_hundred_submits_for_one_address_bring_it_one_mail_a_day_and_three_a_month(world: World) -> None:
    for number in range(100):
        world.at = START + number * timedelta(hours=1)
        world.join("victim@example.jp", f"s-{number}", f"198.51.{number}.1")
        if number % 10 == 0:
            world.project()
            world.tick()
    moments = [at for at, _ in world.post.mails]
    assert most_within(moments, timedelta(hours=24)) == 1
    assert len(moments) == 3
    assert {mail.to for _, mail in world.post.mails} == {"victim@example.jp"}


def test_a_hundred_submits_at_once_bring_one_mail(world: World) -> None:
    for number in range(100):
        world.join("victim@example.jp", f"s-{number}", f"198.51.{number}.1")
    world.project()
    world.tick()
    world.at += timedelta(hours=23)
    world.tick()
    assert len(world.post.mails) == 1
    assert Counter(world.ended()) == {("sent", ""): 1, ("failed", "the address was asked already"): 99}


def guests(world: World, count: int) -> None:
    """So many people fill in the form in one room, behind one network."""
    for number in range(count):
        world.join(f"guest-{number}@example.jp", f"s-{number}", f"203.0.113.{number + 1}")
    world.project()


def test_a_hundred_addresses_from_one_network_bring_five_mails_an_hour(world: World) -> None:
    guests(world, 100)
    for minute in (0, 1, 59, 60):
        world.at = START + timedelta(minutes=minute)
        world.tick()
    moments = [at for at, _ in world.post.mails]
    assert (most_within(moments, timedelta(hours=1)), len(moments)) == (5, 10)


def test_whoever_is_too_many_waits_for_a_day_and_nobody_of_another_network_waits(world: World) -> None:
    guests(world, 7)
    world.tick()
    world.join("elsewhere@example.jp", "s-else", "203.0.114.1")
    world.project()
    world.tick()
    assert [mail.to for _, mail in world.post.mails[5:]] == ["elsewhere@example.jp"]
    world.at += timedelta(hours=24, minutes=1)
    world.tick()
    assert Counter(world.ended()) == {("sent", ""): 6, ("failed", "it could not be asked within a day"): 2}


def test_two_runs_at_once_ask_once(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    world.join("hanako@example.jp", "s-2")
    world.project()
    world.post.during = lambda: setattr(world.post, "during", None) or (world.tick() and None)
    world.tick()
    assert len(world.post.mails) == 1


def test_whom_we_may_not_mail_is_not_asked(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    [identifier] = [name for packet in world.account.packets() for name in packet.contact]
    world.state.suppress(identifier, "complained", world.at)
    world.project()
    world.tick()
    assert (world.post.mails, world.ended()) == ([], [("failed", "suppressed: complained")])


def test_an_address_that_is_suppressed_at_the_last_moment_is_not_asked(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    world.project()
    [person] = set(world.state.due(world.at))
    [asked] = world.state.to_do(person)[1]
    world.state.suppress(asked.question.identifier, "unsubscribed", world.at)
    assert not world.state.claim_question(asked, [asked.question.identifier], world.at)


def test_who_has_confirmed_is_not_asked_again(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    world.project()
    world.tick()
    token = LINK.search(world.post.mails[0][1].text)
    assert token is not None
    pressed = Request("POST", f"/c/{token[1]}", path_values={"token": token[1]})
    assert confirm(pressed, world.capture, Tokens([b"a key"])).status == 200
    world.at += timedelta(days=2)
    world.join("hanako@example.jp", "s-2")
    world.project()
    world.tick()
    assert (len(world.post.mails), world.ended()[0]) == (1, ("failed", "the address has confirmed already"))


def test_a_link_is_good_for_seven_days(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    world.project()
    world.tick()
    token = LINK.search(world.post.mails[0][1].text)
    assert token is not None
    pressed = Request("POST", f"/c/{token[1]}", path_values={"token": token[1]})
    world.at = START + OPEN_FOR + timedelta(seconds=1)
    late = confirm(pressed, world.capture, Tokens([b"a key"]))
    assert (late.status, "期限" in late.body, len(world.account.records())) == (410, True, 1)
    world.at = START + OPEN_FOR
    assert confirm(pressed, world.capture, Tokens([b"a key"])).status == 200
    assert confirm(pressed, world.capture, Tokens([b"another key"])).status == 404


@pytest.mark.parametrize(
    ("fails", "ended", "later"),
    [
        (MailRefused("the mail provider refused it: MessageRejected"), "failed", 0),
        (OutcomeUnknown("no answer"), "unknown", 0),
        (Throttled("TooManyRequestsException"), "pending", 1),
    ],
)
def test_a_mail_that_did_not_leave_is_tried_again_only_when_that_is_certain(
    world: World, fails: Exception, ended: str, later: int
) -> None:
    world.join("hanako@example.jp", "s-1")
    world.project()
    world.post.fails = fails
    world.tick()
    assert [outcome for outcome, _ in world.ended()] == [ended]
    world.post.fails = None
    world.at += timedelta(minutes=5)
    world.tick()
    assert len(world.post.mails) == later
    world.join("hanako@example.jp", "s-2")
    world.project()
    world.tick()
    assert len(world.post.mails) == later, "what may have left counts as a mail of that day"


def test_whoever_died_over_a_question_never_has_it_sent_twice(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    world.project()
    [person] = set(world.state.due(world.at))
    [asked] = world.state.to_do(person)[1]
    assert world.state.claim_question(asked, [asked.question.identifier], world.at)
    assert world.tick() == {"later": 1}
    world.at += CLAIM_LIFE + timedelta(seconds=1)
    assert world.tick() == {"unknown": 1}
    assert world.post.mails == []


class Killed(BaseException):
    """The process is gone; nothing in it can catch that."""


class Dying:
    """A way to call DynamoDB whose process dies at a call: before it reaches the table, or before it is answered."""

    def __init__(self, dynamo: Dynamo, calls: int, *, answered: bool) -> None:
        self._dynamo, self._left, self._answered = dynamo, calls, answered

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0 and not self._answered:
            raise Killed
        answer = self._dynamo.call(operation, parameters)
        if self._left < 0:
            raise Killed
        return answer


@pytest.mark.parametrize("answered", [False, True])
def test_killed_at_any_call_and_run_again_an_address_is_asked_once_or_looked_at(world: World, answered: bool) -> None:
    whole, outcomes = BotoCalls(world.account.client("dynamodb")), []
    killed = True
    for calls in range(30):
        email = f"guest-{calls}@example.jp"
        world.at += timedelta(hours=2)
        world.join(email, f"s-{calls}")
        world.project()
        world.state = State(Dying(whole, calls, answered=answered), STATE, PEPPER.encode)
        try:
            world.tick()
            killed = False
        except Killed:
            killed = True
        world.state = State(whole, STATE, PEPPER.encode)
        world.at += 2 * CLAIM_LIFE
        world.tick()
        mails = [mail.to for _, mail in world.post.mails].count(email)
        known = [one for packet in world.account.packets() for one in packet.contact.items()]
        who = next(identifier for identifier, contact in known if contact["email"] == email)
        [asked] = world.state.questions(who)
        outcomes.append((asked.status, mails))
        if not killed:
            break
    assert not killed, "the last one ran to its end"
    assert len(outcomes) > 10
    # Who died over a mail does not know whether it left; it is never sent again blindly.
    assert set(outcomes) == {("sent", 1), ("unknown", 0 if answered else 1)}


def test_what_is_replayed_much_later_asks_nobody(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    arrived = [(packet.id, packet, packet.events) for packet in world.fresh()]
    for at, asked in ((START + timedelta(hours=24, seconds=1), 0), (START + timedelta(hours=24), 1)):
        projected = project(arrived, world.state, world.ledger, {"letters": SITE}, lambda at=at: at)
        assert (projected.again, len(world.ended())) == (set(), asked)


def test_a_question_is_kept_without_the_address(world: World) -> None:
    world.join("hanako@example.jp", "s-1")
    world.project()
    world.tick()
    for item in world.account.items(STATE):
        if item["sk"]["S"] != "CONTACT":
            assert "hanako" not in repr(item)


def test_a_mail_of_a_campaign_waits_seven_days_for_the_confirmation_and_then_is_given_up(letters: Account) -> None:
    join("hanako@example.jp")
    caught_up(letters)
    assert len(sent(letters)) == 1

    [person] = {item["pk"]["S"][2:] for item in letters.items(STATE) if item["sk"]["S"].startswith("A#letters")}
    doors.runs().put_people("later", [person])
    doors.runs().put_outcome("later", 0, {"act_on": [person]})
    mail = doors.mail()

    def perform(at: datetime) -> dict[str, Any]:
        waits = replace(mail, now=lambda: at)
        counts: dict[str, Any] = perform_shard("later", 0, letters.state, doors.runs(), waits)["counts"]
        return counts

    assert set(letters.state.due(clock.now())) == set(), "nothing is tried while nothing has changed"
    assert perform(clock.now() + timedelta(days=6)) == {"later": 1}
    assert perform(clock.now() + timedelta(days=7, minutes=1)) == {"failed": 1}
    reasons = [item["reason"]["S"] for item in letters.items(STATE) if item["sk"]["S"].startswith("M#")]
    assert reasons == ["marketing was never confirmed"]
