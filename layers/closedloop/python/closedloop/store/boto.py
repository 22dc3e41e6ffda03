"""Carries the store's calls by a boto3 client, which finds an operator's credentials wherever they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from closedloop.store.calls import CallFailed


class BotoCalls:
    """The store's calls over a boto3 DynamoDB client that is handed in.

    Errors: CallFailed; what never reached the service rises as botocore raised it.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        method = getattr(self._client, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower())
        try:
            return dict(method(**parameters))
        except ClientError as error:
            reasons = tuple(reason.get("Code", "") for reason in error.response.get("CancellationReasons", ()))
            raise CallFailed(error.response["Error"]["Code"], reasons) from error
