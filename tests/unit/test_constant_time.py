"""Whatever proves who somebody is, is compared in constant time: never with == or in, and as bytes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    [
        *(ROOT / "layers/closedloop/python/closedloop").rglob("*.py"),
        *(ROOT / "functions").rglob("*.py"),
    ]
)
SECRET = re.compile(r"(^|_)(secret|signature|signed|mac|digest|token|password|pepper|hmac|expected_sig)s?($|_)")
# Words that name no secret although they sound like one, by module: what is compared is public.
PUBLIC: dict[str, set[str]] = {
    # The content hash of a verdict: whether it says something new.
    "decide.py": {"verdict.digest", "digest"},
    # Which fields of a message are signed, by its kind.
    "sns.py": {"SIGNED"},
    # Whether an owner's own new secrets have to be written.
    "site.py": {"secrets"},
}


def names_in(node: ast.expr) -> str:
    """The last word of what is compared: `self._secret` is `_secret`, `body["token"]` is `token`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    if isinstance(node, ast.Call):
        return names_in(node.func)
    return ""


def unsafe(source: str, module: str = "") -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare) or not any(
            isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops
        ):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue  # Whether there is one, or which kind it is, is no secret.
        for side in sides:
            if SECRET.search(names_in(side).lower()) and ast.unparse(side) not in PUBLIC.get(module, ()):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
                break
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_secret_is_compared_by_its_letters(path: Path) -> None:
    assert unsafe(path.read_text(), path.name) == []


@pytest.mark.parametrize(
    "source",
    [
        "if secret == given: pass",
        "ok = given == self._signature",
        "if signature not in known: pass",
        "headers['signature'] != mac",
        "ok = hmac.digest(key, body, 'sha256') == given",
        "ok = mac.hexdigest() == given_mac",
    ],
)
def test_the_check_sees_a_comparison_letter_by_letter(source: str) -> None:
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    [
        "hmac.compare_digest(secret, given)",
        "if secret == '': pass",
        "if 'secret' in names: pass",
        "a == b",
        "if secret is None: pass",
    ],
)
def test_the_check_leaves_alone_what_tells_nothing(source: str) -> None:
    assert unsafe(source) == []


def test_every_compare_digest_takes_bytes() -> None:
    """Text with a letter beyond ASCII raises TypeError, and an answer of 500 tells that the door was found."""
    doubtful = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "hmac.compare_digest":
                doubtful += [
                    f"{path.name}:{node.lineno}" for side in node.args if isinstance(side, ast.Constant | ast.JoinedStr)
                ]
    assert doubtful == []
