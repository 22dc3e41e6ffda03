"""Each kind of field is kept in one form, however it was typed; what cannot be is named in both languages."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.capture.form_fields import WORDS, Filled, filled_in, normal
from closedloop.errors import WrongFields
from closedloop.events.identifiers import Hasher
from closedloop.sites.definition import Form, FormField

VECTORS: dict[str, Any] = json.loads(Path("tests/vectors/form_fields.json").read_text())
KINDS = sorted({kind for kind, *_ in VECTORS["kept"]})
EMAIL = {"name": "mail", "kind": "email", "required": True}
OPTIONS = ["ポンプ", "弁（バルブ）"]
NEWS = {"name": "news", "texts": {"2026-11": "お知らせを受け取ります", "2025-04": "メールを受け取ります"}}


def a_form(*fields: dict[str, Any], **more: Any) -> Form:
    return Form.model_validate({"thanks": "/", "fields": [EMAIL, *fields], **more})


def of_kind(kind: str, sent: str) -> str:
    """What is kept of one value."""
    if kind == "email":
        return filled_in(a_form(), {"mail": sent}, "JP").email
    options = {"options": OPTIONS} if kind == "choice" else {}
    form = a_form({"name": "asked", "kind": kind, **options})
    filled = filled_in(form, {"mail": "jane@example.jp", "asked": sent}, "JP")
    kept = {**filled.contact, **filled.attributes}
    kept.pop("email")
    return kept.popitem()[1] if kept else ""


def wrong(form: Form, sent: dict[str, str]) -> dict[str, tuple[str, str]]:
    with pytest.raises(WrongFields) as refused:
        filled_in(form, sent, "JP")
    return {field.name: (field.english, field.japanese) for field in refused.value.fields}


@pytest.mark.parametrize(("kind", "sent", "kept"), VECTORS["kept"])
def test_a_value_is_kept_in_one_form_however_it_was_typed(kind: str, sent: str, kept: str) -> None:
    assert of_kind(kind, sent) == kept


@pytest.mark.parametrize(("kind", "sent", "kept"), VECTORS["kept"])
def test_a_value_in_form_stays_as_it_is(kind: str, sent: str, kept: str) -> None:
    assert of_kind(kind, kept) == kept


@pytest.mark.parametrize(("kind", "sent", "why"), VECTORS["refused"])
def test_a_wrong_value_is_named_in_english_and_japanese(kind: str, sent: str, why: str) -> None:
    field = EMAIL if kind == "email" else {"name": "asked", "kind": kind, "label": "項目"}
    if kind == "choice":
        field = {**field, "options": OPTIONS}
    form = a_form() if kind == "email" else a_form(field)
    words = tuple(text.format(options=", ".join(OPTIONS)) for text in WORDS[why])
    assert wrong(form, {"mail": "jane@example.jp", field["name"]: sent}) == {field["name"]: words}


@pytest.mark.parametrize(("kind", "most"), VECTORS["longest"])
def test_a_value_that_is_too_long_is_refused_not_cut(kind: str, most: int) -> None:
    options = {"options": OPTIONS} if kind == "choice" else {}
    field = EMAIL if kind == "email" else {"name": "asked", "kind": kind, **options}
    form = a_form() if kind == "email" else a_form(field)
    said = wrong(form, {"mail": "jane@example.jp", field["name"]: "ア" * (most + 1)})
    assert said == {field["name"]: (f"expected at most {most} characters", f"{most} 文字以内で入力してください")}
    if kind not in ("email", "phone", "choice"):
        assert of_kind(kind, "ア" * most) == "ア" * most


@given(st.sampled_from([kind for kind in KINDS if kind != "email"]), st.text())
def test_whatever_is_typed_is_kept_in_a_form_that_stays_or_is_named(kind: str, sent: str) -> None:
    try:
        kept = of_kind(kind, sent)
    except WrongFields as refused:
        assert [field.name for field in refused.fields] == ["asked"]
        assert all(field.english and field.japanese for field in refused.fields)
    else:
        assert of_kind(kind, kept) == kept
        assert kept == kept.strip()


def test_every_wrong_field_is_named_at_once_by_its_label() -> None:
    form = a_form({"name": "tel", "kind": "phone", "label": "電話番号"}, {"name": "company", "required": True})
    with pytest.raises(WrongFields) as refused:
        filled_in(form, {"mail": "jane", "tel": "1"}, "JP")
    assert [(field.name, field.label) for field in refused.value.fields] == [
        ("mail", "mail"), ("tel", "電話番号"), ("company", "company"),
    ]
    assert refused.value.reason == (
        "mail: expected an e-mail address; tel: expected a phone number, such as 03-1234-5678; company: is needed"
    )


def test_a_number_without_a_country_is_of_the_sites_region() -> None:
    form = a_form({"name": "tel", "kind": "phone"})
    sent = {"mail": "jane@example.de", "tel": "030 901820"}
    assert filled_in(form, sent, "DE").contact["phone"] == "+4930901820"
    with pytest.raises(WrongFields):
        filled_in(form, sent, "US")


def test_parts_of_a_name_are_kept_under_their_own_names_and_attributes_under_the_pages() -> None:
    form = a_form(
        {"name": "姓", "kind": "last_name"}, {"name": "セイ", "kind": "last_name_kana"},
        {"name": "業種", "kind": "attribute"}, {"name": "ご質問"},
    )
    sent = {"mail": "jane@example.jp", "姓": "山田", "セイ": "ﾔﾏﾀﾞ", "業種": "水道", "ご質問": "はい", "other": "x"}
    assert filled_in(form, sent, "JP") == Filled(
        "jane@example.jp",
        {"email": "jane@example.jp", "last_name": "山田", "last_name_kana": "ヤマダ", "ご質問": "はい"},
        {"業種": "水道"},
    )


def test_an_address_is_needed_even_where_the_field_is_not_required() -> None:
    form = Form.model_validate({"thanks": "/", "fields": [{"name": "mail", "kind": "email"}]})
    assert wrong(form, {}) == {"mail": WORDS["needed"]}


# Consent.


@pytest.mark.parametrize("version", NEWS["texts"])
def test_the_box_says_which_text_was_shown_and_the_proof_keeps_its_hash(version: str) -> None:
    filled = filled_in(a_form(consents=[NEWS]), {"mail": "jane@example.jp", "news": version}, "JP")
    text = hashlib.sha256(NEWS["texts"][version].encode()).hexdigest()
    assert filled.consents == [{"purpose": "marketing", "version": version, "text": text}]
    assert filled.agreed_to_marketing == filled.consents[0]


def test_an_unticked_box_says_neither_yes_nor_no() -> None:
    filled = filled_in(a_form(consents=[NEWS]), {"mail": "jane@example.jp"}, "JP")
    assert (list(filled.consents), filled.agreed_to_marketing) == ([], None)


@pytest.mark.parametrize("version", ["on", "true", "2024-01", "2026-11, 2025-04"])
def test_a_text_that_the_site_does_not_have_proves_nothing_and_is_asked_anew(version: str) -> None:
    said = wrong(a_form(consents=[NEWS]), {"mail": "jane@example.jp", "news": version})
    assert said == {"news": WORDS["text_changed"]}


def test_a_box_that_must_be_ticked_is_named() -> None:
    terms = {"name": "terms", "purpose": "privacy", "required": True, "texts": {"1.0": "規約に同意します"}}
    form = a_form(consents=[terms, NEWS])
    assert wrong(form, {"mail": "jane@example.jp", "news": "2026-11"}) == {"terms": WORDS["agree"]}
    filled = filled_in(form, {"mail": "jane@example.jp", "terms": "1.0"}, "JP")
    assert [consent["purpose"] for consent in filled.consents] == ["privacy"]
    assert filled.agreed_to_marketing is None


def test_the_number_that_a_form_and_a_list_tell_is_one_identifier_without_the_library_in_the_hasher() -> None:
    hasher = Hasher(b"pepper", "demo")
    field = FormField(name="phone", kind="phone")
    written = {normal(field, text, "JP") for text in ("03-1234-5678", "+81 3 1234 5678", "０３（１２３４）５６７８")}
    assert written == {"+81312345678"}
    assert hasher.phone("+81312345678") != hasher.phone("+81312345678;ext=12")
    for other in ("0312345678", "", "+0312345678", "+81312345678;ext=", "call me"):
        assert hasher.phone(other) is None
