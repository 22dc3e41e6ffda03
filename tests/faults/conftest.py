"""A real engine to break things on: DynamoDB Local where it is installed, else moto."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import boto3
import pytest
from moto import mock_aws

from closedloop.lake.files import Files
from closedloop.store.calls import Dynamo
from closedloop.store.signed import DYNAMODB, Credentials, SignedClient
from tests import engines
from tests.builders import NOW

# The account of the functions' own tests, for the faults of whole functions.
from tests.functions.conftest import account, machine, moto, no_client_outlives_its_module, spill

__all__ = ["account", "machine", "moto", "no_client_outlives_its_module", "spill"]
NUMBERS = count(1)


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with engines.dynamodb_local() if engines.has_dynamodb_local() else engines.moto() as url:
        yield url


@pytest.fixture(scope="session")
def dynamo(url: str) -> Iterator[Dynamo]:
    """The signing client, undisturbed."""
    signed = SignedClient(
        DYNAMODB,
        engines.REGION,
        url,
        lambda: Credentials(engines.KEY, engines.SECRET),
        lambda: NOW,
        lambda attempt: None,
    )
    yield signed
    signed.close()


@pytest.fixture
def tables(url: str) -> Iterator[tuple[str, str]]:
    """Two empty tables: Events and State."""
    number, looking = next(NUMBERS), engines.client("dynamodb", url)
    names = f"Events{number}", f"State{number}"
    engines.create_tables(looking, *names)
    yield names
    for name in names:
        looking.delete_table(TableName=name)


@pytest.fixture
def files() -> Iterator[Files]:
    """An empty lake."""
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="lake")
        yield Files(s3, "lake")
