"""The bus carries notices to the one function that delivers them; nothing of it is kept, and no letter is lost."""

from __future__ import annotations

import json
from typing import Any

from closedloop.runtime.notices import DETAIL_TYPE, SOURCE


def test_the_rule_hears_what_the_product_says_and_calls_the_function_that_delivers(stateless: Any) -> None:
    (rule,) = stateless.of("AWS::Events::Rule").values()
    assert rule["EventPattern"] == {"source": [SOURCE], "detail-type": [DETAIL_TYPE]}
    (target,) = rule["Targets"]
    called = stateless.of("AWS::Lambda::Function")[target["Arn"]["Fn::GetAtt"][0]]
    assert called["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == "notify_sales"
    assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600
    assert target["DeadLetterConfig"]["Arn"]


def test_only_this_rule_may_call_it(stateless: Any) -> None:
    (rule,) = stateless.of("AWS::Events::Rule")
    (permission,) = [
        one for one in stateless.of("AWS::Lambda::Permission").values() if one["Principal"] == "events.amazonaws.com"
    ]
    assert permission["SourceArn"] == {"Fn::GetAtt": [rule, "Arn"]}


def test_a_notice_that_fails_is_tried_twice_more_and_then_put_aside(stateless: Any) -> None:
    (retries,) = [
        one for one in stateless.of("AWS::Lambda::EventInvokeConfig").values() if "NotifySales" in json.dumps(one)
    ]
    assert retries["MaximumRetryAttempts"] == 2
    assert retries["DestinationConfig"]["OnFailure"]["Destination"]


def test_nobody_archives_or_logs_what_the_bus_carries(stateless: Any) -> None:
    assert not stateless.of("AWS::Events::Archive")
    assert len(stateless.of("AWS::Events::Rule")) == 1
