"""The mail of a campaign: what is in every one of them, and what no template and no person can put there."""

from __future__ import annotations

from collections.abc import Mapping
from email import message_from_string
from email.headerregistry import Address
from email.policy import SMTP
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.errors import BadShape
from closedloop.loops.actions import LONGEST, Links, NotATemplate, WrittenMail, compose, landing, variables
from closedloop.loops.definition import Campaign, Mail
from closedloop.sites.definition import Site

LINKS = Links(
    "https://go.example/l/click", "https://go.example/o/open", "https://go.example/u/stop", "https://go.example/l/bait",
    "https://go.example/r/hers",
)
FOOTER = (
    "-- \nNorthwind Pumps\n1-2-3 Minato, Tokyo\nhttps://www.northwind.example/contact\n"
    "配信停止 / Unsubscribe: https://go.example/u/stop\n"
)


def a_campaign(*, subject: str = "A case", text: str = "Read {{ link }}", html: str = "") -> Campaign:
    return Campaign.model_validate({
        "name": "case-mail", "stage": "problem", "touchpoint": "email",
        "mail": {"subject": subject, "text": text, "html": html, "link": "https://www.northwind.example/cases"},
    })


def a_site(**sender: str) -> Site:
    return Site.model_validate({
        "site": "demo", "title": "Demo", "write_key": "pk_demo_12345678", "origins": ["https://www.northwind.example"],
        "mail_sender": {
            "name": "Northwind Pumps", "address": "pumps@northwind.example", "postal_address": "1-2-3 Minato, Tokyo",
            "contact": "https://www.northwind.example/contact", **sender,
        },
    })


def test_a_mail_may_carry_the_link_that_its_reader_hands_on() -> None:
    assert "https://go.example/r/hers" in a_mail(text="Tell others: {{ referral_link }}").text


def a_mail(
    *, subject: str = "A case", text: str = "Read {{ link }}", html: str = "", contact: Mapping[str, str] | None = None,
    attributes: Mapping[str, Any] | None = None, site: Site | None = None,
) -> WrittenMail:
    return compose(
        a_campaign(subject=subject, text=text, html=html), site or a_site(),
        {"email": "ada@water.example", "first_name": "Ada", **(contact or {})}, attributes or {}, LINKS, "autumn",
    )


class Seen(HTMLParser):
    """What a mail client makes of a page: its tags, its words, where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.leads: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.leads += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_mail_goes_from_the_sites_sender_to_the_person_with_its_tags() -> None:
    mail = a_mail()
    assert (mail.sender, mail.to) == ("Northwind Pumps <pumps@northwind.example>", "ada@water.example")
    assert mail.tags == {"loop": "autumn", "campaign": "case-mail"}


def test_a_mail_says_what_the_page_that_it_leads_to_is_about() -> None:
    topics = {"topics": ({"path": "/", "topic": "pumps"},)}
    about = Site.model_validate({**a_site().model_dump(by_alias=True), **topics})
    assert a_mail(site=about).tags["topic"] == "pumps"


def test_a_mail_can_be_stopped_by_one_click_or_by_mail() -> None:
    assert a_mail().headers == {
        "List-Unsubscribe": "<https://go.example/u/stop>, <mailto:pumps@northwind.example?subject=unsubscribe>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def test_the_text_ends_with_who_sends_it_from_where_and_how_to_stop_it() -> None:
    assert a_mail(text="Read {{ link }}\n\n\n").text == f"Read https://go.example/l/click\n\n{FOOTER}"


@pytest.mark.parametrize("html", [
    "", "<p>Read <a href='{{ link }}'>this</a></p>", "<html><body><p>Read this: {{ link }}</p></body></html>",
    "<html><BODY>Read</BODY ></html>",
])
def test_the_page_ends_with_the_same_whatever_its_template_says(html: str) -> None:
    seen = Seen(a_mail(html=html).html)
    for words in ("Northwind Pumps", "1-2-3 Minato, Tokyo", "配信停止 / Unsubscribe"):
        assert words in seen.words
    assert "https://go.example/u/stop" in seen.leads
    assert seen.leads[-1] == "https://go.example/o/open"


@pytest.mark.parametrize("html", ["", "<p>Read <a href='{{ link }}'>this</a></p>", "<html><body>Read</body></html>"])
def test_a_link_that_only_machines_find_is_in_the_page_and_harms_nobody(html: str) -> None:
    mail = a_mail(html=html)
    seen = Seen(mail.html)
    assert seen.leads.count("https://go.example/l/bait") == 1
    assert '<a href="https://go.example/l/bait" style="display:none" tabindex="-1" aria-hidden="true"></a>' in mail.html
    assert "bait" not in seen.words
    assert "bait" not in mail.text + repr(mail.headers)


def test_what_is_added_to_a_page_stands_inside_its_body() -> None:
    html = a_mail(html="<html><body>Read</body></html>").html
    assert html.startswith("<html><body>Read<p>")
    assert html.endswith('alt=""></body></html>')


def test_a_mail_without_a_page_of_its_own_gets_one_with_paragraphs_lines_and_links() -> None:
    html = a_mail(text="Dear {{ first_name }},\n\nfirst line\nsecond line: {{ link }}").html
    assert html.startswith("<p>Dear Ada,</p><p>first line<br>second line: <a href=\"https://go.example/l/click\"")


def test_a_person_of_whom_nothing_is_known_gets_the_default() -> None:
    mail = compose(
        a_campaign(text="Dear {{ first_name | default('reader') }} of {{ company | default('your company') }}"),
        a_site(), {"email": "ada@water.example"}, {}, LINKS, "autumn",
    )
    assert mail.text.startswith("Dear reader of your company\n")


def test_attributes_may_be_named_and_contact_fields_and_links_cannot_be_replaced_by_them() -> None:
    mail = a_mail(
        text="{{ industry }} {{ employees }} {{ first_name }} {{ link }}",
        attributes={"industry": "water", "employees": 250, "first_name": "Eve", "link": "https://evil.example"},
    )
    assert mail.text.startswith("water 250 Ada https://go.example/l/click\n")


def test_japanese_is_written_as_it_is_and_the_senders_name_as_headers_allow() -> None:
    mail = a_mail(
        subject="{{ company }} {{ first_name }} 様", text="{{ first_name }} 様\n\n資料をご覧ください。",
        contact={"first_name": "花子", "company": "東京水道"}, site=a_site(name="ノースウィンド, 株式会社"),
    )
    assert mail.subject == "東京水道 花子 様"
    assert mail.text.startswith("花子 様\n\n資料をご覧ください。\n\n-- \nノースウィンド, 株式会社\n")
    assert mail.sender.isascii()
    read = message_from_string(f"From: {mail.sender}\n\n", policy=SMTP)["From"]
    assert read.addresses == (Address("ノースウィンド, 株式会社", "pumps", "northwind.example"),)


@pytest.mark.parametrize("name", ['Pumps, "Ltd."', "Pumps <evil@evil.example>", "A\nBcc: evil@evil.example"])
def test_a_senders_name_is_never_another_address(name: str) -> None:
    mail = a_mail(site=a_site(name=name))
    read = message_from_string(f"From: {mail.sender}\n\n", policy=SMTP)["From"]
    assert [(one.username, one.domain) for one in read.addresses] == [("pumps", "northwind.example")]
    assert "\n" not in mail.sender


@pytest.mark.parametrize("name", ["Ada\r\nBcc: a@evil.example", "Ada\nX: y", "Ada\x00\x07", "Ada\u2028B", "Ada\x85B"])
def test_a_subject_is_one_line_whatever_somebody_is_called(name: str) -> None:
    subject = a_mail(subject="For {{ first_name }}", contact={"first_name": name}).subject
    assert subject.startswith("For Ada")
    assert subject.splitlines() == [subject]
    assert subject.isprintable()


def test_a_subject_keeps_signs_that_are_joined() -> None:
    assert a_mail(subject="👩\u200d🔬 {{ first_name }}").subject == "👩\u200d🔬 Ada"


def test_what_somebody_is_called_is_no_html() -> None:
    evil = "<script>alert(1)</script><img src=x onerror=y>"
    for html in ("", "<p>Dear {{ first_name }}</p>", "<p title='{{ first_name }}'>x</p>"):
        mail = a_mail(text="Dear {{ first_name }}", html=html, contact={"first_name": evil + "' onclick='z"})
        seen = Seen(mail.html)
        assert "script" not in seen.tags
        assert seen.tags.count("img") == 1
        assert "onclick='z" not in mail.html


BROKEN = (
    ("Dear {{ frist_name }}", "'frist_name' is undefined"),
    ("{{ ''.__class__ }}", "access to attribute '__class__' of 'str' object is unsafe."),
    ("{{ ''['__class__'] }}", "access to attribute '__class__' of 'str' object is unsafe."),
    ("{{ first_name | attr('__class__') }}", "access to attribute '__class__' of 'str' object is unsafe."),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ self.__init__.__globals__ }}", "unsafe"),
    ("{{ cycler.__init__.__globals__ }}", "unsafe"),
    ("{{ lipsum.__globals__['os'] }}", "unsafe"),
    ("{{ '{0.__class__}'.format(first_name) }}", "unsafe"),
    ("{% include 'secrets.html' %}", "no loader"),
    ("{% for a in range(1000000000) %}{% endfor %}", "too big"),
    ("{{ 1 / 0 }}", "division by zero"),
    ("{{ first_name + 1 }}", "can only concatenate str"),
    ("{{ {}.x }}", "has no attribute 'x'"),
    ("{{ first_name | nosuch }}", "nosuch"),
    ("{% if %}", "Expected an expression"),
    ("{{ 'x' * 200001 }}", "longer than"),
    ("{{ first_name", "unexpected end of template"),
)


@pytest.mark.parametrize(("template", "words"), BROKEN)
def test_a_template_that_cannot_be_filled_says_why_and_reaches_nothing(template: str, words: str) -> None:
    for part in ({"text": template}, {"subject": template}, {"html": template}):
        with pytest.raises(BadShape) as refused:
            a_mail(**part)
        assert refused.value.reason.startswith("the mail of campaign case-mail cannot be written: ")
        assert words in refused.value.reason


def test_a_missing_name_is_told_by_its_name() -> None:
    with pytest.raises(BadShape) as refused:
        a_mail(text="Dear {{ title }} {{ first_name }}")
    assert refused.value.reason == "the mail of campaign case-mail cannot be written: 'title' is undefined"


def test_an_empty_subject_is_refused() -> None:
    with pytest.raises(BadShape, match="its subject is empty"):
        a_mail(subject="{{ first_name }}", contact={"first_name": " \n"})


def test_without_a_sender_no_mail_is_written() -> None:
    with pytest.raises(BadShape, match="site demo no mail_sender"):
        a_mail(site=a_site().model_copy(update={"mail_sender": None}))


MARKS = "utm_source=closedloop&utm_medium=email&utm_campaign=case-mail"


@pytest.mark.parametrize(("url", "marked"), [
    ("https://a.example/x", f"https://a.example/x?{MARKS}"),
    ("https://a.example/x?y=1#z", f"https://a.example/x?y=1&{MARKS}#z"),
])
def test_a_landing_page_is_marked_with_its_campaign(url: str, marked: str) -> None:
    mail = Mail(subject="A case", text="Read it", link=url)
    assert landing(mail, "case-mail") == marked
    head, _, tail = marked.partition("#")
    version = mail.model_copy(update={"creative": "short"})
    assert landing(version, "case-mail") == f"{head}&utm_content=short" + (f"#{tail}" if tail else "")


def test_the_names_that_a_template_takes_are_told_with_their_lines() -> None:
    template = (
        "Dear {{ first_name }}\n{% for x in range(3) %}{{ x }}{% endfor %}\n"
        "{{ company | default('') }} {{ first_name }}"
    )
    assert variables(template) == [("company", 3), ("first_name", 1)]


def test_a_template_that_cannot_be_read_names_its_line() -> None:
    with pytest.raises(NotATemplate) as refused:
        variables("a\nb\n{% if %}\n")
    assert refused.value.line == 3


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.dictionaries(st.sampled_from(["industry", "role"]), st.text()))
def test_whoever_somebody_is_the_mail_is_whole(first: str, company: str, attributes: dict[str, str]) -> None:
    mail = a_mail(
        subject="Case for {{ company }}", text="Dear {{ first_name }} {{ industry | default('') }}",
        contact={"first_name": first, "company": company}, attributes=attributes,
    )
    assert mail.subject.splitlines() == [mail.subject]
    assert mail.text.endswith(FOOTER)
    assert Seen(mail.html).leads[-1] == LINKS.open
    assert len(mail.html) < LONGEST
