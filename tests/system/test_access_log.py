"""Ten thousand real requests through the command line: page views, visitors, sources, crawlers kept apart."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.system.conftest import ROOT, SITE, System

pytestmark = [pytest.mark.system, pytest.mark.real_input]
LOG = ROOT.parent / "shared" / "data" / "access_log.gz"


@pytest.fixture
def log() -> Path:
    if not LOG.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the real access log does not lie beside the checkout")
    return LOG


def test_the_real_log_is_taken_once_however_often_it_is_imported(system: System, log: Path) -> None:
    first = system.closedloop("import", "access-log", str(log), "--site", SITE)
    assert first["lines"] == 10_000
    assert first["lines"] == first["page_views"] + first["no_page_view"] + first["unreadable"]
    once = Counter(record["id"] for record in system.records() if "/import/" in record["id"])
    assert len(once) == first["page_views"]
    again = system.closedloop("import", "access-log", str(log), "--site", SITE)
    assert again["page_views"] == first["page_views"]
    twice = Counter(record["id"] for record in system.records() if "/import/" in record["id"])
    assert twice.keys() == once.keys()
    standing = system.closedloop("replay", "--wait-s", "120")
    assert standing["stale"] == 0
    assert standing["archived_events"] == standing["events"]
