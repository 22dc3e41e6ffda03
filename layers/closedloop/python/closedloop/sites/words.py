"""Words about words: lists as people read them, the name that was probably meant, text that computes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What a spreadsheet would take for a formula, also behind spaces, an ideographic space or a byte order mark.
_FORMULA = re.compile("^[ \u00a0\u3000\ufeff]*[=+\\-@%|\t\r\n＝＋－＠]")


def listed(names: Sequence[object], last: str = "or") -> str:
    """Names as people read them: a, b or c."""
    words = [str(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else "nothing"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that was probably meant; empty when none is near."""
    import difflib

    return next(iter(difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.7)), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, as the end of a sentence."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if _FORMULA.match(text) else text
