"""What an owner declares of one site: keys, origins, topics, forms, consent mode, wanted people."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

Text = Annotated[str, Field(min_length=1, max_length=300)]


def written(pattern: str, expected: str, max_length: int | None = None) -> Any:
    """A text of one form, and what to say, to editors and to whoever wrote something else, is expected there."""
    said: dict[str, JsonValue] = {"patternErrorMessage": f"expected {expected}"}
    return Field(pattern=pattern, max_length=max_length, json_schema_extra=said)


Name = Annotated[str, written(
    r"^[a-z0-9][a-z0-9-]{0,39}$", "a name of small letters, digits and hyphens, at most 40",
)]
Host = Annotated[str, written(r"^[a-z0-9.-]+(:\d+)?$", "a host in small letters, such as www.example.com")]
Origin = Annotated[str, written(
    r"^https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?$",
    "scheme and host in small letters, without a path, such as https://www.example.com",
)]
Domain = Annotated[str, written(
    r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$",
    "a domain in small letters, such as example.co.jp", 253,
)]
Path = Annotated[str, written(r"^/[^\s?#]*$", "the path of pages, such as /products/pumps", 300)]
Address = Annotated[str, written(
    r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$",
    "an e-mail address, its domain in small letters", 254,
)]
Zone = Annotated[str, written(
    r"^[A-Za-z0-9_+-]{1,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$", "a time zone, such as Asia/Tokyo",
)]
Version = Annotated[str, written(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$", "a version, such as 2026-11")]
Currency = Annotated[str, written(r"^[A-Z]{3}$", "a currency of three capital letters, such as JPY")]
Organization = Annotated[str, written(
    r"^00D[A-Za-z0-9]{12}([A-Za-z0-9]{3})?$", "the id of a Salesforce organization, 00D...",
)]
Region = Annotated[str, written(r"^[A-Z]{2}$", "a country by its two letters, such as JP")]
# A number is written as a number and a yes as true: YAML's words for them stay words.
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]

EmailProvider = Literal[
    "amazon_ses", "brevo", "mailersend", "mailgun", "mailjet", "mailtrap", "mandrill", "postal", "postmark", "resend",
    "sendgrid", "sparkpost", "unisender_go",
]
MAIL_OPENED = "Email Opened"
OPENS_PROVE_NOTHING = (
    "an opened mail proves nothing, since mail programs open mails by themselves; use Email Link Clicked"
)
Place = tuple[str | int, ...]


class Definition(BaseModel):
    """A part of a definition file: unknown names are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def refuse(title: str, problems: Iterable[tuple[Place, str]]) -> None:
    """Raise what is wrong with a definition as a whole, each problem at the place of its culprit."""
    errors = [
        InitErrorDetails(type=PydanticCustomError("said", "{text}", {"text": text}), loc=place, input=None)
        for place, text in problems
    ]
    if errors:
        raise ValidationError.from_exception_data(title, errors)


def doubled(names: Sequence[str]) -> Iterable[tuple[int, str]]:
    """Each name that was there before, with where it comes again."""
    return ((place, name) for place, name in enumerate(names) if name in names[:place])


class ConsentMode(StrEnum):
    """What silence means: nothing is stored (opt_in), or it is until somebody objects."""

    OPT_IN = "opt_in"
    NOTICE = "notice"
    OPT_OUT = "opt_out"


class TopicRule(Definition):
    """Pages whose path starts so are about this topic."""

    path: Path
    topic: Name


# Kinds that say a part of who somebody is: each is kept under its own name, whatever the page calls the field.
NAMED_KINDS = (
    "email", "phone", "name", "last_name", "first_name", "name_kana", "last_name_kana", "first_name_kana", "company",
)
MARKETING = "marketing"


class FormField(Definition):
    """One field of a form.

    Shapes: `label` is what the page calls it, for the words about a wrong value; `options` are what may be chosen.
    """

    name: Text
    kind: Literal[
        "text", "email", "phone", "name", "last_name", "first_name", "name_kana", "last_name_kana", "first_name_kana",
        "company", "attribute", "choice",
    ] = "text"
    label: Text | None = None
    required: Flag = False
    options: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _may_be_posted(self) -> FormField:
        if (self.kind == "choice") != bool(self.options):
            refuse("field", [(("options",), "a field of kind choice has options, and no other field has")])
        if self.name.startswith("cl_"):
            refuse("field", [(("name",), "names that begin with cl_ are the product's own")])
        return self

    @property
    def kept_as(self) -> str:
        """What the field's value is called among a person's contact or attributes."""
        return self.kind if self.kind in NAMED_KINDS else self.name


class ConsentBox(Definition):
    """A box of a form by which somebody agrees to something; its value is the version of the text beside it.

    Shapes: `texts` are by version; old ones stay as long as a page that shows them may still be open somewhere.
    """

    name: Text
    label: Text | None = None
    purpose: Name = MARKETING
    required: Flag = False
    texts: dict[Version, Annotated[str, Field(min_length=1, max_length=2000)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _may_be_asked(self) -> ConsentBox:
        if self.purpose == "analytics":
            refuse("consent", [(("purpose",), "analytics is asked for by the page itself, before any form")])
        return self


class Form(Definition):
    """A form on the site: its fields, what it asks consent for, where a visitor goes afterwards, what it is about.

    Shapes: `double_opt_in` counts consent to marketing only once the address has confirmed it by a mail; `needs_script`
    takes whoever sends no time token for a robot; `turnstile` asks Cloudflare about everybody who sends the form.
    Units: `incentive` says that people are paid for filling it in, as by a prize.
    """

    fields: tuple[FormField, ...]
    consents: tuple[ConsentBox, ...] = ()
    double_opt_in: Flag = False
    needs_script: Flag = False
    turnstile: Flag = False
    thanks: Text
    topic: Name | None = None
    campaign: Name | None = None
    incentive: Flag = False

    @model_validator(mode="after")
    def _hangs_together(self) -> Form:
        names = [field.name for field in self.fields]
        problems: list[tuple[Place, str]] = [
            (("fields", place, "name"), f"field {name} is named twice") for place, name in doubled(names)
        ]
        problems.extend(
            (("consents", place - len(names), "name"), f"field {name} is named twice")
            for place, name in doubled([*names, *(box.name for box in self.consents)]) if place >= len(names)
        )
        if not any(field.kind == "email" for field in self.fields):
            problems.append((("fields",), "a form needs one field of kind email, or nobody can be told apart"))
        problems.extend(
            (("fields", place, "kind"), f"a form has one field of kind {kept}")
            for place, kept in doubled([field.kept_as for field in self.fields])
            if kept in NAMED_KINDS and names[place] not in names[:place]
        )
        if self.double_opt_in and not any(box.purpose == MARKETING for box in self.consents):
            problems.append((("double_opt_in",), "the form asks for no consent to marketing that could be confirmed"))
        refuse("form", problems)
        return self


class TargetAttribute(Definition):
    """What the wanted people are like, and how many of the 100 points of fit it is worth.

    Units: `points` may be negative, for people who are not wanted.
    """

    attribute: Text
    is_one_of: tuple[Text, ...] = ()
    at_least: Number | None = None
    points: Annotated[int, Field(strict=True, ge=-100, le=100)]

    @model_validator(mode="after")
    def _one_question(self) -> TargetAttribute:
        if bool(self.is_one_of) == (self.at_least is not None):
            raise ValueError("expected either is_one_of or at_least")
        return self


EventPoints = Annotated[int, Field(strict=True, ge=0, le=1000)]


class Points(Definition):
    """How much one event says about interest and engagement, before it fades.

    Shapes: `ignored_mail` is taken off a topic's interest when nothing about the topic followed a delivered mail in
    `ignored_after_days`; `bounce` is when a visit was one page of it, read for less than `bounce_below_seconds`.
    """

    page: EventPoints = 1
    form: EventPoints = 10
    click: EventPoints = 5
    events: dict[Text, EventPoints] = Field(default_factory=dict)
    ignored_mail: EventPoints = 1
    ignored_after_days: Annotated[int, Field(strict=True, ge=1, le=90)] = 7
    bounce: EventPoints = 1
    bounce_below_seconds: Annotated[int, Field(strict=True, ge=1, le=60)] = 10

    @field_validator("events")
    @classmethod
    def _opens_earn_nothing(cls, events: dict[str, int]) -> dict[str, int]:
        if events.get(MAIL_OPENED):
            refuse("points", [((MAIL_OPENED,), OPENS_PROVE_NOTHING)])
        return events


Purpose = Literal["price", "case", "contact", "demo", "careers"]


class PurposeRule(Definition):
    """What pages whose path starts so, or events of a name, are for: to buy something, or to get a job."""

    path: Path | None = None
    event: Text | None = None
    purpose: Purpose

    @model_validator(mode="after")
    def _one_thing(self) -> PurposeRule:
        if (self.path is None) == (self.event is None):
            raise ValueError("expected either path or event")
        return self


class KnownKind(Definition):
    """Who is of a kind by what is known of them, such as job_title: [student, 学生]."""

    kind: Literal["employee", "competitor", "job_seeker", "studying"]
    attribute: Text
    is_one_of: tuple[Text, ...] = Field(min_length=1)


class Kinds(Definition):
    """How those who will not buy are told from those who may.

    Units: `much` is how many pages seen in 90 days are much reading.
    """

    purposes: tuple[PurposeRule, ...] = ()
    known: tuple[KnownKind, ...] = ()
    much: Annotated[int, Field(strict=True, ge=2, le=1000)] = 10

    @model_validator(mode="after")
    def _hangs_together(self) -> Kinds:
        paths = [rule.path or rule.event or "" for rule in self.purposes]
        refuse("kinds", [
            (("purposes", place), f"{path} has a purpose already") for place, path in doubled(paths)
        ])
        return self


Role = Literal["decision_maker", "influencer", "user", "buyer"]
ROLES: tuple[Role, ...] = ("decision_maker", "influencer", "user", "buyer")


class TitleRule(Definition):
    """Persons whose title or department holds one of these words have this role at the company they buy for."""

    words: tuple[Text, ...] = Field(min_length=1)
    role: Role


class Accounts(Definition):
    """The companies that persons buy for: which are not customers, who of them must be touched, and who is who there.

    Shapes: addresses of `own_domains` are our employees', of `competitor_domains` a competitor's; each counts for what
    lies below it too. `titles` go before the rules that the product knows, and the first that fits counts. `roles` are
    those that an account needs.
    Units: `threshold` in points of a person's engagement: twice as many are the most that one person counts for, and
    with a quarter of them somebody is part of the breadth.
    """

    own_domains: tuple[Domain, ...] = ()
    competitor_domains: tuple[Domain, ...] = ()
    roles: tuple[Role, ...] = Field(default=ROLES, min_length=1)
    titles: tuple[TitleRule, ...] = ()
    threshold: Annotated[Number, Field(gt=0, le=10_000)] = 10

    @model_validator(mode="after")
    def _hangs_together(self) -> Accounts:
        problems: list[tuple[Place, str]] = []
        seen: dict[str, str] = {}
        for name in ("own_domains", "competitor_domains"):
            for place, domain in enumerate(getattr(self, name)):
                if domain in seen:
                    problems.append(((name, place), f"{domain} is listed twice, first under {seen[domain]}"))
                seen.setdefault(domain, name)
        problems.extend((("roles", place), f"{role} is named twice") for place, role in doubled(self.roles))
        named: dict[str, Role] = {}
        for place, rule in enumerate(self.titles):
            for at, word in enumerate(rule.words):
                other = named.setdefault(word, rule.role)
                if other != rule.role:
                    problems.append((("titles", place, "words", at), f"{word} means {other} already"))
        refuse("accounts", problems)
        return self


class LifeCurve(Definition):
    """How long things of a class are used before they are replaced, as a Weibull curve.

    Shapes: `source` says where the figures are from, `window` from which chance of replacement in the next six months
    on the window for it is open; the top fifth of the class's owners when left out.
    Units: `years` is the scale, at which 63 of 100 are replaced; with `k` above 1 old things go sooner than new ones.
    """

    k: Annotated[Number, Field(gt=0, le=20)]
    years: Annotated[Number, Field(ge=0.05, le=200)]
    source: Text
    window: Annotated[Number, Field(gt=0, lt=1)] | None = None


class ProductClass(Definition):
    """Products that replace each other: their names, what they are about, how long they are used.

    Shapes: `names` are what orders and lists call a product; letter case, width and spaces make no difference.
    """

    names: tuple[Text, ...] = Field(min_length=1)
    topics: tuple[Name, ...] = ()
    life: LifeCurve | None = None


def product_key(name: str) -> str:
    """A product's name in the one form that is compared."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class MailSender(Definition):
    """Who our mails come from, as the law of the receivers asks it to be shown."""

    name: Text
    address: Address
    postal_address: Text
    contact: Text


class Webhooks(Definition):
    """Which outside systems may call us about this site; their secrets are kept apart.

    Shapes: `deal_stages` says what a stage of the CRM's means, by the name that the CRM sends; a stage that is not
    listed is one on the way. `salesforce_organizations` are the ids of those whose messages count.
    """

    email: tuple[EmailProvider, ...] = ()
    deals: tuple[Literal["standard", "hubspot", "salesforce"], ...] = ()
    deal_stages: dict[Text, Literal["opened", "changed", "won", "lost", "refunded"]] = Field(default_factory=dict)
    salesforce_organizations: tuple[Organization, ...] = ()
    sns_topics: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _salesforce_names_itself(self) -> Webhooks:
        if "salesforce" in self.deals and not self.salesforce_organizations:
            refuse("webhooks", [(("salesforce_organizations",), "expected the id of your organization, 00D...")])
        return self


WriteKey = Annotated[
    str, written(r"^pk_[A-Za-z0-9_]{8,60}$", "a public key: pk_ and 8 to 60 letters, digits or underscores")
]


class Site(Definition):
    """One web property of one company.

    Shapes: `write_key` is public and stands in the pages; `former_write_keys` are good for as long as they are listed,
    so that pages can change over, and any other key is refused once the file is applied; `origins` are scheme and host
    of the pages; `group` names the companies that share one customer list (the site alone when left out); phone numbers
    without a country are of `region`, and money of which a CRM or shop names no currency is in `currency`; `products`
    are classes of products by name.
    """

    site: Name
    group: Name | None = None
    title: Text
    write_key: WriteKey
    former_write_keys: tuple[WriteKey, ...] = ()
    origins: tuple[Origin, ...] = Field(min_length=1)
    link_hosts: tuple[Host, ...] = ()
    cookie_domain: Host | None = None
    consent: ConsentMode = ConsentMode.NOTICE
    time_zone: Zone = "Asia/Tokyo"
    region: Region = "JP"
    currency: Currency | None = None
    count_test_browsers: Flag = False
    topics: tuple[TopicRule, ...] = ()
    forms: dict[Name, Form] = Field(default_factory=dict)
    target_attributes: tuple[TargetAttribute, ...] = ()
    products: dict[Name, ProductClass] = Field(default_factory=dict)
    points: Points = Points()
    kinds: Kinds = Kinds()
    accounts: Accounts = Accounts()
    mail_sender: MailSender | None = None
    webhooks: Webhooks = Webhooks()

    @model_validator(mode="after")
    def _hangs_together(self) -> Site:
        problems: list[tuple[Place, str]] = [
            (("topics", place, "path"), f"pages below {path} have a topic already")
            for place, path in doubled([rule.path for rule in self.topics])
        ]
        problems.extend(
            (("forms", name, "thanks"), f"expected a path or a page of a host that the site lists, found {form.thanks}")
            for name, form in self.forms.items() if not self._is_own_page(form.thanks)
        )
        problems.extend(
            (("forms", name, "double_opt_in"), "the site has no mail_sender in whose name a mail could ask")
            for name, form in self.forms.items() if form.double_opt_in and self.mail_sender is None
        )
        problems.extend(self._doubtful_products())
        refuse("site", problems)
        return self

    def _doubtful_products(self) -> Iterable[tuple[Place, str]]:
        """Names that two products have, and topics that nothing else is about."""
        classes: dict[str, str] = {}
        for name, products in self.products.items():
            for place, product in enumerate(products.names):
                other = classes.setdefault(product_key(product), name)
                if other != name or product_key(product) in map(product_key, products.names[:place]):
                    yield ("products", name, "names", place), f"{product.strip()} is listed already, under {other}"
            yield from (
                (("products", name, "topics", place), f"no page and no form of the site is about {topic}")
                for place, topic in enumerate(products.topics) if topic not in self.known_topics
            )

    def _is_own_page(self, where: str) -> bool:
        """Whether a browser that is sent there stays with the site.

        Source: WHATWG URL: browsers read a backslash as a slash, so // and /\\ begin a foreign host.
        """
        if not where.isascii() or any(ord(sign) <= 32 or sign == "\\" for sign in where):
            return False
        try:
            parts = urlsplit(where)
        except ValueError:
            return False
        if not parts.scheme and not parts.netloc:
            return where.startswith("/")
        return parts.scheme in ("http", "https") and self.allows_host(parts.netloc)

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

    @property
    def known_topics(self) -> frozenset[str]:
        """Every topic that the site's pages and forms are declared to be about."""
        forms = (form.topic for form in self.forms.values())
        return frozenset((*(rule.topic for rule in self.topics), *(topic for topic in forms if topic)))


def key_hash(key: str) -> str:
    """How a write key is looked up and stored: never as it is."""
    return hashlib.sha256(key.encode()).hexdigest()


def version_of(definition: BaseModel) -> str:
    """The content hash of a definition: the same words are the same version.

    What is as it would be anyway is left out, so that a name added later changes no version that does not use it.
    """
    return hashlib.sha256(definition.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:12]
