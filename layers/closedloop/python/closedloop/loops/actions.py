"""Writes the mail of a campaign for one person: pure, from template, contact and links."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formataddr
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from closedloop.errors import BadShape
from closedloop.loops.definition import Campaign, Mail
from closedloop.sites.definition import MailSender, Site

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

# What a template may stumble over besides jinja's own errors: 1 / 0, first_name + 1, range(10 ** 9), {}["x"].
STUMBLES = (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
# Beyond what mail clients show: Gmail clips a mail at 102 KB.
LONGEST = 200_000


class NotATemplate(ValueError):
    """A mail's text that jinja cannot read.

    Shapes: `line` counts the text's own lines from 1.
    """

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True, slots=True)
class Links:
    """The signed links that a mail carries; `hidden` is one that only a machine finds, `referral` one to hand on."""

    click: str
    open: str
    unsubscribe: str
    hidden: str
    referral: str = ""


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


def landing(mail: Mail, campaign: str, medium: str = "email") -> str:
    """Where a mail's link leads, marked so that the arrival is credited to the campaign and its creative is known."""
    parts = urlsplit(mail.link)
    creative = {"utm_content": mail.creative} if mail.creative else {}
    marks = urlencode({"utm_source": "closedloop", "utm_medium": medium, "utm_campaign": campaign, **creative})
    return urlunsplit(parts._replace(query=f"{parts.query}&{marks}" if parts.query else marks))


def compose(
    campaign: Campaign, site: Site, contact: Mapping[str, str], attributes: Mapping[str, Any], links: Links, loop: str
) -> WrittenMail:
    """Write a campaign's mail to one person.

    Errors: BadShape when the template needs something that this person lacks, or the site names no sender.
    Source: RFC 8058 for one-click unsubscription; Japan's Act on Regulation of Transmission of Specified Electronic
    Mail for sender, address, contact and the way to stop.
    """
    mail, sender = campaign.mail, site.mail_sender
    if mail is None or sender is None:
        raise BadShape(f"campaign {campaign.name} has no mail, or site {site.site} no mail_sender")
    values = {
        **{name: str(value) for name, value in attributes.items()}, **contact,
        "link": links.click, "unsubscribe_link": links.unsubscribe, "referral_link": links.referral,
    }
    name, topic = campaign.name, site.topic_of(urlsplit(mail.link).path)
    subject = one_line(_filled(name, mail.subject, values))
    if not subject:
        raise BadShape(f"the mail of campaign {name} cannot be written: its subject is empty")
    end = footer(sender, links.unsubscribe)
    text = f"{_filled(name, mail.text, values).rstrip()}\n\n-- \n{end}"
    if mail.html:
        body = _before_the_end(_filled(name, mail.html, values, html=True), html_of(name, end))
    else:
        body = html_of(name, text)
    return WrittenMail(
        sender=formataddr((one_line(sender.name), sender.address)), to=contact["email"], subject=subject, text=text,
        html=_before_the_end(body, _unseen(links)),
        headers={
            "List-Unsubscribe": f"<{links.unsubscribe}>, <mailto:{sender.address}?subject=unsubscribe>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        # What nobody turns to within days of such a mail says something of their interest.
        tags={"loop": loop, "campaign": name, **({"topic": topic} if topic else {})},
    )


def variables(template: str) -> list[tuple[str, int]]:
    """The names that a template takes from a person, each with the first line that it stands on.

    Errors: NotATemplate.
    """
    from jinja2 import TemplateError, meta, nodes

    try:
        tree = _environment().parse(template)
        asked = meta.find_undeclared_variables(tree)
    except TemplateError as error:
        raise NotATemplate(getattr(error, "lineno", None) or 1, f"the template cannot be read: {error}") from error
    lines: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in asked:
            lines[node.name] = min(node.lineno, lines.get(node.name, node.lineno))
    return sorted(lines.items())


def _environment(*, html: bool = False) -> SandboxedEnvironment:
    """Where templates are filled in: they see what they are given, and reach nothing else."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=html)


def _filled(campaign: str, template: str, values: Mapping[str, Any], *, html: bool = False) -> str:
    from jinja2 import TemplateError

    try:
        written = _environment(html=html).from_string(template).render(values)
    except (TemplateError, *STUMBLES) as error:
        raise BadShape(f"the mail of campaign {campaign} cannot be written: {error}") from error
    if len(written) > LONGEST:
        raise BadShape(f"the mail of campaign {campaign} cannot be written: it is longer than {LONGEST} characters")
    return written


def footer(sender: MailSender, unsubscribe: str) -> str:
    """Who sends this, from where, whom to ask and how to stop: in every mail, whatever its template says."""
    stop = f"配信停止 / Unsubscribe: {unsubscribe}"
    return "\n".join((sender.name, sender.postal_address, sender.contact, stop, ""))


def _unseen(links: Links) -> str:
    """What a page carries and does not show: a link that scanners follow and people cannot, and the counting picture.

    The link has no words, so that no client shows it, whatever it makes of styles, and a screen reader passes it by.
    """
    return (
        f'<a href="{escape(links.hidden)}" style="display:none" tabindex="-1" aria-hidden="true"></a>'
        f'<img src="{escape(links.open)}" width="1" height="1" alt="">'
    )


def html_of(campaign: str, text: str) -> str:
    """A plain text as HTML: its paragraphs, its lines, its links."""
    template = (
        "{% for part in parts %}<p>{% for line in part.splitlines() %}{{ line | urlize }}"
        "{% if not loop.last %}<br>{% endif %}{% endfor %}</p>{% endfor %}"
    )
    return _filled(campaign, template, {"parts": [part for part in text.split("\n\n") if part.strip()]}, html=True)


def _before_the_end(html: str, addition: str) -> str:
    """Put something at the end of a page, inside its body."""
    ends = [found.start() for found in re.finditer(r"</body\s*>", html, re.IGNORECASE)]
    at = ends[-1] if ends else len(html)
    return f"{html[:at]}{addition}{html[at:]}"


def one_line(text: str) -> str:
    """A header's words: one line, so that no other header can follow them."""
    # A joiner is no sign of its own, but holds signs like those of a family together.
    return " ".join("".join(sign if sign.isprintable() or sign == "\u200d" else " " for sign in text).split())
