"""What a form's body says, whichever of its three ways a browser sent it: JSON, urlencoded or multipart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from closedloop.capture import wire
from closedloop.capture.form_spam import HONEYPOT
from closedloop.capture.request import Request
from closedloop.errors import BadShape

MOST_FIELDS = 200
# Cloudflare's widget names its answer so, and adds it to the form by itself.
CHALLENGE = "cf-turnstile-response"
TIME = TypeAdapter(datetime)
UNREADABLE = f"the form's fields cannot be read: expected UTF-8, and at most {MOST_FIELDS} of them"


@dataclass(frozen=True, slots=True)
class Submission:
    """What was sent: the fields as text, and what the script or the hidden fields add.

    Shapes: `submission_id`, `visitor`, `key`, `token` and `challenge` are empty and `at` None when nothing said so.
    `may_tell` is true when the page's script named the browser, which it does with the visitor's permission alone.
    """

    fields: Mapping[str, str]
    submission_id: str
    visitor: str
    key: str
    page: Mapping[str, Any]
    consent: Mapping[str, str]
    at: datetime | None
    wants_page: bool
    may_tell: bool = False
    token: str = ""
    challenge: str = ""

    def as_json(self) -> dict[str, Any]:
        """The submission as a script would have sent it, for those who look at it later."""
        return {
            "fields": dict(self.fields), "submission_id": self.submission_id, "anonymousId": self.visitor,
            "page": dict(self.page), "consent": dict(self.consent),
        }


def read(request: Request) -> Submission:
    """Read a submission from JSON or from a plain form.

    Errors: BadShape, TooLarge.
    """
    body = wire.plain(request.body)
    stated = request.headers.get("content-type", "")
    kind = stated.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        return _plain_form(request, _urlencoded(body))
    if kind == "multipart/form-data":
        return _plain_form(request, _multipart(stated, body))
    try:
        content = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise BadShape(f"the body is no JSON: {str(error).splitlines()[0][:200]}") from error
    if not isinstance(content, dict) or not isinstance(content.get("fields"), dict):
        raise BadShape("fields: expected a mapping of the form's fields")
    try:
        at = TIME.validate_python(content["timestamp"]) if content.get("timestamp") else None
    except ValidationError as error:
        raise BadShape("timestamp: expected an ISO 8601 time") from error
    page = content.get("page")
    fields = {name: _text(value, f"fields.{name[:60]}") for name, value in content["fields"].items()}
    return Submission(
        fields={name: value for name, value in fields.items() if name != CHALLENGE},
        submission_id=_text(content.get("submission_id"), "submission_id"),
        visitor=_text(content.get("anonymousId"), "anonymousId"),
        key=request.query.get("writeKey", "") or _text(content.get("writeKey"), "writeKey"),
        page=page if isinstance(page, dict) else {}, consent=wire.consent_of(content.get("consent")), at=wire.aware(at),
        wants_page=False, token=_text(content.get("time_token"), "time_token"), challenge=fields.get(CHALLENGE, ""),
    )


def _plain_form(request: Request, pairs: Iterable[tuple[str, str]]) -> Submission:
    """A form as browsers post it without a script; boxes of the same name are read together."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields[name] = f"{fields[name]}, {value}" if name in fields and not _is_ours(name) else value
    url = fields.get("cl_page_url") or request.headers.get("referer", "")
    visitor = fields.get("cl_anonymous_id", "")
    return Submission(
        fields={name: value for name, value in fields.items() if not _is_ours(name) or name == HONEYPOT},
        submission_id=fields.get("cl_submission_id", ""), visitor=visitor,
        key=request.query.get("writeKey", "") or fields.get("cl_write_key", ""),
        page={"url": url, "referrer": fields.get("cl_referrer", "")}, consent={}, at=None, wants_page=True,
        may_tell=bool(visitor), token=fields.get("cl_time", ""), challenge=fields.get(CHALLENGE, ""),
    )


def _is_ours(name: str) -> bool:
    return name.startswith("cl_") or name == CHALLENGE


def _urlencoded(body: bytes) -> list[tuple[str, str]]:
    """Errors: BadShape."""
    try:
        return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise BadShape(UNREADABLE) from error


def _multipart(stated: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of a multipart body; a file input that was left empty is no field.

    Errors: BadShape; a file is refused in words, as it would be lost without any.
    Source: RFC 7578.
    """
    import multipart

    _, options = multipart.parse_options_header(stated)
    pairs: list[tuple[str, str]] = []
    name, value, is_file = "", b"", False
    try:
        parser = multipart.PushMultipartParser(options.get("boundary", ""), max_segment_count=MOST_FIELDS, strict=True)
        with parser:
            for part in parser.parse(body):
                if isinstance(part, multipart.MultipartSegment):
                    name, value, is_file = part.name or "", b"", part.filename is not None
                    if part.filename:
                        raise BadShape(f"{name[:60]}: files are not taken; ask for a link, or for the file by mail")
                elif part is not None:
                    value += part
                elif not is_file:
                    pairs.append((name, value.decode()))
                elif value:
                    raise BadShape(f"{name[:60]}: files are not taken; ask for a link, or for the file by mail")
    except (multipart.MultipartError, UnicodeDecodeError) as error:
        raise BadShape(UNREADABLE) from error
    return pairs


def _text(value: Any, place: str) -> str:
    """What a field says: text, a number, a ticked box, or the texts of several boxes.

    Errors: BadShape names the field.
    """
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return ""
    if value is True:
        return "true"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        return ", ".join(str(one) for one in value)
    raise BadShape(f"{place}: expected text")
