"""The notice of what a site's pages send to others: what, to whom, for which purpose, and how to refuse it.

Source: Japan's Telecommunications Business Act, art. 27-12 (external transmission): what is sent, who receives it, and
what it is used for, in words that are easy to find and to read. This is an engineer's view and no legal advice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from urllib.parse import urlsplit

from closedloop.sites.definition import MARKETING, ConsentMode, Site

COOKIE, COOKIE_DAYS = "_cl_vid", 395


class NoticeFormat(StrEnum):
    """How a notice is written."""

    MARKDOWN = "markdown"
    HTML = "html"


class NoticeLanguage(StrEnum):
    """The language of a notice."""

    JA = "ja"
    EN = "en"


@dataclass(frozen=True, slots=True)
class Sent:
    """One kind of information that leaves the browser.

    Shapes: texts are English and Japanese; `fields` are the very names under which it is sent.
    """

    what: tuple[str, str]
    fields: tuple[str, ...]
    why: tuple[str, str]


TRACKED = (
    Sent(
        ("The page: its address, path and title",
         "閲覧したページのアドレス、パス、タイトル"),
        ("url", "path", "title", "topic", "type", "event"),
        ("to see which pages are read and what visitors care about",
         "どのページが読まれ、何に関心があるかを知るため"),
    ),
    Sent(
        ("Where the visit came from: the page before, search words, campaign parameters",
         "訪問元のページ、検索語、広告の識別子"),
        ("referrer", "search", "campaign"),
        ("to measure which campaigns and pages bring visitors",
         "どの広告やページから訪問があったかを測るため"),
    ),
    Sent(
        (f"A random number that tells browsers apart (cookie {COOKIE}, {COOKIE_DAYS} days, and the browser's storage)",
         f"ブラウザを区別するための乱数(Cookie {COOKIE}、{COOKIE_DAYS}日間。ブラウザの保存領域にも記録)"),
        ("anonymousId", "messageId", "timestamp"),
        ("to know a returning visitor again, and to count nothing twice",
         "再訪問を知り、二重に数えないため"),
    ),
    Sent(
        ("The browser: its kind, language and time zone, and the network part of the IP address; the rest of the "
         "address is not kept",
         "ブラウザの種類、言語、時間帯、IP アドレスのうちネットワーク部分(残りは保存しません)"),
        ("userAgent", "locale", "timezone", "library"),
        ("to tell people from machines, and to prevent abuse",
         "人による閲覧と機械による閲覧を区別し、不正利用を防ぐため"),
    ),
    Sent(
        ("How long a page was read and how far it was scrolled",
         "ページを読んだ時間とスクロールした割合"),
        ("engaged_seconds", "scroll_percent"),
        ("to see which content is read to its end",
         "どの内容が最後まで読まれたかを知るため"),
    ),
    Sent(
        ("Clicks on marked links and buttons, and forms that are begun and sent",
         "印の付いたリンクやボタンのクリック、フォームの入力開始と送信"),
        ("href", "form", "cl_write_key", "cl_submission_id", "cl_time", "cl_anonymous_id", "cl_page_url",
         "cl_referrer"),
        ("to answer inquiries, and to see what leads to them",
         "お問い合わせに対応し、そのきっかけを知るため"),
    ),
    Sent(
        ("Who somebody is, where they have signed in: user id, company and what they told of themselves",
         "ログインした場合の利用者 ID、会社、ご本人が入力した情報"),
        ("userId", "groupId", "traits"),
        ("to serve our customers as customers",
         "お客様として適切にご案内するため"),
    ),
    Sent(
        ("What was chosen about consent",
         "同意に関する選択"),
        ("consent", "analytics", "marketing"),
        ("to respect the choice",
         "選択を尊重するため"),
    ),
    Sent(
        ("Without permission: only that a page was opened, by nobody in particular",
         "許可のない場合は、ページが開かれたことのみ(個人やブラウザは区別しません)"),
        ("type", "path", "url"),
        ("to count page views",
         "閲覧数を数えるため"),
    ),
)

_TITLE = ("What this website sends, and to whom", "外部送信に関する公表事項")
_HEADS = (("What is sent", "Names of the fields", "To whom", "What it is used for"),
          ("送信される情報", "項目名", "送信先", "利用目的"))
_MODES = {
    ConsentMode.OPT_IN: (
        "Nothing but a count is sent before you agree.",
        "同意いただくまでは、閲覧数のほかは何も送信しません。",
    ),
    ConsentMode.NOTICE: ("It is sent until you object.", "お断りいただくまで送信します。"),
    ConsentMode.OPT_OUT: ("It is sent until you object.", "お断りいただくまで送信します。"),
}


def notice(site: Site, endpoint: str, language: NoticeLanguage, as_: NoticeFormat) -> str:
    """The notice of a site, ready to publish.

    Shapes: `endpoint` is the address that the pages send to.
    """
    return (_html if as_ is NoticeFormat.HTML else _markdown)(site, endpoint, 1 if language is NoticeLanguage.JA else 0)


def _rows(site: Site, endpoint: str, place: int) -> Iterator[tuple[str, str, str, str]]:
    host = urlsplit(endpoint).netloc or endpoint
    own = (f"{site.title} ({host}; stored with Amazon Web Services)",
           f"{site.title}({host}、Amazon Web Services 上に保存)")[place]
    for sent in TRACKED:
        yield sent.what[place], ", ".join(sent.fields), own, sent.why[place]
    for name, form in site.forms.items():
        typed = ", ".join(field.label or field.name for field in form.fields)
        yield (
            (f"What you type into the form {name}", f"フォーム「{name}」に入力された内容")[place], typed, own,
            ("to answer you", "お問い合わせに回答するため")[place],
        )
    if any(form.turnstile for form in site.forms.values()):
        yield (
            ("What tells people from robots while a form is filled in",
             "フォーム入力時に人とロボットを区別するための情報")[place],
            ("IP address, TLS fingerprint, User-Agent, sitekey",
             "IP アドレス、TLS の特徴、User-Agent、サイトキー")[place],
            "Cloudflare, Inc. (Turnstile)", ("to keep robots out", "ロボットによる送信を防ぐため")[place],
        )


def _refusing(site: Site, place: int) -> Iterator[str]:
    yield _MODES[site.consent][place]
    yield (
        "To refuse, use the consent settings of this website, or send Global Privacy Control with your browser: from "
        "then on no number is given and nothing tells your browser apart. Deleting the cookie "
        f"{COOKIE} and this site's data in your browser also ends it.",
        "お断りになるには、本サイトの同意設定をご利用いただくか、ブラウザの "
        "Global Privacy Control を有効にしてください。以後、番号の付与もブラウザの区別も行いません。"
        f"Cookie「{COOKIE}」と本サイトのデータを削除することでも停止できます。",
    )[place]
    if any(box.purpose == MARKETING for form in site.forms.values() for box in form.consents) or site.mail_sender:
        yield (
            "Every mail holds a link by which you end them.",
            "お送りするメールには、配信を停止するためのリンクがあります。",
        )[place]
    purposes = sorted({box.purpose for form in site.forms.values() for box in form.consents})
    if purposes:
        yield (
            f"Consent is asked for each purpose by itself ({', '.join(purposes)}), its text and time are kept, and "
            "it can be withdrawn at any time.",
            f"同意は目的ごと({'、'.join(purposes)})に個別にお伺いし、"
            "文面と日時を記録します。いつでも撤回できます。",
        )[place]
    if site.mail_sender:
        sender = site.mail_sender
        yield (
            f"Ask what is held about you, or have it erased: {sender.name}, {sender.postal_address}, {sender.contact}",
            f"保有する情報の開示・消去のご請求: {sender.name}、{sender.postal_address}、{sender.contact}",
        )[place]


def _markdown(site: Site, endpoint: str, place: int) -> str:
    def cell(text: str) -> str:
        return escape(text, quote=False).replace("|", "\\|").replace("\n", " ")

    heads = _HEADS[place]
    lines = [f"# {cell(_TITLE[place])}: {cell(site.title)}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(map(cell, row))} |" for row in _rows(site, endpoint, place)]
    lines += ["", f"## {('How to refuse', '停止の方法')[place]}", ""]
    lines += [f"- {cell(line)}" for line in _refusing(site, place)]
    return "\n".join(lines) + "\n"


def _html(site: Site, endpoint: str, place: int) -> str:
    title = f"{escape(_TITLE[place])}: {escape(site.title)}"
    heads = "".join(f"<th scope=\"col\">{escape(head)}</th>" for head in _HEADS[place])
    rows = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in _rows(site, endpoint, place)
    )
    refusing = "\n".join(f"<li>{escape(line)}</li>" for line in _refusing(site, place))
    return f"""<!doctype html>
<html lang="{('en', 'ja')[place]}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: system-ui, "Hiragino Sans", "Noto Sans JP", sans-serif; line-height: 1.6; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; color: #1a1a1a; background: #fff; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border: 1px solid #bbb; padding: .4rem .6rem; text-align: left; vertical-align: top; }}
@media (max-width: 40rem) {{
  thead {{ display: none; }} tr, td {{ display: block; }} tr {{ margin-bottom: 1rem; }}
}}
</style>
</head>
<body>
<h1>{title}</h1>
<table>
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<h2>{('How to refuse', '停止の方法')[place]}</h2>
<ul>
{refusing}
</ul>
</body>
</html>
"""
