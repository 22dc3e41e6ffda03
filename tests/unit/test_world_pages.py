"""The example pages send what their visitors do, and are served from this machine alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import urllib3

from closedloop.sites.definition import Site
from closedloop.sites.document import Document
from closedloop.world.pages import serve

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGES = sorted(path.relative_to(EXAMPLES / "pages").as_posix() for path in (EXAMPLES / "pages").rglob("*.html"))


@pytest.fixture(scope="module")
def get():
    server = serve(EXAMPLES / "pages", "http://system:4566/", 0)
    pool = urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, retries=False)
    yield lambda path: pool.request("GET", path)
    pool.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_carries_the_tracker_of_the_example_site(get, page: str) -> None:
    site = Document((EXAMPLES / "sites/demo.yaml").read_text(), "demo.yaml").read_as(Site)
    text = get(f"/{page}").data.decode()
    attributes = f'src="http://system:4566/t.js" data-site="{site.write_key}" data-consent="notice"'
    assert f"<script async {attributes}></script>" in text
    assert "{{" not in text
    topic = site.topic_of(f"/{page}")
    assert (f'data-topic="{topic}"' in text) == (topic is not None)


def test_paths_are_those_of_the_site_file(get) -> None:
    assert b"Industrial pumps" in get("/products/pumps?utm_source=x").data
    assert b"pay for themselves" in get("/").data
    assert b"is on its way" in get("/thanks.html").data
    assert get("/style.css").headers["content-type"] == "text/css; charset=utf-8"


def test_the_form_has_the_fields_that_the_site_declares(get) -> None:
    site = Document((EXAMPLES / "sites/demo.yaml").read_text(), "demo.yaml").read_as(Site)
    text = get("/products/pumps").data.decode()
    assert 'action="http://system:4566/v1/forms/guide" data-closedloop-form="guide"' in text
    for field in site.forms["guide"].fields:
        assert f'name="{field.name}"' in text


OUTSIDE = ["/nothing", "/../sites/demo.yaml", "/%2e%2e/sites/demo.yaml", "/%00", "/" + "a" * 5000]


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside_the_folder_is_served(get, path: str) -> None:
    assert get(path).status == 404
