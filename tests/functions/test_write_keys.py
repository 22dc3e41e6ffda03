"""A site's write key is exchanged without a gap, and a key that was taken back is good for nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from closedloop.runtime import doors
from closedloop.sites.definition import Site
from functions.capture_beacon import handler
from tests.accounts import Account
from tests.functions.gateway import Context, a_request

OLD, NEW = "pk_young_old_1234", "pk_young_new_1234"


def declare(account: Account, write_key: str, *former: str) -> None:
    words: dict[str, Any] = {"site": "young", "title": "y", "origins": ["https://young.example"]}
    site = Site.model_validate({**words, "write_key": write_key, "former_write_keys": former})
    account.state.put_site(site, ["sk_young_1234"])


def knock(key: str) -> int:
    body = json.dumps({"batch": [{"type": "page", "anonymousId": "a"}], "writeKey": key})
    return int(handler.handle(a_request("POST", "/v1/batch", body), Context())["statusCode"])


def test_a_running_function_refuses_a_key_once_its_minute_is_over_and_takes_the_new_one_at_once(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(account, OLD)
    assert knock(OLD) == 200
    declare(account, NEW, OLD)
    assert (knock(OLD), knock(NEW)) == (200, 200)
    declare(account, NEW)
    # What was looked up within the last minute still stands.
    assert (knock(OLD), knock(NEW)) == (200, 200)
    monkeypatch.setattr(doors, "FRESH_S", 0.0)
    doors.keys.cache_clear()
    assert (knock(OLD), knock(NEW), knock("sk_young_1234")) == (401, 200, 200)
