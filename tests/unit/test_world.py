"""The synthetic world: the same numbers give the same world, and its truth is what its files say."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from crawleruseragents import is_crawler
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from closedloop.errors import Refused
from closedloop.events.identifiers import normal_address
from closedloop.events.times import iso
from closedloop.loops.definition import Loop
from closedloop.sites.definition import Site
from closedloop.sites.document import Document
from closedloop.world import catalogue, files
from closedloop.world.generate import generate
from closedloop.world.people import CASE_MAIL_EFFECT
from closedloop.world.truth import Truth

UNTIL = datetime(2026, 11, 24, 6, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[2] / "examples"


class Read:
    """A world's folder, read as a stranger would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events, self.forms, self.deals, self.mail, self.costs, self.reactions = (
            list(files.read_lines(folder, name))
            for name in (files.EVENTS, files.FORMS, files.DEALS, files.MAIL, files.COSTS, files.REACTIONS)
        )
        self.truth = TypeAdapter(Truth).validate_json((folder / files.TRUTH).read_bytes(), strict=True)

    @property
    def addresses(self) -> dict[str, set[str]]:
        """Which addresses each browser gave."""
        given: defaultdict[str, set[str]] = defaultdict(set)
        for form in self.forms:
            given[form["anonymousId"]].add(normal_address(form["fields"]["email"]) or "")
        for event in self.events:
            if event["type"] == "identify":
                given[event["anonymousId"]].add(event["traits"]["email"])
        return given

    def buyers(self, *, mailed: bool) -> set[str]:
        """Who has won deals when everybody, or nobody, gets the mail."""
        lines = self.deals + [line["payload"] for line in self.reactions if mailed and line["kind"] == "deal"]
        return {line["data"]["email"] for line in lines if line["type"] == "deal.won"}


def written(folder: Path, people: int = 120, seed: int = 7) -> Read:
    files.write(generate(people, seed, UNTIL), folder)
    return Read(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Read:
    return written(tmp_path_factory.mktemp("world"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_numbers_give_the_same_bytes(world: Read, tmp_path: Path) -> None:
    again = written(tmp_path)
    assert contents(again.folder) == contents(world.folder)
    assert set(contents(world.folder)) == {
        "events.ndjson", "forms.ndjson", "deals.ndjson", "mail.ndjson", "costs.ndjson", "reactions.ndjson",
        "truth.json",
    }


def test_another_seed_is_another_world(world: Read, tmp_path: Path) -> None:
    assert contents(written(tmp_path, seed=8).folder)["events.ndjson"] != contents(world.folder)["events.ndjson"]


def test_a_larger_world_begins_with_the_same_people() -> None:
    assert generate(50, 3, UNTIL).persons == generate(80, 3, UNTIL).persons[:50]


def test_the_zone_of_the_end_does_not_matter(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    files.write(generate(10, 1, UNTIL), here)
    files.write(generate(10, 1, datetime.fromisoformat("2026-11-24T15:00:00+09:00")), there)
    assert contents(here) == contents(there)


@pytest.mark.parametrize(("people", "until"), [(0, UNTIL), (-5, UNTIL), (5, datetime(2026, 11, 24, 6))])
def test_a_world_of_nobody_or_of_no_certain_time_is_refused(people: int, until: datetime) -> None:
    with pytest.raises(Refused):
        generate(people, 1, until)


@settings(max_examples=12, deadline=None)
@given(people=st.integers(1, 60), seed=st.integers(0, 2**32), hour=st.integers(0, 23))
def test_the_truth_is_what_the_files_say(people: int, seed: int, hour: int) -> None:
    until = UNTIL.replace(hour=hour)
    with TemporaryDirectory() as place:
        files.write(generate(people, seed, until), Path(place))
        read = Read(Path(place))
    truth, counts = read.truth, read.truth["counts"]
    bots = {bot["visitor"] for bot in truth["bots"]}
    human = [event for event in read.events if event["anonymousId"] not in bots]
    given_addresses = read.addresses

    emails = {person["emails"][0] for person in truth["persons"]}
    assert {normal_address(form["fields"]["email"]) for form in read.forms} == emails
    assert counts["persons_known"] == len(truth["persons"]) == people
    assert counts["humans"] == people + len(truth["lookers"])
    assert counts["human_visitors"] == len({event["anonymousId"] for event in human})
    assert counts["anonymous_visitors"] == len({event["anonymousId"] for event in human} - set(given_addresses))
    assert {line["browser"] for line in truth["shared"]} == {b for b, who in given_addresses.items() if len(who) > 1}
    assert counts["shared_browsers"] == len(truth["shared"])
    assert counts["events"] == len(read.events)
    assert counts["bot_events"] == len(read.events) - len(human)
    assert counts["bots"] == len(bots)
    assert (counts["forms"], counts["mail_events"]) == (len(read.forms), len(read.mail))
    assert (counts["deal_messages"], counts["reactions"]) == (len(read.deals), len(read.reactions))

    kinds = Counter(deal["type"] for deal in read.deals)
    for kind in ("opened", "won", "lost", "refunded"):
        assert counts[f"deals_{kind}"] == kinds[f"deal.{kind}"]
    money = Counter[str]()
    for deal in read.deals:
        money[deal["type"]] += deal["data"]["amount_minor"]
    assert counts["revenue_minor"] == money["deal.won"]
    assert counts["refunded_minor"] == money["deal.refunded"]
    assert counts["cost_minor"] == sum(cost["amount_minor"] for cost in read.costs)
    assert {name: campaign["cost_minor"] for name, campaign in truth["campaigns"].items()} == dict(
        sum((Counter({cost["campaign"]: cost["amount_minor"]}) for cost in read.costs), Counter())
    )

    forms_of: defaultdict[str | None, set[str]] = defaultdict(set)
    for form in read.forms:
        forms_of[normal_address(form["fields"]["email"])].add(form["form"])
    assert counts["prize_hunters"] == sum(forms == {"prize"} for forms in forms_of.values())

    for lines in (read.mail, read.reactions, [deal["data"] for deal in read.deals]):
        assert {line["email"] for line in lines} <= emails
    assert read.buyers(mailed=False) == {p["emails"][0] for p in truth["persons"] if p["would_buy_anyway"]}
    assert read.buyers(mailed=True) == {p["emails"][0] for p in truth["persons"] if p["would_buy_if_mailed"]}

    names = [event["messageId"] for event in read.events]
    names += [line["payload"]["messageId"] for line in read.reactions if line["kind"] == "event"]
    names += [deal["id"] for deal in read.deals] + [form["submission_id"] for form in read.forms]
    names += [mail["sg_event_id"] for mail in read.mail]
    assert len(set(names)) == len(names)
    for lines, key in ((read.events, "timestamp"), (read.forms, "at"), (read.deals, "timestamp")):
        times = [line[key] for line in lines]
        assert times == sorted(times)
        assert all(moment < iso(until) for moment in times)
    assert [mail["timestamp"] for mail in read.mail] == sorted(mail["timestamp"] for mail in read.mail)


def test_a_deal_comes_after_its_owner_is_known_and_ends_after_it_begins(world: Read) -> None:
    known: dict[str | None, str] = {}
    for form in world.forms:
        known.setdefault(normal_address(form["fields"]["email"]), form["at"])
    stages: defaultdict[str, list[str]] = defaultdict(list)
    for deal in world.deals:
        assert deal["timestamp"] > known[deal["data"]["email"]]
        stages[deal["data"]["id"]].append(deal["type"])
    for types in stages.values():
        assert types[0] == "deal.opened"
        assert types.index("deal.won") < types.index("deal.refunded") if "deal.refunded" in types else True


def test_the_mail_moves_exactly_those_that_the_truth_names(world: Read) -> None:
    campaign = world.truth["campaigns"]["case-mail"]
    moved = world.buyers(mailed=True) - world.buyers(mailed=False)
    assert len(moved) == campaign["buyers_with"] - campaign["buyers_without"] > 0
    persons = {person["emails"][0]: person for person in world.truth["persons"]}
    assert all(persons[email]["wanted"] and persons[email]["reachable"] for email in moved)


def test_the_effect_of_the_mail_in_a_large_world_is_the_stated_one() -> None:
    campaign = generate(6000, 11, UNTIL).campaigns["case-mail"]
    risen = (campaign["buyers_with"] - campaign["buyers_without"]) / campaign["audience"]
    # Five standard errors of the share in an audience of some two thousand.
    assert abs(risen - CASE_MAIL_EFFECT) < 5 * (0.25 * 0.75 / campaign["audience"]) ** 0.5
    assert campaign["raises_p_deal_by"] == CASE_MAIL_EFFECT


def test_reactions_begin_with_the_click_and_stay_in_order(world: Read) -> None:
    by_person: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in world.reactions:
        by_person[line["email"]].append(line)
    for lines in by_person.values():
        assert lines[0]["kind"] == "click"
        assert [line["after_minutes"] for line in lines] == sorted(line["after_minutes"] for line in lines)


def test_prize_hunters_come_once_and_leave(world: Read) -> None:
    shared = {line["browser"] for line in world.truth["shared"]}
    clicked = {mail["email"] for mail in world.mail if mail["event"] == "click"}
    hunters = [
        person["browsers"][0]["id"] for person in world.truth["persons"]
        if person["kind"] == "prize_hunter" and person["emails"][0] not in clicked
    ]
    pages: defaultdict[str, list[str]] = defaultdict(list)
    for event in world.events:
        pages[event["anonymousId"]].append(event["context"]["page"]["path"])
    assert hunters
    assert all(pages[browser] == ["/campaign/prize", "/thanks.html"] for browser in hunters if browser not in shared)


def test_crawlers_carry_agents_that_the_public_list_knows_and_one_hides(world: Read) -> None:
    named = {bot["kind"]: is_crawler(bot["agent"]) for bot in world.truth["bots"]}
    assert named == {"search": True, "seo": True, "ai": True, "monitor": True, "disguised": False}
    assert not any(is_crawler(agent) for agent in catalogue.WINDOWS + catalogue.PHONES)


def test_search_words_come_in_the_bytes_of_their_engine() -> None:
    goo = next(arrival for arrival in catalogue.PUMP_SEARCHES if "goo.ne.jp" in arrival.referrer)
    assert parse_qs(urlsplit(goo.referrer).query, encoding="euc_jp")["MT"] == ["浄水場 ポンプ"]


def test_the_landing_page_carries_the_words_of_its_campaign(world: Read) -> None:
    ads = [event for event in world.events if event["context"].get("campaign", {}).get("name") == "search-ads"]
    assert ads
    for event in ads:
        query = parse_qs(event["context"]["page"]["search"].removeprefix("?"))
        assert query["utm_campaign"] == ["search-ads"]
        assert query["utm_term"] == [event["context"]["campaign"]["term"]]
        assert event["context"]["page"]["url"].endswith(event["context"]["page"]["search"])


def test_some_addresses_are_typed_carelessly(tmp_path: Path) -> None:
    typed = [form["fields"]["email"] for form in written(tmp_path, 300).forms]
    assert any(address != normal_address(address) for address in typed)


def test_the_world_speaks_of_the_example_site_and_loop(world: Read) -> None:
    site = Document((EXAMPLES / "sites/demo.yaml").read_text(), "demo.yaml").read_as(Site)
    loop = Document((EXAMPLES / "loops/autumn-pumps.yaml").read_text(), "autumn-pumps.yaml").read_as(Loop)
    assert set(world.truth["campaigns"]) == {campaign.name for campaign in loop.campaigns}
    assert {form["form"] for form in world.forms} == set(site.forms)
    for form in world.forms:
        declared = {field.name for field in site.forms[form["form"]].fields}
        assert set(form["fields"]) <= declared
    wanted = next(rule.is_one_of for rule in site.target_attributes if rule.attribute == "industry")
    assert set(wanted) == set(catalogue.WANTED_INDUSTRIES)
    assert {site.topic_of(page.path) for page in catalogue.ALL_PAGES} == {None, "pumps", "valves", "careers"}
    assert catalogue.SITE in site.origins


def test_a_folder_that_is_no_world_is_named_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(files.NotAWorld, match=r"events\.ndjson: missing"):
        list(files.read_lines(tmp_path, files.EVENTS))
    (tmp_path / files.EVENTS).write_text('{"type":"page"}\n[1]\n')
    with pytest.raises(files.NotAWorld, match=r"events\.ndjson:2: expected an object"):
        list(files.read_lines(tmp_path, files.EVENTS))
    (tmp_path / files.EVENTS).write_text('{"type":"page"\n')
    with pytest.raises(files.NotAWorld, match=r"events\.ndjson:1: no JSON"):
        list(files.read_lines(tmp_path, files.EVENTS))


def test_truth_has_one_person_a_line(world: Read) -> None:
    lines = (world.folder / files.TRUTH).read_text().splitlines()
    assert sum('"propensities"' in line for line in lines) == 120
    assert json.loads("\n".join(lines)) == world.truth
