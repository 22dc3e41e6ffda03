"""What an operator chooses for one deployment: its name, where it runs, and how closely it is watched and kept."""

from __future__ import annotations

from dataclasses import dataclass

from constructs import Node

from infra.packaging import Platform, Target, host_target

NAMES = ("dev", "stg", "prod")


class BadContext(Exception):
    """A context value is not one that the deployment understands; the message names it and what is allowed."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One deployment of the product.

    Shapes: `public_url` is empty where links use the API's own address; `alarm_email`, `report_email`, `sales_email`
    and `sender` are empty where the owner has not said who reads alarms, who reports, who notices to sales, and which
    verified identity sends mails.
    Units: `request_rate` and `request_burst` in requests per second; `account_concurrency` in concurrent invocations.
    """

    name: str
    target: Target
    schedules: bool
    public_url: str
    alarm_email: str
    report_email: str
    sender: str
    sales_email: str
    owner: str
    cost_center: str
    account_concurrency: int
    request_rate: int = 500
    request_burst: int = 1000

    @property
    def kept(self) -> bool:
        """Whether tables, files and keys outlive their stack."""
        return self.name == "prod"

    @property
    def watched_closely(self) -> bool:
        """Whether each function also alarms on throttles and slowness; a development stage saves their price."""
        return self.name != "dev"


def stage_of(node: Node) -> Stage:
    """The deployment that the context asks for.

    Errors: BadContext names the value that is not understood.
    """

    def text(key: str, default: str = "") -> str:
        value = node.try_get_context(key)
        return default if value is None else str(value)

    name = _one_of("stage", text("stage", "dev"), NAMES)
    platform = Platform(_one_of("platform", text("platform", Platform.ARM64), tuple(Platform)))
    return Stage(
        name=name,
        target=host_target() if platform is Platform.HOST else Target(text("python", "3.14"), platform),
        schedules=_one_of("schedules", text("schedules", "on"), ("on", "off")) == "on",
        public_url=text("public_url").rstrip("/"),
        alarm_email=text("alarm_email"),
        report_email=text("report_email"),
        sender=text("sender"),
        sales_email=text("sales_email"),
        owner=text("owner", "marketing"),
        cost_center=text("cost_center", "marketing"),
        account_concurrency=int(text("account_concurrency", "1000")),
    )


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise BadContext(f"context {key}={value!r} is not one of {', '.join(allowed)}")
    return value
