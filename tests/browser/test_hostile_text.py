"""Pages and mails full of hostile text, opened in a real browser: nothing runs, nothing is asked for."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import pytest

from closedloop.capture import form_page
from closedloop.capture.request import Request
from closedloop.errors import BadShape, WrongField, WrongFields
from tests.browsers import Browser, Site
from tests.hostile import HOSTILE, a_hostile_lake
from tests.unit.test_actions import a_mail
from tests.unit.test_report import LATEST, built
from tests.unit.test_report_rows import the_loop

POLICY = "http-equiv=\"Content-Security-Policy\""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder: Path = a_hostile_lake(tmp_path_factory.mktemp("hostile"))
    return built(folder, the_loop(strategy=" ".join(HOSTILE)[:300]))[1]


def opened(browser: Browser, site: Site, page: str) -> tuple[Any, list[str]]:
    """Open a page, hover and focus everything in it; what ran, and what was asked for beside it."""
    site.pages["/page"] = (page, "text/html; charset=utf-8", {})
    browser.may_complain = True
    browser.open(site.url + "/page")
    ran = browser.run("""
        for (const one of document.querySelectorAll('*')) for (const what of ['mouseover', 'focus', 'toggle', 'load'])
          one.dispatchEvent(new Event(what));
        return window.ran || null
    """)
    asked = browser.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    return ran, [one for one in (*asked, *site.asked) if one != "/page" and not one.endswith("/favicon.ico")]


def test_there_are_thirty_texts_and_a_page_that_does_not_escape_them_runs_them(browser: Browser, site: Site) -> None:
    assert len(set(HOSTILE)) >= 30
    raw = "".join(f"<p>{text}</p>" for text in HOSTILE if "refresh" not in text)
    ran, asked = opened(browser, site, f"<!doctype html><title>x</title>{raw}")
    assert ran == 1 and asked


@pytest.mark.parametrize("name", ["index.html", "index.ja.html"])
@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "by escaping alone"])
def test_a_report_runs_nothing_and_asks_for_nothing(
    browser: Browser, site: Site, report: dict[str, bytes], name: str, guarded: bool
) -> None:
    page = report[LATEST + name].decode()
    assert POLICY in page and sum(escape(text) in page for text in HOSTILE) > 20
    assert opened(browser, site, page if guarded else page.replace(POLICY, 'name="none"')) == (None, [])


def test_a_mail_runs_nothing_and_asks_for_its_own_picture_alone(browser: Browser, site: Site) -> None:
    for text in HOSTILE:
        mail = a_mail(
            subject="{{ company }}", text="Dear {{ first_name }} of {{ company }}, {{ industry }}",
            contact={"first_name": text, "last_name": text, "company": text}, attributes={"industry": text},
        )
        ran, asked = opened(browser, site, mail.html)
        assert ran is None and {url.partition("?")[0] for url in asked} <= {"https://go.example/o/open"}, text


def test_the_page_of_a_form_that_was_not_taken_runs_nothing(browser: Browser, site: Site) -> None:
    request = Request("POST", "/v1/forms/x", {"content-type": "application/x-www-form-urlencoded"})
    for error in (
        *(BadShape(text) for text in HOSTILE), WrongFields(tuple(WrongField(*[text] * 4) for text in HOSTILE)),
    ):
        assert opened(browser, site, str(form_page.tell(request, error).body)) == (None, [])
