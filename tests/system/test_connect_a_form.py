"""docs/connect-a-form.md does what it says: its file is applied, its form and its script run in Chromium."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.runtime import clock
from closedloop.sites.definition import FormField
from tests.accounts import Account
from tests.browsers import Browser, Site
from tests.system.conftest import ROOT, Run
from tests.system.gateway import Gateway
from tests.system.test_recipes import ADD, README, blocks, streamed

NAME = "connect-a-form.md"
PAGE = (ROOT / "docs" / NAME).read_text(encoding="utf-8")
CODE = blocks(NAME)
HANAKO = {
    "email": "hanako@example.co.jp", "last_name": "山田", "last_name_kana": "ﾔﾏﾀﾞ", "company": "㈱山田製作所",
    "tel": "０４５-９８７-６５４３", "message": "見積もりをお願いします",
}


@pytest.fixture
def form(site: Site, run: Run, gateway: Gateway, tmp_path: Path) -> str:
    """The site with its form, as the page declares it; the form's HTML."""
    words = ADD["yaml"][0].replace("[https://www.example.com]", f"[{site.url}]") + CODE["yaml"][0]
    (tmp_path / "my-site.yaml").write_text(words, encoding="utf-8")
    assert "my-site" in run(CODE["sh"][0].strip())
    site.page("/thanks")
    return CODE["html"][0].replace("ENDPOINT", gateway.url)


def fill(browser: Browser) -> None:
    for name, value in HANAKO.items():
        browser.driver.find_element("name", name).send_keys(value)
    browser.driver.find_element("name", "news").click()
    browser.driver.find_element("tag name", "button").click()
    browser.until("return location.pathname === '/thanks'")


def told(account: Account) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """The one submission that there is, and the contact that came with it."""
    [packet] = [packet for packet in account.packets() if packet.door == "form"]
    [record] = packet.records
    return record, packet.contact[record["ids"][0]]


def test_the_readme_leads_to_the_page_and_the_page_names_every_kind() -> None:
    assert f"(docs/{NAME})" in README
    kinds = FormField.model_json_schema()["properties"]["kind"]["enum"]
    assert [kind for kind in kinds if f"`{kind}`" not in PAGE] == []


@pytest.mark.browser
def test_the_form_without_any_script(
    browser: Browser, site: Site, account: Account, form: str, machine: Any, run: Run
) -> None:
    browser.open(site.page("/contact", body=form))
    fill(browser)
    record, contact = told(account)
    assert contact == {
        "email": "hanako@example.co.jp", "last_name": "山田", "last_name_kana": "ヤマダ", "company": "(株)山田製作所",
        "phone": "+81459876543", "message": "見積もりをお願いします",
    }
    assert record["traits"] == {"industry": "水道"}
    assert [(one["purpose"], one["version"]) for one in record["properties"]["consents"]] == [("marketing", "2026-11")]
    assert "visitor" not in record

    streamed(account)
    person = json.loads(run(CODE["sh"][1].strip(), "--json"))
    assert person["consent"] == {"marketing": "unconfirmed"}
    [asked] = person["asked_to_confirm"]
    assert (asked["form"], asked["text"], asked["outcome"]) == ("contact", "2026-11", "pending")


@pytest.mark.browser
def test_the_form_with_the_tracker(
    browser: Browser, site: Site, account: Account, gateway: Gateway, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f'<script async src="{gateway.url}/t.js" data-site="pk_mysite_4f1c2a9b" data-consent="notice"></script>'
    browser.open(site.page("/contact", line, form))
    gateway.until(lambda: any(one.path == "/v1/forms/contact" and one.status == 200 for one in gateway.asked))
    # The person takes four seconds, at the machine's own pace.
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(seconds=4))
    fill(browser)
    record, _ = told(account)
    assert record["visitor"]
    assert record["context"]["page"]["url"] == f"{site.url}/contact"
    assert account.failed() == []


@pytest.mark.browser
def test_the_script(browser: Browser, site: Site, account: Account, gateway: Gateway, form: str) -> None:
    browser.open(site.page("/contact"))
    for _ in range(2):
        browser.run(CODE["js"][0].replace("ENDPOINT", gateway.url))
        browser.until(f"return document.title === '{site.url}/thanks'")
    assert {record["id"] for record in account.records()} == {"my-site/form/q-1204"}
    assert account.packets()[0].contact[account.records()[0]["ids"][0]]["phone"] == "+819012345678"
