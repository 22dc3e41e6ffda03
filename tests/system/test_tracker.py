"""A visitor's own browser: the page view of a real page, through the tracker, in the ledger."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from closedloop.world.pages import serve
from tests.system.conftest import ROOT, System

pytestmark = [pytest.mark.system, pytest.mark.browser]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    if not shutil.which("chromium"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is missing: apt-get install chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(shutil.which("chromedriver"))))
    yield driver
    driver.quit()


def test_a_page_view_in_a_browser_stands_in_the_ledger(system: System, browser: webdriver.Chrome) -> None:
    with serve(ROOT / "examples/pages", system.deployed.endpoint, 8000) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        browser.get("http://localhost:8000/products/pumps?utm_source=newsletter&utm_medium=email&utm_campaign=autumn")
        seen = WebDriverWait(browser, 30, poll_frequency=0.5).until(
            lambda _: [
                record for record in system.records()
                if record["type"] == "page" and "/beacon/" in record["id"]
                and "localhost:8000" in str(record["context"].get("page", {}).get("url"))
            ]
        )
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        pages.shutdown()
    page = seen[0]
    assert page["context"]["page"]["path"] == "/products/pumps"
    assert page["context"]["topic"] == "pumps"
    assert page["visitor"]
    assert errors == []
