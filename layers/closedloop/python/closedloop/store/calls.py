"""How the store speaks to DynamoDB: one call by name, its answer, or the fact that it failed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol

from closedloop.errors import TryAgain

THROTTLES = frozenset(
    (
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingError",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionInProgressException",
    )
)


class CallFailed(TryAgain):
    """A call to DynamoDB was refused or did not come through.

    Shapes: `code` is the service's name for it; `reasons` are a cancelled transaction's codes, one for each item.
    """

    def __init__(self, code: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(code + (f" {list(reasons)}" if reasons else ""))
        self.code = code
        self.reasons = reasons

    @property
    def is_condition(self) -> bool:
        """Whether the answer is simply that the world is not as the caller thought."""
        return self.code == "ConditionalCheckFailedException" or "ConditionalCheckFailed" in self.reasons

    @property
    def is_permanent(self) -> bool:
        """Whether the same call will always be refused, such as for an item of over 400 KB."""
        return self.code == "ValidationException" or "ValidationError" in self.reasons


class Dynamo(Protocol):
    """Anything that carries a DynamoDB call: the signing client in the functions, boto3 on a laptop."""

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Do one operation, such as PutItem, in DynamoDB's own JSON words.

        Errors: CallFailed.
        """
        ...


def binary(attribute: Mapping[str, Any]) -> bytes:
    """A binary attribute: bytes from boto3, base64 text from the service's own JSON."""
    value = attribute["B"]
    return value if isinstance(value, bytes) else base64.b64decode(value)
