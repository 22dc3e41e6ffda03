"""GET /l, /o, /u and /r/{token}: a link of ours leads on, is counted, and stops mails only by POST."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from closedloop.capture.links import CLICK, HIDDEN, OPEN, REFERRAL, UNSUBSCRIBE, Handed, Mailed, Tokens
from closedloop.events.times import iso
from closedloop.runtime import clock, doors
from functions.follow_link import handler
from tests.accounts import EVENTS, Account
from tests.functions.gateway import ORIGIN, Context, a_request

PERSON = "email:00112233445566778899aabbccddeeff"
WHERE = f"{ORIGIN}/products/pumps?utm_source=closedloop&utm_medium=email&utm_campaign=case-mail"
COOKIE = "_cl_vid=jane-on-a-laptop"
PATHS = {CLICK: "l", HIDDEN: "l", OPEN: "o", UNSUBSCRIBE: "u"}


def token(
    purpose: str = CLICK, *, site: str = "demo", url: str = WHERE, age: timedelta = timedelta(0), keys: Any = None
) -> str:
    until = iso(clock.now() + timedelta(days=90) - age)
    mailed = Mailed(site, PERSON, "autumn-pumps", "case-mail", until, url if PATHS[purpose] == "l" else "")
    return Tokens(keys or doors.link_keys()).sign(purpose, mailed)


def follow(purpose: str, signed: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    path = f"/{PATHS[purpose]}/{signed}"
    return handler.handle(a_request(method, path, parts={"token": signed}, **more), Context())


def test_a_click_leads_on_and_is_counted_for_the_person_and_the_browser(account: Account) -> None:
    reply = follow(CLICK, token())
    assert (reply["statusCode"], reply["headers"]["location"]) == (302, WHERE)
    assert reply["headers"]["cache-control"] == "no-store"
    [record] = account.records()
    assert (record["name"], record["ids"]) == ("Email Link Clicked", [PERSON])
    assert record["properties"] == {
        "loop": "autumn-pumps",
        "campaign": "case-mail",
        "link": f"{ORIGIN}/products/pumps",
    }
    assert reply["cookies"][0].startswith(f"_cl_vid={record['visitor']}; Max-Age=34128000;")


def test_a_browser_that_is_known_keeps_its_id(account: Account) -> None:
    follow(CLICK, token(), cookies=[COOKIE])
    assert account.packets()[0].subject == "V#demo#jane-on-a-laptop"


def test_an_opened_mail_is_a_picture_and_makes_no_browser_known(account: Account) -> None:
    reply = follow(OPEN, token(OPEN), cookies=[COOKIE])
    assert (reply["statusCode"], reply["headers"]["content-type"], reply["isBase64Encoded"]) == (200, "image/gif", True)
    assert "cookies" not in reply
    [record] = account.records()
    assert record["name"] == "Email Opened"
    assert "visitor" not in record


def test_a_head_request_leads_on_but_names_no_browser(account: Account) -> None:
    reply = follow(CLICK, token(), "HEAD", cookies=[COOKIE])
    assert reply["statusCode"] == 302
    assert "cookies" not in reply
    [record] = account.records()
    assert record["context"] == {"method": "HEAD"}
    assert "visitor" not in record


def test_the_link_that_nobody_sees_leads_on_like_any_other_and_names_no_browser(account: Account) -> None:
    reply = follow(HIDDEN, token(HIDDEN), cookies=[COOKIE])
    assert (reply["statusCode"], reply["headers"]["location"]) == (302, WHERE)
    assert "cookies" not in reply
    [record] = account.records()
    assert (record["name"], record["ids"], record["properties"]["hidden"]) == ("Email Link Clicked", [PERSON], True)
    assert "visitor" not in record


@pytest.mark.parametrize(
    ("site", "url", "headers"),
    [
        ("asking", "https://eu.example/", {}),
        ("demo", WHERE, {"sec-gpc": "1"}),
    ],
)
def test_a_click_names_no_browser_without_permission(
    account: Account, site: str, url: str, headers: dict[str, str]
) -> None:
    reply = follow(CLICK, token(site=site, url=url), headers=headers, cookies=[COOKIE])
    assert reply["statusCode"] == 302
    assert "cookies" not in reply
    [record] = account.records()
    assert ("visitor" in record, record["ids"]) == (False, [PERSON])


# Unsubscribing.


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_asking_to_unsubscribe_shows_a_button_and_changes_nothing(account: Account, method: str) -> None:
    reply = follow(UNSUBSCRIBE, token(UNSUBSCRIBE), method)
    assert (reply["statusCode"], account.items(EVENTS)) == (200, [])
    assert '<form method="post">' in reply["body"]
    assert "Northwind &lt;Pumps&gt;" in reply["body"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("List-Unsubscribe=One-Click", {"content-type": "application/x-www-form-urlencoded"}),
        ("", {}),
        ("\r\nLi\xff", {"content-type": "multipart/form-data; boundary=x"}),
    ],
)
def test_one_post_unsubscribes_without_cookie_and_without_being_led_elsewhere(
    account: Account, body: str, headers: dict[str, str]
) -> None:
    signed = token(UNSUBSCRIBE)
    for _ in range(2):
        reply = follow(UNSUBSCRIBE, signed, "POST", body=body, headers=headers)
        assert reply["statusCode"] == 200
        assert "location" not in reply["headers"]
        assert "cookies" not in reply
    assert {(record["name"], *record["ids"]) for record in account.records()} == {("Email Unsubscribed", PERSON)}
    assert len({record["id"] for record in account.records()}) == 1


def test_a_mail_never_grows_too_old_to_unsubscribe_by(account: Account) -> None:
    assert follow(UNSUBSCRIBE, token(UNSUBSCRIBE, age=timedelta(days=2000)), "POST")["statusCode"] == 200
    assert [record["name"] for record in account.records()] == ["Email Unsubscribed"]


def test_links_of_two_mails_unsubscribe_by_two_facts(account: Account) -> None:
    for age in (timedelta(0), timedelta(days=1)):
        follow(UNSUBSCRIBE, token(UNSUBSCRIBE, age=age), "POST")
    assert len({record["id"] for record in account.records()}) == 2


def test_an_unsubscription_that_could_not_be_kept_is_not_confirmed(account: Account) -> None:
    signed = token(UNSUBSCRIBE)
    account.loses(EVENTS)
    assert follow(UNSUBSCRIBE, signed, "POST")["statusCode"] == 503


# When the ledger is busy, and when the link is old.


def test_people_are_led_on_whatever_our_tables_do(account: Account) -> None:
    click, picture = token(), token(OPEN)
    account.loses(EVENTS)
    assert follow(CLICK, click)["headers"]["location"] == WHERE
    assert follow(OPEN, picture)["headers"]["content-type"] == "image/gif"


def test_an_expired_link_leads_on_without_credit(account: Account) -> None:
    reply = follow(CLICK, token(age=timedelta(days=91)))
    assert (reply["statusCode"], reply["headers"]["location"]) == (302, WHERE)
    assert "cookies" not in reply
    assert account.items(EVENTS) == []


def test_an_old_picture_is_shown_without_credit(account: Account) -> None:
    assert follow(OPEN, token(OPEN, age=timedelta(days=91)))["headers"]["content-type"] == "image/gif"
    assert account.items(EVENTS) == []


# What we did not sign, or would not sign today.


def tampered(name: str) -> tuple[str, str]:
    good = token()
    return {
        "one letter changed": (CLICK, ("B" if good[0] == "A" else "A") + good[1:]),
        "cut": (CLICK, good[:-1]),
        "longer": (CLICK, good + "x"),
        "no signature": (CLICK, good.rpartition(".")[0]),
        "empty": (CLICK, ""),
        "no ASCII": (CLICK, "ключ"),
        "a path": (CLICK, "../../etc/passwd"),
        "NUL": (CLICK, "\x00"),
        "another purpose": (CLICK, token(OPEN)),
        "a click to unsubscribe": (UNSUBSCRIBE, good),
        "an old key": (CLICK, token(keys=[b"a key that was taken out of use"])),
        "a site that is gone": (CLICK, token(site="nobody")),
        "another site's host": (CLICK, token(site="rival")),
        "long": (CLICK, "A" * 8000),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "one letter changed",
        "cut",
        "longer",
        "no signature",
        "empty",
        "no ASCII",
        "a path",
        "NUL",
        "another purpose",
        "a click to unsubscribe",
        "an old key",
        "a site that is gone",
        "another site's host",
        "long",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_that_we_did_not_sign_for_this_is_not_found(account: Account, name: str, method: str) -> None:
    purpose, signed = tampered(name)
    reply = follow(purpose, signed, method)
    assert reply["statusCode"] == 404
    assert "location" not in reply["headers"]
    assert account.items(EVENTS) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "http://www.northwind.example/",
        "//evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        f"{ORIGIN}.evil.example/",
        f"{ORIGIN}@evil.example/",
        f"{ORIGIN}\\@evil.example/",
        "https://www.northwind.example:443@x/",
    ],
)
def test_even_a_good_signature_leads_to_no_host_that_the_site_does_not_list(account: Account, url: str) -> None:
    assert follow(CLICK, token(url=url))["statusCode"] == 404


def test_two_keys_live_beside_each_other_and_the_newest_signs(account: Account) -> None:
    account.client("secretsmanager").put_secret_value(
        SecretId="closedloop", SecretString=json.dumps({"pepper": "p", "link_keys": ["the old key", "the new key"]})
    )
    try:
        for key in (b"the old key", b"the new key"):
            assert follow(CLICK, token(keys=[key]))["statusCode"] == 302
        assert follow(CLICK, token(keys=[b"the oldest key"]))["statusCode"] == 404
        assert Tokens([b"the new key"]).read(CLICK, token()).person == PERSON
    finally:
        account.declared = set()


def test_no_address_is_in_a_link(account: Account) -> None:
    assert "@" not in token()
    assert "@" not in token(UNSUBSCRIBE)


# Bringing others.


def come(signed: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return handler.handle(a_request(method, f"/r/{signed}", parts={"token": signed}, **more), Context())


def handed(site: str = "demo", url: str = WHERE) -> str:
    return Tokens(doors.link_keys()).sign(REFERRAL, Handed(site, PERSON, url))


def test_who_comes_by_anothers_link_is_led_on_and_their_browser_knows_whose_it_was(account: Account) -> None:
    reply = come(handed())
    assert (reply["statusCode"], reply["headers"]["location"]) == (302, WHERE)
    [record] = account.records()
    assert record["name"] == "Referral Followed"
    assert record["properties"] == {"referrer": PERSON, "link": f"{ORIGIN}/products/pumps"}
    # The guest is not the one whose link it is.
    assert "ids" not in record
    assert reply["cookies"][0].startswith(f"_cl_vid={record['visitor']}; Max-Age=34128000;")


def test_however_often_a_browser_follows_one_link_it_is_one_fact(account: Account) -> None:
    for _ in range(3):
        come(handed(), cookies=[COOKIE])
    assert len({record["id"] for record in account.records()}) == 1
    assert {packet.subject for packet in account.packets()} == {"V#demo#jane-on-a-laptop"}


@pytest.mark.parametrize(
    ("site", "url", "method", "headers"),
    [
        ("asking", "https://eu.example/", "GET", {}), ("demo", WHERE, "GET", {"sec-gpc": "1"}),
        ("demo", WHERE, "HEAD", {}),
    ],
)
def test_nobody_is_told_apart_unasked_by_a_link_that_was_handed_on(
    account: Account, site: str, url: str, method: str, headers: dict[str, str]
) -> None:
    reply = come(handed(site, url), method, headers=headers, cookies=[COOKIE])
    assert (reply["statusCode"], "cookies" in reply, account.items(EVENTS)) == (302, False, [])


@pytest.mark.parametrize("signed", ["", "x.y", "click", "elsewhere", "nowhere"])
def test_a_link_that_nobody_was_given_brings_nobody(account: Account, signed: str) -> None:
    made = {"click": token(), "elsewhere": handed(url="https://evil.example/"), "nowhere": handed("nobody")}
    reply = come(made.get(signed, signed), cookies=[COOKIE])
    assert (reply["statusCode"], account.items(EVENTS)) == (404, [])
    assert "location" not in reply["headers"]


def test_a_guest_is_led_on_whatever_our_tables_do(account: Account) -> None:
    signed = handed()
    account.loses(EVENTS)
    reply = come(signed, cookies=[COOKIE])
    assert (reply["statusCode"], reply["headers"]["location"], "cookies" in reply) == (302, WHERE, False)
