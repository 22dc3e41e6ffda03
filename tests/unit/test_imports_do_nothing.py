"""Importing any module defines names: no client, no environment, no clock, and nothing heavy on the capture path."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers/closedloop/python"
FOLDERS = (PACKAGE / "closedloop", ROOT / "functions", ROOT / "infra")
MODULES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py") if ".local" not in path.parts)

# What reads the environment, the clock or chance, or makes a client, when it is called.
DOING = {
    "os.getenv",
    "os.environ.get",
    "os.getcwd",
    "boto3.client",
    "boto3.resource",
    "boto3.session.Session",
    "boto3.Session",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.monotonic",
    "time.sleep",
    "uuid.uuid4",
    "uuid.uuid1",
    "random.random",
    "random.uniform",
    "secrets.token_bytes",
    "secrets.token_hex",
    "open",
    "Path.cwd",
    "Path.home",
    "logging.getLogger",
    "logging.basicConfig",
    "Logger",
    "Metrics",
    "print",
    "input",
    "subprocess.run",
    "subprocess.Popen",
    "urlopen",
    "socket.socket",
    "django.setup",
}
HEAVY = (
    "aws_xray_sdk",
    "boto3",
    "s3transfer",
    "botocore",
    "django",
    "duckdb",
    "numpy",
    "jinja2",
    "multiprocessing",
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.tracing",
    "aws_lambda_powertools.utilities.parser",
    "cryptography",
    "anymail",
    "requests",
    "email_validator",
    "crawleruseragents",
    "closedloop.store.state",
    "closedloop.profiles.fold",
    "closedloop.loops.flow",
    "closedloop.lake",
    "closedloop.runtime.spill",
)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The parts of a module that run when it is imported: all but the insides of functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            arguments = node.args
            outside = [*arguments.defaults, *(default for default in arguments.kw_defaults if default)]
            outside += [] if isinstance(node, ast.Lambda) else node.decorator_list
            for part in outside:
                yield part
                yield from at_import(part)
        elif not is_main(node):
            yield node
            yield from at_import(node)


def is_main(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)


def doings(source: str) -> list[str]:
    found = []
    for node in at_import(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in DOING:
            found.append(f"line {node.lineno}: {ast.unparse(node.func)}")
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            found.append(f"line {node.lineno}: os.environ")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_does_nothing_when_it_is_imported(path: Path) -> None:
    assert doings(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os\nNAME = os.environ['NAME']",
        "NAME = os.getenv('NAME')",
        "client = boto3.client('s3')",
        "class A:\n  at = datetime.now()",
        "def f(at=time.time()): pass",
        "logger = Logger()",
        "TEXT = open('x').read()",
        "if True:\n  print('x')",
        "@wraps(uuid.uuid4())\ndef f(): pass",
        "f = lambda at=date.today(): at",
    ],
)
def test_the_check_sees_what_runs_at_import(source: str) -> None:
    assert doings(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n  return os.environ['NAME']",
        "f = lambda: boto3.client('s3')",
        "class A:\n  def f(self): print('x')",
        "if __name__ == '__main__':\n  print('x')",
    ],
)
def test_the_check_leaves_alone_what_runs_later(source: str) -> None:
    assert doings(source) == []


def fresh(program: str) -> str:
    """What a new interpreter says that sees the package and no environment to speak of."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HERE = f"import sys; sys.path[:0] = [{str(PACKAGE)!r}, {str(ROOT)!r}]\n"


@pytest.mark.parametrize("name", ["capture_beacon", "capture_form", "capture_deal", "follow_link"])
def test_a_capture_function_starts_without_anything_heavy(name: str) -> None:
    program = f"from functions.{name} import handler\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(fresh(HERE + program)))
    assert "closedloop.capture.wire" in loaded
    assert [module for module in HEAVY if module in loaded] == []


def test_every_function_is_imported_without_settings_and_opens_no_connection() -> None:
    names = sorted(path.parent.name for path in (ROOT / "functions").glob("*/handler.py"))
    program = (
        HERE
        + f"""
import os, socket
def no(*_, **__): raise AssertionError("a connection at import")
socket.socket.connect = no
before = dict(os.environ)
import importlib
for name in {names!r}:
    importlib.import_module(f"functions.{{name}}.handler")
assert dict(os.environ) == before, "the environment was changed"
from closedloop.runtime import doors, observe
kept = [n for n, f in vars(doors).items() if hasattr(f, "cache_info") and f.cache_info().currsize]
assert not kept, kept
assert not observe._logger.cache_info().currsize
print(len({names!r}))
"""
    )
    assert int(fresh(program)) >= 13
