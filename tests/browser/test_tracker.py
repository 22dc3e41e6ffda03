"""Does the tracker tell the truth? A real browser, a page, and what arrives at the collector."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.browsers import KEY, REFUSES, Browser, Collector, Site
from web import build

pytestmark = pytest.mark.browser

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
UTC = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

Tag = Callable[..., str]


def test_a_page_view_arrives_in_segments_shape(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    url = site.page("/lathes", tag())
    browser.open(url + "?utm_source=yahoo&utm_campaign=Autumn&utm_id=c-7&utm_source=second&yclid=42#top")

    event = collector.event("page")
    body = json.loads(collector.accepted[0].body)

    assert body.keys() == {"batch", "writeKey", "sentAt"}
    assert body["writeKey"] == KEY
    assert UTC.match(body["sentAt"]) and UTC.match(event["timestamp"])
    assert UUID.match(event["messageId"]) and UUID.match(event["anonymousId"])
    search = "?utm_source=yahoo&utm_campaign=Autumn&utm_id=c-7&utm_source=second&yclid=42"
    assert event["context"]["page"] == {
        "path": "/lathes",
        "referrer": "",
        "search": search,
        "title": "/lathes",
        "url": url + search,
    }
    assert event["context"]["campaign"] == {"source": "yahoo", "name": "Autumn", "id": "c-7"}
    assert event["context"]["consent"] == {"analytics": "unknown", "marketing": "unknown"}
    assert event["context"]["library"]["name"] == "closedloop.js"
    assert event["context"]["locale"] and event["context"]["timezone"]


def test_a_batch_is_one_simple_request_without_preflight(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag()))
    collector.event("page")

    (beacon,) = collector.beacons
    assert (beacon.method, beacon.path) == ("POST", "/v1/b")
    assert beacon.headers["content-type"].lower() == "text/plain;charset=utf-8"
    assert beacon.headers["origin"] == site.url


def test_the_collectors_cookie_comes_back_though_no_script_can_read_it(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag()))
    collector.event("page")
    browser.run("closedloop.track('Price List Opened')")
    collector.event("Price List Opened")

    assert "cookie" not in collector.accepted[0].headers
    assert collector.accepted[1].headers["cookie"] == "_cl_vid=6f1c2a5e"
    assert browser.run("return document.cookie") == ""


def test_a_visitor_keeps_one_id_over_pages(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.open(site.page("/one", tag()))
    browser.hide()
    first = collector.event("page")
    browser.open(site.page("/two", tag()))
    second = collector.event("page", 2)

    assert first["anonymousId"] == second["anonymousId"]
    assert first["messageId"] != second["messageId"]


@pytest.mark.parametrize(
    ("html", "head", "body", "data"),
    [
        ('data-topic="all"', "", "<script>document.body.dataset.topic = 'lathes'</script>", {"topic": "all"}),
        ('data-topic="lathes"', '<meta name="closedloop:topic" content="all">', "", {"topic": "the whole site"}),
        ("", '<meta name="closedloop:topic" content="lathes">', "", {"topic": "the whole site"}),
        ("", "", "", {"topic": "lathes"}),
    ],
    ids=["body", "html", "meta", "script"],
)
def test_a_page_says_its_topic(
    browser: Browser, site: Site, collector: Collector, tag: Tag, html: str, head: str, body: str, data: dict[str, str]
) -> None:
    # The tag stands last, so that the body has its topic when the script runs.
    browser.open(site.page("/", head, body + tag(**data), html=html))
    browser.hide()
    assert collector.event("page")["context"]["topic"] == "lathes"


def test_each_route_of_a_single_page_application_is_a_page_view(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    url = site.page("/app", tag())
    browser.open(url)
    browser.hide()
    collector.event("page")

    browser.run("history.pushState({}, '', '/app/orders?tab=open'); document.title = 'Orders'")
    second = collector.event("page", 2)
    browser.run("history.replaceState({}, '', '/app/orders/7')")
    browser.hide()
    third = collector.event("page", 3)
    browser.run("history.back()")
    browser.until("return location.pathname === '/app'")
    browser.hide()
    fourth = collector.event("page", 4)

    assert [e["context"]["page"]["path"] for e in (second, third, fourth)] == ["/app/orders", "/app/orders/7", "/app"]
    assert second["context"]["page"]["title"] == "Orders", "routers set the title after the address"
    assert second["context"]["page"]["referrer"] == url
    assert third["context"]["page"]["referrer"] == site.url + "/app/orders?tab=open"


def test_a_router_that_redirects_or_keeps_its_state_adds_no_page_view(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/app", tag()))
    browser.hide()
    collector.event("page")

    browser.run("history.replaceState({scroll: 120}, ''); history.pushState({}, '', '#details')")
    browser.run("history.pushState({}, '', '/old'); setTimeout(() => history.replaceState({}, '', '/new'), 20)")
    collector.event("page", 2)
    browser.run("closedloop.track('Done')")
    browser.hide()
    collector.event("Done")

    assert [e["context"]["page"]["path"] for e in collector.events("page")] == ["/app", "/new"]


def test_a_page_that_comes_back_from_the_cache_is_a_view_but_not_an_arrival(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    url = site.page("/list", tag())
    browser.open(url + "?utm_source=yahoo")
    browser.loaded()
    browser.run("window.sameDocument = true")
    browser.open(site.page("/item"))
    browser.driver.back()
    assert browser.until("return window.sameDocument"), "this browser was to keep the page"

    browser.hide()
    again = collector.event("page", 2)
    assert again["context"]["page"]["referrer"] == url + "?utm_source=yahoo"


def test_a_page_rendered_ahead_is_told_only_when_it_is_seen(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    next_url = site.page("/next", tag())
    rules = '<script type="speculationrules">{"prerender": [{"urls": ["/next"], "eagerness": "immediate"}]}</script>'
    browser.open(site.page("/", tag() + rules, f'<a href="{next_url}">next</a>'))
    site.asked_for("/next")
    collector.event("page")
    clicked_at = browser.run("return new Date().toISOString()")
    browser.driver.find_element("tag name", "a").click()
    browser.until("return performance.getEntriesByType('navigation')[0].activationStart > 0")
    browser.hide()

    seen = collector.event("page", 2)
    assert seen["context"]["page"]["path"] == "/next"
    assert seen["timestamp"] >= clicked_at


def test_a_page_that_calls_page_itself_is_counted_once(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/app", tag(page="manual")))
    browser.loaded()
    browser.run("history.pushState({}, '', '/app/2'); closedloop.page('Docs', 'Setup', {chapter: 2})")
    browser.run("closedloop.track('Done')")
    browser.hide()
    collector.event("Done")

    (page,) = collector.events("page")
    assert (page["category"], page["name"], page["properties"]) == ("Docs", "Setup", {"chapter": 2})


def test_a_click_on_a_marked_element_is_told_with_its_properties(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    link = '<a id="a" href="#spec" data-cl-event="Brochure Downloaded" data-cl-model-name="KL-7"><b>Get it</b></a>'
    browser.open(site.page("/", tag(), link + '<i id="i">unmarked</i>'))
    browser.loaded()
    # A page that stops its clicks from bubbling must not hide them.
    browser.run("document.body.addEventListener('click', e => e.stopPropagation())")
    browser.run("document.querySelector('#i').click(); document.querySelector('#a b').click()")

    browser.hide()
    event = collector.event("Brochure Downloaded")
    assert event["type"] == "track"
    assert event["properties"] == {"href": "#spec", "modelName": "KL-7"}
    assert [e["type"] for e in collector.events()].count("track") == 1


def test_a_form_is_told_when_started_and_sent_but_never_what_was_typed(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    form = (
        '<form method="post" action="/thanks" data-closedloop-form="demo">'
        '<input name="email"><input type="password" name="pin"><button>Send</button></form>'
    )
    browser.open(site.page("/contact", tag(), form))
    browser.loaded()
    for name, typed in (("email", "hanako@example.co.jp"), ("pin", "s3cret")):
        browser.driver.find_element("name", name).send_keys(typed)
    browser.driver.find_element("tag name", "button").click()

    assert collector.event("Form Submitted")["properties"] == {"form": "demo"}
    assert len(collector.events("Form Started")) == 1
    assert collector.event("Form Started")["properties"] == {"form": "demo"}
    sent = "".join(beacon.body for beacon in collector.beacons)
    assert "hanako" not in sent and "s3cret" not in sent


def a_form_of_ours(site: Site) -> str:
    return (
        f'<iframe name="answer"></iframe><form action="{site.url}/v1/forms/demo" method="post" target="answer" '
        'data-closedloop-form="demo"><input name="company"></form>'
    )


def test_a_form_that_posts_to_the_collector_is_not_told_twice(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/contact", tag(), a_form_of_ours(site)))
    browser.loaded()
    browser.driver.find_element("name", "company").send_keys("Kobayashi")
    browser.run("document.forms[0].requestSubmit()")
    site.submission()

    browser.hide()
    collector.event("Form Started")
    assert collector.events("Form Submitted") == []


def test_a_form_that_posts_to_the_collector_says_whose_it_is_and_which_submission(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    url = site.page("/contact", tag(), a_form_of_ours(site))
    browser.open(url)
    browser.loaded()
    send = "document.forms[0].requestSubmit()"
    browser.driver.find_element("name", "company").send_keys("Kobayashi")
    browser.run(send)
    first = site.submission(1)
    browser.run(send)
    again = site.submission(2)
    browser.driver.find_element("name", "company").send_keys(" KK")
    browser.run(send)
    other = site.submission(3)
    browser.hide()

    assert first.pop("cl_anonymous_id") == collector.event("page")["anonymousId"]
    assert UUID.match(first["cl_submission_id"])
    assert again["cl_submission_id"] == first["cl_submission_id"], "a second click is the same submission"
    assert other["cl_submission_id"] != first.pop("cl_submission_id")
    assert first == {"company": "Kobayashi", "cl_write_key": KEY, "cl_page_url": url}


def test_a_form_brings_the_time_since_when_it_could_be_seen_and_a_box_that_nobody_sees(
    browser: Browser, site: Site, tag: Tag
) -> None:
    site.token = "1795500000000.abc"
    browser.open(site.page("/contact", tag(consent="opt_in"), a_form_of_ours(site)))
    with site.changed:
        assert site.changed.wait_for(lambda: site.times == [f"/v1/forms/demo?writeKey={KEY}"], timeout=9), site.times
    trap = browser.driver.find_element("name", "cl_website")
    assert (trap.is_displayed(), trap.get_attribute("autocomplete")) == (False, "off")
    browser.driver.find_element("name", "company").send_keys("Kobayashi")

    def sent(number: int) -> bool:
        browser.run("document.forms[0].requestSubmit()")
        return "cl_time" in site.submission(number)

    # The answer may still be on its way when the first one is sent, which is then as good as one without script.
    assert any(sent(number) for number in range(1, 9))
    assert site.posted[-1].keys() == {"company", "cl_write_key", "cl_submission_id", "cl_time"}
    assert site.posted[-1]["cl_time"] == site.token
    assert browser.stored() is None, "nothing is kept without permission"


def test_a_form_that_comes_later_brings_its_time_too_and_is_sent_whatever_becomes_of_it(
    browser: Browser, site: Site, tag: Tag
) -> None:
    site.token = "1795500000000.abc"
    browser.open(site.page("/contact", tag()))
    browser.loaded()
    browser.run(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(a_form_of_ours(site))})")
    with site.changed:
        assert site.changed.wait_for(lambda: bool(site.times), timeout=9)
    # Where no answer ever comes, the form is sent as from a page without script.
    deaf = a_form_of_ours(site).replace("<form", '<form id="b"').replace("answer", "b")
    browser.run("fetch = () => new Promise(() => {})")
    browser.run(f"document.body.insertAdjacentHTML('beforeend', {json.dumps(deaf)})")
    browser.until("return document.querySelector('#b [name=cl_website]') !== null")
    browser.run("document.getElementById('b').requestSubmit()")
    assert "cl_time" not in site.submission()


def test_without_permission_a_form_does_not_say_whose_it_is(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/contact", tag(consent="opt_in"), a_form_of_ours(site)))
    browser.loaded()
    browser.driver.find_element("name", "company").send_keys("Kobayashi")
    browser.run("document.forms[0].requestSubmit()")

    assert site.submission().keys() == {"company", "cl_write_key", "cl_submission_id"}


@pytest.mark.parametrize("outage", [429, 503, REFUSES], ids=["answers 429", "answers 503", "refuses"])
def test_what_could_not_be_sent_arrives_after_the_next_page_load_exactly_once(
    browser: Browser, site: Site, collector: Collector, tag: Tag, outage: int
) -> None:
    browser.may_complain = True
    collector.status = outage
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("closedloop.track('Quote Requested', {lines: 3})")
    collector.until(lambda: collector.beacons)
    browser.until(f"return (JSON.parse(localStorage.getItem('closedloop:{KEY}')).queue || []).length >= 2")
    failed = {event["messageId"] for event in (browser.stored() or {})["queue"]}
    browser.run("closedloop.track('Said Later')")

    collector.status = 200
    browser.open(site.page("/next", tag()))
    collector.until(lambda: len(collector.events("page")) == 2 and collector.events("Said Later"))

    arrived = Counter(event["messageId"] for event in collector.events())
    assert failed <= arrived.keys()
    assert set(arrived.values()) == {1}
    assert collector.event("Quote Requested")["properties"] == {"lines": 3}
    browser.until(f"return !(JSON.parse(localStorage.getItem('closedloop:{KEY}')).queue || []).length")


def offline(browser: Browser, *, off: bool) -> None:
    conditions = {"offline": off, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)


def test_what_happens_offline_is_told_when_the_network_is_back(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.may_complain = True
    browser.open(site.page("/", tag()))
    browser.hide()
    collector.event("page")
    offline(browser, off=True)
    try:
        browser.until("return !navigator.onLine")
        browser.run("closedloop.track('Read On The Train')")
        browser.hide()
        browser.until(f"return (JSON.parse(localStorage.getItem('closedloop:{KEY}')).queue || []).length === 1")
    finally:
        offline(browser, off=False)

    collector.event("Read On The Train")
    browser.until(f"return !JSON.parse(localStorage.getItem('closedloop:{KEY}')).queue.length")
    assert len(collector.events("Read On The Train")) == 1


@pytest.mark.parametrize("beacon", ["undefined", "() => false"], ids=["without beacons", "beacons refused"])
def test_where_there_is_no_beacon_a_request_that_outlives_the_page_is_sent(
    browser: Browser, site: Site, collector: Collector, tag: Tag, beacon: str
) -> None:
    head = f"<script>Object.defineProperty(navigator, 'sendBeacon', {{value: {beacon}}})</script>"
    browser.open(site.page("/", head + tag()))
    browser.hide()
    collector.event("page")
    browser.run("closedloop.track('Catalogue Opened')")
    browser.open(site.page("/next"))

    collector.event("Catalogue Opened")
    assert len(collector.events("Catalogue Opened")) == 1


def test_an_outage_that_ends_while_the_page_is_open_is_made_good(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.may_complain = True
    collector.status = 429
    browser.open(site.page("/", tag()))
    collector.until(lambda: collector.beacons)
    (refused,) = collector.beacons[0].batch

    collector.status = 200
    assert collector.event("page")["messageId"] == refused["messageId"]


def test_a_refusal_is_not_repeated(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.may_complain = True
    collector.status = 401
    browser.open(site.page("/", tag()))
    collector.until(lambda: collector.beacons)

    collector.status = 200
    browser.run("closedloop.track('Done')")
    collector.event("Done")
    assert collector.events("page") == []


def test_at_most_a_hundred_events_are_kept_and_the_newest_win(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.may_complain = True
    collector.status = REFUSES
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("for (let i = 1; i <= 130; i++) closedloop.track('Step', {i})")
    browser.until(f"return (JSON.parse(localStorage.getItem('closedloop:{KEY}')).queue || []).length === 100")

    assert (browser.stored() or {})["queue"][-1]["properties"] == {"i": 130}


def test_closing_the_page_sends_the_rest(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    url = site.page("/", tag())
    browser.open("about:blank")
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.open(url)
    browser.hide()
    collector.event("page")
    browser.run("closedloop.track('Catalogue Opened')")
    browser.driver.close()
    browser.driver.switch_to.window(first)

    collector.event("Catalogue Opened")
    assert collector.accepted[-1].headers["content-type"].lower() == "text/plain;charset=utf-8"


def test_leaving_sums_up_how_long_and_how_far_a_page_was_read(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/long", tag(), '<div style="height: 5000px"></div>'))
    collector.event("page")  # a second has passed
    browser.run("scrollTo(0, 5000)")
    browser.until("return scrollY > 3000")
    browser.open(site.page("/next", tag()))

    summary = collector.event("Page Engaged")
    assert summary["context"]["page"]["path"] == "/long"
    assert summary["properties"]["scroll_percent"] == 100
    assert 1 <= summary["properties"]["engaged_seconds"] <= 9
    collector.event("page", 2)
    assert len(collector.events("Page Engaged")) == 1


def test_the_summary_of_a_route_is_about_that_route(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/lathes", tag(), html='data-topic="lathes"') + "?utm_source=fair")
    collector.event("page")  # a second has passed
    browser.run("document.documentElement.dataset.topic = 'drills'; history.pushState({}, '', '/drills')")
    browser.hide()

    about = collector.event("Page Engaged")["context"]
    assert (about["page"]["path"], about["topic"], about["campaign"]) == ("/lathes", "lathes", {"source": "fair"})
    assert collector.event("page", 2)["context"]["topic"] == "drills"


def test_events_leave_in_batches_of_at_most_25(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("for (let i = 1; i <= 59; i++) closedloop.track('Step', {i})")
    collector.until(lambda: len(collector.events()) == 60)

    assert [len(beacon.batch) for beacon in collector.accepted] == [25, 25, 10]
    assert [event["properties"]["i"] for event in collector.events("Step")] == list(range(1, 60))


def test_a_batch_stays_under_what_a_browser_lets_out_of_a_closing_page(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("for (let i = 1; i <= 3; i++) closedloop.track('Note', {text: '漢'.repeat(7000)})")
    collector.until(lambda: len(collector.events("Note")) == 3)

    assert all(len(beacon.body.encode()) <= 60_000 for beacon in collector.accepted)


def test_an_event_over_the_collectors_cap_does_not_take_its_batch_along(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("closedloop.track('Huge', {text: 'x'.repeat(33000)}).track('Small')")
    browser.hide()
    collector.event("Small")

    assert collector.events("Huge") == []


def test_a_known_person_is_told_in_segments_calls(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("""
        closedloop.identify('c-1204', {company: {name: '小林工業'}}).group('acc-9', {industry: 'machining'});
        closedloop.track('Quote Requested').alias('c-2000').reset().track('After');
    """)
    browser.hide()
    collector.event("After")
    by = {event.get("event", event["type"]): event for event in collector.events()}

    assert "userId" not in by["page"]
    assert (by["identify"]["userId"], by["identify"]["traits"]) == ("c-1204", {"company": {"name": "小林工業"}})
    assert (by["group"]["groupId"], by["group"]["traits"]) == ("acc-9", {"industry": "machining"})
    assert by["Quote Requested"]["userId"] == "c-1204"
    assert by["Quote Requested"]["context"]["groupId"] == "acc-9"
    assert (by["alias"]["userId"], by["alias"]["previousId"]) == ("c-2000", "c-1204")
    assert "userId" not in by["After"]
    assert by["After"]["anonymousId"] != by["page"]["anonymousId"]


def test_traits_are_not_left_in_the_browser(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("closedloop.identify('c-1', {email: 'hanako@example.co.jp'})")
    browser.hide()
    collector.event("identify")

    browser.until(f"return !(JSON.parse(localStorage.getItem('closedloop:{KEY}')).queue || []).length")
    assert "hanako" not in json.dumps(browser.stored())


def test_the_options_of_analytics_js_are_understood(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("""
        const options = {
            messageId: 'order-7', timestamp: '2026-11-01T00:00:00.000Z', context: {device: {type: 'kiosk'}},
        };
        closedloop.track('Order Completed', {revenue: 10}, options, () => { window.told = true });
        closedloop.ready(() => { window.isReady = true });
    """)
    browser.hide()
    event = collector.event("Order Completed")

    assert (event["messageId"], event["timestamp"]) == ("order-7", "2026-11-01T00:00:00.000Z")
    assert event["context"]["device"] == {"type": "kiosk"}
    assert browser.run("return told && isReady")


def test_nothing_a_page_passes_in_can_make_the_tracker_throw(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag()))
    browser.loaded()
    browser.run("""
        const ring = {}; ring.ring = ring;
        const bad = [undefined, null, 0, '', [], ring, Symbol('s'), 7n, () => { throw new Error('theirs') }];
        for (const method of ['track', 'page', 'identify', 'group', 'alias', 'reset', 'ready', 'consent'])
            for (const one of bad) { closedloop[method](one); closedloop[method]('x', one, one, one); }
        closedloop.track('Still Here');
    """)
    browser.hide()
    collector.event("Still Here")


def test_a_page_that_may_not_store_anything_is_still_told(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag(), Content_Security_Policy="sandbox allow-scripts"))
    collector.event("page")
    assert collector.accepted[0].headers["origin"] == "null"


def test_loaded_twice_it_counts_once(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.open(site.page("/", tag() + tag()))
    browser.until("return document.readyState === 'complete' && window.closedloop")
    browser.run("closedloop.track('Done')")
    browser.hide()
    collector.event("Done")
    assert len(collector.events("page")) == 1


def test_a_tag_without_a_key_says_so_and_does_nothing(browser: Browser, site: Site, collector: Collector) -> None:
    browser.open(site.page("/", f'<script src="{collector.url}/t.js"></script>'))

    assert any("data-site" in entry["message"] for entry in browser.driver.get_log("browser"))
    assert browser.run("return typeof closedloop") == "undefined"


def test_without_a_grant_opt_in_sends_only_a_count(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/offer", tag(consent="opt_in")) + "?gclid=abc&email=hanako")
    browser.loaded()
    browser.run("closedloop.track('Hidden').identify('c-1', {email: 'a@b.jp'}).group('g').alias('x')")
    browser.hide()
    count = collector.event("page")

    assert collector.events() == [count]
    assert count.keys() == {"type", "messageId", "timestamp", "anonymousId", "context"}
    assert count["anonymousId"] is None
    assert count["context"].keys() == {"page", "consent", "library"}
    assert count["context"]["page"] == {"path": "/offer", "url": site.url + "/offer"}
    assert count["context"]["consent"] == {"analytics": "denied", "marketing": "denied"}
    assert browser.run("return localStorage.length + sessionStorage.length") == 0
    assert browser.driver.get_cookies() == [], "the answer's cookie is not taken either"


def test_a_refusal_at_once_leaves_the_count(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.open(site.page("/", tag(consent="opt_in")))
    browser.until("return window.closedloop && closedloop.version && closedloop.consent({analytics: 'denied'})")
    browser.hide()
    assert collector.event("page")["anonymousId"] is None


def test_a_mode_with_a_typing_error_asks_first(browser: Browser, site: Site, collector: Collector, tag: Tag) -> None:
    browser.open(site.page("/", tag(consent="opt-out")))
    browser.hide()
    assert collector.event("page")["anonymousId"] is None


def test_a_grant_tells_the_page_again_with_its_origin(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag(consent="opt_in")) + "?utm_source=fair")
    browser.hide()
    collector.event("page")
    browser.run("closedloop.consent({analytics: 'granted', marketing: 'denied', version: '2026-11'})")
    browser.hide()
    page = collector.event("page", 2)
    consent = collector.event("Consent Updated")

    assert UUID.match(page["anonymousId"])
    assert page["context"]["campaign"] == {"source": "fair"}
    assert page["context"]["consent"] == {"analytics": "granted", "marketing": "denied"}
    assert consent["properties"] == {"analytics": "granted", "marketing": "denied", "version": "2026-11"}

    browser.open(site.page("/next", tag(consent="opt_in")))
    browser.hide()
    assert collector.event("page", 3)["anonymousId"] == page["anonymousId"], "a grant outlives the page"


def test_a_grant_before_the_count_has_left_replaces_it(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag(consent="opt_in")))
    browser.until("return window.closedloop && closedloop.version && closedloop.consent({analytics: 'granted'})")
    collector.event("page")
    browser.run("closedloop.track('Done')")
    browser.hide()
    collector.event("Done")
    (page,) = collector.events("page")
    assert UUID.match(page["anonymousId"])


def test_a_withdrawal_is_the_last_word_and_leaves_nothing(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag(consent="opt_in")))
    browser.loaded()
    browser.run("closedloop.consent({analytics: 'granted', marketing: 'granted'})")
    browser.hide()
    known = collector.event("page")["anonymousId"] or collector.event("page", 2)["anonymousId"]
    browser.run("closedloop.consent({analytics: 'denied', marketing: 'denied'}).track('Hidden').page()")
    last = collector.event("Consent Updated", 2)
    browser.hide()
    collector.until(lambda: collector.events("page")[-1]["anonymousId"] is None)

    assert last["anonymousId"] == known
    assert last["context"]["consent"] == {"analytics": "denied", "marketing": "denied"}
    assert collector.events("Hidden") == []
    assert "cookie" not in collector.accepted[-1].headers
    assert browser.run("return localStorage.length") == 0


@pytest.mark.parametrize("mode", ["notice", "opt_out"])
def test_where_notice_is_enough_a_refusal_outlives_the_page(
    browser: Browser, site: Site, collector: Collector, tag: Tag, mode: str
) -> None:
    browser.open(site.page("/", tag(consent=mode)))
    browser.hide()
    assert collector.event("page")["anonymousId"]
    browser.run("closedloop.consent({analytics: 'denied'})")
    collector.event("Consent Updated")
    browser.open(site.page("/next", tag(consent=mode)))

    browser.hide()
    assert collector.event("page", 2)["anonymousId"] is None
    assert browser.stored() == {"consent": {"analytics": "denied"}}


def test_the_names_of_google_consent_mode_are_accepted(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    browser.open(site.page("/", tag(consent="opt_in")))
    browser.loaded()
    browser.run("""closedloop.consent({analytics_storage: 'granted', ad_storage: 'granted',
                                       ad_user_data: 'granted', ad_personalization: 'denied'})""")
    browser.hide()
    assert collector.event("Consent Updated")["properties"] == {"analytics": "granted", "marketing": "denied"}


@pytest.fixture
def privacy_control(browser: Browser) -> Iterator[Callable[[], None]]:
    added: list[str] = []

    def switch_on() -> None:
        source = "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})"
        command = browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        added.append(command["identifier"])

    yield switch_on
    for identifier in added:
        browser.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": identifier})


@pytest.mark.parametrize("mode", ["opt_in", "notice", "opt_out"])
def test_global_privacy_control_wins_over_a_stored_grant(
    browser: Browser, site: Site, collector: Collector, tag: Tag, privacy_control: Callable[[], None], mode: str
) -> None:
    browser.open(site.page("/", tag(consent=mode)))
    browser.loaded()
    browser.run("closedloop.consent({analytics: 'granted', marketing: 'granted'})")
    browser.hide()
    collector.event("Consent Updated")

    privacy_control()
    browser.open(site.page("/next", tag(consent=mode)))
    browser.loaded()
    browser.run("closedloop.consent({analytics: 'granted', marketing: 'granted'}).track('Hidden')")
    browser.hide()
    collector.until(lambda: any(e["context"]["page"]["path"] == "/next" for e in collector.events()))

    (count,) = [e for e in collector.events() if e["context"]["page"]["path"] == "/next"]
    assert count["anonymousId"] is None
    assert count["context"]["consent"] == {"analytics": "denied", "marketing": "denied"}
    assert browser.run("return localStorage.length") == 0


def test_a_strict_content_security_policy_lets_it_work(
    browser: Browser, site: Site, collector: Collector, tag: Tag
) -> None:
    policy = f"default-src 'none'; script-src {collector.url}; connect-src {collector.url}; img-src 'self'"
    browser.open(site.page("/", tag(), Content_Security_Policy=policy))
    browser.hide()
    collector.event("page")


@pytest.mark.parametrize("by", ["nonce", "nonce and strict-dynamic", "hash"])
def test_the_loader_inline_passes_a_strict_policy(
    browser: Browser, site: Site, collector: Collector, by: str
) -> None:
    text = build.snippet().text
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    source = {
        "nonce": "'nonce-Zm9v'",
        "nonce and strict-dynamic": "'nonce-Zm9v' 'strict-dynamic'",
        "hash": f"'sha256-{digest}' {collector.url}",
    }[by]
    nonce = "" if by == "hash" else 'nonce="Zm9v"'
    policy = f"default-src 'none'; script-src {source}; connect-src {collector.url}; base-uri 'none'; img-src 'self'"
    head = f'<script {nonce} data-site="{KEY}" data-consent="notice" data-endpoint="{collector.url}">{text}</script>'
    browser.open(site.page("/", head, Content_Security_Policy=policy))
    browser.hide()
    collector.event("page")


def test_the_loader_as_a_file_passes_a_strict_policy_and_keeps_early_calls(
    browser: Browser, site: Site, collector: Collector
) -> None:
    loader = site.script("/loader.js", build.snippet().text)
    early = site.script("/early.js", "closedloop.consent({analytics: 'granted'}); closedloop.track('Early', {n: 1});")
    policy = f"default-src 'none'; script-src 'self' {collector.url}; connect-src {collector.url}; img-src 'self'"
    head = (
        f'<script src="{loader}" data-site="{KEY}" data-consent="opt_in" data-endpoint="{collector.url}"></script>'
        f'<script src="{early}"></script>'
    )
    browser.open(site.page("/", head, Content_Security_Policy=policy))
    browser.hide()
    collector.event("Early")

    names = [event.get("event", event["type"]) for event in collector.events()]
    assert names == ["Consent Updated", "page", "Early"], "a choice made early holds for the first page view"
    assert all(event["anonymousId"] for event in collector.events())


def test_the_loader_inline_keeps_the_calls_made_before_the_script_has_come(
    browser: Browser, site: Site, collector: Collector
) -> None:
    data = f'data-site="{KEY}" data-consent="notice" data-endpoint="{collector.url}/"'
    early = "closedloop.identify('c-1').track('Early', {n: 1}); closedloop.ready(() => { window.isReady = 1 })"
    browser.open(site.page("/", f"<script {data}>{build.snippet().text}</script><script>{early}</script>"))
    browser.hide()

    assert collector.event("Early")["userId"] == "c-1"
    assert collector.event("Early")["properties"] == {"n": 1}
    assert browser.run("return isReady")


def test_a_copy_pinned_by_integrity_loads(browser: Browser, site: Site, collector: Collector) -> None:
    data = f'data-site="{KEY}" data-consent="notice" data-endpoint="{collector.url}"'
    head = f'<script {data} data-integrity="{build.tracker().integrity}">{build.snippet().text}</script>'
    browser.open(site.page("/", head))
    browser.hide()
    collector.event("page")


def test_it_adds_one_global_and_no_more(browser: Browser, site: Site, tag: Tag) -> None:
    names = "return Object.getOwnPropertyNames(window)"
    browser.open(site.page("/plain"))
    browser.until("return document.readyState === 'complete'")  # the driver leaves a name of its own at first use
    before = set(browser.run(names))
    browser.open(site.page("/", tag()))
    browser.loaded()

    assert set(browser.run(names)) - before == {"closedloop"}
    methods = {"track", "page", "identify", "group", "alias", "reset", "ready", "consent"}
    assert set(browser.run("return Object.keys(closedloop)")) == methods | {"version"}


def test_the_loader_is_at_most_1_kb_with_its_tag_and_the_script_5_kb_gzipped() -> None:
    tag = f'<script data-site="{KEY}" data-endpoint="https://example.com">{build.snippet().text}</script>'
    assert len(tag.encode()) <= 1024
    assert build.tracker().gzipped_bytes <= 5120


def test_the_loader_in_the_readme_is_the_one_that_is_built() -> None:
    assert build.snippet().text.strip() in (build.ROOT / "web" / "README.md").read_text(encoding="utf-8")


def test_a_page_that_speaks_gtag_is_heard(browser: Browser, site: Site, collector: Collector) -> None:
    data = f'data-site="{KEY}" data-consent="opt_in" data-page="manual" data-endpoint="{collector.url}"'
    adapter = site.script("/gtag.js", build.gtag().text)
    head = (
        "<script>window.dataLayer = []; function gtag() { dataLayer.push(arguments) }"
        "gtag('js', new Date()); gtag('consent', 'default', {analytics_storage: 'denied', ad_storage: 'denied'})"
        "</script>"
        f'<script {data}>{build.snippet().text}</script><script src="{adapter}"></script>'
    )
    browser.open(site.page("/", head))
    browser.loaded()
    browser.run("""
        gtag('consent', 'update', {analytics_storage: 'granted', ad_storage: 'denied'});
        gtag('config', 'G-1', {user_id: 'c-1'});
        gtag('event', 'page_view');
        gtag('event', 'purchase', {transaction_id: 'o-7', value: 9800, currency: 'JPY', event_callback: () => 1});
        gtag('event', 'price_list_opened', {lang: 'ja'});
        dataLayer.push({event: 'gtm.js'}, null);
    """)
    browser.hide()
    collector.event("Price List Opened")

    assert [e.get("event", e["type"]) for e in collector.events()] == [
        "Consent Updated",
        "identify",
        "page",
        "Order Completed",
        "Price List Opened",
    ]
    assert collector.event("Order Completed")["properties"] == {"order_id": "o-7", "revenue": 9800, "currency": "JPY"}
    assert collector.event("identify")["userId"] == "c-1"
    assert browser.run("return dataLayer.length") == 9, "Google's own script still finds everything"


def test_no_script_evaluates_text_as_code() -> None:
    for script in (build.tracker(), build.snippet(), build.gtag()):
        assert not re.search(r"\beval\b|\bFunction\(|innerHTML|document\.write", script.text)
        assert "</script" not in script.text
