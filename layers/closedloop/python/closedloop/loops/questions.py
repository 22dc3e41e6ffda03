"""Asks an address to confirm a consent that was given for it in a form: one mail, without a word that anybody typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from email.utils import formataddr
from typing import TYPE_CHECKING

from closedloop.errors import BadShape
from closedloop.events.confirmations import ASKED_WITHIN, OPEN_FOR, Question
from closedloop.loops.actions import WrittenMail, footer, html_of, one_line
from closedloop.loops.once import is_lost, send_once
from closedloop.sites.definition import MARKETING, Site

if TYPE_CHECKING:
    from closedloop.loops.flow import MailDoors
    from closedloop.profiles.profile import Profile
    from closedloop.store.questions import Asked
    from closedloop.store.state import State

TEXT = """\
{title} のフォームに、このメールアドレスが入力されました。
次の内容に同意される場合は、{days} 日以内に下のページを開き、「確認する」を押してください。
お心当たりがなければ、このメールは破棄してください。

  「{text}」

This address was entered in a form of {title}.
If you agree to the text above, open this page within {days} days and press Confirm.
If it was not you, ignore this mail; nothing happens then.

{link}
"""
SUBJECT = "メールアドレスのご確認 / Please confirm your e-mail address ({title})"

# Writes the mail that asks; nothing when the address that is held is not the one that is to be asked.
Writes = Callable[[Site, Question, str, datetime], WrittenMail | None]


def compose_question(site: Site, question: Question, email: str, link: str, unsubscribe: str) -> WrittenMail:
    """Write the mail that asks, in Japanese and English, in the name of the site's sender.

    Errors: BadShape when the site no longer asks for this, or names no sender.
    """
    sender, form = site.mail_sender, site.forms.get(question.form)
    shown = [box.texts[question.version] for box in form.consents if question.version in box.texts] if form else []
    if sender is None or not shown:
        raise BadShape("the site no longer asks for this consent, or names no sender")
    title = one_line(site.title)
    body = TEXT.format(title=title, text=one_line(shown[0]), link=link, days=OPEN_FOR.days)
    text = f"{body}\n-- \n{footer(sender, unsubscribe)}"
    return WrittenMail(
        sender=formataddr((one_line(sender.name), sender.address)), to=email, subject=SUBJECT.format(title=title),
        text=text, html=html_of(question.form, text),
        headers={
            "List-Unsubscribe": f"<{unsubscribe}>, <mailto:{sender.address}?subject=unsubscribe>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            # Answering machines must not answer a mail that a machine sent (RFC 3834).
            "Auto-Submitted": "auto-generated",
        },
        tags={"site": site.site, "form": question.form},
    )


def perform_question(
    asked: Asked, profile: Profile | None, contact: Mapping[str, str], state: State, doors: MailDoors
) -> str:
    """Ask at most once, within the quotas of address and network; how it ended stays with the question.

    Shapes: the outcome is sent, failed, unknown, or later.
    """
    now = doors.now()
    question = asked.question

    def end(outcome: str, reason: str, message: str = "", *, claimed: bool = False) -> str:
        status = "claimed" if claimed else asked.status
        state.end_question(replace(asked, status=status), outcome, reason, message, doors.now())
        return outcome

    if asked.status == "claimed":
        if is_lost(asked.claimed_at, now):
            return end("unknown", "claimed, and never told how it ended; the form can be filled in again")
        return "later"
    last = question.at + ASKED_WITHIN
    site = doors.sites.get(question.site)
    if now > last:
        return end("failed", "it could not be asked within a day")
    if profile is None or site is None or not contact.get("email"):
        return end("failed", "no address is held")
    addresses = [node for node in profile.nodes if node.startswith("email:")]
    suppressed = profile.suppressed or state.suppressed(addresses)
    if suppressed:
        return end("failed", f"suppressed: {suppressed}")
    if profile.consent.get(MARKETING) == "granted":
        return end("failed", "the address has confirmed already")
    try:
        mail = doors.asks(site, question, contact["email"], now)
    except BadShape as error:
        return end("failed", error.reason)
    if mail is None:
        return end("failed", "another address is held by now")
    of_address, of_network = state.free_at(asked, now)
    if of_address > now:
        # The mail that was sent earlier is still good; a second one would only be a nuisance.
        return end("failed", "the address was asked already")
    if of_network > last:
        return end("failed", "too many were asked from this network")
    if of_network > now:
        state.postpone_question(asked, of_network)
        return "later"
    return send_once(
        mail, doors.mailer, lambda: state.claim_question(asked, addresses, now), lambda: state.release_question(asked),
        end,
    )
