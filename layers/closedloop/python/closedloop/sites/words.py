"""Words about words: lists as people read them, and the name that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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
