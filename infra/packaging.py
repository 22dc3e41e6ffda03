"""Builds what Lambda receives, without Docker: the folder of each function, our package, the locked vendor layers."""

from __future__ import annotations

import gzip
import hashlib
import platform as machine
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Raised by hand when this module builds the same inputs into something else, so that cached layers are built again.
RECIPE = "4"

# What the services' clients need of botocore's data; the other 400 services would triple the layer.
BOTOCORE_SERVICES = (
    "dynamodb",
    "events",
    "s3",
    "secretsmanager",
    "sesv2",
    "sns",
    "sqs",
    "stepfunctions",
    "sts",
)
BOTOCORE_FILES = ("_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json")
# Of the check digits of all countries' numbers, those of Japan.
STDNUM_PARTS = ("__init__.py", "exceptions.py", "util.py", "jp")

# Folders of our package that no function runs.
NOT_DEPLOYED = frozenset({"cli", "world"})
NOT_A_SOURCE = ("__pycache__", "*.pyc", "*.pyo", ".DS_Store")
NOT_OF_A_FUNCTION = (*NOT_A_SOURCE, "README.md", "__init__.py", ".gitignore")

# What a function serves and git does not hold, with the command that makes it.
BUILT_BESIDE: Mapping[str, Mapping[str, str]] = {"serve_tracker": {"t.js": "python -m web.build"}}

# A requirement begins at the margin; its hashes and its reason are indented below it.
REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)")


class Platform(StrEnum):
    """The processor that a deployment runs on: Lambda's arm64 or x86_64, or this very machine for local runs."""

    ARM64 = "arm64"
    X86_64 = "x86_64"
    HOST = "host"


class NotPackaged(Exception):
    """A layer cannot be built as its lock says; the message is what the operator must correct."""


@dataclass(frozen=True, slots=True)
class Target:
    """The interpreter and processor that the layers are built for.

    Shapes: `python` is a minor version such as `3.14`.
    """

    python: str
    platform: Platform

    @property
    def arm(self) -> bool:
        """Whether the functions run on an arm processor."""
        if self.platform is Platform.HOST:
            return machine.machine().lower() in {"aarch64", "arm64"}
        return self.platform is Platform.ARM64

    @property
    def installer_options(self) -> list[str]:
        """What tells the installer whose wheels to choose."""
        if self.platform is Platform.HOST:
            return ["--python", sys.executable]
        wheels = "aarch64-manylinux_2_28" if self.arm else "x86_64-manylinux_2_28"
        return ["--python", sys.executable, "--python-platform", wheels, "--python-version", self.python]


def host_target() -> Target:
    """The interpreter and processor that this process runs on."""
    return Target(f"{sys.version_info.major}.{sys.version_info.minor}", Platform.HOST)


@dataclass(frozen=True, slots=True)
class VendorLayer:
    """One locked set of third-party packages, less what the layers below it already carry.

    Shapes: `lock` and `below` are names of files in `requirements/`, without suffix.
    """

    name: str
    lock: str
    below: tuple[str, ...] = ()


VENDOR_LAYERS: Mapping[str, VendorLayer] = {
    "capture": VendorLayer("capture", "capture"),
    "form": VendorLayer("form", "form", ("capture",)),
    "project": VendorLayer("project", "project", ("capture",)),
    "email": VendorLayer("email", "email", ("capture",)),
    "report": VendorLayer("report", "report", ("capture", "project")),
}


def function_folder(name: str, build: Path, root: Path = ROOT, *, whole: bool = False) -> Path:
    """The files of one function as they land in `/var/task`.

    Shapes: `whole` asks for what is built beside the handler too, such as the tracker; a template needs none of it.
    Errors: NotPackaged when the folder has no handler, or lacks what is built for it.
    """
    source = root / "functions" / name
    if not (source / "handler.py").exists():
        raise NotPackaged(f"functions/{name}/handler.py is missing")
    for built, command in BUILT_BESIDE.get(name, {}).items():
        if whole and not (source / built).exists():
            raise NotPackaged(f"functions/{name}/{built} is missing: make it with `{command}`")
    files = _files(source, NOT_OF_A_FUNCTION)
    return _build_once(
        build / "functions",
        name,
        _key(RECIPE, *_fingerprints(files)),
        lambda folder: _copy(files, folder),
    )


def package_layer(build: Path, target: Target, root: Path = ROOT) -> Path:
    """Our own package as a layer: every module that a function may run, compiled for the runtime."""
    source = root / "layers" / "closedloop" / "python" / "closedloop"
    files = [
        (path, Path("python", "closedloop") / inside)
        for path, inside in _files(source, NOT_A_SOURCE)
        if inside.parts[0] not in NOT_DEPLOYED
    ]
    interpreter = _interpreter(target.python)

    def fill(folder: Path) -> None:
        _copy(files, folder)
        _compile(folder, interpreter, target)

    return _build_once(
        build / "layers",
        "closedloop",
        _key(RECIPE, target.python, _version(interpreter), *_fingerprints(files)),
        fill,
    )


def vendor_layer(name: str, build: Path, target: Target, root: Path = ROOT) -> Path:
    """One set of locked third-party packages as a layer: installed by hash, stripped, compiled for the runtime.

    Errors: NotPackaged when the lock disagrees with a lower layer's, or when a wheel is missing.
    """
    layer = VENDOR_LAYERS[name]
    requirements = _remaining(layer, root)
    interpreter = _interpreter(target.python)

    def fill(folder: Path) -> None:
        _install(requirements, folder / "python", target)
        strip(folder / "python")
        _compile(folder, interpreter, target)

    key = _key(RECIPE, requirements, target.python, target.platform, machine.machine(), _version(interpreter))
    return _build_once(build / "layers", name, key, fill)


def missing_byte_code(target: Target) -> str | None:
    """What the operator loses and can do, where this machine cannot compile for the runtime; None where it can."""
    if _interpreter(target.python):
        return None
    return (
        f"no Python {target.python} on this machine: layers ship without byte code and every cold start compiles them"
        f" (about twice the CPU). Install it once with: uv python install {target.python}"
    )


def skipped_layer(build: Path) -> Path:
    """A stand-in for every layer, where only the template is wanted and nothing is deployed."""
    folder = build / "skipped"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "not-built.txt").write_text("Layers are not built when bundling is skipped.\n")
    return folder


def strip(packages: Path) -> None:
    """Remove from installed packages what no function reads: tests, stubs, translations, services we never call."""
    for folder in sorted(packages.rglob("*"), reverse=True):
        if not folder.is_dir():
            continue
        if folder.name in {"tests", "__pycache__", "include"}:
            shutil.rmtree(folder)
        elif folder.name.endswith(".dist-info"):
            for path in folder.iterdir():
                if path.name not in {"METADATA", "entry_points.txt"}:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for language in sorted(packages.glob("**/locale/*/LC_MESSAGES")):
        if language.parent.name != "en":
            shutil.rmtree(language.parent)
    for path in packages.rglob("*"):
        if path.is_file() and path.suffix in {".pyi", ".po", ".pyx", ".pxd", ".a", ".lib"}:
            path.unlink()
    for name in ("bin", ".lock"):
        leftover = packages / name
        if leftover.is_dir():
            shutil.rmtree(leftover)
        leftover.unlink(missing_ok=True)
    _trim_botocore(packages / "botocore" / "data")
    for path in sorted((packages / "stdnum").glob("*")):
        if path.name not in STDNUM_PARTS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _trim_botocore(data: Path) -> None:
    if not data.exists():
        return
    for path in sorted(data.iterdir()):
        if path.is_dir() and path.name not in BOTOCORE_SERVICES:
            shutil.rmtree(path)
        elif path.is_file() and path.name.removesuffix(".gz") not in BOTOCORE_FILES:
            path.unlink()
    for path in sorted(data.rglob("*.gz")):
        # The archive is packed once more for Lambda; unpacking twice would cost each cold start.
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    for path in sorted(data.rglob("*.json")):
        if path.name.startswith(("examples-", "waiters-")):
            path.unlink()


def _remaining(layer: VendorLayer, root: Path) -> str:
    carried: dict[str, str] = {}
    for lock in layer.below:
        carried.update(_pins(_blocks(root / "requirements" / f"{lock}.txt")))
    own = _blocks(root / "requirements" / f"{layer.lock}.txt")
    for name, version in _pins(own).items():
        if carried.get(name, version) != version:
            raise NotPackaged(
                f"requirements/{layer.lock}.txt pins {name} to {version}, a layer below to {carried[name]}: lock again"
            )
    return "".join(block for block in own if _name(block) not in carried)


def _blocks(lock: Path) -> list[str]:
    blocks: list[str] = []
    for line in lock.read_text().splitlines(keepends=True):
        if line.lstrip().startswith("#"):
            continue
        if REQUIREMENT.match(line):
            blocks.append(line)
        elif line.strip() and blocks:
            blocks[-1] += line
    return blocks


def _name(block: str) -> str:
    found = REQUIREMENT.match(block)
    assert found
    return found["name"].lower().replace("_", "-").replace(".", "-")


def _pins(blocks: Iterable[str]) -> dict[str, str]:
    # One name may stand twice, with a marker each: both versions together are its pin.
    pins: dict[str, str] = {}
    for block in blocks:
        found = REQUIREMENT.match(block)
        assert found
        pins[_name(block)] = " ".join(filter(None, [pins.get(_name(block)), found["version"]]))
    return pins


def _install(requirements: str, into: Path, target: Target) -> None:
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch, "requirements.txt")
        lock.write_text(requirements)
        command = [
            *(_uv(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("--link-mode", "copy", "--no-compile-bytecode", *target.installer_options),
            *("--target", str(into), "--requirement", str(lock)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotPackaged(f"installing a layer for Python {target.python} on {target.platform}:\n{done.stderr}")


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise NotPackaged("uv is missing: install requirements/dev.txt into this environment")
    return found


def _interpreter(minor: str) -> str | None:
    """An interpreter of the runtime's own minor version, or None where this machine has none."""
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    named = shutil.which(f"python{minor}")
    if named and _version(named):
        return named
    # No download here: synthesis needs no network.
    search = [_uv(), "python", "find", "--no-python-downloads", "--no-project", minor]
    found = subprocess.run(search, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None if found.returncode == 0 else None


def _version(interpreter: str | None) -> str:
    if interpreter is None:
        return ""
    ask = [interpreter, "-c", "import sys; print(sys.version_info[:3], sys.implementation.cache_tag)"]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()


def _compile(folder: Path, interpreter: str | None, target: Target) -> None:
    if interpreter is None:
        return
    # An archive for Lambda has one fixed date on every file, so only byte code that is not tied to a date is ever used.
    command = [
        *(interpreter, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"),
        *("-s", str(folder / "python"), "-p", "/opt/python", str(folder / "python")),
    ]
    # A fixed seed keeps the order of constant sets, so the same source gives the same bytes.
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONHASHSEED": "0"})
    if done.returncode:
        raise NotPackaged(f"compiling {folder.name} for Python {target.python}:\n{done.stdout}{done.stderr}")


def _files(source: Path, unwanted: tuple[str, ...]) -> list[tuple[Path, Path]]:
    found = [(path, path.relative_to(source)) for path in sorted(source.rglob("*")) if path.is_file()]
    return [
        (path, inside)
        for path, inside in found
        if not any(Path(part).match(pattern) for part in inside.parts for pattern in unwanted)
    ]


def _copy(files: Iterable[tuple[Path, Path]], folder: Path) -> None:
    for path, inside in files:
        (folder / inside).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / inside)


def _fingerprints(files: Iterable[tuple[Path, Path]]) -> list[str]:
    return [f"{inside} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path, inside in files]


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _build_once(parent: Path, name: str, key: str, fill: Callable[[Path], None]) -> Path:
    folder = parent / f"{name}-{key}"
    if folder.exists():
        return folder
    parent.mkdir(parents=True, exist_ok=True)
    # Filled aside and moved in one step: a killed build leaves nothing that a later one would take for whole.
    with tempfile.TemporaryDirectory(dir=parent, prefix=f"{name}-") as scratch:
        aside = Path(scratch, folder.name)
        aside.mkdir()
        fill(aside)
        if not folder.exists():
            aside.replace(folder)
    return folder
