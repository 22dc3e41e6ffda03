"""The engines that the store is asked on: moto's server and DynamoDB Local, each by both of the store's carriers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from closedloop.store import schema

JARS = Path(__file__).resolve().parent.parent / "build" / "dynamodb-local"
MAIN = "software.amazon.dynamodb.services.local.main.ServerRunner"
REGION, KEY, SECRET = "eu-west-1", "AKIDEXAMPLE", "a secret of the tests"
STARTS_WITHIN = 400


@contextmanager
def moto() -> Iterator[str]:
    """moto's server on a free port of the loopback."""
    # Only whoever needs it pays for loading it.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def has_dynamodb_local() -> bool:
    return shutil.which("java") is not None and any(JARS.glob("DynamoDBLocal-*.jar"))


@contextmanager
def dynamodb_local() -> Iterator[str]:
    """DynamoDB Local on a free port; it has no setting for the address that it listens on.

    Skips where it is not installed, except in CI, where that is a failure.
    """
    if not has_dynamodb_local():
        reason = "DynamoDB Local is not installed: `make build/dynamodb-local/.ready` fetches it (Java 17 and Maven)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            "java",
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            f"-Djava.library.path={JARS}",
            "-cp",
            f"{JARS}/*",
            MAIN,
            "-inMemory",
            "-sharedDb",
            "-disableTelemetry",
            "-cors",
            "127.0.0.1",
            "-port",
            str(port),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_it_listens(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(STARTS_WITHIN):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            try:
                pytest.fail(f"DynamoDB Local ended with {process.wait(timeout=0.1)} before it listened")
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    pytest.fail("DynamoDB Local did not listen within 40 seconds")


def client(service: str, url: str) -> Any:
    """A boto3 client of one engine."""
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(
            account_id_endpoint_mode="disabled", retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
        ),
    )


def create_tables(dynamodb: Any, events: str, state: str) -> None:
    """Both tables, by the names that the schema gives their keys and the index."""
    keys = [{"AttributeName": schema.PK, "KeyType": "HASH"}, {"AttributeName": schema.SK, "KeyType": "RANGE"}]
    texts = [{"AttributeName": name, "AttributeType": "S"} for name in (schema.PK, schema.SK)]
    dynamodb.create_table(TableName=events, KeySchema=keys, AttributeDefinitions=texts, BillingMode="PAY_PER_REQUEST")
    dynamodb.create_table(
        TableName=state,
        KeySchema=keys,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            *texts,
            *({"AttributeName": name, "AttributeType": "S"} for name in (schema.DUE, schema.DUE_AT)),
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": schema.BY_DUE,
                "Projection": {"ProjectionType": "ALL"},
                "KeySchema": [
                    {"AttributeName": schema.DUE, "KeyType": "HASH"},
                    {"AttributeName": schema.DUE_AT, "KeyType": "RANGE"},
                ],
            }
        ],
    )
