"""The public routes: each reaches its function, preflights reach functions too, and floods meet a limit."""

from __future__ import annotations

import json
from typing import Any

import pytest

CALLS = ("batch", "track", "page", "screen", "identify", "group", "alias", "b", "t", "p", "s", "i", "g", "a")
CONTRACT = {
    **{f"{method} /v1/{call}": "capture_beacon" for call in CALLS for method in ("POST", "OPTIONS")},
    "GET /v1/projects/{key}/settings": "capture_beacon",
    "GET /v1/pixel.gif": "capture_beacon",
    "GET /t.js": "serve_tracker",
    "POST /v1/forms/{form}": "capture_form",
    "GET /v1/forms/{form}": "capture_form",
    "OPTIONS /v1/forms/{form}": "capture_form",
    **{f"{method} /v1/webhooks/email/{{provider}}": "capture_email" for method in ("POST", "GET", "HEAD")},
    "POST /v1/webhooks/deals/{provider}": "capture_deal",
    "GET /l/{token}": "follow_link",
    "GET /o/{token}": "follow_link",
    "GET /u/{token}": "follow_link",
    "POST /u/{token}": "follow_link",
    "GET /c/{token}": "follow_link",
    "POST /c/{token}": "follow_link",
    "GET /r/{token}": "follow_link",
}


def reached(template: Any) -> dict[str, str]:
    integrations = template.of("AWS::ApiGatewayV2::Integration")
    names = {
        logical: one["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        for logical, one in template.of("AWS::Lambda::Function").items()
    }
    found = {}
    for route in template.of("AWS::ApiGatewayV2::Route").values():
        integration = route["Target"]["Fn::Join"][1][1]["Ref"]
        found[route["RouteKey"]] = names[integrations[integration]["IntegrationUri"]["Fn::GetAtt"][0]]
    return found


@pytest.mark.parametrize("route", sorted(CONTRACT))
def test_the_route_of_the_wire_contract_reaches_its_function(stateless: Any, route: str) -> None:
    assert reached(stateless)[route] == CONTRACT[route]


def test_beyond_the_contract_only_heads_of_what_can_be_got_are_answered(stateless: Any) -> None:
    routes = reached(stateless)
    extra = set(routes) - set(CONTRACT)
    assert all(route.startswith("HEAD ") and route.replace("HEAD", "GET") in CONTRACT for route in extra)


def test_the_gateway_answers_no_preflight_itself(stateless: Any) -> None:
    (api,) = stateless.of("AWS::ApiGatewayV2::Api").values()
    assert "CorsConfiguration" not in api


def test_the_gateway_may_call_each_door_and_nobody_else_may(stateless: Any) -> None:
    permissions = [
        one for one in stateless.of("AWS::Lambda::Permission").values() if one["Principal"] != "events.amazonaws.com"
    ]
    assert {one["Principal"] for one in permissions} == {"apigateway.amazonaws.com"}
    assert len(permissions) == len(set(CONTRACT.values()))
    assert all("execute-api" in json.dumps(one["SourceArn"]) for one in permissions)


def test_forms_and_webhooks_have_lower_limits_than_beacons(stateless: Any) -> None:
    (stage,) = stateless.of("AWS::ApiGatewayV2::Stage").values()
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 500
    assert stage["RouteSettings"]["POST /v1/forms/{form}"] == {"ThrottlingRateLimit": 20, "ThrottlingBurstLimit": 40}
    assert stage["RouteSettings"]["POST /v1/webhooks/email/{provider}"]["ThrottlingRateLimit"] == 200


def test_the_access_log_knows_neither_addresses_nor_paths(stateless: Any) -> None:
    (stage,) = stateless.of("AWS::ApiGatewayV2::Stage").values()
    fields = stage["AccessLogSettings"]["Format"]
    assert "sourceIp" not in fields
    assert "$context.path" not in fields


def test_links_lead_to_the_own_domain_once_it_is_named(stateless: Any) -> None:
    perform = stateless.functions()["perform_actions"]["Environment"]["Variables"]
    condition, named, otherwise = perform["PUBLIC_URL"]["Fn::If"]
    assert (condition, named) == ("HasPublicUrl", {"Ref": "PublicUrl"})
    assert otherwise["Fn::GetAtt"][1] == "ApiEndpoint"
    assert stateless.body["Parameters"]["PublicUrl"]["Default"] == ""
