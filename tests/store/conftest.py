"""One contract, four engines: the signing client and boto3, each against moto and against DynamoDB Local."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from closedloop.store.boto import BotoCalls
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger
from closedloop.store.signed import DYNAMODB, Credentials, SignedClient
from closedloop.store.state import State
from tests import engines
from tests.builders import NOW, the_pepper

TABLE_NUMBERS = count(1)


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    with engines.dynamodb_local() as url:
        yield url


LOCAL = pytest.mark.dynamodb_local


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(("signed", "moto_url"), id="signed-moto"),
        pytest.param(("boto", "moto_url"), id="boto-moto"),
        pytest.param(("signed", "dynamodb_local_url"), id="signed-local", marks=LOCAL),
        pytest.param(("boto", "dynamodb_local_url"), id="boto-local", marks=LOCAL),
    ],
)
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[Dynamo, Any]]:
    """The carrier under test, and a boto3 client to make tables and look around with."""
    carrier, server = request.param
    url = request.getfixturevalue(server)
    looking = engines.client("dynamodb", url)
    if carrier == "boto":
        yield BotoCalls(looking), looking
        return
    signed = SignedClient(
        DYNAMODB,
        engines.REGION,
        url,
        lambda: Credentials(engines.KEY, engines.SECRET),
        lambda: NOW,
        lambda attempt: None,
    )
    yield signed, looking
    signed.close()


@pytest.fixture
def tables(engine: tuple[Dynamo, Any]) -> Iterator[tuple[str, str]]:
    """Two empty tables: Events and State."""
    number, looking = next(TABLE_NUMBERS), engine[1]
    names = f"Events{number}", f"State{number}"
    engines.create_tables(looking, *names)
    yield names
    for name in names:
        looking.delete_table(TableName=name)


@pytest.fixture
def waits() -> list[int]:
    """The attempts before which the store would have slept."""
    return []


@pytest.fixture
def ledger(engine: tuple[Dynamo, Any], tables: tuple[str, str], waits: list[int]) -> Ledger:
    return Ledger(engine[0], tables[0], waits.append)


@pytest.fixture
def state(engine: tuple[Dynamo, Any], tables: tuple[str, str]) -> State:
    return State(engine[0], tables[1], the_pepper)


@pytest.fixture
def rows(engine: tuple[Dynamo, Any]) -> Callable[[str], list[dict[str, Any]]]:
    """Every item of a table, as it lies there."""

    def look(table: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = engine[1].scan(TableName=table, ConsistentRead=True)["Items"]
        return found

    return look
