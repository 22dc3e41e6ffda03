"""Export and erasure of one person: nothing of them stays anywhere, every total does, and nobody else is touched."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import quote_plus

import duckdb
import pytest
from standardwebhooks import Webhook

from closedloop.capture.links import CLICK, Mailed, Tokens
from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.events.erased import tombstone_of
from closedloop.events.event import FORM_SUBMITTED, REFERRAL_FOLLOWED, Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet
from closedloop.events.times import iso
from closedloop.identity.persons import person_id
from closedloop.lake import layout
from closedloop.lake.compact import fetch
from closedloop.lake.report_files import prepared
from closedloop.loops.definition import Loop
from closedloop.runtime import clock, doors, lists, rights, spill
from closedloop.runtime.export import export
from closedloop.store.ledger import packet_item
from functions.archive_events import handler as archiver
from functions.capture_beacon import handler as beacon
from functions.capture_deal import handler as deals
from functions.capture_email import handler as mails
from functions.capture_form import handler as form
from functions.compact_lake import handler as compact_lake
from functions.follow_link import handler as links
from functions.import_list import handler as importer
from functions.project_profiles import handler as projector
from tests.accounts import DEALS_SECRET, EVENTS, LAKE, PEPPER, POSTMARK, STATE, Account, forget
from tests.functions.gateway import CHROME, KEY, ORIGIN, SECRET_KEY, Context, a_request, basic
from tests.functions.streams import a_batch

EMAIL, VISITOR, USER = "canary.jane@acme.example", "canary-browser-7f31", "canary-user-88"
MIA = "mia@kita.example"
# Whatever of Jane's may lie anywhere: each in the forms in which a byte scan could meet it.
CANARIES = (
    "canary.jane", "canary-browser", "canary-user", "Canaryname", "カナリア", "5550199", "canary-word", "CanaryAgent",
    "203.0.113.77", "canary-path", "canary-title", "canary-term", "canary-cell",
)
HASHER = Hasher(PEPPER.encode(), "demo")
JANE = HASHER.address(EMAIL) or ""
NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)
AGENT = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 CanaryAgent/9"
MAPPING = ListMapping.model_validate({
    "source": "dealer", "kind": "people", "namespace": "dealer",
    "fields": {"customer_number": "No", "email": "mail", "last_name": "name", "phone": "tel", "at": "day"},
    "attributes": {"remark": "remark"},
})
LIST = (
    "No,name,mail,tel,day,remark\n"
    f"77,Canaryname,{EMAIL},+81 3 5550 1990,2026/4/1,canary-cell\n"
    "78,Ben,ben@kita.example,,2026/1/9,good\n"
)
LOOP = {
    "loop": "autumn", "sites": ["demo"], "strategy": "Meet makers", "currency": "JPY",
    "period": {"start": "2026-11-01", "end": "2026-12-31"},
    "objectives": [{"metric": "deals_won", "target": 3, "by": "2026-12-31"}],
    "stages": ["research", "problem", "customer"],
    "campaigns": [{"name": "pump-guide", "stage": "research", "touchpoint": "page"}],
    "gates": [
        {"name": "asked", "from": "research", "to": "problem", "when": {"did": {"event": FORM_SUBMITTED}}},
        {"name": "bought", "from": "problem", "to": "customer", "when": {"deal": "won"}},
    ],
}


class World:
    """Doors, streams and time, as they are deployed."""

    def __init__(self, account: Account) -> None:
        self.account, self.now, self.seen = account, NOW, set[tuple[str, str, str]]()
        self.batches = 0

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def follow(self) -> None:
        """What came in since the last time goes to projector and archiver, until nothing more comes."""
        while True:
            new = [
                (table, item) for table in (EVENTS, STATE) for item in self.account.items(table)
                if (table, item["pk"]["S"], item["sk"]["S"]) not in self.seen
            ]
            if not new:
                return
            self.seen |= {(table, item["pk"]["S"], item["sk"]["S"]) for table, item in new}
            for table, handlers in ((EVENTS, (projector, archiver)), (STATE, (archiver,))):
                items = [item for where, item in new if where == table]
                self.batches += 1
                for handler in handlers:
                    if items:
                        assert handler.handle(a_batch(items, self.batches * 1000), Context()) == {
                            "batchItemFailures": []
                        }

    def expire(self) -> None:
        """What DynamoDB does by itself to what has expired."""
        for item in self.account.items(EVENTS):
            if int(item["expires_at"]["N"]) <= self.now.timestamp():
                key = {name: item[name] for name in ("pk", "sk")}
                self.account.client("dynamodb").delete_item(TableName=EVENTS, Key=key)

    def forget(self) -> None:
        """The functions read anew who was erased, as they do after a minute."""
        forget()

    def report(self) -> Any:
        """Everything that a report counts, as one text."""
        from pathlib import Path
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            fetch(doors.lake(), Path(folder))
            loop = Loop.model_validate(LOOP)
            _, files = prepared(loop, doors.sites(), Path(folder), NOW + timedelta(hours=1), bucket="reports")
        return {file.key: file.body for file in files}

    def everything(self) -> Iterator[tuple[str, bytes]]:
        """Every byte of both tables and the lake, opened wherever it is packed."""
        for table in (EVENTS, STATE):
            for item in self.account.items(table):
                name = f"{table} {item['pk']['S']} {item['sk']['S']}"
                yield name, json.dumps(item, ensure_ascii=False, default=lambda value: "").encode()
                for value in item.values():
                    if isinstance(value.get("B"), bytes):
                        yield name, opened(value["B"])
        s3 = self.account.client("s3")
        for version in s3.list_object_versions(Bucket=LAKE).get("Versions", ()):
            got = s3.get_object(Bucket=LAKE, Key=version["Key"], VersionId=version["VersionId"])
            body = got["Body"].read()
            yield version["Key"], version["Key"].encode() + opened(body)
            for packed in re.findall(rb'"(?:payload|B)": ?"([A-Za-z0-9+/=]+)"', opened(body)):
                import base64

                yield version["Key"], opened(base64.b64decode(packed))

    def found(self) -> set[tuple[str, str]]:
        """Where a canary is."""
        return {
            (canary, where) for where, body in self.everything()
            for canary in CANARIES if canary.encode() in body or canary.encode("cp932", "replace") in body
        }


def opened(body: bytes) -> bytes:
    if body.startswith(b"PAR1"):
        with NamedTemporaryFile(suffix=".parquet") as file, duckdb.connect() as connection:
            file.write(body)
            file.flush()
            return repr(connection.execute(f"SELECT * FROM read_parquet('{file.name}')").fetchall()).encode()
    for unpack in (gzip.decompress, zlib.decompress, lambda raw: zlib.decompress(raw, -15)):
        try:
            return body + unpack(body)
        except (OSError, zlib.error):
            continue
    return body


@pytest.fixture
def world(account: Account, machine: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(account)
    monkeypatch.setattr(clock, "now", made.tick)
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)
    monkeypatch.setattr(clock, "wait", lambda attempt: None)
    account.client("s3").put_bucket_versioning(Bucket=LAKE, VersioningConfiguration={"Status": "Enabled"})
    return made


def post(handler: Any, path: str, body: Any, **words: Any) -> dict[str, Any]:
    headers = {"origin": ORIGIN, "user-agent": AGENT, "content-type": "application/json", **words.pop("headers", {})}
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    reply: dict[str, Any] = handler.handle(a_request("POST", path, text, headers=headers, **words), Context())
    assert reply["statusCode"] < 400, reply
    return reply


def page(visitor: str, number: int, mark: str = "canary") -> dict[str, Any]:
    path = f"/products/pumps/{mark}-path"
    context = {"page": {"url": f"{ORIGIN}{path}?utm_campaign=autumn&utm_term={mark}-term", "path": path,
                        "title": f"{mark}-title"}, "consent": {"analytics": "granted"}}
    return {"type": "page", "messageId": f"{visitor[:3]}-{number}", "anonymousId": visitor, "context": context}


def jane(world: World) -> None:
    """Jane comes in by every door; Ken shares a browser with her, and Ben stands in the same list."""
    traits = {"email": EMAIL, "firstName": "Canaryname", "phone": "+81355501990", "remark": "canary-word",
              "employees": 250}
    batch = [page(VISITOR, 1), page(VISITOR, 2), page("office-pc", 3),
             {"type": "identify", "messageId": "j-5", "anonymousId": VISITOR, "userId": USER, "traits": traits},
             {"type": "track", "event": "Viewed", "messageId": "j-6", "anonymousId": VISITOR, "userId": USER,
              "properties": {"remark": "canary-word"}},
             {"type": "track", "messageId": "j-bad", "anonymousId": VISITOR, "userId": USER,
              "properties": {"mail": EMAIL}}]
    post(beacon, "/v1/batch", {"batch": batch, "writeKey": KEY})
    post(beacon, "/v1/batch", {"batch": [page("ken-pc", 4, "ken")], "writeKey": KEY}, headers={"user-agent": "Ken/1"})
    fields = {"email": EMAIL, "first_name": "カナリア", "company": "canary-word", "industry": "canary-word"}
    post(form, "/v1/forms/guide", {"fields": {**fields, "phone": "03-5550-1990"}, "submission_id": "s-1",
                                   "anonymousId": VISITOR},
         headers={"authorization": basic(SECRET_KEY)}, parts={"form": "guide"})
    # The office's browser is Jane's first, and Ken's afterwards.
    for who, number, mark in ((EMAIL, 7, "canary"), ("ken@kita.example", 8, "ken")):
        call = {"type": "identify", "messageId": f"o-{number}", "anonymousId": "office-pc", "traits": {"email": who}}
        post(beacon, "/v1/batch", {"batch": [call], "writeKey": KEY},
             headers={"user-agent": AGENT.replace("Canary", mark.title())})
        post(beacon, "/v1/batch", {"batch": [page("office-pc", number, mark)], "writeKey": KEY},
             headers={"user-agent": AGENT.replace("Canary", mark.title())})
    # A robot's form in Jane's name is kept apart, whole.
    post(form, "/v1/forms/guide", {"fields": {**fields, "cl_website": "x"}, "submission_id": "s-2", "writeKey": KEY},
         parts={"form": "guide"})
    won = json.dumps({"type": "deal.won", "data": {
        "id": "D-7", "email": EMAIL, "name": "Canaryname", "amount_minor": 500_000, "currency": "JPY"}})
    at = world.tick()
    signed = {"webhook-id": "w-1", "webhook-timestamp": str(int(at.timestamp())),
              "webhook-signature": Webhook(DEALS_SECRET).sign("w-1", at, won)}
    post(deals, "/v1/webhooks/deals/standard", won, headers=signed, query={"site": "demo"},
         parts={"provider": "standard"})
    delivered = {"RecordType": "Delivery", "MessageID": "m-1", "Recipient": EMAIL, "DeliveredAt": iso(at),
                 "Metadata": {"campaign": "pump-guide"}}
    post(mails, "/v1/webhooks/email/postmark", delivered, headers={"authorization": POSTMARK}, query={"site": "demo"},
         parts={"provider": "postmark"})
    mailed = Mailed("demo", JANE, "autumn", "pump-guide", iso(at + timedelta(days=9)), f"{ORIGIN}/pumps")
    token = Tokens(doors.link_keys()).sign(CLICK, mailed)
    links.handle(a_request("GET", f"/l/{token}", parts={"token": token}, headers={"user-agent": AGENT}), Context())
    lists.lists().put_mapping("demo", MAPPING)
    drop(world, "imports/people/demo/dealer/all.csv", LIST.encode("cp932"))
    # Spilled, and drained long since: the object lies there for thirty days.
    late = Packet(f"V#demo#{VISITOR}", "demo", Door.BEACON, world.tick(), (
        {"id": "demo/beacon/sp-1", "type": "page", "name": "", "at": iso(world.now), "visitor": VISITOR,
         "properties": {"big": "canary-word"}, "traits": {}, "context": {}},
    ))
    (text,) = spill._messages([packet_item(late)])
    doors.lake().put(layout.spilled(world.now.date(), "ab"), text.encode(), "application/json")
    doors.ledger().append([late])
    # Jane brought Mia.
    call = {"type": "identify", "messageId": "m-1", "anonymousId": "mia-pc", "traits": {"email": MIA}}
    post(beacon, "/v1/batch", {"batch": [call], "writeKey": KEY}, headers={"user-agent": "Mia/1"})
    followed = {"id": "demo/link/r-1", "type": "track", "name": REFERRAL_FOLLOWED, "at": iso(world.now),
                "visitor": "mia-pc", "properties": {"referrer": JANE, "link": f"{ORIGIN}/pumps"},
                "context": {"method": "GET"}}
    agent = {"agent": CHROME}
    doors.ledger().append([Packet("V#demo#mia-pc", "demo", Door.LINK, world.tick(), (followed,), {}, agent)])
    world.follow()
    decided(world)
    assert compact_lake.handle({"today": True}, Context())["compacted"] == 2


def drop(world: World, key: str, body: bytes) -> None:
    world.account.client("s3").put_object(Bucket=LAKE, Key=key, Body=body)
    told = json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(key, safe="/"), "size": len(body)}}}]})
    assert importer.handle({"Records": [{"messageId": "m", "body": told}]}, Context()) == {"batchItemFailures": []}


def decided(world: World) -> None:
    """Everybody is led through the loop, and a run keeps its shards."""
    from closedloop.loops.decide import decide

    loop, state = Loop.model_validate(LOOP), doors.state()
    people = sorted(state.people("demo"))
    doors.runs().put_people("tick-1", people)
    for person in people:
        for _ in range(4):
            stored = state.profile(person)
            assert stored.profile is not None
            decision = decide(loop, stored.profile, state.position(person, "autumn"), world.tick())
            if decision.changes:
                state.write_decision(decision, loop, stored.profile.anchor, "tick-1", world.now)
    world.follow()


def erase(world: World, email: str = EMAIL, site: str = "demo") -> dict[str, int]:
    known = doors.state().site(site)
    assert known is not None
    identifier = Hasher(PEPPER.encode(), known.list_name).address(email) or ""
    subject = rights.whom(identifier, known, world.tick(), "asked", "person")
    if doors.state().erasing(identifier) is None:
        subject = rights.counted(subject, rights.held(subject))
        if not subject.erasure.counts:
            return {}
    done = dict(rights.erase(subject))
    world.forget()
    return done


def totals(files: dict[str, bytes]) -> dict[str, Any]:
    """The numbers of a report, without the paths of its files."""
    summary = next(body for key, body in files.items() if key.endswith("summary.json"))
    return dict(json.loads(summary))


def test_nothing_of_an_erased_person_stays_anywhere_and_every_total_does(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    jane(world)
    found = world.found()
    assert {canary for canary, _ in found} >= set(CANARIES) - {"203.0.113.77"}
    assert {where.split("/")[1] for _, where in found if where.startswith(layout.COMPACTED)} == {"events"}
    report = world.report()
    counted = totals(report)
    assert (counted["people"]["page_views"], counted["money"]["revenue_minor"]) == (5, 500_000)
    others = [known(email) for email in ("ken@kita.example", "ben@kita.example")]
    assert [one.by for one in brought()] == [JANE]
    counts = erase(world)
    assert counts["packets"] > 8 and counts["failed_events"] == 2 and counts["lake_events"] > 8, counts
    assert (world.found(), world.report()) == (set(), report)
    world.follow()
    assert (world.found(), world.report()) == (set(), report)
    said = capsys.readouterr()
    assert not [canary for canary in CANARIES if canary in said.out + said.err]
    # Others keep every byte, in the list that was dropped too.
    assert [known(email) for email in ("ken@kita.example", "ben@kita.example")] == others
    lines = LIST.splitlines(keepends=True)
    assert doors.lake().get("imports/people/demo/dealer/all.csv") == (lines[0] + lines[2]).encode()
    # Somebody brought Mia, and nobody can say who.
    (by,) = [one.by for one in brought()]
    assert by.startswith("email:") and by != JANE
    # What is left is that nobody mails the address and nobody is known by it, and that it was done.
    left = [item for item in world.account.items(STATE) if JANE in json.dumps(item, default=str)]
    assert not [where for where, body in world.everything() if JANE.encode() in body and "SUPPRESSED" not in where]
    assert [(item["sk"]["S"], item["reason"]["S"]) for item in left] == [("SUPPRESSED", "erased")]
    assert tombstone_of(JANE) in doors.tombstones()
    assert erase(world) == {}
    (record,) = doors.state().erasures()
    assert (record["why"], record["asked_by"], record["group"], record["counts"]) == ("asked", "person", "demo", counts)


def brought() -> Any:
    profile = doors.state().profile(person_id(HASHER.address(MIA) or "")).profile
    assert profile is not None
    return profile.referred


def known(email: str) -> Any:
    person = person_id(HASHER.address(email) or "")
    profile = doors.state().profile(person).profile
    assert profile is not None
    return profile.as_text(), doors.state().contact(person), doors.state().decisions(person)


def test_what_comes_in_late_counts_and_names_nobody_and_who_comes_back_is_somebody_new(world: World) -> None:
    jane(world)
    erase(world)
    before = world.report()
    late = Packet(f"V#demo#{VISITOR}", "demo", Door.BEACON, world.tick(), (
        {"id": "demo/beacon/late-1", "type": "page", "name": "", "at": iso(NOW), "visitor": VISITOR, "ids": [JANE],
         "properties": {"remark": "canary-word"}, "traits": {"remark": "canary-word"}, "context": {}},
        {"id": "demo/beacon/can-1", "type": "page", "name": "", "at": iso(NOW), "visitor": VISITOR, "ids": [JANE],
         "properties": {}, "traits": {}, "context": {}},
    ), {JANE: {"email": EMAIL, "last_name": "Canaryname"}}, {"agent": CHROME})
    doors.ledger().append([late])
    listed = {"id": "demo/list/again-1", "type": "identify", "name": "", "at": iso(world.now + timedelta(days=1)),
              "ids": [JANE], "properties": {"list": "dealer"}, "traits": {"remark": "canary-word"}, "context": {}}
    doors.ledger().append([Packet(f"I#{JANE}", "demo", Door.LIST, world.tick(), (listed,), {JANE: {"email": EMAIL}})])
    followed = {"id": "demo/link/guest-1", "type": "track", "name": REFERRAL_FOLLOWED, "at": iso(world.now),
                "visitor": "guest", "properties": {"referrer": JANE, "link": "https://www.northwind.example/"},
                "context": {}}
    doors.ledger().append([Packet("V#demo#guest", "demo", Door.LINK, world.tick(), (followed,))])
    world.follow()
    # A guest who comes by an erased person's link is led on, and nobody has brought them.
    told = [str(item) for item in world.account.items(EVENTS) if "guest" in str(item)]
    told += [str(row) for key in doors.lake().keys(layout.EVENTS) for row in doors.lake().get_rows(key)
             if row["visitor"] == "v:demo:guest"]
    assert len(told) == 2 and not any(JANE in one for one in told)
    # Of the browser's packet only its key is left, until the table forgets it.
    assert {canary for canary, _ in world.found()} == {"canary-browser"}
    world.expire()
    assert world.found() == set()
    assert doors.state().profile(person_id(JANE)).profile is None
    after, was = totals(world.report()), totals(before)
    # One event more that nobody did; the copy of one that the lake had is no second one.
    assert after["people"] == {**was["people"], "page_views": was["people"]["page_views"] + 1}
    assert (after["stages"], after["money"]) == (was["stages"], was["money"])
    # Whoever comes back by themselves is somebody new, whom no mail of a campaign reaches.
    post(form, "/v1/forms/guide", {"fields": {"email": EMAIL, "company": "Acme"}, "submission_id": "s-9"},
         headers={"authorization": basic(SECRET_KEY)}, parts={"form": "guide"})
    world.follow()
    profile = doors.state().profile(person_id(JANE)).profile
    assert profile is not None
    assert (profile.events, profile.nodes) == (1, (JANE,))
    assert doors.state().contact(profile.person)["email"] == EMAIL
    assert doors.state().suppressed([JANE]) == "erased"
    assert erase(world)["packets"] == 1
    world.follow()
    assert world.found() == set()


def test_two_customer_lists_never_see_each_other_in_an_export_or_an_erasure(world: World) -> None:
    jane(world)
    rival = Hasher(PEPPER.encode(), "rival").address(EMAIL) or ""
    call = {"type": "identify", "messageId": "r-1", "anonymousId": VISITOR, "traits": {"email": EMAIL}}
    bad = {"type": "track", "messageId": "r-2", "anonymousId": VISITOR, "properties": {"mail": EMAIL}}
    post(beacon, "/v1/batch", {"batch": [call, bad], "writeKey": "pk_rival_12345678"},
         headers={"origin": "https://rival.example"})
    mapped = LIST.encode()
    doors.lake().put("imports/people/rival/dealer/all.csv", mapped)
    world.follow()

    def of_rival() -> Any:
        items = [item for table in (EVENTS, STATE) for item in world.account.items(table)
                 if rival in str(item) or "rival" in str(item["pk"]) + str(item.get("site"))]
        rows = [row for key in doors.lake().keys(layout.EVENTS) for row in doors.lake().get_rows(key)
                if row["site"] == "rival"]
        return sorted(map(str, items)), rows, doors.lake().get("imports/people/rival/dealer/all.csv")

    before = of_rival()
    assert len(before[0]) > 8 and len(before[1]) == 1
    exported(world)
    erase(world)
    world.follow()
    assert of_rival() == before
    assert erase(world, site="rival")["packets"] == 1
    assert rival not in str(world.account.items(EVENTS))


def unzipped(body: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        return b"\n".join(packed.read(name) for name in sorted(packed.namelist()))


def exported(world: World) -> None:
    """An export holds all of one person and nothing of others, and is the same again."""
    demo = doors.state().site("demo")
    assert demo is not None
    as_of = NOW + timedelta(hours=1)

    def made() -> bytes:
        subject = rights.whom(JANE, demo, world.tick())
        return export(subject, rights.held(subject), as_of)

    body = made()
    assert made() == body
    text = unzipped(body)
    assert not [canary for canary in CANARIES if canary.encode() not in text and canary != "203.0.113.77"]
    assert not [word for word in (b"rival", b"ken@", b"Ken", b"ken-path", b"ben@", b"Ben") if word in text]
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        names = packed.namelist()
        assert {name.partition(".")[0] for name in names} >= {
            "contact", "identifiers", "links", "profile", "consents", "events", "decisions", "mails", "questions",
            "suppression", "mailed_lately", "lists", "failed_events", "archive", "state",
        }
        assert all(f"{name[:-5]}.csv" in names for name in names if name.endswith(".json"))
        events = json.loads(packed.read("events.json"))
        archive = json.loads(packed.read("archive.json"))
    assert {one["id"] for one in events} == {one["id"] for one in archive}
    ids = {one["id"] for one in events}
    assert ids >= {"demo/beacon/can-1", "demo/beacon/j-5", "demo/beacon/off-3", "demo/form/s-1"}
    assert ids.isdisjoint({"demo/beacon/ken-4", "demo/beacon/o-8", "demo/beacon/off-8"})
