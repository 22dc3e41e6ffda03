"""POST /v1/forms/{form}: a plain form is led to a page of the site, fetch gets JSON, and spam gets the same answer."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from functions.capture_form import handler
from tests.functions.conftest import EVENTS, Account
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
        lambda filled: submit({**JANE, **filled}, cookies=[COOKIE]),
        lambda filled: fetch({"fields": {**JANE, **filled}}, cookies=[COOKIE]),
    ],
    ids=["plain", "fetch"],
)
def test_spam_gets_the_very_same_answer_and_makes_no_person(account: Account, send: Any) -> None:
    spam, real = send({"cl_website": "https://buy.example"}), send({})
    assert spam == real
    assert len(account.records()) == 1
    [failed] = account.failed()
    assert failed.reason == "demo: form guide: the honeypot was filled"
    assert b"buy.example" in failed.payload


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
    plain = submit(fields)
    assert (plain["statusCode"], plain["body"]) == (400, f"{reason}\n")
    assert plain["headers"]["content-type"].startswith("text/plain")
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


def test_a_multipart_form_is_told_what_to_send(account: Account) -> None:
    body = b'--x\r\ncontent-disposition: form-data; name="email"\r\n\r\njane@example.jp\r\n--x--\r\n'
    reply = submit(body, headers={**PAGE, "content-type": "multipart/form-data; boundary=x"})
    assert reply["statusCode"] == 400
    assert "application/x-www-form-urlencoded" in said(reply)["reason"]


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
