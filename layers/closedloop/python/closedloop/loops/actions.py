"""Writes the mail of a campaign for one person: pure, from template, contact and links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from closedloop.errors import BadShape
from closedloop.loops.definition import Campaign
from closedloop.sites.definition import Site


@dataclass(frozen=True, slots=True)
class Links:
    """The signed links that a mail carries."""

    click: str
    open: str
    unsubscribe: str


@dataclass(frozen=True, slots=True)
class WrittenMail:
    """A mail as it goes to the provider."""

    sender: str
    to: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str]
    tags: Mapping[str, str]


def landing(url: str, campaign: str) -> str:
    """Where the link leads, marked so that the arrival is credited to the campaign."""
    parts = urlsplit(url)
    marks = urlencode({"utm_source": "closedloop", "utm_medium": "email", "utm_campaign": campaign})
    return urlunsplit(parts._replace(query=f"{parts.query}&{marks}" if parts.query else marks))


def compose(
    campaign: Campaign, site: Site, contact: Mapping[str, str], attributes: Mapping[str, Any], links: Links, loop: str
) -> WrittenMail:
    """Write a campaign's mail to one person.

    Errors: BadShape when the template needs something that this person lacks, or the site names no sender.
    Source: RFC 8058 for one-click unsubscription; Japan's Act on Regulation of Transmission of Specified Electronic
    Mail for sender, address, contact and the way to stop.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    mail, sender = campaign.mail, site.mail_sender
    if mail is None or sender is None:
        raise BadShape(f"campaign {campaign.name} has no mail, or site {site.site} no mail_sender")
    values = {
        **{name: str(value) for name, value in attributes.items()}, **contact,
        "link": links.click, "unsubscribe_link": links.unsubscribe,
    }
    plain = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  plain text
    rich = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=True)
    try:
        subject = " ".join(plain.from_string(mail.subject).render(values).split())
        text = plain.from_string(mail.text).render(values)
        html = rich.from_string(mail.html).render(values) if mail.html else ""
        footer = f"{sender.name}\n{sender.postal_address}\n{sender.contact}\n配信停止 / Unsubscribe: {links.unsubscribe}\n"
        text = f"{text.rstrip()}\n\n-- \n{footer}"
        if not html:
            html = rich.from_string("{% for part in parts %}<p>{{ part | urlize }}</p>{% endfor %}").render(
                parts=text.split("\n\n")
            )
        html = f'{html}<img src="{links.open}" width="1" height="1" alt="">'
    except TemplateError as error:
        raise BadShape(f"the mail of campaign {campaign.name} cannot be written: {error}") from error
    return WrittenMail(
        sender=f"{sender.name} <{sender.address}>", to=contact["email"], subject=subject, text=text, html=html,
        headers={
            "List-Unsubscribe": f"<{links.unsubscribe}>, <mailto:{sender.address}?subject=unsubscribe>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        tags={"loop": loop, "campaign": campaign.name},
    )
