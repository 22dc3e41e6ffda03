"""docs/add-a-site.md and docs/point-a-segment-sdk-here.md do what they say: their blocks are taken out and run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.archive_events import handler as archive_events
from functions.project_profiles import handler as project_profiles
from tests.accounts import Account, forget
from tests.browsers import Browser, Site
from tests.functions.gateway import Context
from tests.functions.streams import a_batch
from tests.system.conftest import NODE_MODULES, ROOT, Run, node
from tests.system.gateway import Gateway

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(name: str) -> dict[str, list[str]]:
    """The code of a page by its language, in order."""
    found: dict[str, list[str]] = {}
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for language, code in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        found.setdefault(language, []).append(code)
    return found


ADD, SDK = blocks("add-a-site.md"), blocks("point-a-segment-sdk-here.md")


@pytest.fixture
def my_site(site: Site, run: Run, tmp_path: Path) -> list[str]:
    """The first two steps of `Add a site`, for pages that this machine serves; what each command printed."""
    [words] = ADD["yaml"]
    assert "[https://www.example.com]" in words
    local = words.replace("[https://www.example.com]", f"[{site.url}]") + "count_test_browsers: true\n"
    (tmp_path / "my-site.yaml").write_text(local, encoding="utf-8")
    return [run(line) for line in ADD["sh"][0].splitlines()]


def records(account: Account, gateway: Gateway, names: set[str]) -> Mapping[str, Mapping[str, Any]]:
    """The events by name, once all of these have been told, each once."""

    def told() -> list[str]:
        return [str(one["name"] or one["type"]) for one in account.records()]

    gateway.until(lambda: names <= set(told()))
    assert sorted(name for name in told() if name in names) == sorted(names)
    return {str(one["name"] or one["type"]): one for one in account.records()}


def test_the_readme_leads_to_both_pages_and_they_lead_on() -> None:
    for name in ("add-a-site.md", "point-a-segment-sdk-here.md"):
        assert f"(docs/{name})" in README
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([\w.-]+\.md)\)", text):
            assert (ROOT / "docs" / link).exists()
        for path in re.findall(r"`((?:web|functions|examples)/[\w/.-]+)`", text):
            assert (ROOT / path).exists()


@pytest.mark.browser
def test_add_a_site(
    browser: Browser, site: Site, gateway: Gateway, account: Account, machine: Any, my_site: list[str], run: Run
) -> None:
    applied, snippet = my_site
    assert "my-site" in applied
    [page] = ADD["html"]
    page = page.replace("ENDPOINT", gateway.url)
    assert snippet.strip() in page, "the line that the command prints is the line on the page"
    site.pages["/fair"] = (page, "text/html; charset=utf-8", {})
    browser.open(f"{site.url}/fair?utm_source=fair")
    browser.loaded()
    browser.driver.find_element("tag name", "a").click()
    browser.driver.find_element("name", "company").send_keys("Kobayashi")
    browser.driver.find_element("tag name", "button").click()
    browser.until("return location.search === '?company=Kobayashi'")  # the form leads to a page of its own
    browser.loaded()
    browser.run(ADD["js"][0])
    browser.hide()
    told = records(account, gateway, {"Brochure Downloaded", "Form Started", "Form Submitted", "identify"})
    [arrival] = [one for one in account.records() if one["type"] == "page" and "campaign" in one["context"]]
    assert (arrival["context"]["campaign"], arrival["context"]["topic"]) == ({"source": "fair"}, "pumps")
    assert told["Brochure Downloaded"]["properties"]["product"] == "P-1"
    assert told["Form Submitted"]["properties"] == {"form": "question"}

    streamed(account)
    look, ask = ADD["sh"][1:]
    tail = [json.loads(line) for line in run(look, "--no-follow", "--json").splitlines()]
    assert {"track Brochure Downloaded", "track Form Submitted", "page /fair"} <= {line["what"] for line in tail}
    assert {line["verdict"] for line in tail} == {"accepted"}
    person = json.loads(run(ask, "--json"))
    assert person["attributes"] == {"industry": "water"}
    assert person["came_from"]["source"] == "fair"
    assert person["interest"]["pumps"] > 0


def streamed(account: Account) -> None:
    """What the stream does in AWS: it hands what the ledger took to profiles and lake."""
    forget()
    for handler in (project_profiles, archive_events):
        assert handler.handle(a_batch(account.items()), Context()) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    ("number", "names"), [(0, {"identify", "Trial Started"}), (1, {"Trial Extended"})], ids=["Segment", "RudderStack"]
)
def test_point_a_python_sdk_here(
    gateway: Gateway, account: Account, my_site: list[str], number: int, names: set[str]
) -> None:
    python(SDK["python"][number], gateway)
    records(account, gateway, names)


def python(code: str, gateway: Gateway) -> None:
    code = code.replace("ENDPOINT", gateway.by_number)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("number", "name"), [(0, "Seat Added"), (1, "Seat Removed")], ids=["Segment", "RudderStack"])
def test_point_a_node_sdk_here(
    gateway: Gateway, account: Account, my_site: list[str], tmp_path: Path, number: int, name: str
) -> None:
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    script = tmp_path / "recipe.mjs"
    script.write_text(SDK["js"][number].replace("ENDPOINT", gateway.by_number), encoding="utf-8")
    node(str(script))
    records(account, gateway, {name})


@pytest.mark.browser
def test_point_the_browser_sdk_here(
    browser: Browser, site: Site, gateway: Gateway, account: Account, my_site: list[str], run: Run, tmp_path: Path
) -> None:
    # On loopback there is no https; what a bundler makes of an import is the SDK's own bundle.
    load, agree = SDK["js"][2].replace("'HOST/v1'", f"'{gateway.host}/v1', protocol: 'http'"), SDK["js"][3]
    load = load.replace("ENDPOINT", gateway.url).replace(
        "import { AnalyticsBrowser } from '@segment/analytics-next'", "const { AnalyticsBrowser } = AnalyticsNext"
    )
    sdk = site.script("/sdk.js", (NODE_MODULES / "@segment/analytics-next/dist/umd/index.js").read_text("utf-8"))
    browser.open(site.page("/pumps", f'<script src="{sdk}"></script><script>{load}</script>'))
    assert records(account, gateway, {"Pumps", "Price List Viewed"})["Pumps"]["visitor"]

    stated = yaml.safe_load((tmp_path / "my-site.yaml").read_text(encoding="utf-8")) | {"consent": "opt_in"}
    (tmp_path / "my-site.yaml").write_text(yaml.safe_dump(stated), encoding="utf-8")
    run("closedloop site apply my-site.yaml")
    then = f"{agree}; analytics.track('After The Banner')"
    browser.open(site.page("/again", f'<script src="{sdk}"></script><script>{load};{then}</script>'))
    after = records(account, gateway, {"After The Banner"})["After The Banner"]
    assert after["visitor"]
    assert after["context"]["consent"] == {"analytics": "granted", "marketing": "denied"}


def test_tell_history(gateway: Gateway, account: Account, my_site: list[str], run: Run) -> None:
    shown = json.loads(run(SDK["sh"][0], "--json"))
    for _ in range(2):
        python(SDK["python"][2].replace("THE_SECRET_KEY", shown["secret_key"]), gateway)
    old = account.records()
    assert {str(one["id"]) for one in old} == {"my-site/beacon/trial-2024-04"}
    assert all(one["at"] == "2024-04-01T09:30:00.000Z" and "late" not in one for one in old)
