"""Whether the mail provider lets a site's sender send, and what its domain must say first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from closedloop.runtime import doors
from closedloop.sites.definition import MailSender

DKIM_ZONE = "dkim.amazonses.com"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a mail sender stands with Amazon SES.

    Shapes: `identity` is the address or the domain that SES knows it by; `records` are the CNAME records of its DKIM
    keys, name and value, to set where the domain is kept; `problem` says why nothing is known, empty when it is.
    """

    identity: str
    known: bool
    verified: bool
    records: tuple[tuple[str, str], ...] = ()
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "identity": self.identity, "known": self.known, "verified": self.verified, "problem": self.problem,
            "records": [{"type": "CNAME", "name": name, "value": value} for name, value in self.records],
        }


def sender_standing(sender: MailSender, *, register: bool = False) -> Standing:
    """How a sender stands: by its own address when SES knows that, else by its domain, made known when asked.

    Source: Amazon SES API v2, GetEmailIdentity and CreateEmailIdentity; Easy DKIM.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    ses = doors.boto("sesv2")
    domain = sender.address.rpartition("@")[2].lower()
    try:
        for identity in (sender.address, domain):
            try:
                return _standing(identity, ses.get_email_identity(EmailIdentity=identity))
            except ses.exceptions.NotFoundException:
                continue
        if not register:
            return Standing(domain, known=False, verified=False)
        try:
            made = ses.create_email_identity(EmailIdentity=domain)
        except ses.exceptions.AlreadyExistsException:
            # Somebody else registered it between our question and our wish.
            made = ses.get_email_identity(EmailIdentity=domain)
        return _standing(domain, made)
    except (ClientError, BotoCoreError) as error:
        return Standing(domain, known=False, verified=False, problem=f"Amazon SES did not answer: {error}")


def _standing(identity: str, found: Mapping[str, Any]) -> Standing:
    dkim = found.get("DkimAttributes") or {}
    zone = dkim.get("SigningHostedZone") or DKIM_ZONE
    records = tuple((f"{token}._domainkey.{identity}", f"{token}.{zone}") for token in dkim.get("Tokens") or ())
    return Standing(identity, known=True, verified=bool(found.get("VerifiedForSendingStatus")), records=records)
