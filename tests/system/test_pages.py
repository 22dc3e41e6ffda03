"""Pages of a site in a real browser, against the real handlers: who came from where, what a cookie may, what a proxy
must hand on."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from closedloop.events.sources import source_of
from tests.accounts import Account
from tests.browsers import KEY, Answer, Browser, Site, serving
from tests.system.conftest import ROOT, node
from tests.system.gateway import OUTAGES, Gateway, Outage
from web import build

pytestmark = pytest.mark.browser

CLICK_IDS = ("gclid", "gbraid", "wbraid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "yclid")
UTM = {
    "source": "yahoo", "medium": "cpc", "campaign": "autumn", "term": "ポンプ", "content": "a", "id": "c-7",
    "source_platform": "dv360", "creative_format": "video", "marketing_tactic": "prospecting",
}
README = (ROOT / "web/README.md").read_text(encoding="utf-8")


def tag(gateway: Gateway, **data: str) -> str:
    settings = {"site": KEY, "consent": "notice"} | data
    attributes = " ".join(f'data-{name}="{value}"' for name, value in settings.items())
    return f'<script async src="{gateway.url}/t.js" {attributes}></script>'


def views(account: Account, gateway: Gateway, count: int = 1) -> list[Mapping[str, Any]]:
    """The page views, once there are so many; a page that stays open for half a second tells of its reading besides."""

    def seen() -> list[Mapping[str, Any]]:
        return [record for record in account.records() if record["type"] == "page"]

    gateway.until(lambda: len(seen()) >= count)
    return sorted(seen(), key=lambda record: str(record["at"]))


def test_where_a_visit_came_from_stands_in_the_ledger(
    browser: Browser, site: Site, gateway: Gateway, account: Account, declare: Callable[..., None]
) -> None:
    declare()
    words = {f"utm_{name}": word for name, word in UTM.items()} | {name: f"{name}-1" for name in CLICK_IDS}
    query = "&".join(f"{name}={word}" for name, word in words.items())
    url = site.page("/products/pumps/p-1", tag(gateway), f'<a href="{site.url}/next">on</a>')
    site.page("/next", tag(gateway))
    browser.open(f"{url}?{query}&email=jane@example.jp&utm_source=second")
    browser.hide()
    views(account, gateway)
    browser.driver.find_element("tag name", "a").click()
    browser.until("return location.pathname === '/next'")
    browser.hide()
    views(account, gateway, 2)

    first, second = (record["context"] for record in views(account, gateway, 2))
    assert all(f"{name}={name}-1" in first["page"]["search"] for name in CLICK_IDS)
    assert "jane" not in json.dumps(first)
    assert first["campaign"] == {"name" if name == "campaign" else name: word for name, word in UTM.items()}
    assert second["page"]["referrer"].startswith(url)
    source = source_of(first["page"]["url"], first["page"].get("referrer", ""), first["campaign"], frozenset())
    assert (source.source, source.medium, source.campaign) == ("yahoo", "cpc", "autumn")
    assert source.click_id
    shop = account.state.site("shop")
    assert shop is not None
    assert shop.topic_of(first["page"]["path"]) == "pumps", "the site's rules give a page its topic"


def test_the_cookie_is_the_servers_alone_and_outlives_the_trackers_storage(
    browser: Browser, site: Site, gateway: Gateway, account: Account, declare: Callable[..., None], domain: str
) -> None:
    declare()
    browser.open(site.page("/", tag(gateway)))
    browser.hide()
    [first] = views(account, gateway)
    [cookie] = browser.driver.get_cookies()
    assert (cookie["name"], cookie["value"]) == ("_cl_vid", first["visitor"])
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Lax")
    assert cookie["domain"].lstrip(".") == domain
    browser.run("localStorage.clear()")
    browser.open(site.page("/next", tag(gateway)))
    browser.hide()
    assert len(views(account, gateway, 2)) == 2
    assert {one["visitor"] for one in account.records()} == {first["visitor"]}


@pytest.mark.parametrize("outages", OUTAGES.values(), ids=OUTAGES)
def test_an_outage_costs_the_tracker_nothing_and_makes_no_event_two(
    browser: Browser, site: Site, gateway: Gateway, account: Account, declare: Callable[..., None],
    outages: list[Outage],
) -> None:
    browser.may_complain = True
    declare()
    gateway.outages.extend(outages)
    browser.open(site.page("/", tag(gateway)))
    gateway.until(lambda: len(gateway.posts) > len(outages))
    assert [post.status for post in gateway.posts] == [*(outage.status for outage in outages), 200]
    assert len({post.body.partition(b'"messageId":"')[2][:36] for post in gateway.posts}) == 1
    assert len({record["id"] for record in account.records()}) == 1
    browser.until(f"return !(JSON.parse(localStorage.getItem('closedloop:{KEY}')).queue || []).length")


@pytest.mark.parametrize("mode", ["opt_in", "notice", "opt_out"])
def test_a_browser_that_says_sec_gpc_is_only_counted(
    browser: Browser, site: Site, gateway: Gateway, account: Account, declare: Callable[..., None], mode: str
) -> None:
    declare(consent=mode)
    network = browser.driver.execute_cdp_cmd
    network("Network.enable", {})
    network("Network.setExtraHTTPHeaders", {"headers": {"Sec-GPC": "1"}})
    try:
        browser.open(site.page("/", tag(gateway, consent=mode)))
        browser.loaded()
        browser.run("closedloop.consent({analytics: 'granted', marketing: 'granted'})")
        browser.hide()
        views(account, gateway)
        for record in account.records():
            assert "visitor" not in record
        assert browser.driver.get_cookies() == []
    finally:
        network("Network.setExtraHTTPHeaders", {"headers": {}})


def test_a_page_without_script_is_told_by_the_pixel(
    browser: Browser, site: Site, gateway: Gateway, account: Account, declare: Callable[..., None]
) -> None:
    declare()
    noscript = re.search(r"<noscript>.*?</noscript>", README, re.DOTALL)
    assert noscript
    pixel = noscript[0].replace("https://HOST", gateway.url).replace("pk_YOUR_KEY", KEY)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(site.page("/products/pumps", tag(gateway), pixel) + "?utm_source=fair")
        [record] = views(account, gateway)
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert record["context"]["page"]["url"] == f"{site.url}/products/pumps?utm_source=fair"
    assert record["visitor"]
    assert [one.path for one in gateway.asked] == ["/v1/pixel.gif"]
    assert len(pixel) + 1000 < 8000


# The collector on the site's own origin: each recipe of web/README.md, read as its proxy reads it.


@dataclass(frozen=True)
class Rule:
    """What a proxy does with some paths of the site: methods, path over there, and whether cookies are handed on."""

    fits: Callable[[str], bool]
    there: Callable[[str], str] = lambda path: path
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "OPTIONS")
    cookies: bool = True


def recipe(title: str) -> str:
    text = README[README.index(f"**{title}**") :]
    block = re.search(r"```\w+\n(.*?)```", text, re.DOTALL)
    assert block
    return block[1]


def nginx() -> list[Rule]:
    """`location = PATH` is that path, `location PATH` all that begin so; without a path of its own, proxy_pass changes
    none."""
    found = re.findall(r"location (= )?(\S+) \{(.*?)\}", recipe("nginx"), re.DOTALL)
    for _, _, within in found:
        assert "proxy_pass https://HOST;" in within
        assert "proxy_ssl_server_name on;" in within, "or the gateway does not know whom is meant"
    [size] = re.findall(r"client_max_body_size (\d+)k;", recipe("nginx"))
    assert int(size) >= 500
    return [
        Rule((lambda path, own=own: path == own) if exact else (lambda path, own=own: path.startswith(own)))
        for exact, own, _ in found
    ]


def cloudfront() -> list[Rule]:
    """Without an origin request policy no cookie is handed on; the viewer's Host never must be, for the gateway goes by
    its own."""
    text = README[README.index("**CloudFront**") : README.index("**Next.js**")]
    rows = re.findall(r"^\| `(\S+)` \| (\S+) \| (\S+) \| (.+?) \|$", text, re.MULTILINE)
    assert [row[1:] for row in rows] == [
        ("CachingOptimized", "none", "GET, HEAD"), ("CachingDisabled", "AllViewerExceptHostHeader", "all"),
    ]
    everything = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE")
    return [
        Rule(
            lambda path, own=own: fnmatchcase(path, own), methods=everything if methods == "all" else ("GET", "HEAD"),
            cookies=forwarded != "none",
        )
        for own, _, forwarded, methods in rows
    ]


def nextjs(directory: Path) -> list[Rule]:
    """`:path*` is whatever follows; the answer is a rewrite's, so the browser sees no other address."""
    config = directory / "next.config.cjs"
    config.write_text(recipe("Next.js") + "\nmodule.exports.rewrites().then((r) => console.log(JSON.stringify(r)))\n")
    rules = []
    for rule in json.loads(node(str(config))):
        assert rule["destination"] == f"https://HOST{rule['source']}"
        own = rule["source"].replace(":path*", "*")
        rules.append(Rule(lambda path, own=own: fnmatchcase(path, own)))
    return rules


def cut() -> list[Rule]:
    """A prefix that the proxy takes away."""
    return [Rule(lambda path: path.startswith("/measure/"), lambda path: path.removeprefix("/measure"))]


@contextmanager
def proxied(domain: str, rules: list[Rule], page: str, gateway: Gateway) -> Iterator[str]:
    """A site whose pages come from itself, and whose other paths come from the collector by the rules."""
    port = int(gateway.url.rpartition(":")[2])

    class Hands(Answer):
        def _carry(self) -> None:
            path, mark, query = self.path.partition("?")
            rule = next((rule for rule in rules if rule.fits(path)), None)
            if rule is None:
                self.reply(200, f"<!doctype html>{page}".encode(), Content_Type="text/html; charset=utf-8")
                return
            if self.command not in rule.methods:
                self.reply(403)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: value for name, value in self.headers.items() if rule.cookies or name.lower() != "cookie"}
            upstream = http.client.HTTPConnection("127.0.0.1", port)
            upstream.request(self.command, rule.there(path) + mark + query, body, {**headers, "Host": gateway.host})
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_OPTIONS = _carry

    with serving(Hands, f"www.{domain}") as url:
        yield url


@pytest.mark.parametrize("name", ["nginx", "CloudFront", "Next.js", "a prefix that the proxy cuts off"])
def test_behind_a_proxy_on_the_sites_own_origin_the_visitor_is_known_by_a_cookie_of_that_origin(
    browser: Browser, gateway: Gateway, account: Account, declare: Callable[..., None], domain: str, tmp_path: Path,
    name: str,
) -> None:
    rules = {"nginx": nginx, "CloudFront": cloudfront, "Next.js": lambda: nextjs(tmp_path)}.get(name, cut)()
    where = 'src="/measure/t.js" data-endpoint="/measure"' if rules[0].fits("/measure/t.js") else 'src="/t.js"'
    page = f'<link rel="icon" href="data:,"><script async {where} data-site="{KEY}" data-consent="notice"></script>'
    with proxied(domain, rules, page, gateway) as url:
        declare(origins=[url], cookie_domain=None)
        browser.open(f"{url}/products/pumps")
        browser.hide()
        [first] = views(account, gateway)
        [cookie] = browser.driver.get_cookies()
        browser.run("localStorage.clear()")
        browser.open(f"{url}/products/valves")
        browser.hide()
        both = views(account, gateway, 2)
    assert cookie["value"] == first["visitor"]
    assert (cookie["domain"], cookie["httpOnly"]) == (f"www.{domain}", True)
    assert {one["visitor"] for one in both} == {first["visitor"]}
    assert {one.status for one in gateway.asked} == {200}
    assert not any("access-control-request-method" in one.headers for one in gateway.asked), "one origin, no preflight"


def test_the_readme_tells_the_truth_about_safari() -> None:
    assert "in Safari a visitor who does not return within seven days is a new visitor" in README
    assert "The way out is to serve `/t.js` and `/v1/*` from the site's own origin" in README
    assert build.snippet().text.strip() in README
