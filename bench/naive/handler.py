"""A collector as the guides of its parts show it: Powertools complete, boto3's resource, one function for all."""

import os
from typing import Annotated, Any

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Body
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, idempotent_function
from aws_lambda_powertools.utilities.parser import BaseModel
from model import Batch, is_known, items  # type: ignore[import-not-found]

logger, metrics, tracer = Logger(), Metrics(), Tracer()
app = APIGatewayHttpResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["EVENTS_TABLE"])
once = DynamoDBPersistenceLayer(table_name="idempotency", boto3_client=table.meta.client)


class Deal(BaseModel):
    deal: str
    amount: int


@idempotent_function(data_keyword_argument="deal", persistence_store=once)  # type: ignore[untyped-decorator]
def keep(deal: dict[str, Any]) -> None:
    table.put_item(Item={"pk": f"D#demo#{deal['deal']}", "sk": "deal", **deal})


@app.post("/v1/deals")
def take_deal(deal: Annotated[Deal, Body()]) -> dict[str, bool]:
    keep(deal=deal.model_dump())
    return {"success": True}


@app.post("/v1/batch")
@tracer.capture_method
def take_batch(batch: Annotated[Batch, Body()]) -> Response[dict[str, Any]]:
    if not is_known(batch, app.current_event.headers.get("origin")):
        return Response(401, "application/json", {"success": False})
    cookies = dict(cookie.split("=", 1) for cookie in app.current_event.cookies)
    with table.batch_writer() as writer:
        for item in items(batch, cookies.get("_cl_vid", "")):
            writer.put_item(Item=item)
    logger.info("stored", extra={"events": len(batch.batch)})
    metrics.add_metric(name="Events", unit=MetricUnit.Count, value=len(batch.batch))
    return Response(200, "application/json", {"success": True})


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)
