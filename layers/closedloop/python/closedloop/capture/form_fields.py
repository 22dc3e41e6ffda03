"""The fields of a form: each kind brought into the one way that we keep it, and words for what is wrong with one."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from closedloop.errors import WrongField, WrongFields
from closedloop.events.identifiers import normal_address
from closedloop.sites.definition import MARKETING, NAMED_KINDS, ConsentBox, Form, FormField

# What a value may have at most, in characters after it was brought into form.
LONGEST: Mapping[str, int] = {"text": 5000, "email": 254, "phone": 60, "company": 200, "attribute": 300, "choice": 300}
LONGEST_NAME = 100
# Joiners hold signs of some scripts and families together; everything else that has no sign of its own is left out.
JOINERS = "\u200c\u200d"
HIRAGANA = {**{sign: sign + 0x60 for sign in range(0x3041, 0x3097)}, 0x309D: 0x30FD, 0x309E: 0x30FE}
KANA = re.compile(r"[ァ-ヺー・ヽヾ ]+\Z")
# Between kana, every kind of dash is typed where the sign of a long vowel is meant.
DASH = re.compile(r"(?<=[ァ-ヺー])[-‐‑‒–—―−](?=[ァ-ヺー]|\s|\Z)")
WORDS: Mapping[str, tuple[str, str]] = {
    "needed": ("is needed", "入力してください"),
    "agree": ("must be agreed to", "同意が必要です"),
    "email": ("expected an e-mail address", "メールアドレスを正しく入力してください"),
    "phone": ("expected a phone number, such as 03-1234-5678", "電話番号を正しく入力してください（例: 03-1234-5678）"),
    "kana": ("expected kana, such as ヤマダ", "カナで入力してください（例: ヤマダ）"),
    "choice": ("expected one of {options}", "{options} のいずれかを選んでください"),
    "long": ("expected at most {most} characters", "{most} 文字以内で入力してください"),
    "text_changed": (
        "the text that was agreed to is no longer in use; load the page again",
        "同意文が新しくなりました。ページを再読み込みしてください",
    ),
}


class WrongValue(ValueError):
    """What is wrong with one value, by its name in WORDS."""

    def __init__(self, what: str, **words: object) -> None:
        self.what, self.words = what, words


@dataclass(frozen=True, slots=True)
class Filled:
    """What somebody filled in, as we keep it.

    Shapes: `contact` names the person and holds the clear address, `attributes` say what they are like; `consents` is
    what was agreed to, each with purpose, version and the hash of the text that was shown.
    """

    email: str
    contact: Mapping[str, str]
    attributes: Mapping[str, str]
    consents: Sequence[Mapping[str, str]] = field(default_factory=list)

    @property
    def agreed_to_marketing(self) -> Mapping[str, str] | None:
        """The proof of a consent to marketing, if it was given."""
        return next((consent for consent in self.consents if consent["purpose"] == MARKETING), None)


def filled_in(form: Form, sent: Mapping[str, str], region: str) -> Filled:
    """The fields that a form declares, in form; what it does not declare is left out.

    Errors: WrongFields names every field that is wrong, in English and Japanese.
    """
    contact: dict[str, str] = {}
    attributes: dict[str, str] = {}
    consents: list[dict[str, str]] = []
    wrong: list[WrongField] = []

    def refuse(asked: FormField | ConsentBox, problem: WrongValue) -> None:
        english, japanese = (text.format(**problem.words) for text in WORDS[problem.what])
        wrong.append(WrongField(asked.name, asked.label or asked.name, english, japanese))

    for asked in form.fields:
        try:
            value = normal(asked, sent.get(asked.name, ""), region)
            if asked.required and not value:
                raise WrongValue("needed")
        except WrongValue as problem:
            refuse(asked, problem)
            continue
        if value:
            kept = contact if asked.kind in (*NAMED_KINDS, "text") else attributes
            kept[asked.kept_as] = value
    for box in form.consents:
        # An unticked box is not sent, and says nothing: neither yes nor no.
        version = sent.get(box.name, "").strip()
        if version in box.texts:
            text = hashlib.sha256(box.texts[version].encode()).hexdigest()
            consents.append({"purpose": box.purpose, "version": version, "text": text})
        elif version or box.required:
            refuse(box, WrongValue("text_changed" if version else "agree"))
    if not contact.get("email") and not wrong:
        refuse(next(asked for asked in form.fields if asked.kind == "email"), WrongValue("needed"))
    if wrong:
        raise WrongFields(tuple(wrong))
    return Filled(contact["email"], contact, attributes, consents)


def normal(asked: FormField, sent: str, region: str) -> str:
    """One value, in form: full-width letters and half-width kana are what they stand for (NFKC).

    Errors: WrongValue.
    """
    text = readable(sent, lines=asked.kind == "text")
    if len(text) > (most := LONGEST.get(asked.kind, LONGEST_NAME)):
        raise WrongValue("long", most=most)
    if not text:
        return ""
    if asked.kind == "email" and normal_address(text) is None:
        raise WrongValue("email")
    if asked.kind == "phone":
        return _phone(text, region)
    if asked.kind.endswith("kana"):
        text = DASH.sub("ー", text.translate(HIRAGANA))
        if not KANA.match(text):
            raise WrongValue("kana")
    if asked.kind == "choice":
        by_text = {readable(option): option for option in asked.options}
        if text not in by_text:
            raise WrongValue("choice", options=", ".join(asked.options))
        return by_text[text]
    return text


def readable(text: str, *, lines: bool = False) -> str:
    """A text without signs that nobody sees, without spaces at its ends; as one line, or as the lines it has."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if text.isprintable():
        # One line without such a sign, as nearly all are.
        return " ".join(text.split())
    parts = text.splitlines() if lines else [text]
    seen = (
        "".join(sign if sign in JOINERS or unicodedata.category(sign) not in ("Cc", "Cf") else " " for sign in part)
        for part in parts
    )
    return "\n".join(" ".join(part.split()) for part in seen).strip()


def _phone(text: str, region: str) -> str:
    """A phone number as E.164, with its extension as RFC 3966 writes it.

    Source: Google's libphonenumber.
    """
    import phonenumbers

    try:
        # 内線 is how an extension is written in Japan; the library knows ext and x.
        number = phonenumbers.parse(text.replace("内線", "ext"), region)
    except phonenumbers.NumberParseException as error:
        raise WrongValue("phone") from error
    if not phonenumbers.is_valid_number(number):
        raise WrongValue("phone")
    written = str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
    return f"{written};ext={number.extension}" if number.extension else written
