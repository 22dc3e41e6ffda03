"""POST /v1/forms/{form}: a plain form is led to a page of the site, fetch gets JSON, and spam gets the same answer."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from closedloop.capture.form_spam import time_token
from closedloop.sites.definition import Site
from functions.capture_form import handler
from tests.accounts import EVENTS, Account
from tests.functions.gateway import KEY, ORIGIN, SECRET_KEY, Context, a_request, basic, said

PAGE = {"origin": ORIGIN, "content-type": "application/x-www-form-urlencoded"}
FETCH = {"origin": ORIGIN, "content-type": "application/json"}
ASKING = {"origin": "https://eu.example", "content-type": "application/x-www-form-urlencoded"}
ASKING_FETCH = {**ASKING, "content-type": "application/json"}
JANE = {"email": "Jane@Example.jp", "first_name": "Jane", "company": "Northwind KK", "industry": "water"}
COOKIE = "_cl_vid=jane-on-a-laptop"

Reply = dict[str, Any]


def submit(fields: Any, *, form: str = "guide", **more: Any) -> Reply:
    """As a browser posts a form without a script."""
    body = fields if isinstance(fields, bytes | str) else urlencode(fields)
    more = {"headers": PAGE, **more}
    return handler.handle(a_request("POST", f"/v1/forms/{form}", body, parts={"form": form}, **more), Context())


def fetch(content: Any, *, form: str = "guide", **more: Any) -> Reply:
    """As a script posts a form."""
    more = {"headers": FETCH, **more}
    return handler.handle(
        a_request("POST", f"/v1/forms/{form}", json.dumps(content), parts={"form": form}, **more), Context()
    )


def ago(span: timedelta | None) -> datetime:
    return datetime.now(UTC) - (span or timedelta())


def a_token() -> str:
    """The time token that a page got a minute ago."""
    return time_token(b"a pepper of the installation", "demo", "guide", ago(timedelta(minutes=1)))


def test_a_plain_form_is_stored_and_leads_to_the_page_of_thanks(account: Account) -> None:
    reply = submit(
        {**JANE, "cl_anonymous_id": "jane-on-a-laptop", "cl_page_url": f"{ORIGIN}/guide?utm_source=x&token=y"}
    )
    assert (reply["statusCode"], reply["headers"]["location"]) == (303, f"{ORIGIN}/thanks.html")
    assert reply["cookies"][0].startswith("_cl_vid=jane-on-a-laptop;")
    [packet] = account.packets()
    [record] = packet.records
    assert packet.subject == "V#demo#jane-on-a-laptop"
    assert record["name"] == "Form Submitted"
    assert record["properties"] == {"form": "guide", "campaign": "pump-guide", "incentive": False}
    assert record["traits"] == {"industry": "water"}
    assert record["context"]["page"] == {"url": f"{ORIGIN}/guide?utm_source=x"}
    assert packet.contact == {
        record["ids"][0]: {"email": "Jane@Example.jp", "first_name": "Jane", "company": "Northwind KK"}
    }
    assert "Jane" not in json.dumps(packet.records)


def test_fetch_gets_json_with_the_page_of_thanks(account: Account) -> None:
    reply = fetch({"fields": JANE, "submission_id": "s-1", "anonymousId": "jane-on-a-laptop"})
    assert (reply["statusCode"], said(reply)) == (200, {"success": True, "thanks": f"{ORIGIN}/thanks.html"})
    assert reply["headers"]["access-control-allow-origin"] == ORIGIN
    assert [record["id"] for record in account.records()] == ["demo/form/s-1"]


@pytest.mark.parametrize(
    "send",
    [
        lambda filled, token: submit({**JANE, **filled, "cl_time": token}, cookies=[COOKIE]),
        lambda filled, token: fetch({"fields": {**JANE, **filled}, "time_token": token}, cookies=[COOKIE]),
    ],
    ids=["plain", "fetch"],
)
@pytest.mark.parametrize(
    ("robot", "why"),
    [
        ({"cl_website": "https://buy.example"}, "the honeypot was filled"),
        ({"email": "jane@mailinator.com"}, "its address is of a domain for throwing away"),
        ({"first_name": "http://a http://b http://c"}, "a field holds more than 2 links"),
        ({"time": timedelta(seconds=2)}, "it was sent within 3 seconds"),
        ({"time": timedelta(hours=25)}, "its page was open for over a day"),
        ({"time": "made up"}, "its time token is not ours"),
    ],
)
def test_a_robot_gets_the_very_same_answer_and_is_kept_apart_with_the_reason(
    account: Account, send: Any, robot: dict[str, Any], why: str
) -> None:
    when = robot.pop("time", None) if (robot := dict(robot)) else None
    token = when if isinstance(when, str) else time_token(b"a pepper of the installation", "demo", "guide", ago(when))
    spam, real = send(robot, token if when else ""), send({}, a_token())
    assert spam == real
    [record] = account.records()
    assert record["traits"] == {"industry": "water"}
    [failed] = account.failed()
    assert (failed.site, failed.reason) == ("demo", f"form guide: {why}")
    kept = json.loads(failed.payload)
    assert (kept["form"], kept["fields"]) == ("guide", {**JANE, **robot})


def test_a_robot_that_leaves_out_what_is_needed_is_told_so_like_anybody(account: Account) -> None:
    assert fetch({"fields": {"cl_website": "x"}}) == fetch({"fields": {}})
    assert account.items() == []


@pytest.mark.parametrize("box", ["", False, None])
def test_an_empty_trap_is_no_spam(account: Account, box: Any) -> None:
    fetch({"fields": {**JANE, "cl_website": box}})
    assert len(account.records()) == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({**JANE, "company": ""}, "company: is needed"),
        ({**JANE, "company": " \u3000 "}, "company: is needed"),
        ({"company": "Northwind KK"}, "email: is needed"),
        ({**JANE, "email": "jane at example"}, "email: expected an e-mail address"),
        ({**JANE, "email": "jane@example.jp\x00@"}, "email: expected an e-mail address"),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_named(account: Account, fields: dict[str, str], reason: str) -> None:
    reply = fetch({"fields": fields})
    assert (reply["statusCode"], said(reply)["reason"]) == (400, reason)
    name, _, message = reason.partition(": ")
    assert said(reply)["fields"] == [{"field": name, "label": name, "message": message}]
    plain = submit(fields)
    assert plain["statusCode"] == 400
    assert f"<strong>{name}</strong>: {message}" in plain["body"]
    assert plain["headers"]["content-type"].startswith("text/html")
    assert account.items() == []


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({**PAGE, "origin": "https://evil.example"}, {}, 403),
        ({**PAGE, "origin": "https://evil.example"}, {"writeKey": KEY}, 403),
        ({**PAGE, "origin": "null"}, {}, 403),
        ({**PAGE, "origin": "https://" + "e" * 4000}, {}, 403),
        ({**PAGE, "origin": ""}, {}, 403),
        ({"content-type": PAGE["content-type"]}, {}, 403),
        (PAGE, {"writeKey": "pk_nobody_12345678"}, 401),
        ({**PAGE, "origin": "https://rival.example"}, {}, 404),
        ({**PAGE, "origin": "null"}, {"writeKey": KEY}, 303),
        ({"content-type": PAGE["content-type"]}, {"writeKey": KEY}, 303),
    ],
)
def test_a_form_is_taken_from_pages_of_its_site_or_with_its_key(
    account: Account, headers: dict[str, str], query: dict[str, str], status: int
) -> None:
    assert submit(JANE, headers=headers, query=query)["statusCode"] == status
    assert len(account.items(EVENTS)) == (1 if status == 303 else 0)


def test_a_form_that_the_site_does_not_have_is_not_found(account: Account) -> None:
    reply = submit(JANE, form="../guide")
    assert reply["statusCode"] == 404
    assert "has no form" in reply["body"]


def test_a_submission_sent_again_is_the_same_fact(account: Account) -> None:
    for _ in range(2):
        assert fetch({"fields": JANE, "submission_id": "s-1"})["statusCode"] == 200
    assert {record["id"] for record in account.records()} == {"demo/form/s-1"}


def test_without_an_id_the_same_fields_are_the_same_submission_and_the_id_tells_nothing(account: Account) -> None:
    submit(JANE)
    submit(JANE)
    submit({**JANE, "industry": "food"})
    ids = {record["id"] for record in account.records()}
    assert len(ids) == 2
    assert all(name.startswith("demo/form/") and len(name) == len("demo/form/") + 40 for name in ids)


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        (["pumps", "valves"], "pumps, valves"),
        (True, "true"),
        (41, "41"),
        (1.5, "1.5"),
        ("water", "water"),
    ],
)
def test_boxes_and_numbers_are_read_as_text(account: Account, stated: Any, kept: str) -> None:
    assert fetch({"fields": {**JANE, "industry": stated}})["statusCode"] == 200
    assert account.records()[0]["traits"] == {"industry": kept}


def test_ticked_boxes_of_a_plain_form_are_read_together(account: Account) -> None:
    submit(urlencode([*JANE.items(), ("industry", "food")]))
    assert account.records()[0]["traits"] == {"industry": "water, food"}


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [["x"]]])
def test_a_field_that_is_no_text_is_named(account: Account, value: Any) -> None:
    reply = fetch({"fields": {**JANE, "industry": value}})
    assert (reply["statusCode"], said(reply)["reason"]) == (400, "fields.industry: expected text")


def test_a_multipart_form_is_the_same_submission_as_a_plain_one(account: Account) -> None:
    fields = {**JANE, "cl_anonymous_id": "jane-on-a-laptop", "cl_submission_id": "s-1"}
    parts = "".join(
        f'--x\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    headers = {**PAGE, "content-type": "multipart/form-data; boundary=x"}
    replies = [submit(f"{parts}--x--\r\n", headers=headers), submit(fields)]
    assert replies[0] == replies[1]
    assert replies[0]["statusCode"] == 303
    one, other = account.packets()
    assert one.contact == other.contact
    assert {**one.records[0], "at": ""} == {**other.records[0], "at": ""}


def test_a_file_in_a_form_is_refused_in_words(account: Account) -> None:
    body = b'--x\r\ncontent-disposition: form-data; name="cv"; filename="cv.pdf"\r\n\r\n%PDF\r\n--x--\r\n'
    reply = submit(body, headers={**PAGE, "content-type": "multipart/form-data; boundary=x"})
    assert (reply["statusCode"], "cv: files are not taken" in reply["body"]) == (400, True)
    assert account.items() == []


@pytest.mark.parametrize(
    "body", [b"email=%ff%fe&company=x\xff", b"email=\xff\xfe", "&".join(f"f{n}=1" for n in range(201))]
)
def test_a_plain_form_that_cannot_be_read_is_refused(account: Account, body: bytes | str) -> None:
    assert submit(body, base64_flag=True)["statusCode"] == 400
    assert account.items() == []


def test_a_busy_ledger_is_answered_503_to_either_kind(account: Account) -> None:
    fetch({"fields": JANE})
    account.loses(EVENTS)
    for reply in (fetch({"fields": JANE}), submit(JANE)):
        assert reply["statusCode"] == 503
        assert ("<h1>" in reply["body"]) == reply["headers"]["content-type"].startswith("text/html")
        assert reply["headers"]["retry-after"]
        assert "cookies" not in reply


# Who may be told apart.


@pytest.mark.parametrize(
    ("send", "headers", "linked"),
    [
        (lambda h: submit({**JANE, "cl_anonymous_id": "jane"}, headers=h), PAGE, True),
        (lambda h: submit({**JANE, "cl_anonymous_id": "jane"}, headers=h), {**PAGE, "sec-gpc": "1"}, False),
        (lambda h: submit({"email": "jane@example.jp", "cl_anonymous_id": "jane"}, headers=h), ASKING, True),
        (lambda h: submit({"email": "jane@example.jp"}, headers=h, cookies=[COOKIE]), ASKING, False),
        (
            lambda h: fetch({"fields": {"email": "jane@example.jp"}, "anonymousId": "jane"}, headers=h),
            ASKING_FETCH,
            False,
        ),
        (
            lambda h: fetch(
                {"fields": {"email": "jane@example.jp"}, "anonymousId": "jane", "consent": {"analytics": "granted"}},
                headers=h,
            ),
            ASKING_FETCH,
            True,
        ),
        (
            lambda h: fetch(
                {"fields": JANE, "anonymousId": "jane", "consent": {"analytics_storage": "denied"}}, headers=h
            ),
            FETCH,
            False,
        ),
        (lambda h: fetch({"fields": JANE, "anonymousId": "null"}, headers=h), FETCH, False),
    ],
)
def test_a_form_names_the_person_and_the_browser_only_with_permission(
    account: Account, send: Any, headers: dict[str, str], linked: bool
) -> None:
    reply = send(headers)
    assert reply["statusCode"] in (200, 303)
    [record] = account.records()
    assert record["ids"], "who fills in a form says who they are"
    assert ("visitor" in record, "cookies" in reply) == (linked, linked)


def test_a_consent_given_in_the_form_is_kept_in_our_words(account: Account) -> None:
    fetch({"fields": JANE, "consent": {"ad_storage": "granted", "version": "2026-10", "more": {"x": 1}}})
    assert account.records()[0]["context"]["consent"] == {
        "ad_storage": "granted",
        "version": "2026-10",
        "marketing": "granted",
    }


def test_a_secret_key_may_state_the_past_of_a_form(account: Account) -> None:
    old = "2025-03-01T09:00:00.000Z"
    content = {"fields": JANE, "timestamp": old, "anonymousId": "jane"}
    fetch(content, headers={"authorization": basic(SECRET_KEY)})
    fetch({**content, "submission_id": "page"})
    secret, public = sorted(account.records(), key=lambda record: record["at"])
    assert secret["at"] == old
    assert public["at"] > "2025-03-02"


# The time token.


def the_token(form: str = "guide", **more: Any) -> Reply:
    more = {"headers": {"origin": ORIGIN}, **more}
    return handler.handle(a_request("GET", f"/v1/forms/{form}", parts={"form": form}, **more), Context())


def test_a_page_gets_a_time_token_and_nothing_is_stored_for_it(account: Account) -> None:
    reply = the_token(query={"writeKey": KEY})
    assert (reply["statusCode"], reply["headers"]["cache-control"]) == (200, "no-store")
    assert reply["headers"]["access-control-allow-origin"] == ORIGIN
    assert "cookies" not in reply
    assert account.items() == []
    fetch({"fields": JANE, "time_token": said(reply)["token"]})
    assert account.failed()[0].reason.endswith("it was sent within 3 seconds")


@pytest.mark.parametrize(
    ("form", "more", "status"),
    [
        ("guide", {}, 200),
        ("guide", {"headers": {}, "query": {"writeKey": KEY}}, 200),
        ("other", {}, 404),
        ("guide", {"headers": {"origin": "https://evil.example"}}, 403),
        ("guide", {"headers": {"origin": "https://evil.example"}, "query": {"writeKey": KEY}}, 403),
        ("guide", {"query": {"writeKey": "pk_nobody_12345678"}}, 401),
    ],
)
def test_a_time_token_is_for_pages_of_the_site(account: Account, form: str, more: dict[str, Any], status: int) -> None:
    assert the_token(form, **more)["statusCode"] == status


def test_a_page_without_script_has_no_token_and_is_taken(account: Account) -> None:
    assert submit(JANE)["statusCode"] == 303
    assert len(account.records()) == 1


# A form with everything.

JAPANESE = "https://hamono.example"
FORM = {
    "thanks": "/thanks",
    "needs_script": True,
    "consents": [
        {"name": "terms", "label": "規約", "purpose": "privacy", "required": True, "texts": {"1.0": "同意します"}},
        {"name": "news", "texts": {"2026-11": "お知らせを受け取ります", "2025-04": "メールを受け取ります"}},
    ],
    "fields": [
        {"name": "メール", "kind": "email", "required": True},
        {"name": "姓", "kind": "last_name"},
        {"name": "セイ", "kind": "last_name_kana", "label": "フリガナ"},
        {"name": "会社名", "kind": "company"},
        {"name": "電話", "kind": "phone", "label": "電話番号"},
        {"name": "業種", "kind": "choice", "options": ["水道", "食品"]},
    ],
}
HANAKO = {
    "メール": "ｈａｎａｋｏ@example.co.jp",
    "姓": "山田\u3000",
    "セイ": "ﾔﾏﾀﾞ",
    "会社名": "㈱山田製作所",
    "電話": "０４５-９８７-６５４３",
    "業種": "水道",
    "terms": "1.0",
}


@pytest.fixture
def hamono(account: Account) -> Account:
    site = {"site": "hamono", "title": "刃物", "write_key": "pk_hamono_12345678", "origins": [JAPANESE]}
    account.state.put_site(Site.model_validate({**site, "forms": {"contact": FORM}}), ("sk_hamono",))
    return account


def ask(fields: dict[str, str], *, token: str | None = None, key: str = "", **headers: str) -> Reply:
    made = time_token(b"a pepper of the installation", "hamono", "contact", ago(timedelta(minutes=1)))
    sent = {"origin": JAPANESE, **({"authorization": basic(key)} if key else {}), **headers}
    return fetch(
        {"fields": fields, "time_token": made if token is None else token}, form="contact",
        headers={"content-type": "application/json", **sent},
    )


def test_japanese_fields_are_kept_in_one_form(hamono: Account) -> None:
    assert ask(HANAKO)["statusCode"] == 200
    [packet] = hamono.packets()
    [record] = packet.records
    assert packet.contact[record["ids"][0]] == {
        "email": "hanako@example.co.jp",
        "last_name": "山田",
        "last_name_kana": "ヤマダ",
        "company": "(株)山田製作所",
        "phone": "+81459876543",
    }
    assert record["traits"] == {"業種": "水道"}


def test_what_is_wrong_is_said_in_japanese_for_every_field_at_once(hamono: Account) -> None:
    reply = ask({**HANAKO, "セイ": "山田", "電話": "12", "terms": ""}, **{"accept-language": "ja,en;q=0.5"})
    assert reply["statusCode"] == 400
    assert [(one["label"], one["message"]) for one in said(reply)["fields"]] == [
        ("フリガナ", "カナで入力してください（例: ヤマダ）"),
        ("電話番号", "電話番号を正しく入力してください（例: 03-1234-5678）"),
        ("規約", "同意が必要です"),
    ]


def test_a_consent_is_kept_with_purpose_version_and_the_hash_of_its_text(hamono: Account) -> None:
    ask({**HANAKO, "news": "2025-04"})
    [record] = hamono.records()
    assert [(one["purpose"], one["version"]) for one in record["properties"]["consents"]] == [
        ("privacy", "1.0"), ("marketing", "2025-04"),
    ]
    assert record["properties"]["consents"][1]["text"] == hashlib.sha256("メールを受け取ります".encode()).hexdigest()
    assert record["context"]["consent"] == {"marketing": "granted", "version": "2025-04", "source": "form contact"}


def test_without_the_box_nothing_is_said_of_marketing(hamono: Account) -> None:
    ask(HANAKO)
    assert "consent" not in hamono.records()[0]["context"]


def test_a_form_that_needs_a_script_keeps_apart_who_brings_no_time_but_takes_the_owners_server(hamono: Account) -> None:
    assert ask(HANAKO, token="") == ask(HANAKO)
    assert ask(HANAKO, token="", key="sk_hamono")["statusCode"] == 200
    assert [failed.reason for failed in hamono.failed()] == ["form contact: it brought no time token"]
    assert len(hamono.records()) == 2


def test_nothing_that_a_person_typed_or_is_known_of_them_comes_back(hamono: Account) -> None:
    """Whoever sits at the browser next, or guesses a cookie, is told nothing of anybody."""
    ask(HANAKO)
    mine = {"cookies": ["_cl_vid=jane-on-a-laptop"]}
    replies = [
        the_token("contact", headers={"origin": JAPANESE}, **mine),
        ask({**HANAKO, "電話": "1"}),
        submit({**HANAKO, "電話": "1"}, form="contact", headers={**PAGE, "origin": JAPANESE}, **mine),
        submit(HANAKO, form="contact", headers={**PAGE, "origin": JAPANESE}, **mine),
    ]
    for reply in replies:
        text = json.dumps(reply, ensure_ascii=False)
        assert not [word for word in ("hanako", "山田", "6543", "水道") if word in text]
