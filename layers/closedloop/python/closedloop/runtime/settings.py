"""The names of the settings that the template gives to functions, and the one reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from closedloop.errors import MissingSetting

EVENTS_TABLE = "EVENTS_TABLE"
STATE_TABLE = "STATE_TABLE"
LAKE_BUCKET = "LAKE_BUCKET"
REPORTS_BUCKET = "REPORTS_BUCKET"
SPILL_QUEUE = "SPILL_QUEUE"
SECRET_NAME = "SECRET_NAME"  # noqa: S105  the name of the secret, not the secret
SITE_SECRETS_PREFIX = "SITE_SECRETS_PREFIX"
STAGE_TRANSITIONS_ARN = "STAGE_TRANSITIONS_ARN"
PUBLIC_URL = "PUBLIC_URL"
EVENT_BUS = "EVENT_BUS"
SALES_TOPIC = "SALES_TOPIC"
TURNSTILE_URL = "TURNSTILE_URL"
REPORT_FUNCTION = "REPORT_FUNCTION"
REPORT_TOPIC = "REPORT_TOPIC"
STAGE = "STAGE"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of this process, read by name; a missing name says so.

    Errors: MissingSetting.
    """

    values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        try:
            return self.values[name]
        except KeyError:
            raise MissingSetting(name) from None

    def get(self, name: str, default: str) -> str:
        return self.values.get(name, default)


def settings() -> Settings:
    """The settings of this process."""
    return Settings(os.environ)
