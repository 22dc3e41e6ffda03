"""The template for Google Tag Manager, as far as it can be known without Google: its form, its rights, its own tests,
and its sandboxed code in a real browser, with the sandbox's words stood in for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import yaml

from tests.browsers import KEY, Browser, Collector, Site
from web import build

SECTIONS = (
    "INFO", "TEMPLATE_PARAMETERS", "SANDBOXED_JS_FOR_WEB_TEMPLATE", "WEB_PERMISSIONS", "TESTS", "NOTES",
)
# Which right each word of the sandbox needs; the others need none.
RIGHTS = {
    "injectScript": "inject_script", "callInWindow": "access_globals", "isConsentGranted": "access_consent",
    "addConsentListener": "access_consent", "encodeUriComponent": None, "makeTableMap": None,
}
# What sandboxed JavaScript does not have.
MISSING = (
    r"\b(window|document|new|this|class|function|async|await|try|throw|eval|delete|JSON|Object|Math|setTimeout)\b"
    r"|`|\?\."
)

SANDBOX = """
    const calls = [], mocks = {}, problems = [];
    const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
    const mock = (name, what) => { mocks[name] = what; };
    const told = (name) => (...words) => { calls.push([name, words]); return mocks[name] && mocks[name](...words); };
    mock('encodeUriComponent', encodeURIComponent);
    mock('makeTableMap', (rows, key, value) =>
      rows.length ? Object.fromEntries(rows.map((row) => [row[key], row[value]])) : null);
    const runCode = (data) => new Function('require', 'data', CODE)(
      told, {...data, gtmOnSuccess: told('gtmOnSuccess'), gtmOnFailure: told('gtmOnFailure')});
    const expect = (holds, what) => { if (!holds) problems.push(what + ', told: ' + JSON.stringify(calls)); };
    const assertThat = (found) => ({isEqualTo: (wanted) => expect(same(found, wanted), found + ' is not ' + wanted)});
    const assertApi = (name) => {
      const found = calls.filter((call) => call[0] === name);
      return {
        wasCalled: () => expect(found.length, name + ' was not called'),
        wasNotCalled: () => expect(!found.length, name + ' was called'),
        wasCalledWith: (...words) => expect(found.some((call) => same(call[1], words)), name + ' not called so'),
      };
    };
"""


@cache
def sections() -> Mapping[str, str]:
    text = (build.SOURCES / "tag_manager.tpl").read_text(encoding="utf-8")
    parts = re.split(r"^___([A-Z_]+)___$", text, flags=re.MULTILINE)
    assert parts[0] == ""
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def permissions() -> dict[str, Any]:
    """Each right by its name, with its parameters as plain values."""

    def plain(value: Mapping[str, Any]) -> Any:
        match value["type"]:
            case 1:
                return value["string"]
            case 2:
                return [plain(one) for one in value["listItem"]]
            case 3:
                return dict(zip(map(plain, value["mapKey"]), map(plain, value["mapValue"]), strict=True))
            case 8:
                return value["boolean"]
        raise AssertionError(value)

    return {
        one["instance"]["key"]["publicId"]: {
            parameter["key"]: plain(parameter["value"]) for parameter in one["instance"]["param"]
        }
        for one in json.loads(sections()["WEB_PERMISSIONS"])
    }


def scenarios() -> list[dict[str, str]]:
    return list(yaml.safe_load(sections()["TESTS"])["scenarios"])


def test_the_template_has_its_sections_in_order_and_they_can_be_read() -> None:
    assert tuple(sections()) == SECTIONS
    info = json.loads(sections()["INFO"])
    assert (info["type"], info["containerContexts"], info["version"]) == ("TAG", ["WEB"], 1)
    parameters = json.loads(sections()["TEMPLATE_PARAMETERS"])
    names = [one["name"] for one in parameters]
    assert len(set(names)) == len(names)
    for parameter in parameters:
        for condition in parameter.get("enablingConditions", ()):
            assert condition["paramName"] in names
        if "selectItems" in parameter:
            assert parameter["defaultValue"] in [item["value"] for item in parameter["selectItems"]]


def test_the_code_uses_the_fields_that_there_are_and_only_what_the_sandbox_has() -> None:
    code = re.sub(r"//.*", "", sections()["SANDBOXED_JS_FOR_WEB_TEMPLATE"])
    fields = {one["name"] for one in json.loads(sections()["TEMPLATE_PARAMETERS"])}
    assert set(re.findall(r"\bdata\.(\w+)", code)) == fields | {"gtmOnSuccess", "gtmOnFailure"}
    words = re.sub(r"'[^']*'", "''", code)
    assert not re.search(MISSING, words)
    assert set(re.findall(r"require\('(\w+)'\)", code)) == set(RIGHTS)


def test_the_template_asks_for_each_right_that_it_uses_and_for_no_other() -> None:
    code = sections()["SANDBOXED_JS_FOR_WEB_TEMPLATE"]
    asked = permissions()
    assert set(asked) == {right for right in RIGHTS.values() if right}
    assert asked["inject_script"] == {"urls": ["https://*/*"]}, "the collector stands on its owner's host"
    called = set(re.findall(r"callInWindow\('([\w.]+)'", code))
    assert asked["access_globals"]["keys"] == [
        {"key": key, "read": False, "write": False, "execute": True}
        for key in ("closedloop.consent", "closedloop.track", "closedloop.page", "closedloop.identify")
    ]
    assert {one["key"] for one in asked["access_globals"]["keys"]} == called
    types = set(re.findall(r"'(\w+_(?:storage|data|personalization))'", code))
    assert {one["consentType"] for one in asked["access_consent"]["consentTypes"]} == types
    assert all(one["read"] and not one["write"] for one in asked["access_consent"]["consentTypes"])


@pytest.mark.browser
@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario["name"])
def test_the_templates_own_tests_hold(browser: Browser, scenario: Mapping[str, str]) -> None:
    setup = yaml.safe_load(sections()["TESTS"])["setup"]
    code = json.dumps(sections()["SANDBOXED_JS_FOR_WEB_TEMPLATE"])
    assert browser.run(f"const CODE = {code};{SANDBOX}{setup}\n{scenario['code']}\nreturn problems") == []


LIVE = """
    mock('injectScript', (url, success, failure, token) => {
      window.loading = window.loading || {};
      loading[token] = loading[token] || new Promise((resolve, reject) => {
        const script = document.createElement('script');
        Object.assign(script, {src: url, async: true, onload: resolve, onerror: reject});
        document.head.append(script);
      });
      loading[token].then(success, failure);
    });
    mock('callInWindow', (path, ...words) => window.closedloop[path.split('.')[1]](...words));
    window.granted = window.granted || {};
    window.listeners = window.listeners || [];
    mock('isConsentGranted', (type) => !!granted[type]);
    mock('addConsentListener', (type, listener) => listeners.push(listener));
"""


def fire(browser: Browser, collector: Collector, **fields: Any) -> None:
    data = {"endpoint": collector.url, "writeKey": KEY, "consent": "notice", "action": "load", **fields}
    code = json.dumps(sections()["SANDBOXED_JS_FOR_WEB_TEMPLATE"])
    browser.run(f"const CODE = {code};{SANDBOX}{LIVE}runCode({json.dumps(data)})")


@pytest.mark.browser
def test_tags_of_the_template_tell_the_collector_what_they_are_told_to(
    browser: Browser, site: Site, collector: Collector
) -> None:
    browser.open(site.page("/pumps"))
    fire(browser, collector)
    fire(browser, collector, action="identify", userId="c-1204", properties=[{"name": "industry", "value": "water"}])
    fire(browser, collector, action="track", name="Trial Started", properties=[{"name": "plan", "value": "pro"}])
    browser.hide()
    event = collector.event("Trial Started")
    assert [e.get("event", e["type"]) for e in collector.events()] == ["page", "identify", "Trial Started"]
    assert collector.accepted[0].path == "/v1/b"
    assert (event["userId"], event["properties"]) == ("c-1204", {"plan": "pro"})
    assert collector.event("identify")["traits"] == {"industry": "water"}


@pytest.mark.browser
def test_a_tag_that_follows_consent_mode_tells_only_a_count_until_it_is_granted(
    browser: Browser, site: Site, collector: Collector
) -> None:
    browser.open(site.page("/pumps"))
    fire(browser, collector, followConsent=True)
    browser.hide()
    assert collector.event("page")["anonymousId"] is None
    browser.run("granted.analytics_storage = true; listeners.forEach((listener) => listener())")
    browser.hide()
    page = collector.event("page", 2)
    assert page["anonymousId"]
    assert page["context"]["consent"] == {"analytics": "granted", "marketing": "denied"}
