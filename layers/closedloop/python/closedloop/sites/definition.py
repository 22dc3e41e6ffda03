"""What an owner declares of one site: keys, origins, topics, forms, consent mode, wanted people."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Host = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+(:\d+)?$")]


class Definition(BaseModel):
    """A part of a definition file: unknown names are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ConsentMode(StrEnum):
    """What silence means: nothing is stored (opt_in), or it is until somebody objects."""

    OPT_IN = "opt_in"
    NOTICE = "notice"
    OPT_OUT = "opt_out"


class TopicRule(Definition):
    """Pages whose path starts so are about this topic."""

    path: Text
    topic: Name


class FormField(Definition):
    """One field of a form."""

    name: Text
    kind: Literal["text", "email", "phone", "attribute"] = "text"
    required: bool = False


class Form(Definition):
    """A form on the site: its fields, where a visitor goes afterwards, what it is about.

    Units: `incentive` says that people are paid for filling it in, as by a prize.
    """

    fields: tuple[FormField, ...]
    thanks: Text
    topic: Name | None = None
    campaign: Name | None = None
    incentive: bool = False

    @model_validator(mode="after")
    def _has_an_address(self) -> Form:
        if not any(field.kind == "email" for field in self.fields):
            raise ValueError("a form needs one field of kind email, or nobody can be told apart")
        return self


class TargetAttribute(Definition):
    """What the wanted people are like, and how many of the 100 points of fit it is worth.

    Units: `points` may be negative, for people who are not wanted.
    """

    attribute: Text
    is_one_of: tuple[Text, ...] = ()
    at_least: float | None = Field(default=None, allow_inf_nan=False)
    points: int = Field(ge=-100, le=100)

    @model_validator(mode="after")
    def _one_question(self) -> TargetAttribute:
        if bool(self.is_one_of) == (self.at_least is not None):
            raise ValueError("expected either is_one_of or at_least")
        return self


class Points(Definition):
    """How much one event says about interest and engagement, before it fades."""

    page: int = Field(default=1, ge=0, le=1000)
    form: int = Field(default=10, ge=0, le=1000)
    click: int = Field(default=5, ge=0, le=1000)
    events: dict[str, int] = Field(default_factory=dict)


class MailSender(Definition):
    """Who our mails come from, as the law of the receivers asks it to be shown."""

    name: Text
    address: Text
    postal_address: Text
    contact: Text


class Webhooks(Definition):
    """Which outside systems may call us about this site; their secrets are kept apart."""

    email: tuple[Name | Literal["amazon_ses", "unisender_go"], ...] = ()
    deals: tuple[Literal["standard", "hubspot", "salesforce"], ...] = ()
    sns_topics: tuple[Text, ...] = ()


class Site(Definition):
    """One web property of one company.

    Shapes: `write_key` is public and stands in the pages; `origins` are scheme and host of the pages; `group` names
    the companies that share one customer list (the site alone when left out).
    """

    site: Name
    group: Name | None = None
    title: Text
    write_key: Annotated[str, StringConstraints(pattern=r"^pk_[A-Za-z0-9_]{8,60}$")]
    origins: tuple[Text, ...] = Field(min_length=1)
    link_hosts: tuple[Host, ...] = ()
    cookie_domain: Host | None = None
    consent: ConsentMode = ConsentMode.NOTICE
    time_zone: Text = "Asia/Tokyo"
    count_test_browsers: bool = False
    topics: tuple[TopicRule, ...] = ()
    forms: dict[Name, Form] = Field(default_factory=dict)
    target_attributes: tuple[TargetAttribute, ...] = ()
    points: Points = Points()
    mail_sender: MailSender | None = None
    webhooks: Webhooks = Webhooks()

    @field_validator("origins")
    @classmethod
    def _origins_are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
                raise ValueError(f"expected scheme and host, such as https://www.example.com, not {origin!r}")
        return origins

    @model_validator(mode="after")
    def _thanks_stay_on_the_site(self) -> Site:
        for name, form in self.forms.items():
            if not form.thanks.startswith("/") and not self.allows_host(urlsplit(form.thanks).netloc):
                raise ValueError(f"forms.{name}.thanks: expected a path or a page of an allowed host, not {form.thanks!r}")
        return self

    @property
    def list_name(self) -> str:
        """The name of the customer list that this site shares."""
        return self.group or self.site

    def allows_host(self, host: str) -> bool:
        """Whether links and redirects may lead to this host."""
        return host in self.link_hosts or any(urlsplit(origin).netloc == host for origin in self.origins)

    @property
    def own_hosts(self) -> frozenset[str]:
        """Hosts whose pages are inside this site: a visit from them is no arrival."""
        return frozenset(urlsplit(origin).netloc for origin in self.origins)

    def topic_of(self, path: str) -> str | None:
        """What the page at a path is about: the longest rule that fits."""
        fitting = [rule for rule in self.topics if path.startswith(rule.path)]
        return max(fitting, key=lambda rule: len(rule.path)).topic if fitting else None


def key_hash(key: str) -> str:
    """How a write key is looked up and stored: never as it is."""
    return hashlib.sha256(key.encode()).hexdigest()


def version_of(definition: BaseModel) -> str:
    """The content hash of a definition: the same words are the same version."""
    return hashlib.sha256(definition.model_dump_json().encode()).hexdigest()[:12]
