"""What strangers write where a name is asked for: it must stay text in every page, mail, table and chart."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.unit.test_report_rows import (
    DAY,
    a_deal,
    a_decision,
    a_form,
    a_move,
    a_page,
    a_verdict,
    an_event,
    write,
)

FORMULA = "=cmd|' /C calc'!A0"
# A page in which one of them runs has `ran`; one that loads something asks its own server for /evil, or leaves.
HOSTILE = (
    "</script><script>window.ran=1</script>", "<img src=/evil onerror=window.ran=1>", "\"><svg/onload=window.ran=1>",
    "javascript:window.ran=1", FORMULA, "{{7*7}}", "${7*7}", "']]><script>window.ran=1</script>",
    "</style><script>window.ran=1</script>", "\u202eevil\u0000", "@SUM(1+1)", "https://evil.example/x.js",
    "<script src=/evil.js></script>", "<iframe srcdoc='<script>parent.ran=1</script>'>",
    "<iframe src=javascript:parent.ran=1>",
    "<object data=/evil>", "<embed src=/evil>", "<link rel=stylesheet href=/evil.css>",
    "<style>@import '/evil.css';*{background:url(/evil.png)}</style>", "<meta http-equiv=refresh content=0;url=/evil>",
    "<base href=https://evil.example/>", "<body onload=window.ran=1>", "<details open ontoggle=window.ran=1>x",
    "<input autofocus onfocus=window.ran=1>", "<video><source onerror=window.ran=1 src=/evil></video>",
    "<svg><image href=/evil /><use href=/evil#x /></svg>", "' onmouseover='window.ran=1' style='position:fixed;inset:0",
    "<svg><animate onbegin=window.ran=1 attributeName=x dur=1s>", "--><script>window.ran=1</script><!--",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}", "＜script＞window.ran=1＜/script＞",
    "<math><mtext><table><mglyph><style><img src=/evil onerror=window.ran=1>", "\x00\x1b[31m\ud7ff\uffff\u2028<b>",
)


def a_hostile_lake(folder: Path) -> Path:
    """A lake in which every field that a stranger can fill holds something hostile."""
    events, decisions = [], []
    for n, text in enumerate(HOSTILE):
        who, at = f"h{n}", DAY + timedelta(hours=n)
        events += [
            a_page(f"a{n}", f"b{n}", at=at, channel=f"Referral{text}", medium=text, source=text, campaign=text,
                   title=text, path=text, topic=text, host=text, term=text),
            a_form(f"f{n}", f"b{n}", who, at=at + timedelta(minutes=1), form=text, industry=text, employees=text,
                   first_name=text, company=text, job_title=text),
            an_event(f"s{n}", text, at=at + timedelta(hours=2), ids=[f"email:{who}"], properties={"campaign": text}),
            an_event(f"l{n}", "Seminar Attended", door="import", at=at + timedelta(hours=3), ids=[f"email:{who}"],
                     properties={"campaign": text, "name": text, "list": text}, traits={"company": text}),
            an_event(f"o{n}", "Order Completed", door="deal", at=at + timedelta(days=2), ids=[f"email:{who}"],
                     deal=f"deal:demo:o{n}", properties={"order_id": text, "amount_minor": 10, "currency": "JPY",
                                                         "products": [{"product_id": text, "name": text}]}),
            a_deal(f"d{n}", "Deal Won", who, 100 + n, at=at + timedelta(days=3), deal=f"d{n}",
                   currency="JPY" if n % 2 else text[:9]),
            an_event(f"c{n}", "Campaign Cost Reported", properties={
                "campaign": text, "day": "2026-10-05", "amount_minor": 5, "currency": "JPY" if n % 3 else text}),
        ]
        decisions += [
            a_move(f"t{n}", who, "", "research", at=at),
            a_move(f"u{n}", who, "research", f"stage{text}", at=at, gate=text),
            a_verdict(f"v{n}", who, text, "exclude", reason=text, at=at),
            a_verdict(f"w{n}", who, "asks", "hold", hold_kind=text, at=at),
            a_decision(f"x{n}", "action", who, campaign="case-mail", outcome="sent", reason=text, at=at),
        ]
    return write(folder, events, decisions)
