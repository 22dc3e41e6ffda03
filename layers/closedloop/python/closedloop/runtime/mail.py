"""Sends mails through Amazon SES v2, and makes the signed links that they carry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from closedloop.capture.confirm import CONFIRM, Asking
from closedloop.capture.links import CLICK, HIDDEN, OPEN, REFERRAL, REFERRAL_PATH, UNSUBSCRIBE, Handed, Mailed, Tokens
from closedloop.errors import MailRefused, OutcomeUnknown, Throttled
from closedloop.events.confirmations import OPEN_FOR, Question
from closedloop.events.identifiers import Hasher
from closedloop.events.times import iso
from closedloop.loops.actions import Links, WrittenMail, landing
from closedloop.loops.definition import Campaign
from closedloop.loops.questions import compose_question
from closedloop.sites.definition import Site

CREDIT = timedelta(days=90)


class SesMailer:
    """Sends through an SES v2 client that is handed in; the client must not retry a send by itself."""

    def __init__(self, ses: Any) -> None:
        self._ses = ses

    def send(self, mail: WrittenMail) -> str:
        """Send one mail once; SES's message id.

        Errors: Throttled, MailRefused, OutcomeUnknown.
        Source: Amazon SES API v2, SendEmail.
        """
        try:
            answer = self._ses.send_email(
                FromEmailAddress=mail.sender, Destination={"ToAddresses": [mail.to]},
                Content={"Simple": {
                    "Subject": {"Data": mail.subject, "Charset": "UTF-8"},
                    "Body": {
                        "Text": {"Data": mail.text, "Charset": "UTF-8"},
                        "Html": {"Data": mail.html, "Charset": "UTF-8"},
                    },
                    "Headers": [{"Name": name, "Value": value} for name, value in mail.headers.items()],
                }},
                EmailTags=[{"Name": name, "Value": value} for name, value in mail.tags.items()],
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("TooManyRequestsException", "ThrottlingException", "LimitExceededException"):
                raise Throttled(code) from error
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                raise MailRefused(f"the mail provider refused it: {code}") from error
            raise OutcomeUnknown(f"the mail provider answered {code}") from error
        except (EndpointConnectionError, ConnectTimeoutError) as error:
            raise Throttled(type(error).__name__) from error
        except BotoCoreError as error:
            raise OutcomeUnknown(f"no answer from the mail provider: {type(error).__name__}") from error
        return str(answer["MessageId"])


def links_of(tokens: Tokens, public_url: str) -> Callable[[Site, str, str, Campaign, datetime], Links]:
    """Makes the links of one person's mail: they carry the address's identifier, never the address."""

    def links(site: Site, identifier: str, loop: str, campaign: Campaign, now: datetime) -> Links:
        url = landing(campaign.mail, campaign.name) if campaign.mail else ""
        click = Mailed(site.site, identifier, loop, campaign.name, iso(now + CREDIT), url)
        plain = Mailed(site.site, identifier, loop, campaign.name, iso(now + CREDIT))
        return Links(
            click=f"{public_url}/l/{tokens.sign(CLICK, click)}", open=f"{public_url}/o/{tokens.sign(OPEN, plain)}",
            unsubscribe=f"{public_url}/u/{tokens.sign(UNSUBSCRIBE, plain)}",
            hidden=f"{public_url}/l/{tokens.sign(HIDDEN, click)}",
            referral=handed_link(tokens, public_url, Handed(
                site.site, identifier, landing(campaign.mail, campaign.name, REFERRAL) if campaign.mail else "",
            )),
        )

    return links


def handed_link(tokens: Tokens, public_url: str, handed: Handed) -> str:
    """The link that one person hands on to others; always the same one to the same page."""
    return f"{public_url}/{REFERRAL_PATH}/{tokens.sign(REFERRAL, handed)}"


def asking_mails(
    tokens: Tokens, public_url: str, pepper: bytes
) -> Callable[[Site, Question, str, datetime], WrittenMail | None]:
    """Writes the mails that ask for a confirmation, if the address that is held is the one that is to be asked."""

    def write(site: Site, question: Question, email: str, now: datetime) -> WrittenMail | None:
        if Hasher(pepper, site.list_name).address(email) != question.identifier:
            return None
        asking = Asking(
            site.site, question.identifier, question.form, question.submission, question.version, question.text,
            iso(now + OPEN_FOR),
        )
        plain = Mailed(site.site, question.identifier, "", question.form, iso(now + CREDIT))
        return compose_question(
            site, question, email, f"{public_url}/c/{tokens.sign(CONFIRM, asking)}",
            f"{public_url}/u/{tokens.sign(UNSUBSCRIBE, plain)}",
        )

    return write
