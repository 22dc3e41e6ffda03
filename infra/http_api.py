"""The doors of the product: which path reaches which function, and how fast each may be knocked at."""

from __future__ import annotations

import json
from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.alarms import ABOVE, Alarms
from infra.function import LOGS_KEPT, Function
from infra.stage import Stage

TIMEOUT_S = 30

CALLS = ("batch", "track", "page", "screen", "identify", "group", "alias", "b", "t", "p", "s", "i", "g", "a")

# Which function answers what. OPTIONS goes to the function too: only it knows the origins of a site.
ROUTES: Mapping[str, tuple[str, ...]] = {
    "capture_beacon": (
        *(f"{method} /v1/{call}" for call in CALLS for method in ("POST", "OPTIONS")),
        "GET /v1/projects/{key}/settings",
        "GET /v1/pixel.gif",
    ),
    "capture_form": ("POST /v1/forms/{form}", "GET /v1/forms/{form}", "OPTIONS /v1/forms/{form}"),
    # Providers look whether somebody answers before they keep an address.
    "capture_email": tuple(f"{method} /v1/webhooks/email/{{provider}}" for method in ("POST", "GET", "HEAD")),
    "capture_deal": ("POST /v1/webhooks/deals/{provider}",),
    "follow_link": (
        *("GET /l/{token}", "HEAD /l/{token}"),
        *("GET /o/{token}", "HEAD /o/{token}"),
        *("GET /u/{token}", "HEAD /u/{token}", "POST /u/{token}"),
        *("GET /c/{token}", "HEAD /c/{token}", "POST /c/{token}"),
        *("GET /r/{token}", "HEAD /r/{token}"),
    ),
    "serve_tracker": ("GET /t.js", "HEAD /t.js"),
}

# Requests per second and burst of what is dearer to serve or likelier to be abused than a beacon.
SLOWER: Mapping[str, tuple[int, int]] = {
    "POST /v1/forms/{form}": (20, 40),
    "POST /v1/webhooks/email/{provider}": (200, 400),
    "POST /v1/webhooks/deals/{provider}": (200, 400),
}

# No path and no address: paths carry tokens, and addresses are personal data.
ACCESS_LOG = {
    "at": "$context.requestTime",
    "request": "$context.requestId",
    "route": "$context.routeKey",
    "status": "$context.status",
    "ms": "$context.responseLatency",
    "bytes": "$context.responseLength",
    "error": "$context.integrationErrorMessage",
}


class HttpApi(Construct):
    """The public HTTP API, without gateway CORS and without a gateway authorizer: every door judges its own callers."""

    def __init__(self, scope: Construct, stage: Stage, functions: Mapping[str, Function], alarms: Alarms) -> None:
        super().__init__(scope, "HttpApi")
        self.api = apigateway.CfnApi(self, "Api", name=f"closedloop-{stage.name}", protocol_type="HTTP")
        self.endpoint = self.api.attr_api_endpoint
        routes = [
            route for name, keys in ROUTES.items() if name in functions for route in self._routes(functions[name], keys)
        ]
        served = {route.route_key for route in routes}
        log = logs.LogGroup(
            self,
            "AccessLog",
            retention=LOGS_KEPT,
            removal_policy=cdk.RemovalPolicy.RETAIN if stage.kept else cdk.RemovalPolicy.DESTROY,
        )
        self.stage = apigateway.CfnStage(
            self,
            "Stage",
            api_id=self.api.ref,
            stage_name="$default",
            auto_deploy=True,
            access_log_settings=apigateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=log.log_group_arn, format=json.dumps(ACCESS_LOG)
            ),
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=stage.request_rate,
                throttling_burst_limit=stage.request_burst,
                detailed_metrics_enabled=False,
            ),
            route_settings={
                key: {"ThrottlingRateLimit": rate, "ThrottlingBurstLimit": burst}
                for key, (rate, burst) in SLOWER.items()
                if key in served
            },
        )
        for route in routes:
            # A limit can only be set on a route that exists.
            self.stage.add_resource_dependency(route)
        self._watch(alarms)

    def metric(self, name: str, statistic: str) -> cloudwatch.Metric:
        """One of the gateway's own numbers for this API, five minutes at a time."""
        return cloudwatch.Metric(
            namespace="AWS/ApiGateway",
            metric_name=name,
            dimensions_map={"ApiId": self.api.ref},
            period=cdk.Duration.minutes(5),
            statistic=statistic,
        )

    def _routes(self, function: Function, keys: tuple[str, ...]) -> list[apigateway.CfnRoute]:
        name, stack = function.node.id, cdk.Stack.of(self)
        integration = apigateway.CfnIntegration(
            self,
            f"{name}Integration",
            api_id=self.api.ref,
            integration_type="AWS_PROXY",
            integration_uri=function.function.function_arn,
            payload_format_version="2.0",
            timeout_in_millis=TIMEOUT_S * 1000,
        )
        function.function.add_permission(
            "HttpApi",
            principal=iam.ServicePrincipal("apigateway.amazonaws.com"),
            source_arn=stack.format_arn(service="execute-api", resource=self.api.ref, resource_name="*/*"),
        )
        return [
            apigateway.CfnRoute(
                self,
                key,
                api_id=self.api.ref,
                route_key=key,
                authorization_type="NONE",
                target=f"integrations/{integration.ref}",
            )
            for key in keys
        ]

    def _watch(self, alarms: Alarms) -> None:
        # The gateway counts 0 or 1 a request, so the mean is the rate.
        failing = self.metric("5xx", "Average")
        alarms.add(
            self, "Failing", failing, 0.01, "More than 1 % of the requests end with a server error.", comparison=ABOVE
        )
        slow = self.metric("Latency", "p95")
        alarms.add(self, "Slow", slow, 1000, "One request in twenty takes over a second.", comparison=ABOVE, periods=3)
