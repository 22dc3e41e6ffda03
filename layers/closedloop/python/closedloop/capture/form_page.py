"""What a person reads whose form could not be taken: what to correct, in their language, and nothing they typed."""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape

from closedloop.capture.request import Answer, Request, as_json, later, refusal
from closedloop.errors import Refused, TryAgain, WrongFields

LANGUAGE = re.compile(r"\s*(ja|en)\b", re.IGNORECASE)
TITLE = ("The form was not sent", "送信できませんでした")
BACK = (
    "Go back with your browser and send the form again; what you typed is still there.",
    "ブラウザの「戻る」で前のページに戻り、もう一度送信してください。入力した内容は残っています。",
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
BUSY = ("We could not store it just now.", "ただいま保存できませんでした。")


def tell(request: Request, error: Refused | TryAgain) -> Answer:
    """The answer to a form that was not taken: a page for a browser, JSON for a script."""
    japanese = _is_japanese(request.headers.get("accept-language", ""))
    fields = [
        {"field": field.name, "label": field.label, "message": field.japanese if japanese else field.english}
        for field in (error.fields if isinstance(error, WrongFields) else ())
    ]
    answer = refusal(error) if isinstance(error, Refused) else later(error)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        if isinstance(error, WrongFields):
            content = {"success": False, "error": "WrongFields", "reason": error.reason, "fields": fields}
            return as_json(answer.status, content)
        return answer
    said = [f"<li><strong>{escape(field['label'])}</strong>: {escape(field['message'])}</li>" for field in fields]
    if not said:
        # What only whoever built the page can mend is said in their language.
        reason = error.reason if isinstance(error, Refused) else BUSY[japanese]
        said = [f'<li lang="en">{escape(reason)}</li>' if isinstance(error, Refused) else f"<li>{reason}</li>"]
    title = TITLE[japanese]
    page = (
        f'<!doctype html><html lang="{"ja" if japanese else "en"}"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        "<style>body{font:1rem/1.6 sans-serif;max-width:36rem;margin:4rem auto;padding:0 1rem;color:#222}</style>"
        f'<main role="alert"><h1>{title}</h1><ul>{"".join(said)}</ul><p>{BACK[japanese]}</p></main></html>'
    )
    headers = {**answer.headers, "x-robots-tag": "noindex", "content-security-policy": POLICY}
    return replace(answer, body=page, content_type="text/html; charset=utf-8", headers=headers)


def _is_japanese(accepted: str) -> bool:
    """Whether Japanese comes before English among the languages that a browser asks for."""
    found = next((match[1] for part in accepted.split(",") if (match := LANGUAGE.match(part))), "en")
    return found.lower() == "ja"
