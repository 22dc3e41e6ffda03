"""A real engine to break things on: DynamoDB Local where it is installed, else moto."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from closedloop.lake.files import Files
from closedloop.store.calls import Dynamo
from closedloop.store.signed import DYNAMODB, Credentials, SignedClient
from tests import engines
from tests.accounts import REGION, Account
from tests.builders import NOW

NUMBERS = count(1)


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if not engines.has_dynamodb_local():
        yield request.getfixturevalue("moto_url")
        return
    with engines.dynamodb_local() as url:
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
def files(moto: Account) -> Files:
    """An empty lake."""
    bucket = f"lake{next(NUMBERS)}"
    moto.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Files(moto.client("s3"), bucket)
