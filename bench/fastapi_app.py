"""The collector as a web service: FastAPI on uvicorn, boto3's batch_writer; started by `warm.py`."""

from __future__ import annotations

import os
from typing import Annotated

import boto3
from fastapi import Cookie, FastAPI, Header, HTTPException

from bench.naive.model import Batch, is_known, items

app = FastAPI()
table = boto3.resource("dynamodb").Table(os.environ["EVENTS_TABLE"])


# Not `async`: boto3 blocks, and FastAPI gives such work to its threads.
@app.post("/v1/batch")
def take_batch(
    batch: Batch, origin: Annotated[str | None, Header()] = None, _cl_vid: Annotated[str, Cookie(alias="_cl_vid")] = ""
) -> dict[str, bool]:
    if not is_known(batch, origin):
        raise HTTPException(401)
    with table.batch_writer() as writer:
        for item in items(batch, _cl_vid):
            writer.put_item(Item=item)
    return {"success": True}
